"""Sliding windows: the view that turns convolution and pooling into one array expression."""

from collections.abc import Iterator

import numpy as np

from tinycnn.kernels.padding import Pad, Pair


def pad_map(x: np.ndarray, pad: Pad, value: float = 0.0) -> np.ndarray:
    """Return x (N, H, W, C) with `value` around each map, (N, top+H+bottom, left+W+right, C)."""
    return np.pad(x, ((0, 0), *pad, (0, 0)), constant_values=value)


def sliding_windows(x_padded: np.ndarray, window: Pair, stride: Pair) -> np.ndarray:
    """Return the view (N, OH, OW, C, KH, KW) whose [n, i, j, c] is the window with corner (i*SH, j*SW)."""
    views = np.lib.stride_tricks.sliding_window_view(x_padded, window, axis=(1, 2))
    return views[:, :: stride[0], :: stride[1]]


def window_offsets(
    window: Pair, stride: Pair, out_size: Pair
) -> Iterator[tuple[int, int, tuple[slice, slice, slice]]]:
    """Yield ``(kh, kw, where)``: `where` selects, of a padded map, what (kh, kw) of every window sees.

    One strided slice for each of the KH x KW positions: the loop is as long as the window, not the map.
    """
    for kh in range(window[0]):
        for kw in range(window[1]):
            rows = slice(kh, kh + stride[0] * out_size[0], stride[0])
            columns = slice(kw, kw + stride[1] * out_size[1], stride[1])
            yield kh, kw, (slice(None), rows, columns)


def crop(x_padded: np.ndarray, pad: Pad) -> np.ndarray:
    """Undo `pad_map`: return the (N, H, W, C) inside."""
    (top, bottom), (left, right) = pad
    _, h, w, _ = x_padded.shape
    return np.ascontiguousarray(x_padded[:, top : h - bottom, left : w - right])
