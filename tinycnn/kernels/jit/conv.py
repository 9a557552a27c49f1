"""Convolution as a matrix product: lay out the windows as rows (im2col), and let BLAS multiply."""

from collections.abc import Iterator

import numpy as np

from tinycnn.kernels.jit.compile import compiled, for_images
from tinycnn.kernels.memory import empty, scratch
from tinycnn.kernels.padding import Pad, Pair, output_size
from tinycnn.kernels.threads import chunk_count

#: Rows of a matrix product from which BLAS is at full speed; more would only push the windows out of cache.
ENOUGH_ROWS = 512


def conv2d(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None, stride: Pair, pad: Pad) -> np.ndarray:
    """Return y (N, OH, OW, O); see the reference for the definition."""
    out_size = output_size(x.shape[1:3], kernel.shape[:2], stride, pad)
    y = empty((len(x), *out_size, kernel.shape[3]), x.dtype)
    matrix = kernel.reshape(-1, kernel.shape[3])

    def work(_: int, start: int, stop: int) -> None:
        for lo, hi in _blocks(start, stop, out_size):
            windows = _windows(x[lo:hi], kernel.shape[:2], stride, pad, out_size)
            y_matrix = y[lo:hi].reshape(len(windows), -1)
            np.matmul(windows, matrix, out=y_matrix)
            if bias is not None:
                np.add(y_matrix, bias, out=y_matrix)

    for_images(y, work)
    return y


def conv2d_backward(
    dy: np.ndarray, x: np.ndarray, kernel: np.ndarray, stride: Pair, pad: Pad
) -> tuple[np.ndarray, np.ndarray]:
    """Return dx (N, H, W, C) and dkernel (KH, KW, C, O); see the reference for the derivation."""
    window, out_size = kernel.shape[:2], dy.shape[1:3]
    matrix = kernel.reshape(-1, kernel.shape[3])
    dx = empty(x.shape, x.dtype)
    partial = empty((chunk_count(len(x)), *matrix.shape), x.dtype)
    sums_only = _is_pixelwise(window, stride, pad)

    def work(chunk: int, start: int, stop: int) -> None:
        partial[chunk] = 0
        for lo, hi in _blocks(start, stop, out_size):
            windows = _windows(x[lo:hi], window, stride, pad, out_size)
            dy_matrix = dy[lo:hi].reshape(len(windows), -1)
            partial[chunk] += windows.T @ dy_matrix
            if sums_only:
                np.matmul(dy_matrix, matrix.T, out=dx[lo:hi].reshape(windows.shape))
                continue
            np.matmul(
                dy_matrix, matrix.T, out=windows
            )  # the windows have served; their gradient takes their place
            dx[lo:hi] = 0
            _add_windows(windows.reshape(-1), dx[lo:hi], *window, *stride, pad[0][0], pad[1][0], *out_size)

    for_images(dy, work)
    return dx, partial.sum(axis=0).reshape(kernel.shape)


def _blocks(start: int, stop: int, out_size: Pair) -> Iterator[Pair]:
    """Cut images start..stop into blocks just large enough for BLAS."""
    images = -(-ENOUGH_ROWS // (out_size[0] * out_size[1]))
    for lo in range(start, stop, images):
        yield lo, min(lo + images, stop)


def _is_pixelwise(window: Pair, stride: Pair, pad: Pad) -> bool:
    """Whether every window is one pixel, in order: then x itself is the matrix of windows."""
    return window == (1, 1) and stride == (1, 1) and pad == ((0, 0), (0, 0))


def _windows(x: np.ndarray, window: Pair, stride: Pair, pad: Pad, out_size: Pair) -> np.ndarray:
    """Return the windows of x (N, H, W, C) as rows: (N*OH*OW, KH*KW*C), in this thread's scratch memory."""
    rows, length = len(x) * out_size[0] * out_size[1], window[0] * window[1] * x.shape[3]
    if _is_pixelwise(window, stride, pad):
        return x.reshape(rows, length)
    columns = scratch(rows * length, x.dtype)
    _copy_windows(x, columns, *window, *stride, pad[0][0], pad[1][0], *out_size)
    return columns.reshape(rows, length)


@compiled
def _copy_windows(x, columns, kh, kw, sh, sw, top, left, oh, ow):
    """Copy each window, one run of pixels for each of its rows; zeros where it hangs over the edge."""
    n, h, w, c = x.shape
    flat = x.reshape(-1)
    zero = x.dtype.type(0)
    to = np.uintp(0)
    for image in range(n):
        for i in range(oh):
            for j in range(ow):
                first = j * sw - left  # columns first..last of the map lie in the window
                skip = min(max(-first, 0), kw)
                last = max(min(w - first, kw), skip)
                for row in range(i * sh - top, i * sh - top + kh):
                    inside = 0 <= row < h
                    lead = np.uintp(skip * c if inside else kw * c)
                    run = np.uintp((last - skip) * c if inside else 0)
                    tail = np.uintp(kw * c) - lead - run
                    for k in range(lead):
                        columns[to + k] = zero
                    to += lead
                    if inside:
                        at = np.uintp(((image * h + row) * w + first + skip) * c)
                        for k in range(run):
                            columns[to + k] = flat[at + k]
                        to += run
                        for k in range(tail):
                            columns[to + k] = zero
                        to += tail


@compiled
def _add_windows(columns, dx, kh, kw, sh, sw, top, left, oh, ow):
    """Add each window's gradients to the pixels it was copied from: `_copy_windows` in reverse."""
    n, h, w, c = dx.shape
    flat = dx.reshape(-1)
    start = np.uintp(0)
    for image in range(n):
        for i in range(oh):
            for j in range(ow):
                first = j * sw - left
                skip = min(max(-first, 0), kw)
                last = max(min(w - first, kw), skip)
                for row in range(i * sh - top, i * sh - top + kh):
                    if 0 <= row < h and last > skip:
                        at = np.uintp(((image * h + row) * w + first + skip) * c)
                        source = start + np.uintp(skip * c)
                        for k in range(np.uintp((last - skip) * c)):
                            flat[at + k] += columns[source + k]
                    start += np.uintp(kw * c)
