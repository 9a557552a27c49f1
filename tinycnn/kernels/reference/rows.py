"""Maps with each row laid flat, (N, H, W*C): the same numbers in the same places, for NumPy in longer runs.

NumPy works through arrays in runs along the last axis, and each run costs it as much as dozens of additions.
Runs of W*C numbers hide that, runs of C do not. What belongs to each channel is repeated W times for it, and
a step of one pixel to the right is a step of C numbers along the row.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tinycnn.kernels.deferred import Deferred, Input, raw
from tinycnn.kernels.padding import Pad, Pair


def rows(x: np.ndarray) -> np.ndarray:
    """Return x (N, H, W, C) as (N, H, W*C)."""
    return x.reshape(*x.shape[:2], -1)


def finish(x: Deferred, out: np.ndarray) -> np.ndarray:
    """Write what a deferred array stands for to `out` (N, H, W*C), and return that."""
    scale, shift = (np.tile(v, x.z.shape[2]) for v in (x.scale, x.shift))
    np.multiply(rows(x.z), scale, out=out)
    out += shift
    return np.maximum(out, np.zeros_like(shift), out=out) if x.relu else out


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


def row_windows(padded: np.ndarray, window: Pair, channels: int) -> np.ndarray:
    """Return the view (N, OH, KW, KH, OW*C) of padded rows whose [:, :, kw, kh] is what (kh, kw) sees."""
    length = padded.shape[2] - (window[1] - 1) * channels
    return sliding_window_view(padded, (window[0], length), axis=(1, 2))[:, :, ::channels]


def depthwise_rows(padded: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Return the depthwise convolution of padded rows with taps (KH, KW, C): (N, OH, OW*C)."""
    views = row_windows(padded, taps.shape[:2], taps.shape[2])
    return np.einsum("nhjix,ijx->nhx", views, np.tile(taps, views.shape[4] // taps.shape[2]))


def depthwise_rows_backward(dy: np.ndarray, padded: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Return the gradient of the taps, given dy (N, OH, OW*C)."""
    views = row_windows(padded, taps.shape[:2], taps.shape[2])
    return sum_columns(np.einsum("nhjix,nhx->ijx", views, dy), taps.shape[2])


def sum_columns(x: np.ndarray, channels: int) -> np.ndarray:
    """Return the sum over W of x (..., W*C), in its own precision: (..., C)."""
    return x.reshape(*x.shape[:-1], -1, channels).sum(axis=-2)


def patches(padded: np.ndarray, window: Pair, channels: int) -> np.ndarray:
    """Return all windows of padded rows one below the other: (N*OH*OW, KH*KW*C)."""
    maps = padded.reshape(*padded.shape[:2], -1, channels)
    if window == (1, 1):
        return maps.reshape(-1, channels)
    views = sliding_window_view(maps, window, axis=(1, 2))
    return views.transpose(0, 1, 2, 4, 5, 3).reshape(-1, window[0] * window[1] * channels)


def turned_pad(pad: Pad, window: Pair) -> Pad:
    """Return the padding with which a convolution's gradient is convolved to become its input's."""
    (top, bottom), (left, right) = ((k - 1 - low, k - 1 - high) for (low, high), k in zip(pad, window, strict=True))
    return (top, bottom), (left, right)
