"""A copy of a network that can be differentiated as it is used: in evaluation, not in training."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tinycnn.checks import refuse
from tinycnn.errors import ConfigError, ShapeError
from tinycnn.layers import BatchNorm, Dropout, Layer, ReLU, Sequential
from tinycnn.layers.base import Arrays, behaves_as
from tinycnn.plan import PASSES
from tinycnn.train import logit_layers

#: One class for all images, or one for each of N images.
ClassIndex = int | np.ndarray | Iterable[int]


class _RunningNorm(BatchNorm):
    """Batch norm in evaluation: an affine map per channel, and so its gradient is a factor per channel.

    In training mean and variance depend on every x, which adds two terms to the gradient; here they are
    constants, and the terms would be wrong.
    """

    def _forward(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Any]:
        y, (_, _, inv_std) = super()._forward(x, train=False)
        return y, inv_std

    def _backward(self, dy: np.ndarray, cache: Any) -> tuple[np.ndarray, Arrays]:
        return dy * (self.params["gamma"] * cache), {}


class _NoDropout(Dropout):
    """Dropout in evaluation: it lets everything through, forward and backward."""

    def _forward(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Any]:
        return x, None

    def _backward(self, dy: np.ndarray, cache: Any) -> tuple[np.ndarray, Arrays]:
        return dy, {}


class _GuidedReLU(ReLU):
    """ReLU that lets a gradient through only where input and gradient are positive."""

    def _backward(self, dy: np.ndarray, cache: Any) -> tuple[np.ndarray, Arrays]:
        return super()._backward(np.maximum(dy, 0), cache)


_IN_EVALUATION: dict[type[Layer], type[Layer]] = {BatchNorm: _RunningNorm, Dropout: _NoDropout}
_GUIDED: dict[type[Layer], type[Layer]] = {**_IN_EVALUATION, ReLU: _GuidedReLU}


class Twin:
    """A copy of a model whose training pass gives what the model gives in evaluation, and takes notes.

    A layer of a kind that is not the library's own runs as in training.

    Args:
        model: it is left as it is.
        watched: paths of layers to take notes of, as `model.walk()` names them.
        scores: leave out a final `Softmax`.
        guided: replace the gradient of every ReLU by the guided one.

    Attributes:
        outputs: of the watched layers, by path; filled by `forward`.
        gradients: of the score with respect to these outputs, by path; filled by `backward`.

    Raises:
        ConfigError: the model is no `Sequential`, or has no layer of that path.
    """

    def __init__(
        self, model: Sequential, watched: Iterable[str] = (), scores: bool = True, guided: bool = False
    ) -> None:
        check_model(model)
        self.outputs: Arrays = {}
        self.gradients: Arrays = {}
        twin = copy.deepcopy(model)
        twin.forget()
        self._network = logit_layers(twin) if scores else twin
        layers = dict(self._network.walk())
        for layer in layers.values():
            _exchange(layer, _GUIDED if guided else _IN_EVALUATION)
        for path in watched:
            if path not in layers or not path:
                expected = ", ".join(filter(None, layers))
                raise ConfigError(f"the model has no layer {path!r}: expected one of {expected}")
            self._watch(path, layers[path])

    def _watch(self, path: str, layer: Layer) -> None:
        # An attribute of the one object hides the method of its class. Noted are copies: a Flatten's output
        # is a view of its input, a Sequential's output is its last layer's.
        def noting(compute: Callable[..., np.ndarray], notes: Arrays, given: bool) -> Callable[..., Any]:
            def compute_and_note(array: np.ndarray, *args: Any) -> np.ndarray:
                result = compute(array, *args)
                notes[path] = (array if given else result).copy()
                return result

            return compute_and_note

        vars(layer)["forward"] = noting(layer.forward, self.outputs, given=False)
        vars(layer)["backward"] = noting(layer.backward, self.gradients, given=True)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the model's output for x (N, ...) in evaluation.

        Raises:
            ShapeError, DTypeError: x does not fit the model.
        """
        return self._network.forward(x, train=True)

    def backward(self, dscores: np.ndarray) -> np.ndarray:
        """Return the gradient of the input, given that of the output."""
        return self._network.backward(dscores)


def _exchange(layer: Layer, replacements: dict[type[Layer], type[Layer]]) -> None:
    """Give a layer another class, with other passes, if it is of a kind that has a replacement."""
    for known, replacement in replacements.items():
        if behaves_as(type(layer), known, *PASSES):
            layer.__class__ = replacement


def check_model(model: object) -> None:
    """Raise a ConfigError unless a model is a `Sequential`."""
    if not isinstance(model, Sequential):
        refuse("model", model, "a Sequential")


def chosen_classes(class_index: ClassIndex, scores: np.ndarray) -> np.ndarray:
    """Return the class to explain for each image: integers (N,).

    Raises:
        ShapeError: scores are not (N, K), or there is neither one class nor one for each image.
        ConfigError: a class is no whole number from 0 to K - 1.
    """
    if scores.ndim != 2:
        raise ShapeError(f"the model gives an output of shape {scores.shape}: expected scores (N, K)")
    images, classes = scores.shape
    chosen = np.asarray(class_index)
    if chosen.dtype.kind not in "iu" or np.any((chosen < 0) | (chosen >= classes)):
        refuse("class_index", class_index, f"a whole number from 0 to {classes - 1}, or one for each image")
    if chosen.shape not in ((), (images,)):
        raise ShapeError(
            f"class_index has shape {chosen.shape}: expected one number, or one for each of {images} images"
        )
    return np.broadcast_to(chosen, images)


def score_gradient(twin: Twin, x: np.ndarray, class_index: ClassIndex) -> np.ndarray:
    """Return the gradient of the chosen class's score with respect to x (N, ...), of its shape.

    Images do not meet in evaluation, so one backward pass gives every image its own gradient.

    Raises:
        ShapeError, DTypeError, ConfigError: x or the class does not fit the model.
    """
    scores = twin.forward(x)
    seed = np.zeros_like(scores)
    seed[np.arange(len(scores)), chosen_classes(class_index, scores)] = 1
    return twin.backward(seed)
