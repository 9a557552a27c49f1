"""Batch normalisation."""

from typing import Any

import numpy as np

from tinycnn.checks import check_positive, check_size, is_number, refuse
from tinycnn.errors import ShapeError
from tinycnn.kernels import active
from tinycnn.layers.base import Arrays, Layer, Shape, check_array
from tinycnn.layers.initializers import constant


class BatchNorm(Layer):
    """Give each channel mean `beta` and standard deviation `gamma` (Ioffe & Szegedy 2015).

    In training the statistics are the batch's own, and a running average of them is kept; in evaluation the
    running average is used, so that an image's result does not depend on its company. This is why the same
    batch gives different numbers in the two modes, above all early in training.

    Args:
        channels: C, the last axis of the input (N, H, W, C) or (N, C).
        momentum: how much of the running average each batch leaves in place.
        eps: added to the variance before the square root.

    Raises:
        ConfigError: an argument is out of range.

    >>> norm, x = BatchNorm(1), np.array([[1], [3]], np.float32)
    >>> norm.forward(x, train=True).ravel().round(2)
    array([-1.,  1.], dtype=float32)
    >>> norm.state["running_mean"].round(2)
    array([0.2], dtype=float32)
    """

    def __init__(self, channels: int, momentum: float = 0.9, eps: float = 1e-3) -> None:
        super().__init__()
        check_positive(channels=channels)
        check_size((channels,), "channels")
        if not (is_number(momentum) and 0 <= momentum < 1):
            refuse("momentum", momentum, "a number from 0 up to, but not including, 1")
        if not (is_number(eps) and eps > 0):
            refuse("eps", eps, "a small positive number such as 1e-3")
        self.channels, self.momentum, self.eps = channels, momentum, eps
        self.params = {"gamma": constant(1, channels), "beta": constant(0, channels)}
        self.state = {"running_mean": constant(0, channels), "running_var": constant(1, channels)}

    def _checked_input(self, x: np.ndarray) -> np.ndarray:
        x, arrays = super()._checked_input(x), {**self.params, **self.state}
        for name in ("gamma", "beta", "running_mean", "running_var"):
            check_array(self, name, arrays[name], (self.channels,))
        return x

    def _forward(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Any]:
        if train:
            mean, var = active().batch_norm_statistics(x)
            self.observe(mean, var)
        else:
            mean, var = self.state["running_mean"], self.state["running_var"]
        inv_std = 1 / np.sqrt(var + x.dtype.type(self.eps))
        y = active().batch_norm_apply(x, mean, self.params["gamma"] * inv_std, self.params["beta"])
        return y, (x, mean, inv_std)

    def observe(self, mean: np.ndarray, var: np.ndarray) -> None:
        """Let a batch's mean and variance, both (C,), into the running averages."""
        for name, batch in (("running_mean", mean), ("running_var", var)):
            self.state[name][...] = self.momentum * self.state[name] + (1 - self.momentum) * batch

    def _backward(self, dy: np.ndarray, cache: Any) -> tuple[np.ndarray, Arrays]:
        x, mean, inv_std = cache
        dx, dgamma, dbeta = active().batch_norm_backward(dy, x, mean, inv_std, self.params["gamma"])
        return dx, {"gamma": dgamma, "beta": dbeta}

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape; a ShapeError if its last axis is not C long."""
        if not input_shape or input_shape[-1] != self.channels:
            found = ", ".join(map(str, ("N", *input_shape)))
            raise ShapeError(f"{self!r}: expected input (N, ..., {self.channels}), found ({found})")
        return input_shape

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"channels": self.channels, "momentum": self.momentum, "eps": self.eps}
