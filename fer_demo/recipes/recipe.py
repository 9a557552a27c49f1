"""What a recipe says, and how it becomes the arguments of `model.fit`."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tinycnn as tc
from fer_demo.augment import Augmentation
from fer_demo.models import MODELS
from fer_demo.recipes.balance import class_weights, oversample
from tinycnn.checks import check_positive, refuse


@dataclass(frozen=True)
class Recipe:
    """How a model is trained, whatever the data and the number of epochs.

    Its ``repr`` names every choice, the same in every process.

    Attributes:
        name: as on the command line.
        learning_rates: by name of the model; the schedule's highest.
        batch_size: images a step, or None where that depends on how many images there are.
        augment: changes the training images.
        schedule: `Constant`, or what takes a learning rate and the keyword `steps`, such as `OneCycle`.
        optimizer: what takes a schedule and the keyword `weight_decay`, such as `Adam` or
            ``functools.partial(SGD, momentum=0.9)``.
        weight_decay: see `tinycnn.optimizers.Optimizer`; biases and batch norm never decay.
        label_smoothing: share of each target that is spread evenly over the emotions.
        ema_decay: of a moving average of the weights, which the model ends with; None for the last weights.
        class_weights: let an image of a rare emotion count more in the loss.
        oversample: how many times as often, at most, an image of a rare emotion is shown as others are:
            1 for no more often, `math.inf` until every emotion is shown as often as the commonest.
        dropout: by name of the model; the rate of its dropout layers, where it is not the model's own.

    >>> from fer_demo.recipes import RECIPES
    >>> recipe = RECIPES["default"]
    >>> options = recipe.fit_arguments("mini_xception", np.arange(70) % 7, epochs=2, batch_size=32)
    >>> options["batch_size"], type(options["optimizer"]).__name__
    (32, 'Adam')
    """

    name: str
    learning_rates: Mapping[str, float]
    batch_size: int | None
    augment: Augmentation | None
    schedule: Callable[..., tc.Schedule] = tc.Constant
    optimizer: Callable[..., tc.Optimizer] = tc.Adam
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    ema_decay: float | None = None
    class_weights: bool = False
    oversample: float = 1
    dropout: Mapping[str, float] = field(default_factory=dict)

    def shown(self, labels: np.ndarray, seed: int) -> np.ndarray:
        """Return the images that every epoch shows, as indices (M,) into labels (N,).

        Raises:
            ConfigError: labels are no emotions, or `oversample` is below 1.
        """
        if self.oversample == 1:
            return np.arange(len(labels))
        return oversample(labels, np.random.default_rng((seed, 1)), self.oversample)

    def network(self, model: str, seed: int, **arguments: Any) -> tc.Sequential:
        """Return a new model of `MODELS` that drops out as much as the recipe wants.

        Args:
            model: its name.
            seed: of the first weights and of dropout.
            arguments: further ones of the function in `MODELS`, such as ``widths=(16, 32, 64, 96)``.

        Raises:
            ConfigError: an argument is out of range.
        """
        network = MODELS[model](seed=seed, **arguments)
        if model in self.dropout:
            rate = tc.Dropout(self.dropout[model]).rate  # which looks at it
            for _, layer in network.walk():
                if isinstance(layer, tc.Dropout):
                    layer.rate = rate
        return network

    def fit_arguments(self, model: str, labels: np.ndarray, epochs: int, batch_size: int) -> dict[str, Any]:
        """Return the keyword arguments of `model.fit` that the recipe decides, new objects each time.

        Args:
            model: its name, a key of `learning_rates`.
            labels: (N,), of the images that an epoch shows.
            epochs: passes over them.
            batch_size: images a step.

        Raises:
            ConfigError: the recipe has no learning rate for this model, or a value is out of range.
        """
        check_positive(epochs=epochs, batch_size=batch_size)
        if model not in self.learning_rates:
            refuse("model", model, f"one that recipe {self.name!r} knows: {', '.join(self.learning_rates)}")
        rate, steps = self.learning_rates[model], epochs * math.ceil(len(labels) / batch_size)
        constant = self.schedule is tc.Constant
        schedule = tc.Constant(rate) if constant else self.schedule(rate, steps=steps)
        weights = class_weights(labels) if self.class_weights else None
        return {
            "epochs": epochs,
            "batch_size": batch_size,
            "optimizer": self.optimizer(schedule, weight_decay=self.weight_decay),
            "loss": tc.SoftmaxCrossEntropy(self.label_smoothing, weights),
            "ema": None if self.ema_decay is None else tc.ExponentialMovingAverage(self.ema_decay),
            "augment": self.augment,
        }
