"""Fused operations, each done block by block of images.

A `Deferred` stands for max(z * scale + shift, 0) or, without ReLU, for z * scale + shift. A convolution is
one matrix product: its input's windows, or what a depthwise convolution makes of them, times the kernel.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinycnn.kernels.deferred import Deferred, Gradient, Input, NormGradient, raw
from tinycnn.kernels.padding import Pad, Pair, output_size
from tinycnn.kernels.reference.blocks import blocks, some
from tinycnn.kernels.reference.fused_pool import winner_places
from tinycnn.kernels.reference.rows import (
    depthwise_rows,
    depthwise_rows_backward,
    finish,
    padded_rows,
    patches,
    rows,
    sum_pixels,
    sum_products,
)
from tinycnn.kernels.threads import in_threads


def finished(x: Deferred, other: Input | None = None) -> np.ndarray:
    """Compute what was deferred, and add `other`, if given, finished too: (N, H, W, C)."""
    y = np.empty(x.z.shape, x.z.dtype)

    def one(block: slice) -> None:
        out = finish(x._replace(z=x.z[block]), rows(y[block]))
        if isinstance(other, Deferred):
            out += finish(other._replace(z=other.z[block]), np.empty_like(out))
        elif other is not None:
            out += rows(other[block])

    in_threads(one, blocks(y))
    return y


def gradient_of(x: Deferred, dy: np.ndarray) -> Gradient:
    """Return the gradient of a deferred array, given dy (N, H, W, C), that of the finished one."""
    g = dy.copy()
    sums = in_threads(lambda block: _mask(g[block], x._replace(z=x.z[block])), blocks(g))
    return Gradient(g, *_totals(sums))


def _totals(parts: Sequence[tuple[np.ndarray, ...]]) -> list[Any]:
    """Return the sums of the parts' first arrays, of their second ones, and so on, in the parts' order."""
    return [sum(arrays) for arrays in zip(*parts, strict=True)]


def _mask(dy: np.ndarray, x: Deferred) -> tuple[np.ndarray, np.ndarray]:
    """Turn dy (N, H, W, C) into the gradient of a deferred x, in place, and return `Gradient`'s two sums."""
    g, (w, c) = rows(dy), dy.shape[2:]
    if x.relu:  # a product: choosing by a mask that is as good as random takes ten times as long
        g *= finish(x._replace(relu=False), np.empty_like(g)) > 0
    return sum_pixels(g, c), sum_products(g, rows(x.z) - np.tile(x.mean, w), c)


def fuses_conv2d(x: np.ndarray, kernel: np.ndarray) -> bool:
    """Whether `conv_moments` is faster than `conv2d` and batch norm.

    Args:
        x: (N, H, W, C).
        kernel: (KH, KW, C, O), with stride 1, or of one pixel.
    """
    return True


def conv_moments(
    x: Input, depthwise: np.ndarray | None, kernel: np.ndarray, stride: Pair, pad: Pad
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a convolution's output z (N, OH, OW, O), and its mean and variance per channel, both (O,).

    Args:
        x: (N, H, W, C).
        depthwise: None, or (KH, KW, C), to be convolved with first; then `kernel` is (1, 1, C, O).
        kernel: (KH, KW, C, O).
        stride: (SH, SW), above 1 only for a 1x1 kernel without padding.
        pad: ((top, bottom), (left, right)), less than the window is long.
    """
    n, h, w, _ = raw(x).shape
    window, o = (kernel if depthwise is None else depthwise).shape[:2], kernel.shape[3]
    z = np.empty((n, *output_size((h, w), window, stride, pad), o), raw(x).dtype)

    def one(block: slice) -> tuple[int, np.ndarray, np.ndarray]:
        columns = _columns(padded_rows(some(x, block, stride), pad), depthwise, kernel)
        np.matmul(columns, kernel.reshape(-1, o), out=z[block].reshape(-1, o))
        return _moments(z[block])

    mean, var = _merged(in_threads(one, blocks(raw(x), z)))
    return z, mean.astype(z.dtype), var.astype(z.dtype)


def _columns(padded: np.ndarray, depthwise: np.ndarray | None, kernel: np.ndarray) -> np.ndarray:
    """Return what is to be multiplied with the kernel, (N*OH*OW, KH*KW*C)."""
    if depthwise is None:
        return patches(padded, kernel.shape[:2], kernel.shape[2])
    return depthwise_rows(padded, depthwise).reshape(-1, kernel.shape[2])


def _moments(z: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Return how many values each channel of z (N, H, W, C) has, their mean, and the sum of (z - mean)²."""
    n, h, w, c = z.shape
    mean = sum_pixels(rows(z), c) / (n * h * w)
    centred = rows(z) - np.tile(mean.astype(z.dtype), w)
    return n * h * w, mean, sum_products(centred, centred, c)


def _merged(parts: Sequence[tuple[int, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of a whole, given the moments of its parts.

    Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979:
    what the parts' means are away from the whole's counts once for each value.
    """
    counts, means, squares = (np.array(values) for values in zip(*parts, strict=True))
    mean = counts @ means / counts.sum()
    return mean, (squares.sum(axis=0) + counts @ (means - mean) ** 2) / counts.sum()


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
        dz: the gradient of z.
        x, depthwise, kernel, stride, pad: as `conv_moments` had them.
        extra: (N, H, W, C), a gradient of the finished x from elsewhere, to be added.
        need_dx: False where nobody asks for the gradient of x; then only its shape is right.
        partial: leave out the ReLU of a deferred x, and the sums: someone else's `extra`.

    Returns:
        The first is a `Gradient` also for a finished x, which has no ReLU.
    """
    dx = np.empty(raw(x).shape, raw(x).dtype)
    c, o = kernel.shape[2:]

    def one(block: slice) -> tuple[np.ndarray, ...]:
        padded = padded_rows(some(x, block, stride), pad)
        columns, d_out = _columns(padded, depthwise, kernel), _carried_out(dz, block)
        dkernel = np.dot(columns.T, d_out.reshape(-1, o))  # `@` would keep the other threads waiting here
        d_depthwise = np.zeros(0)
        if depthwise is not None:  # from here on it is the depthwise convolution's own backward pass
            d_out = (d_out.reshape(-1, o) @ kernel[0, 0].T).reshape(*d_out.shape[:3], c)
            d_depthwise = depthwise_rows_backward(rows(d_out), padded, depthwise.shape)
        sums = np.zeros(c), np.zeros(c)
        if need_dx:
            if stride != (1, 1):
                dx[block] = 0
            seen = dx[block, :: stride[0], :: stride[1]]
            seen[...] = _input_gradient(d_out, depthwise, kernel, pad).reshape(seen.shape)
            if extra is not None:
                dx[block] += extra[block]
            if isinstance(x, Deferred) and not partial:
                sums = _mask(dx[block], x._replace(z=x.z[block]))
        return *sums, dkernel, d_depthwise

    sum_g, sum_gz, dkernel, d_depthwise = _totals(in_threads(one, blocks(dx, dz.z)))
    gradient = Gradient(dx, sum_g, sum_gz)
    return gradient, None if depthwise is None else d_depthwise, dkernel.reshape(kernel.shape)


def _carried_out(dz: NormGradient, block: slice) -> np.ndarray:
    """Return gain * g + slope * z + offset for a block of images: (N, OH, OW, O)."""
    z, (g, _, _, pooled) = dz.z[block], dz.gradient
    d_out, w = np.empty_like(z), z.shape[2]
    np.multiply(rows(z), np.tile(dz.slope, w), out=rows(d_out))
    rows(d_out)[...] += np.tile(dz.offset, w)
    gained = rows(g[block]) * np.tile(dz.gain, g.shape[2])
    if pooled is None:
        rows(d_out)[...] += gained
    else:
        np.add.at(d_out.reshape(-1), winner_places(pooled, block, z.shape).reshape(-1), gained.reshape(-1))
    return d_out


def _input_gradient(
    d_out: np.ndarray, depthwise: np.ndarray | None, kernel: np.ndarray, pad: Pad
) -> np.ndarray:
    """Return d_out (N, OH, OW, O) convolved with the kernel turned by 180 degrees: N*H*W*C numbers in order.

    Through tap (kh, kw) an input has gone to the output that many rows above it and columns to its left.
    """
    window = (kernel if depthwise is None else depthwise).shape[:2]
    top, left = ((k - 1 - low, k - 1 - high) for (low, high), k in zip(pad, window, strict=True))
    padded = padded_rows(d_out, (top, left))
    if depthwise is not None:
        return depthwise_rows(padded, depthwise[::-1, ::-1])
    c, o = kernel.shape[2:]
    return patches(padded, window, o) @ kernel[::-1, ::-1].transpose(0, 1, 3, 2).reshape(-1, c)
