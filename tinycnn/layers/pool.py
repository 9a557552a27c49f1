"""Pooling: make maps smaller by keeping the largest or the mean of each window."""

from typing import Any

import numpy as np

from tinycnn.errors import ConfigError
from tinycnn.kernels import active
from tinycnn.kernels.padding import Pad, Pair
from tinycnn.layers.base import Arrays, Layer, Shape
from tinycnn.layers.conv import Window, check_map


class _Pool(Window):
    """What max and average pooling share: their arguments."""

    def __init__(
        self, kernel_size: int | Pair, stride: int | Pair | None = None, padding: str | Pad = "valid"
    ) -> None:
        super().__init__()
        self._set_window(kernel_size, kernel_size if stride is None else stride, padding)
        if not isinstance(self.padding, str):
            for size, both in zip(self.kernel_size, self.padding, strict=True):
                if max(both) >= size:
                    raise ConfigError(
                        f"padding={padding!r}: a window of {self.kernel_size} could lie wholly in it; "
                        "expected less padding than the window is long"
                    )

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (OH, OW, C); a ShapeError if the input is not (H, W, C)."""
        check_map(self, input_shape)
        return (*self._output_size(input_shape), input_shape[-1])


class MaxPool2D(_Pool):
    """The largest value of each window: (N, H, W, C) to (N, OH, OW, C). Of equal values the first wins.

    Args:
        kernel_size: KH and KW in pixels, one number for both or two.
        stride: step of the window in pixels; by default the window's own size, so that windows tile the map.
        padding: "valid", "same" or ((top, bottom), (left, right)), as in `Conv2D`; less than the window.

    Raises:
        ConfigError: an argument is out of range.

    >>> MaxPool2D(2).forward(np.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """

    def _forward(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Any]:
        y, winner = active().max_pool2d(x, self.kernel_size, self.stride, self._pad(x.shape[1:]))
        return y, (winner, x.shape)

    def _backward(self, dy: np.ndarray, cache: Any) -> tuple[np.ndarray, Arrays]:
        winner, shape = cache
        pad = self._pad(shape[1:])
        return active().max_pool2d_backward(dy, winner, shape, self.kernel_size, self.stride, pad), {}


class AvgPool2D(_Pool):
    """The mean of each window, padding not counted: (N, H, W, C) to (N, OH, OW, C).

    Args:
        kernel_size: KH and KW in pixels, one number for both or two.
        stride: step of the window in pixels; by default the window's own size, so that windows tile the map.
        padding: "valid", "same" or ((top, bottom), (left, right)), as in `Conv2D`; less than the window.

    Raises:
        ConfigError: an argument is out of range.

    >>> AvgPool2D(2).forward(np.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """

    def _forward(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Any]:
        return active().avg_pool2d(x, self.kernel_size, self.stride, self._pad(x.shape[1:])), x.shape

    def _backward(self, dy: np.ndarray, cache: Any) -> tuple[np.ndarray, Arrays]:
        pad = self._pad(cache[1:])
        return active().avg_pool2d_backward(dy, cache, self.kernel_size, self.stride, pad), {}


class GlobalAvgPool2D(Layer):
    """The mean of each map: (N, H, W, C) to (N, C), whatever H and W.

    >>> GlobalAvgPool2D().forward(np.arange(16.0).reshape(1, 4, 4, 1))
    array([[7.5]])
    """

    def _forward(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Any]:
        return active().global_avg_pool2d(x), x.shape

    def _backward(self, dy: np.ndarray, cache: Any) -> tuple[np.ndarray, Arrays]:
        return active().global_avg_pool2d_backward(dy, cache), {}

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (C,); a ShapeError if the input is not (H, W, C)."""
        check_map(self, input_shape)
        return input_shape[-1:]
