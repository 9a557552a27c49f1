"""Convolution as a matrix product: lay out the windows as rows (im2col), and let BLAS multiply.

A few images at a time, so that their windows are still in cache when BLAS reads them; all in compiled code,
so that threads never wait for one another's Python. Large 3x3 and 5x5 convolutions go to `winograd`.
"""

import numpy as np

from tinycnn.kernels.jit import winograd
from tinycnn.kernels.jit.compile import compiled
from tinycnn.kernels.jit.team import for_chunks
from tinycnn.kernels.memory import empty, scratch
from tinycnn.kernels.padding import NO_PAD, Pad, Pair, output_size
from tinycnn.kernels.threads import chunk_count

#: Rows of a matrix product from which BLAS is at full speed; more would only push the windows out of cache.
ENOUGH_ROWS = 512


def conv2d(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None, stride: Pair, pad: Pad) -> np.ndarray:
    """Return y (N, OH, OW, O); see the reference for the definition."""
    if winograd.suits(x, kernel, stride, pad):
        return winograd.conv2d(x, kernel, bias, pad)
    out_size = output_size(x.shape[1:3], kernel.shape[:2], stride, pad)
    y = empty((len(x), *out_size, kernel.shape[3]), x.dtype)
    matrix = kernel.reshape(-1, kernel.shape[3])
    offsets = np.zeros(kernel.shape[3], x.dtype) if bias is None else bias

    def work(_: int, start: int, stop: int) -> None:
        windows = _scratch_windows(y, kernel)
        _forward(x[start:stop], matrix, offsets, y[start:stop], windows, *_geometry(kernel, stride, pad))

    for_chunks(len(x), work, _elements(y, kernel))
    return y


def conv2d_backward(
    dy: np.ndarray, x: np.ndarray, kernel: np.ndarray, stride: Pair, pad: Pad
) -> tuple[np.ndarray, np.ndarray]:
    """Return dx (N, H, W, C) and dkernel (KH, KW, C, O); see the reference for the derivation."""
    if winograd.suits(x, kernel, stride, pad):
        return winograd.conv2d_backward(dy, x, kernel, pad)
    matrix = kernel.reshape(-1, kernel.shape[3])
    dx, partial = empty(x.shape, x.dtype), empty((chunk_count(len(x)), *matrix.shape), x.dtype)

    def work(chunk: int, start: int, stop: int) -> None:
        windows, images = _scratch_windows(dy, kernel), slice(start, stop)
        arrays = (dy[images], x[images], matrix, dx[images], partial[chunk], windows)
        _backward(*arrays, *_geometry(kernel, stride, pad))

    for_chunks(len(x), work, _elements(dy, kernel))
    return dx, partial.sum(axis=0).reshape(kernel.shape)


def _geometry(kernel: np.ndarray, stride: Pair, pad: Pad) -> tuple[bool, int, int, int, int, int, int]:
    """Return whether each window is one pixel, all in order, and (KH, KW, SH, SW, top, left)."""
    window, (top, left) = kernel.shape[:2], (pad[0][0], pad[1][0])
    pixelwise = window == (1, 1) and stride == (1, 1) and pad == NO_PAD
    return pixelwise, *window, *stride, top, left


def _elements(y: np.ndarray, kernel: np.ndarray) -> int:
    """Return how many numbers all windows together hold, given y (N, OH, OW, O)."""
    return y.size // kernel.shape[3] * kernel.size // kernel.shape[3]


def _scratch_windows(y: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return this thread's memory for the windows of as many images as BLAS wants at a time.

    Shape (images, OH*OW, KH*KW*C), given y (N, OH, OW, O) and kernel (KH, KW, C, O).
    """
    _, oh, ow, _ = y.shape
    kh, kw, c, _ = kernel.shape
    shape = (-(-ENOUGH_ROWS // (oh * ow)), oh * ow, kh * kw * c)
    return scratch(shape[0] * shape[1] * shape[2], y.dtype).reshape(shape)


@compiled
def _forward(x, matrix, bias, y, windows, pixelwise, kh, kw, sh, sw, top, left):
    n, oh, ow, o = y.shape
    block, pixels, length = windows.shape
    for lo in range(0, n, block):
        hi = min(lo + block, n)
        if pixelwise:  # the map itself is the matrix
            rows = x[lo:hi].reshape((hi - lo) * pixels, length)
        else:
            rows = windows[: hi - lo].reshape((hi - lo) * pixels, length)
            _copy_windows(x[lo:hi], rows.reshape(-1), kh, kw, sh, sw, top, left, oh, ow)
        products = y[lo:hi].reshape((hi - lo) * pixels, o)
        np.dot(rows, matrix, products)
        for i in range(products.shape[0]):
            for j in range(o):
                products[i, j] += bias[j]


@compiled
def _backward(dy, x, matrix, dx, dmatrix, windows, pixelwise, kh, kw, sh, sw, top, left):
    n, oh, ow, o = dy.shape
    block, pixels, length = windows.shape
    share = np.empty_like(dmatrix)
    dmatrix[:] = 0
    for lo in range(0, n, block):
        hi = min(lo + block, n)
        dy_rows = dy[lo:hi].reshape((hi - lo) * pixels, o)
        if pixelwise:
            np.dot(x[lo:hi].reshape((hi - lo) * pixels, length).T, dy_rows, share)
            np.dot(dy_rows, matrix.T, dx[lo:hi].reshape((hi - lo) * pixels, length))
        else:
            rows = windows[: hi - lo].reshape((hi - lo) * pixels, length)
            _copy_windows(x[lo:hi], rows.reshape(-1), kh, kw, sh, sw, top, left, oh, ow)
            np.dot(rows.T, dy_rows, share)
            np.dot(dy_rows, matrix.T, rows)  # the windows have served; their gradient takes their place
            dx[lo:hi] = 0
            _add_windows(rows.reshape(-1), dx[lo:hi], kh, kw, sh, sw, top, left, oh, ow)
        dmatrix += share


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
