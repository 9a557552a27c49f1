"""What a training has reached: its history, and all that it must remember from one batch to the next."""

import hashlib
import re
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tinycnn.averaging import ExponentialMovingAverage
from tinycnn.errors import ConfigError, DTypeError
from tinycnn.finite import generators
from tinycnn.html import history_curves
from tinycnn.kernels import backend_name
from tinycnn.layers import Sequential
from tinycnn.optimizers import Optimizer


@dataclass(frozen=True)
class Evaluation:
    """Mean loss in nats and accuracy (0 to 1) over a number of images.

    >>> model = tc.Sequential([tc.Dense(2, 2, rng=0), tc.Softmax()])
    >>> x, labels = np.eye(2, dtype=np.float32), np.array([0, 1])
    >>> scored = model.evaluate(0 * x, labels)  # of nothing, it knows nothing
    >>> round(scored.loss, 4), scored.accuracy, scored.images
    (0.6931, 0.5, 2)
    """

    loss: float
    accuracy: float
    images: int


@dataclass
class History:
    """One number per epoch: losses in nats, accuracies from 0 to 1, wall time in seconds.

    `loss` and `accuracy` are averages over the epoch's batches as they were trained, augmented and with
    dropout. `val_loss` and `val_accuracy` are empty where `fit` was given no validation data. `learning_rate`
    is the rate that the step after the epoch has, or would have.

    >>> history = History(loss=[0.9, 0.4, 0.2], val_loss=[1.0, 0.7, 0.8])
    >>> history.best_epoch
    1
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add_training(self, batches: list["Evaluation"]) -> None:
        """Append an epoch's means over its batches, weighted by their sizes."""
        images = sum(batch.images for batch in batches)
        self.loss.append(sum(batch.loss * batch.images for batch in batches) / images)
        self.accuracy.append(sum(batch.accuracy * batch.images for batch in batches) / images)

    def add_validation(self, scored: "Evaluation") -> None:
        """Append an epoch's scores on the validation data."""
        self.val_loss.append(scored.loss)
        self.val_accuracy.append(scored.accuracy)

    @property
    def best_epoch(self) -> int:
        """Index of the epoch with the lowest validation loss, or training loss where there is no other.

        Raises:
            ConfigError: there is no epoch yet.
        """
        if not self.loss:
            raise ConfigError("this history has no epoch yet: train the model, for its best one")
        return int(np.argmin(self.val_loss or self.loss))

    def _repr_html_(self) -> str:
        """Show a notebook the curves."""
        loss, accuracy = (self.loss, self.val_loss), (self.accuracy, self.val_accuracy)
        return history_curves([("loss", *loss), ("accuracy", *accuracy)])


class Best:
    """A copy of the weights with the lowest validation loss so far."""

    def __init__(self) -> None:
        self.loss = float("inf")
        self.weights: dict[str, np.ndarray] = {}

    def offer(self, loss: float, weights: dict[str, np.ndarray]) -> None:
        """Keep a copy of the weights if the loss is the lowest so far."""
        if loss < self.loss:
            self.loss, self.weights = loss, {name: array.copy() for name, array in weights.items()}

    def restore(self, weights: dict[str, np.ndarray]) -> None:
        """Give the weights back, if any were offered."""
        for name, array in self.weights.items():
            weights[name][...] = array


class Run:
    """All that changes while `fit` works, and so all that a checkpoint must hold."""

    def __init__(
        self,
        model: Sequential,
        optimizer: Optimizer,
        ema: ExponentialMovingAverage | None,
        rng: np.random.Generator,
    ) -> None:
        self._model = model
        self.optimizer, self.ema, self.rng = optimizer, ema, rng
        self.generators = {"fit": rng, **generators(model)}
        self.history, self.best, self.stopped = History(), Best(), False
        # Of the present epoch: the order of its images (empty between epochs), and its batches so far.
        self.order, self.results = np.empty(0, np.int64), list[Evaluation]()
        self.began = time.perf_counter()

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """All arrays of the model, looked up anew: a layer of one's own may have put another there."""
        return {**self._model.params, **self._model.state}

    def begin_epoch(self, images: int) -> None:
        """Draw the order of the images, unless the epoch has begun before the training was cut short."""
        if len(self.order) == 0:
            self.order, self.began = self.rng.permutation(images), time.perf_counter()

    def end_epoch(self, scored: Evaluation | None, keep_best: bool) -> None:
        """Enter the epoch into the history, and be ready for the next."""
        history = self.history
        history.add_training(self.results)
        if scored is not None:
            history.add_validation(scored)
            self.best.offer(scored.loss, self.weights if keep_best else {})
        history.seconds.append(time.perf_counter() - self.began)
        self.optimizer.schedule.observe((history.val_loss or history.loss)[-1])
        history.learning_rate.append(self.optimizer.current_learning_rate)
        self.order, self.results = self.order[:0], []

    def state_dict(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return all arrays, named ``group/name``, and all else as JSON can hold it."""
        results = [(result.loss, result.accuracy, result.images) for result in self.results]
        groups = {
            "weights": self.weights,
            "optimizer": self.optimizer.state_dict(),
            "ema": {} if self.ema is None else self.ema.state_dict(),
            "best": self.best.weights,
            "epoch": {"order": self.order, "results": np.array(results, np.float64).reshape(-1, 3)},
        }
        arrays = {
            f"{group}/{name}": array for group, named in groups.items() for name, array in named.items()
        }
        return arrays, {
            "generators": {name: rng.bit_generator.state for name, rng in self.generators.items()},
            "history": asdict(self.history),
            "best_loss": self.best.loss,
            "stopped": self.stopped,
            "seconds": time.perf_counter() - self.began,
        }

    def load_state_dict(self, arrays: dict[str, np.ndarray], info: dict[str, Any]) -> None:
        """Go on from where `state_dict` was taken, in a training of the same model, options and data."""
        groups: defaultdict[str, dict[str, np.ndarray]] = defaultdict(dict)
        for key, array in arrays.items():
            group, _, name = key.partition("/")
            groups[group][name] = array
        weights = self.weights
        for name, array in groups["weights"].items():
            weights[name][...] = array
        self.optimizer.load_state_dict(groups["optimizer"])
        if self.ema is not None:
            self.ema.load_state_dict(groups["ema"])
        self.best.loss, self.best.weights = info["best_loss"], groups["best"]
        self.order = groups["epoch"]["order"]
        results = groups["epoch"]["results"].tolist()
        self.results = [Evaluation(loss, accuracy, int(images)) for loss, accuracy, images in results]
        for name, state in info["generators"].items():
            self.generators[name].bit_generator.state = state
        self.history, self.stopped = History(**info["history"]), info["stopped"]
        self.began = time.perf_counter() - info["seconds"]


def identity(model: Sequential, data: dict[str, np.ndarray], options: dict[str, Any]) -> dict[str, str]:
    """Describe a training, so that a checkpoint can tell whether it is its own.

    Functions are told apart by their names, not by what they do; the model by its layers, not by its weights,
    for those are the checkpoint's.

    Raises:
        DTypeError: data are objects.
    """
    described = {name: re.sub(r" at 0x\w+", "", repr(_in_full(value))) for name, value in options.items()}
    described["backend"] = backend_name()
    described["dtype"] = ", ".join(sorted({str(array.dtype) for array in model.params.values()}))
    for path, layer in model.walk():
        if not layer.children():
            described[f"layer {path}"] = repr(layer)
    for name, array in data.items():
        if array.dtype.hasobject:
            raise DTypeError(
                f"{name} is an array of objects, which a checkpoint cannot tell from others: make it one of "
                "numbers, or train without a checkpoint"
            )
        digest = hashlib.sha256(np.ascontiguousarray(array).view(np.uint8).data).hexdigest()
        described[name] = f"{array.dtype} {array.shape} with SHA-256 {digest}"
    return described


def _in_full(value: Any) -> Any:
    """Return lists in place of arrays, whose `repr` is rounded and shortened, also within lists and dicts."""
    if isinstance(value, dict):
        return {key: _in_full(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_in_full(inner) for inner in value]
    return value.tolist() if isinstance(value, np.ndarray) else value
