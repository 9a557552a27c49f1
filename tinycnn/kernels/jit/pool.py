"""Pooling. An average is a depthwise convolution with ones, divided by how many values each window holds."""

import numpy as np

from tinycnn.kernels.jit.compile import compiled
from tinycnn.kernels.jit.depthwise import depthwise_conv2d, depthwise_conv2d_backward
from tinycnn.kernels.jit.team import for_parts
from tinycnn.kernels.memory import empty
from tinycnn.kernels.padding import Pad, Pair, output_size


def max_pool2d(x: np.ndarray, window: Pair, stride: Pair, pad: Pad) -> tuple[np.ndarray, np.ndarray]:
    """Return y and winner, both (N, OH, OW, C); see the reference for the definition."""
    out_size = output_size(x.shape[1:3], window, stride, pad)
    y = empty((len(x), *out_size, x.shape[3]), x.dtype)
    winner = empty(y.shape, np.dtype(np.int32))

    def work(start: int, stop: int) -> None:
        _max_forward(x[start:stop], y[start:stop], winner[start:stop], *window, *stride, pad[0][0], pad[1][0])

    for_parts(x, work)
    return y, winner


def max_pool2d_backward(
    dy: np.ndarray, winner: np.ndarray, x_shape: tuple[int, ...], window: Pair, stride: Pair, pad: Pad
) -> np.ndarray:
    """Return dx (N, H, W, C): each dy goes to the value that won its window."""
    dx = empty(x_shape, dy.dtype)

    def work(start: int, stop: int) -> None:
        dx[start:stop] = 0
        _max_backward(
            dy[start:stop], winner[start:stop], dx[start:stop], window[1], *stride, pad[0][0], pad[1][0]
        )

    for_parts(dx, work)
    return dx


def avg_pool2d(x: np.ndarray, window: Pair, stride: Pair, pad: Pad) -> np.ndarray:
    """Return the mean of each window over the values inside the map."""
    y = depthwise_conv2d(x, _ones(window, x), None, stride, pad)
    y /= _inside_count(x, window, stride, pad)
    return y


def avg_pool2d_backward(
    dy: np.ndarray, x_shape: tuple[int, ...], window: Pair, stride: Pair, pad: Pad
) -> np.ndarray:
    """Return dx (N, H, W, C): each dy is shared equally by the values of its window."""
    x = np.zeros(
        x_shape, dy.dtype
    )  # stands in for the input, whose values do not matter to a mean's gradient
    share = dy / _inside_count(x, window, stride, pad)
    return depthwise_conv2d_backward(share, x, _ones(window, x), stride, pad)[0]


def _ones(window: Pair, x: np.ndarray) -> np.ndarray:
    return np.ones((*window, x.shape[3]), x.dtype)


def _inside_count(x: np.ndarray, window: Pair, stride: Pair, pad: Pad) -> np.ndarray:
    ones = np.ones((1, *x.shape[1:3], 1), x.dtype)
    return depthwise_conv2d(ones, _ones(window, ones), None, stride, pad)


@compiled
def _max_forward(x, y, winner, kh, kw, sh, sw, top, left):
    n, h, w, c = x.shape
    _, oh, ow, _ = y.shape
    x_flat, y_flat, winner_flat = x.reshape(-1), y.reshape(-1), winner.reshape(-1)
    for image in range(n):
        for i in range(oh):
            for j in range(ow):
                y_at = np.uintp(((image * oh + i) * ow + j) * c)
                first_row, first_column = max(i * sh - top, 0), max(j * sw - left, 0)
                for row in range(first_row, min(i * sh - top + kh, h)):
                    for column in range(first_column, min(j * sw - left + kw, w)):
                        x_at = np.uintp(((image * h + row) * w + column) * c)
                        position = np.int32((row - i * sh + top) * kw + column - j * sw + left)
                        if row == first_row and column == first_column:
                            for k in range(np.uintp(c)):
                                y_flat[y_at + k] = x_flat[x_at + k]
                                winner_flat[y_at + k] = position
                            continue
                        for k in range(np.uintp(c)):
                            value, best = x_flat[x_at + k], y_flat[y_at + k]
                            wins = value > best or value != value  # NaN wins, as in NumPy
                            y_flat[y_at + k] = value if wins else best
                            winner_flat[y_at + k] = position if wins else winner_flat[y_at + k]


@compiled
def _max_backward(dy, winner, dx, kw, sh, sw, top, left):
    n, oh, ow, c = dy.shape
    for image in range(n):
        for i in range(oh):
            for j in range(ow):
                for k in range(c):
                    position = winner[image, i, j, k]
                    row, column = i * sh - top + position // kw, j * sw - left + position % kw
                    dx[image, row, column, k] += dy[image, i, j, k]
