"""Maps with each row laid flat, (N, H, W*C): the same numbers in the same order, for longer loops.

NumPy's innermost loop runs along the last axis, and to begin it costs as much as dozens of additions: loops
of W*C numbers hide that, loops of C do not. What belongs to a channel is repeated W times along the row, and
a step of one pixel to the right is one of C numbers.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tinycnn.kernels.deferred import Deferred, Input, raw
from tinycnn.kernels.padding import Pad, Pair


def rows(x: np.ndarray) -> np.ndarray:
    """Return x (N, H, W, C) as (N, H, W*C)."""
    return x.reshape(*x.shape[:2], -1)


def sum_pixels(x: np.ndarray, channels: int) -> np.ndarray:
    """Return the sum over N, H and W of x (N, H, W*C): (C,), float64, as each map's columns are added up."""
    return _sum_columns(x.sum(axis=1), channels)


def sum_products(x: np.ndarray, y: np.ndarray, channels: int) -> np.ndarray:
    """Return the sum over N, H and W of x * y, both (N, H, W*C): (C,), likewise."""
    return _sum_columns(np.einsum("nhx,nhx->nx", x, y), channels)


def _sum_columns(x: np.ndarray, channels: int) -> np.ndarray:
    return x.reshape(-1, channels).sum(axis=0, dtype=np.float64)


def finish(x: Deferred, out: np.ndarray) -> np.ndarray:
    """Write what a deferred array stands for to `out` (N, H, W*C), and return that."""
    scale, shift = (np.tile(v, x.z.shape[2]) for v in (x.scale, x.shift))
    np.multiply(rows(x.z), scale, out=out)
    out += shift
    return np.maximum(out, np.zeros_like(shift), out=out) if x.relu else out  # faster than with a scalar 0


def padded_rows(x: Input, pad: Pad) -> np.ndarray:
    """Return the finished x with zeros around each map, (N, top+H+bottom, (left+W+right)*C)."""
    n, h, w, c = raw(x).shape
    (top, bottom), (left, right) = pad
    y = np.zeros((n, top + h + bottom, (left + w + right) * c), raw(x).dtype)
    inside = y[:, top : top + h, left * c : (left + w) * c]
    if isinstance(x, Deferred):
        finish(x, inside)
    else:
        inside[...] = rows(x)
    return y


def depthwise_rows(padded: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Return the depthwise convolution of padded rows with taps (KH, KW, C): (N, OH, OW*C)."""
    seen = _seen(padded, taps.shape)
    return np.einsum("nhjix,ijx->nhx", seen, np.tile(taps, seen.shape[4] // taps.shape[2]))


def depthwise_rows_backward(dy: np.ndarray, padded: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the gradient of taps of the given shape (KH, KW, C), given dy (N, OH, OW*C)."""
    each = np.einsum("nhjix,nhx->ijx", _seen(padded, shape), dy)
    return each.reshape(*shape[:2], -1, shape[2]).sum(axis=2)


def _seen(padded: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the view (N, OH, KW, KH, OW*C) whose [:, :, kw, kh] is what tap (kh, kw) of all windows sees."""
    kh, kw, c = shape
    length = padded.shape[2] - (kw - 1) * c
    return sliding_window_view(padded, (kh, length), axis=(1, 2))[:, :, ::c]


def patches(padded: np.ndarray, window: Pair, channels: int) -> np.ndarray:
    """Return all windows of padded rows, one below the other: (N*OH*OW, KH*KW*C)."""
    maps = padded.reshape(*padded.shape[:2], -1, channels)
    windows = sliding_window_view(maps, window, axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3)
    return windows.reshape(-1, window[0] * window[1] * channels)
