"""Pooling: the largest or the mean of each window, or the mean of each whole map."""

import numpy as np

from tinycnn.kernels.padding import Pad, Pair, output_size
from tinycnn.kernels.reference.windows import crop, pad_map, sliding_windows, window_offsets


def max_pool2d(x: np.ndarray, window: Pair, stride: Pair, pad: Pad) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest value of each window and where in the window it stood.

    Padding never wins: it counts as minus infinity. Of equal values the first in row-major order wins.

    Args:
        x: (N, H, W, C).
        window: (KH, KW).
        stride: (SH, SW).
        pad: ((top, bottom), (left, right)).

    Returns:
        y (N, OH, OW, C), and winner (N, OH, OW, C) of int32: kh * KW + kw.
    """
    x_padded, out_size = pad_map(x, pad, -np.inf), output_size(x.shape[1:3], window, stride, pad)
    y = np.full((len(x), *out_size, x.shape[3]), -np.inf, x.dtype)
    winner = np.zeros(y.shape, np.int32)
    for kh, kw, where in window_offsets(window, stride, out_size):
        value = x_padded[where]
        better = ~(value <= y) & ~np.isnan(y)  # the first NaN, if there is one, wins
        np.copyto(y, value, where=better)
        np.copyto(winner, kh * window[1] + kw, where=better)
    return y, winner


def max_pool2d_backward(
    dy: np.ndarray, winner: np.ndarray, x_shape: tuple[int, ...], window: Pair, stride: Pair, pad: Pad
) -> np.ndarray:
    """Return dx (N, H, W, C): each dy (N, OH, OW, C) goes to the value that won its window."""
    dx_padded = _zeros_padded(x_shape, pad, dy.dtype)
    for kh, kw, where in window_offsets(window, stride, dy.shape[1:3]):
        dx_padded[where] += np.where(winner == kh * window[1] + kw, dy, 0)
    return crop(dx_padded, pad)


def avg_pool2d(x: np.ndarray, window: Pair, stride: Pair, pad: Pad) -> np.ndarray:
    """Return the mean of each window over the values inside the map; padding does not count.

    Args:
        x: (N, H, W, C).
        window: (KH, KW).
        stride: (SH, SW).
        pad: ((top, bottom), (left, right)).

    Returns:
        (N, OH, OW, C).
    """
    total = sliding_windows(pad_map(x, pad), window, stride).sum(axis=(4, 5))
    return total / _inside_count(x.shape, window, stride, pad, x.dtype)


def avg_pool2d_backward(
    dy: np.ndarray, x_shape: tuple[int, ...], window: Pair, stride: Pair, pad: Pad
) -> np.ndarray:
    """Return dx (N, H, W, C): each dy (N, OH, OW, C) is shared equally by the values of its window."""
    share = dy / _inside_count(x_shape, window, stride, pad, dy.dtype)
    dx_padded = _zeros_padded(x_shape, pad, dy.dtype)
    for _, _, where in window_offsets(window, stride, dy.shape[1:3]):
        dx_padded[where] += share
    return crop(dx_padded, pad)


def global_avg_pool2d(x: np.ndarray) -> np.ndarray:
    """Return the mean of each map of x (N, H, W, C): (N, C)."""
    return x.mean(axis=(1, 2))


def global_avg_pool2d_backward(dy: np.ndarray, x_shape: tuple[int, ...]) -> np.ndarray:
    """Return dx (N, H, W, C): dy (N, C), shared equally by the H*W values of each map."""
    _, h, w, _ = x_shape
    return np.broadcast_to(dy[:, np.newaxis, np.newaxis] / dy.dtype.type(h * w), x_shape).copy()


def _zeros_padded(x_shape: tuple[int, ...], pad: Pad, dtype: np.dtype) -> np.ndarray:
    n, h, w, c = x_shape
    return np.zeros((n, h + sum(pad[0]), w + sum(pad[1]), c), dtype)


def _inside_count(
    x_shape: tuple[int, ...], window: Pair, stride: Pair, pad: Pad, dtype: np.dtype
) -> np.ndarray:
    """How many values of each window lie inside the map: (1, OH, OW, 1)."""
    inside = pad_map(np.ones((1, *x_shape[1:3], 1), dtype), pad)
    return sliding_windows(inside, window, stride).sum(axis=(4, 5))
