"""Layers without parameters that work element by element, and softmax."""

from typing import Any

import numpy as np

from tinycnn.checks import is_number, refuse
from tinycnn.kernels import active
from tinycnn.layers.base import Arrays, Layer
from tinycnn.layers.initializers import Seed, generator


class ReLU(Layer):
    """max(x, 0), element by element, on any shape.

    >>> ReLU().forward(np.array([[-1.0, 0.0, 2.0]]))
    array([[0., 0., 2.]])
    """

    def _forward(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Any]:
        y = active().relu(x)
        return y, y

    def _backward(self, dy: np.ndarray, cache: Any) -> tuple[np.ndarray, Arrays]:
        return active().relu_backward(dy, cache), {}


class Softmax(Layer):
    """Scores (N, K) to probabilities (N, K): positive, each row with sum 1.

    Training does not run it: `SoftmaxCrossEntropy` contains it, so `fit` stops one layer short of it.

    >>> Softmax().forward(np.array([[0.0, 0.0, np.log(2)]]))
    array([[0.25, 0.25, 0.5 ]])
    """

    def _forward(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Any]:
        y = active().softmax(x)
        return y, y

    def _backward(self, dy: np.ndarray, cache: Any) -> tuple[np.ndarray, Arrays]:
        return active().softmax_backward(dy, cache), {}


class Dropout(Layer):
    """In training set each number to 0 with probability `rate`, and scale the rest up by 1 / (1 - rate).

    No unit can rely on another's presence (Srivastava et al. 2014). In evaluation it does nothing.

    Args:
        rate: probability of 0, at least 0 and below 1.
        rng: seed or generator of the choices.

    Raises:
        ConfigError: `rate` is out of range.

    >>> layer, x = Dropout(0.5, rng=0), np.ones((1, 5))
    >>> layer.forward(x, train=True)
    array([[2., 2., 2., 0., 0.]])
    >>> layer.forward(x)
    array([[1., 1., 1., 1., 1.]])
    """

    def __init__(self, rate: float = 0.5, rng: Seed = None) -> None:
        super().__init__()
        if not (is_number(rate) and 0 <= rate < 1):
            refuse("rate", rate, "a number from 0 up to, but not including, 1")
        self.rate = rate
        self.rng = generator(rng)

    def _forward(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Any]:
        if not train:
            return x, None
        keep = self.rng.random(x.shape, np.float32) >= self.rate
        return active().dropout(x, keep, self.rate), keep

    def _backward(self, dy: np.ndarray, cache: Any) -> tuple[np.ndarray, Arrays]:
        return active().dropout(dy, cache, self.rate), {}

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"rate": self.rate}
