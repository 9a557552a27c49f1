"""Convolutions: ordinary, depthwise, and the two-step separable one of Xception and MobileNet."""

from typing import Any, cast

import numpy as np

from tinycnn.checks import check_positive, check_size
from tinycnn.errors import ShapeError
from tinycnn.kernels import active
from tinycnn.kernels.padding import Pad, Pair, check_padding, output_size, pair, resolve_pad
from tinycnn.layers.base import Arrays, Composite, Layer, Shape
from tinycnn.layers.initializers import Seed, generator
from tinycnn.layers.kernel import KernelLayer


def check_map(layer: Layer, shape: Shape, channels: int | None = None) -> None:
    """Raise a ShapeError unless `shape` is (H, W, C), with C = `channels` if that is given."""
    if len(shape) != 3 or channels not in (None, shape[-1]):
        found = ", ".join(map(str, ("N", *shape)))
        expected = f"(N, H, W, {channels or 'C'})"
        remedy = _remedy(shape, channels)
        raise ShapeError(f"{layer!r}: expected input {expected}, found ({found}){remedy}")


def _remedy(shape: Shape, channels: int | None) -> str:
    """Return what to do about the usual slips with axes, to go behind the message; "" for others."""
    if len(shape) == 2 and shape[-1] == channels:  # what was counted as N is H
        return ": a single image x is a batch of one as x[np.newaxis]"
    if len(shape) == 2 and channels in (None, 1):
        return ": grey images x have their channel as x[..., np.newaxis]"
    if len(shape) == 3 and shape[0] == channels:
        return ": channels come last, x.transpose(0, 2, 3, 1)"
    if len(shape) == 4:
        return ": one axis too many; an input_shape has no N"
    return ""


class Window(Layer):
    """A layer that slides a window over a map: the arithmetic of size, stride and padding."""

    kernel_size: Pair
    stride: Pair
    padding: str | Pad

    def _set_window(self, kernel_size: int | Pair, stride: int | Pair, padding: str | Pad) -> None:
        self.kernel_size = pair(kernel_size, "kernel_size")
        self.stride = pair(stride, "stride")
        self.padding = check_padding(padding)

    def _pad(self, input_shape: Shape) -> Pad:
        h, w, _ = input_shape
        return resolve_pad((h, w), self.kernel_size, self.stride, self.padding)

    def _output_size(self, input_shape: Shape) -> Pair:
        h, w, _ = input_shape
        return output_size((h, w), self.kernel_size, self.stride, self._pad(input_shape))

    def config(self) -> dict[str, Any]:
        """Return the arguments that every layer with a window has."""
        window = {"kernel_size": self.kernel_size, "stride": self.stride, "padding": self.padding}
        return {**window, **super().config()}


class Conv2D(Window, KernelLayer):
    """Convolution of (N, H, W, C) with a kernel (KH, KW, C, O) to (N, OH, OW, O).

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: KH and KW in pixels, one number for both or two.
        stride: step of the window in pixels, one number or two (rows, columns).
        padding: "valid" (none), "same" (OH = ceil(H / stride), the odd remainder at bottom and right, as in
            Keras), or ((top, bottom), (left, right)) in pixels.
        bias: whether to add a trained number per output channel; leave it out before `BatchNorm`.
        init: "he" or "glorot".
        l2: adds l2 * sum(kernel ** 2) to the loss.
        rng: seed or generator of the first values.

    Raises:
        ConfigError: an argument is out of range.

    >>> Conv2D(1, 8, 3, padding="same").forward(np.zeros((2, 5, 5, 1), np.float32)).shape
    (2, 5, 5, 8)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: str | Pad = "valid",
        bias: bool = True,
        init: str = "he",
        l2: float = 0.0,
        rng: Seed = None,
    ) -> None:
        check_positive(in_channels=in_channels, out_channels=out_channels)
        kh, kw = pair(kernel_size, "kernel_size")
        check_size((kh, kw, in_channels, out_channels), "kernel_size, in_channels and out_channels")
        fan = (kh * kw * in_channels, kh * kw * out_channels)
        super().__init__((kh, kw, in_channels, out_channels), fan, bias, init, l2, rng)
        self._set_window(kernel_size, stride, padding)
        self.in_channels, self.out_channels = in_channels, out_channels

    def _forward(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Any]:
        kernel, bias = self.params["kernel"], self.params.get("bias")
        return active().conv2d(x, kernel, bias, self.stride, self._pad(x.shape[1:])), x

    def _backward(self, dy: np.ndarray, cache: Any) -> tuple[np.ndarray, Arrays]:
        x, kernel = cache, self.params["kernel"]
        dx, dkernel = active().conv2d_backward(dy, x, kernel, self.stride, self._pad(x.shape[1:]))
        return dx, self._grads(dkernel, dy)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (OH, OW, O); a ShapeError if the input is not (H, W, C)."""
        check_map(self, input_shape, self.in_channels)
        return (*self._output_size(input_shape), self.out_channels)

    def multiply_adds(self, input_shape: Shape) -> int:
        """Return OH * OW * KH * KW * C * O."""
        oh, ow = self._output_size(input_shape)
        return oh * ow * self.params["kernel"].size

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"in_channels": self.in_channels, "out_channels": self.out_channels, **super().config()}


class DepthwiseConv2D(Window, KernelLayer):
    """Convolution of each channel with its own window: (N, H, W, C), kernel (KH, KW, C), to (N, OH, OW, C).

    Channels do not mix, so it costs C times less than `Conv2D`; a 1x1 `Conv2D` after it mixes them.

    Args:
        channels: C.
        kernel_size: KH and KW in pixels, one number for both or two.
        stride: step of the window in pixels, one number or two (rows, columns).
        padding: "valid", "same" or ((top, bottom), (left, right)), as in `Conv2D`.
        bias: whether to add a trained number per channel.
        init: "he" or "glorot".
        l2: adds l2 * sum(kernel ** 2) to the loss.
        rng: seed or generator of the first values.

    Raises:
        ConfigError: an argument is out of range.

    >>> layer = DepthwiseConv2D(8, 3, stride=2)
    >>> layer.params["kernel"].shape
    (3, 3, 8)
    >>> layer.output_shape((48, 48, 8))
    (23, 23, 8)
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: str | Pad = "valid",
        bias: bool = True,
        init: str = "he",
        l2: float = 0.0,
        rng: Seed = None,
    ) -> None:
        check_positive(channels=channels)
        kh, kw = pair(kernel_size, "kernel_size")
        check_size((kh, kw, channels), "kernel_size and channels")
        super().__init__((kh, kw, channels), (kh * kw, kh * kw), bias, init, l2, rng)
        self._set_window(kernel_size, stride, padding)
        self.channels = channels

    def _forward(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Any]:
        kernel, bias = self.params["kernel"], self.params.get("bias")
        return active().depthwise_conv2d(x, kernel, bias, self.stride, self._pad(x.shape[1:])), x

    def _backward(self, dy: np.ndarray, cache: Any) -> tuple[np.ndarray, Arrays]:
        x, kernel = cache, self.params["kernel"]
        dx, dkernel = active().depthwise_conv2d_backward(dy, x, kernel, self.stride, self._pad(x.shape[1:]))
        return dx, self._grads(dkernel, dy)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (OH, OW, C); a ShapeError if the input is not (H, W, C)."""
        check_map(self, input_shape, self.channels)
        return (*self._output_size(input_shape), self.channels)

    def multiply_adds(self, input_shape: Shape) -> int:
        """Return OH * OW * KH * KW * C."""
        oh, ow = self._output_size(input_shape)
        return oh * ow * self.params["kernel"].size

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"channels": self.channels, **super().config()}


class SeparableConv2D(Composite):
    """A depthwise convolution, then a 1x1 convolution: (N, H, W, C) to (N, OH, OW, O).

    Space first, channels second: KH*KW*C + C*O weights in place of KH*KW*C*O (Chollet 2017, "Xception").

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: KH and KW of the depthwise part.
        stride: of the depthwise part.
        padding: of the depthwise part.
        bias: whether the 1x1 part adds a trained number per output channel.
        init: "he" or "glorot".
        l2: of both parts.
        rng: seed or generator of the first values.

    Raises:
        ConfigError: an argument is out of range.

    >>> layer = SeparableConv2D(8, 16, 3, padding="same", bias=False)
    >>> layer.output_shape((48, 48, 8))
    (48, 48, 16)
    >>> sum(array.size for array in layer.params.values())  # a Conv2D has 1,152
    200
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: str | Pad = "valid",
        bias: bool = True,
        init: str = "he",
        l2: float = 0.0,
        rng: Seed = None,
    ) -> None:
        check_positive(in_channels=in_channels, out_channels=out_channels)
        check_size((in_channels, out_channels), "in_channels and out_channels")
        rng = generator(rng)
        depthwise = DepthwiseConv2D(in_channels, kernel_size, stride, padding, False, init, l2, rng)
        pointwise = Conv2D(in_channels, out_channels, 1, 1, "valid", bias, init, l2, rng)
        super().__init__({"depthwise": depthwise, "pointwise": pointwise})

    @property
    def depthwise(self) -> DepthwiseConv2D:
        """The part that sees space."""
        return cast(DepthwiseConv2D, self._children["depthwise"])

    @property
    def pointwise(self) -> Conv2D:
        """The 1x1 part, which mixes channels."""
        return cast(Conv2D, self._children["pointwise"])

    def forward(self, x: np.ndarray, train: bool = False) -> np.ndarray:
        """Return (N, OH, OW, O) for x (N, H, W, C); see `Layer.forward`."""
        return self.pointwise.forward(self.depthwise.forward(x, train), train)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Return dx (N, H, W, C) for dy (N, OH, OW, O); see `Layer.backward`."""
        return self.depthwise.backward(self.pointwise.backward(dy))

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (OH, OW, O)."""
        return self.pointwise.output_shape(self.depthwise.output_shape(input_shape))

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        window = {key: getattr(self.depthwise, key) for key in ("kernel_size", "stride", "padding")}
        return {**self.pointwise.config(), **window}
