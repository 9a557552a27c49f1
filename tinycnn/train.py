"""The training loop, and its two halves that need no labels or no gradients: predict and evaluate."""

import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np

from tinycnn import plan
from tinycnn.averaging import ExponentialMovingAverage
from tinycnn.errors import ConfigError, DTypeError, ShapeError
from tinycnn.inference import Prepared
from tinycnn.kernels import one_thread_pool
from tinycnn.kernels.memory import Arena, recycled_memory
from tinycnn.layers import Sequential, Softmax
from tinycnn.losses import SoftmaxCrossEntropy
from tinycnn.optimizers import Adam, Optimizer
from tinycnn.progress import Bar, Progress

#: Turns a batch as stored, such as uint8 pixels, into the array the model takes.
Prepare = Callable[[np.ndarray], np.ndarray]
#: Returns a changed copy of a batch as stored, drawing its randomness from the generator.
Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]
#: Called after each epoch; may raise `StopTraining`.
Callback = Callable[[Sequential, "History"], None]


class StopTraining(Exception):
    """Raise it in a callback to end `fit` after the present epoch."""


@dataclass(frozen=True)
class Evaluation:
    """Mean loss in nats and accuracy (0 to 1) over a number of images."""

    loss: float
    accuracy: float
    images: int


@dataclass
class History:
    """One number per epoch: losses in nats, accuracies from 0 to 1, wall time in seconds.

    `loss` and `accuracy` are averages over the epoch's batches as they were trained, augmented and with
    dropout. `val_loss` and `val_accuracy` are empty where `fit` was given no validation data.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add_training(self, batches: list["Evaluation"], optimizer: Optimizer) -> None:
        """Append an epoch's means over its batches, weighted by their sizes."""
        images = sum(batch.images for batch in batches)
        self.loss.append(sum(batch.loss * batch.images for batch in batches) / images)
        self.accuracy.append(sum(batch.accuracy * batch.images for batch in batches) / images)
        self.learning_rate.append(optimizer.current_learning_rate)

    def add_validation(self, scored: "Evaluation") -> None:
        """Append an epoch's scores on the validation data."""
        self.val_loss.append(scored.loss)
        self.val_accuracy.append(scored.accuracy)

    @property
    def best_epoch(self) -> int:
        """Index of the epoch with the lowest validation loss, or training loss where there is no other."""
        return int(np.argmin(self.val_loss or self.loss))


def fit(
    model: Sequential,
    x: np.ndarray,
    labels: np.ndarray,
    *,
    epochs: int = 10,
    batch_size: int = 64,
    optimizer: Optimizer | None = None,
    loss: SoftmaxCrossEntropy | None = None,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    prepare: Prepare | None = None,
    augment: Augment | None = None,
    ema: ExponentialMovingAverage | None = None,
    keep_best: bool = True,
    callbacks: Iterable[Callback] = (),
    seed: int = 0,
    progress: bool | Progress = True,
) -> History:
    """Train a model, and leave it with its best or its last weights.

    Args:
        model: a classifier with K outputs. A final `Softmax` is left out in training, since the loss has one.
        x: (N, ...), images as stored.
        labels: (N,) of integers, 0 to K-1.
        epochs: passes over the data.
        batch_size: images a step. The last batch of an epoch takes what is left.
        optimizer: `Adam()` by default.
        loss: `SoftmaxCrossEntropy()` by default.
        validation: (images, labels) to score after each epoch, with averaged weights if there is an `ema`.
        prepare: applied to every batch, such as ``lambda b: b.astype(np.float32) / 255``.
        augment: applied to training batches, before `prepare`.
        ema: keeps a moving average of the weights; the model ends with the averaged ones.
        keep_best: with validation data, end with the weights of the epoch with the lowest validation loss.
            Then that data has chosen the weights and no longer gives an unbiased score: use False for
            cross-validation.
        callbacks: each is called as ``callback(model, history)`` after every epoch.
        seed: of the order of images and of augmentation.
        progress: show progress; or a `Progress` to report to.

    Raises:
        ShapeError, DTypeError, ConfigError: data or options do not fit the model or one another.
    """
    _check_data(x, labels, epochs=epochs, batch_size=batch_size)
    if validation is not None:
        _check_data(*validation)
    optimizer, loss = optimizer or Adam(), loss or SoftmaxCrossEntropy()
    reporter = progress if isinstance(progress, Progress) else Bar() if progress else Progress()
    rng, arena, history, best = np.random.default_rng(seed), Arena(), History(), _Best()
    weights = {**model.params, **model.state}

    def train_batch(chosen: np.ndarray) -> Evaluation:
        images = x[chosen] if augment is None else augment(x[chosen], rng)
        with recycled_memory(arena):
            result = train_step(model, _prepared(images, prepare), labels[chosen], loss, optimizer)
        if ema is not None:
            ema.update(weights)
        reporter.batch(len(chosen), result.loss, result.accuracy)
        return result

    with one_thread_pool(), reporter.training(epochs, len(x)):
        for _ in range(epochs):
            began = time.perf_counter()
            order = rng.permutation(len(x))
            results = [train_batch(order[i : i + batch_size]) for i in range(0, len(x), batch_size)]
            history.add_training(results, optimizer)
            with nullcontext() if ema is None else ema.swapped(weights):
                if validation is not None:
                    history.add_validation(evaluate(model, *validation, prepare=prepare))
                    best.offer(history.val_loss[-1], weights if keep_best else {})
                history.seconds.append(time.perf_counter() - began)
                optimizer.schedule.observe((history.val_loss or history.loss)[-1])
                reporter.epoch(history)
                if _stopped(callbacks, model, history):
                    break
    if ema is not None and ema.averages:
        ema.swap(weights)
    best.restore(weights)
    return history


def train_step(
    model: Sequential,
    x: np.ndarray,
    labels: np.ndarray,
    loss: SoftmaxCrossEntropy,
    optimizer: Optimizer,
) -> Evaluation:
    """Move the weights once; return the batch's loss (with L2 penalties) and accuracy before.

    Args:
        model: a classifier; a final `Softmax` is left out.
        x: (N, ...), float, ready for the model.
        labels: (N,) of integers.
        loss: gives the loss and its gradient.
        optimizer: moves the weights.
    """
    body = _logit_layers(model)
    logits, backward = plan.run_model(body, x)
    value, dlogits = loss(logits, labels)
    result = Evaluation(value + model.penalty(), _accuracy(logits, labels), len(labels))
    backward(dlogits)
    optimizer.step(model.params, model.grads)
    return result


def predict(
    model: Sequential, x: np.ndarray, batch_size: int = 64, prepare: Prepare | None = None
) -> np.ndarray:
    """Return the model's outputs for x (N, ...), computed batch by batch: an array of its own, (N, K).

    Raises:
        ShapeError, DTypeError: x does not fit the model.
    """
    if len(x) == 0:
        raise ShapeError(f"predict: expected at least one image, found shape {x.shape}")
    network = Prepared(model, len(x))
    batches = range(0, len(x), batch_size)
    return np.concatenate([network(_prepared(x[i : i + batch_size], prepare)) for i in batches])


def evaluate(
    model: Sequential,
    x: np.ndarray,
    labels: np.ndarray,
    *,
    batch_size: int = 64,
    prepare: Prepare | None = None,
) -> Evaluation:
    """Return mean cross-entropy (plain: no smoothing, weights or penalties) and accuracy on x, labels (N,).

    Raises:
        ShapeError, DTypeError, ConfigError: the data do not fit the model.
    """
    _check_data(x, labels)
    logits = predict(_logit_layers(model), x, batch_size, prepare)
    loss, _ = SoftmaxCrossEntropy()(logits, labels)
    return Evaluation(loss, _accuracy(logits, labels), len(labels))


def _accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(logits.argmax(axis=1) == labels))


def _logit_layers(model: Sequential) -> Sequential:
    """Return the model without a final Softmax, which the loss contains; layers and names stay the same."""
    *rest, (_, last) = model.children().items()
    return Sequential(dict(rest)) if isinstance(last, Softmax) and rest else model


def _prepared(images: np.ndarray, prepare: Prepare | None) -> np.ndarray:
    return images if prepare is None else prepare(images)


def _stopped(callbacks: Iterable[Callback], model: Sequential, history: History) -> bool:
    try:
        for callback in callbacks:
            callback(model, history)
    except StopTraining:
        return True
    return False


class _Best:
    """A copy of the weights with the lowest validation loss so far."""

    def __init__(self) -> None:
        self._loss, self._weights = float("inf"), {}  # type: ignore[var-annotated]

    def offer(self, loss: float, weights: dict[str, np.ndarray]) -> None:
        if loss < self._loss:
            self._loss, self._weights = loss, {name: array.copy() for name, array in weights.items()}

    def restore(self, weights: dict[str, np.ndarray]) -> None:
        for name, array in self._weights.items():
            weights[name][...] = array


def _check_data(x: np.ndarray, labels: np.ndarray, **counts: int) -> None:
    if not isinstance(x, np.ndarray) or not isinstance(labels, np.ndarray):
        raise DTypeError(f"expected NumPy arrays, found {type(x).__name__} and {type(labels).__name__}")
    if labels.shape != x.shape[:1] or len(x) == 0:
        raise ShapeError(
            f"expected N >= 1 images and as many labels, found shapes {x.shape} and {labels.shape}"
        )
    for name, value in counts.items():
        if type(value) is not int or value < 1:
            raise ConfigError(f"{name}={value!r}: expected a whole number of at least 1")
