"""Fused operations, defined by the plain ones: what they compute, not how they save time.

A `Deferred` stands for max(z * scale + shift, 0) or, without ReLU, for z * scale + shift.
"""

from typing import Any

import numpy as np

from tinycnn.kernels.deferred import Deferred, Gradient, Input, NormGradient, Pooled, raw
from tinycnn.kernels.padding import Pad, Pair
from tinycnn.kernels.reference.conv import (
    conv2d,
    conv2d_backward,
    depthwise_conv2d,
    depthwise_conv2d_backward,
)
from tinycnn.kernels.reference.norm import batch_norm_statistics
from tinycnn.kernels.reference.pool import max_pool2d, max_pool2d_backward
from tinycnn.kernels.reference.windows import pad_map, window_offsets
from tinycnn.kernels.threads import in_threads

NO_PAD = ((0, 0), (0, 0))


def finished(x: Deferred, other: Input | None = None) -> np.ndarray:
    """Compute what was deferred, and add `other`, if given, finished too: (N, H, W, C)."""
    y = x.z * x.scale + x.shift
    if x.relu:
        y = np.maximum(y, 0)
    if other is None:
        return y
    return y + (finished(other) if isinstance(other, Deferred) else other)


def gradient_of(x: Deferred, dy: np.ndarray) -> Gradient:
    """Return the gradient of a deferred array, given dy (N, H, W, C), that of the finished one."""
    g = np.where(finished(x) > 0, dy, 0) if x.relu else dy
    axes = (0, 1, 2)
    return Gradient(
        g, g.sum(axis=axes, dtype=np.float64), (g * (x.z - x.mean)).sum(axis=axes, dtype=np.float64)
    )


def conv_moments(
    x: Input, depthwise: np.ndarray | None, kernel: np.ndarray, stride: Pair, pad: Pad
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a convolution's output z (N, OH, OW, O), and its mean and variance per channel, both (O,).

    Args:
        x: (N, H, W, C).
        depthwise: None, or (KH, KW, C), to be convolved with first; then `kernel` is (1, 1, C, O).
        kernel: (KH, KW, C, O).
        stride: (SH, SW); (1, 1) with a depthwise kernel.
        pad: ((top, bottom), (left, right)), less than the window is long.
    """

    def one(block: slice) -> np.ndarray:
        return _convolved(_some(x, block), depthwise, kernel, stride, pad)[2]

    z = np.concatenate(in_threads(one, _blocks(x)))
    return z, *batch_norm_statistics(z)


def conv_moments_backward(
    dz: NormGradient,
    x: Input,
    depthwise: np.ndarray | None,
    kernel: np.ndarray,
    stride: Pair,
    pad: Pad,
    extra: np.ndarray | None = None,
    need_dx: bool = True,
    partial: bool = False,
) -> tuple[Gradient, np.ndarray | None, np.ndarray]:
    """Return the gradients of x, of the depthwise kernel (None if there is none) and of the kernel.

    Args:
        dz: the gradient of z, with a stride above 1 only for a 1x1 kernel without padding.
        x, depthwise, kernel, stride, pad: as `conv_moments` had them.
        extra: (N, H, W, C), a gradient of the finished x from elsewhere, to be added.
        need_dx: False where nobody asks for the gradient of x; then only its shape is right.
        partial: leave out the ReLU of a deferred x, and the sums: someone else's `extra`.

    Returns:
        The first is a `Gradient` also for a finished x, which has no ReLU.
    """

    def one(block: slice) -> tuple[Gradient, Any, np.ndarray]:
        some_x = _some(x, block)
        y, between, z = _convolved(some_x, depthwise, kernel, stride, pad)
        d_out = dz.gain * _scattered(dz.gradient, block, z.shape) + dz.slope * dz.z[block] + dz.offset
        if depthwise is None:
            d_depthwise, (dy, dkernel) = None, conv2d_backward(d_out, y, kernel, stride, pad)
        else:
            d_between, dkernel = conv2d_backward(d_out, between, kernel, stride, NO_PAD)
            dy, d_depthwise = depthwise_conv2d_backward(d_between, y, depthwise, stride, pad)
        if extra is not None:
            dy += extra[block]
        if isinstance(some_x, Deferred) and not partial:
            return gradient_of(some_x, dy), d_depthwise, dkernel
        return Gradient(dy, *np.zeros((2, y.shape[3]))), d_depthwise, dkernel

    gradients, d_depthwise, dkernel = zip(*in_threads(one, _blocks(x)), strict=True)
    g, sum_g, sum_gz, _ = zip(*gradients, strict=True)
    return (
        Gradient(np.concatenate(g), sum(sum_g), sum(sum_gz)),
        None if depthwise is None else sum(d_depthwise),
        sum(dkernel),
    )


#: Elements of the blocks of images that are worked on at a time: they stay in cache, and NumPy's intermediate
#: results with them.
BLOCK = 1 << 17


def _blocks(x: Input) -> list[slice]:
    """Cut a batch into blocks of a few images."""
    array = raw(x)
    images = max(1, BLOCK // array[0].size)
    return [slice(start, start + images) for start in range(0, len(array), images)]


def _some(x: Input, block: slice) -> Input:
    return x._replace(z=x.z[block]) if isinstance(x, Deferred) else x[block]


def deferred_max_pool2d(x: Deferred, window: Pair, stride: Pair, pad: Pad) -> tuple[Deferred, Pooled]:
    """Return the pooled array, still deferred, and how its gradient finds its way back.

    The winner is the largest after the deferred map (a negative scale turns the order round); ReLU would
    change neither which one is largest nor, where all are below zero, any gradient.
    """

    def one(block: slice) -> tuple[np.ndarray, np.ndarray]:
        z = x.z[block]
        _, winner = max_pool2d(finished(x._replace(z=z, relu=False)), window, stride, pad)
        return _at_winners(z, winner, window, stride, pad), winner.astype(np.uint8)

    z, winner = map(np.concatenate, zip(*in_threads(one, _blocks(x)), strict=True))
    return x._replace(z=z), Pooled(winner, window, stride, pad)


def _convolved(
    x: Input, depthwise: np.ndarray | None, kernel: np.ndarray, stride: Pair, pad: Pad
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the finished x, what stands between the two halves of a separable convolution, and z."""
    y = finished(x) if isinstance(x, Deferred) else x
    if depthwise is None:
        return y, y, conv2d(y, kernel, None, stride, pad)
    between = depthwise_conv2d(y, depthwise, None, stride, pad)
    return y, between, conv2d(between, kernel, None, (1, 1), NO_PAD)


def _scattered(gradient: Gradient, block: slice, shape: tuple[int, ...]) -> np.ndarray:
    """Return a block of the gradient at its places in an output of the given shape."""
    g, pooled = gradient.g[block], gradient.pooled
    return g if pooled is None else max_pool2d_backward(g, pooled.winner[block], shape, *pooled[1:])


def _at_winners(x: np.ndarray, winner: np.ndarray, window: Pair, stride: Pair, pad: Pad) -> np.ndarray:
    """Return the values of x (N, H, W, C) where each window's winner stands: (N, OH, OW, C)."""
    x_padded, z = pad_map(x, pad, -np.inf), np.empty(winner.shape, x.dtype)
    for kh, kw, where in window_offsets(window, stride, z.shape[1:3]):
        np.copyto(z, x_padded[where], where=winner == kh * window[1] + kw)
    return z
