"""The dense layer, and the reshaping that leads to it."""

import math
from typing import Any

import numpy as np

from tinycnn.checks import check_positive, check_size
from tinycnn.errors import ShapeError
from tinycnn.kernels import active
from tinycnn.layers.base import Arrays, Layer, Shape
from tinycnn.layers.initializers import Seed
from tinycnn.layers.kernel import KernelLayer


class Dense(KernelLayer):
    """Every output sums over every input: (N, I) with a kernel (I, O) to (N, O).

    Args:
        in_features: I.
        out_features: O.
        bias: whether to add a trained number per output.
        init: "he" or "glorot".
        l2: adds l2 * sum(kernel ** 2) to the loss.
        rng: seed or generator of the first values.

    Raises:
        ConfigError: an argument is out of range.

    >>> Dense(4, 3).forward(np.zeros((2, 4), np.float32)).shape
    (2, 3)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        init: str = "he",
        l2: float = 0.0,
        rng: Seed = None,
    ) -> None:
        check_positive(in_features=in_features, out_features=out_features)
        shape = (in_features, out_features)
        check_size(shape, "in_features and out_features")
        super().__init__(shape, shape, bias, init, l2, rng)
        self.in_features, self.out_features = in_features, out_features

    def _forward(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Any]:
        return active().dense(x, self.params["kernel"], self.params.get("bias")), x

    def _backward(self, dy: np.ndarray, cache: Any) -> tuple[np.ndarray, Arrays]:
        x = cache
        dx, dkernel = active().dense_backward(dy, x, self.params["kernel"])
        return dx, self._grads(dkernel, dy)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (O,); a ShapeError if the input is not (I,)."""
        if input_shape != (self.in_features,):
            found = ", ".join(map(str, ("N", *input_shape)))
            remedy = ""
            if math.prod(input_shape) == self.in_features:
                remedy = ": put a Flatten before it"
            elif len(input_shape) == 3 and input_shape[-1] == self.in_features:
                remedy = ": put a GlobalAvgPool2D before it"
            raise ShapeError(f"{self!r}: expected input (N, {self.in_features}), found ({found}){remedy}")
        return (self.out_features,)

    def multiply_adds(self, input_shape: Shape) -> int:
        """Return I * O."""
        return self.params["kernel"].size

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"in_features": self.in_features, "out_features": self.out_features, **super().config()}


class Flatten(Layer):
    """Lay each image's numbers in one row: (N, H, W, C) to (N, H*W*C).

    >>> Flatten().forward(np.arange(6.0).reshape(1, 3, 2, 1))
    array([[0., 1., 2., 3., 4., 5.]])
    """

    def _forward(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Any]:
        return x.reshape(len(x), -1), x.shape

    def _backward(self, dy: np.ndarray, cache: Any) -> tuple[np.ndarray, Arrays]:
        return dy.reshape(cache), {}

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (H*W*C,)."""
        return (math.prod(input_shape),)
