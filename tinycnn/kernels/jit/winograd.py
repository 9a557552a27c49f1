"""Convolution with three to five times fewer multiplications (Winograd 1980; Lavin & Gray 2016).

For many channels the multiplications themselves are what takes time. Three neighbouring outputs of a filter
of r taps need 3r multiplications, but all belong to one product of polynomials, which r + 2 points determine:
transform r + 2 inputs, transform the filter, multiply point by point, transform back. In two dimensions a
3x3 tile of outputs takes (r + 2)^2 multiplications per channel in place of 9 r^2: 25 for 81 with r = 3, and
49 for 225 with r = 5. The sum over channels, point by point, is a matrix product for BLAS.

Every transform here has one form: L @ tile @ L.T, for all channels of a tile at once.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from tinycnn.kernels.jit.compile import compiled
from tinycnn.kernels.jit.team import for_chunks, for_parts
from tinycnn.kernels.memory import empty, scratch
from tinycnn.kernels.padding import NO_PAD, Pad, Pair, output_size

#: Outputs per tile and axis. More would save more multiplications, and cost digits.
TILE = 3
#: With fewer channels than this the transforms cost more than they save.
ENOUGH_CHANNELS = 32
#: Nor is a small batch worth transforming the kernel for.
ENOUGH_PIXELS = 256
#: Tiles transformed at a time: enough rows for BLAS, few enough for the cache.
ENOUGH_TILES = 1024

#: Where the polynomials are evaluated, besides infinity: one point fewer than a tile of inputs is long.
#: Of some ten sets tried for each number of taps, these lost the fewest digits.
POINTS = {3: (0, 0.75, -0.75, 1.5), 5: (0, 1, -1, 2, -0.5, -2)}


class Transforms(NamedTuple):
    """The matrices of F(3, r), with a = r + 2.

    In one dimension, the three outputs of the filter g (r,) on the inputs d (a,) are
    ``outputs @ ((kernel @ g) * (inputs @ d))``.
    """

    inputs: np.ndarray  # (a, a), usually called B.T
    kernel: np.ndarray  # (a, r), G
    outputs: np.ndarray  # (3, a), A.T


@cache
def transforms(taps: int, dtype: str) -> Transforms:
    """Build the matrices from the points (Toom-Cook; Blahut 2010, section 5.2)."""
    points = POINTS[taps]
    others = [[q for q in points if q != p] for p in points]
    scale = [np.prod([p - q for q in rest]) for p, rest in zip(points, others, strict=True)]
    powers = np.vander(points, taps, increasing=True) / np.array(scale)[:, np.newaxis]
    matrix = np.zeros((len(points) + 1, len(points) + 1))
    for row, roots in enumerate([*others, points]):
        coefficients = np.poly(roots)[::-1]  # of the polynomial that is zero at the roots, lowest power first
        matrix[row, : len(coefficients)] = coefficients
    infinity = np.eye(1, taps, taps - 1)
    outputs = np.hstack([np.vander(points, TILE, increasing=True).T, np.eye(TILE)[:, -1:]])
    parts = (matrix, np.vstack([powers, infinity]), outputs)
    return Transforms(*(np.ascontiguousarray(part, dtype) for part in parts))


def suits(x: np.ndarray, kernel: np.ndarray, stride: Pair, pad: Pad) -> bool:
    """Whether a convolution and its gradients can be done here, and are worth it."""
    kh, kw, c, o = kernel.shape
    possible = kh == kw and kh in POINTS and stride == (1, 1) and max(map(max, pad)) < kh
    return possible and min(c, o) >= ENOUGH_CHANNELS and x.size >= ENOUGH_PIXELS * c


def conv2d(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None, pad: Pad) -> np.ndarray:
    """Return y (N, OH, OW, O) for x (N, H, W, C), kernel (r, r, C, O), stride 1."""
    t = transforms(kernel.shape[0], x.dtype.str)
    oh, ow = output_size(x.shape[1:3], kernel.shape[:2], (1, 1), pad)
    y = empty((len(x), oh, ow, kernel.shape[3]), x.dtype)
    factors = _of_kernel(kernel, t)
    offsets = np.zeros(kernel.shape[3], x.dtype) if bias is None else bias
    for lo, hi in _blocks(y):
        spread = _spread_tiles(x[lo:hi], t.inputs, y[lo:hi], pad, "inputs")
        products = _points_array(len(spread), spread.shape[1], kernel.shape[3], x.dtype, "products")
        _for_points(_multiply, spread, factors, products)
        part = y[lo:hi]
        for_parts(part, partial(_collect, products, t.outputs, offsets, part))
    return y


def conv2d_backward(
    dy: np.ndarray, x: np.ndarray, kernel: np.ndarray, pad: Pad
) -> tuple[np.ndarray, np.ndarray]:
    """Return dx (N, H, W, C) and dkernel (r, r, C, O).

    dx is a convolution too: of dy, with the kernel turned by 180 degrees and its channels exchanged. The
    kernel's gradient goes backwards through the three transforms.
    """
    taps, (_, _, c, o) = kernel.shape[0], kernel.shape
    t = transforms(taps, x.dtype.str)
    turned = np.ascontiguousarray(kernel[::-1, ::-1].transpose(0, 1, 3, 2))
    (top, bottom), (left, right) = pad
    dx = conv2d(dy, turned, None, ((taps - 1 - top, taps - 1 - bottom), (taps - 1 - left, taps - 1 - right)))
    points = len(t.inputs)
    total = np.zeros((points**2, c, o), x.dtype)
    back = np.ascontiguousarray(t.outputs.T)
    for lo, hi in _blocks(dy):
        spread = _spread_tiles(x[lo:hi], t.inputs, dy[lo:hi], pad, "inputs")
        d_products = _spread_tiles(dy[lo:hi], back, dy[lo:hi], NO_PAD, "products")
        _for_points(_add_outer, spread, d_products, total)
    dkernel = _sandwich_all(total.reshape(points, points, c * o), np.ascontiguousarray(t.kernel.T))
    return dx, dkernel.reshape(kernel.shape)


def _blocks(y: np.ndarray) -> Iterator[Pair]:
    """Cut the images of y into blocks of about `ENOUGH_TILES` tiles."""
    n, oh, ow, _ = y.shape
    images = -(-ENOUGH_TILES // (-(-oh // TILE) * -(-ow // TILE)))
    for lo in range(0, n, images):
        yield lo, min(lo + images, n)


def _points_array(points: int, tiles: int, channels: int, dtype: np.dtype, use: str) -> np.ndarray:
    """Return uninitialised memory for (points, tiles, C); it is the same at the next call for this `use`."""
    return scratch(points * tiles * channels, dtype, use).reshape(points, tiles, channels)


def _spread_tiles(x: np.ndarray, matrix: np.ndarray, y: np.ndarray, pad: Pad, use: str) -> np.ndarray:
    """Return matrix @ tile @ matrix.T for the tiles of x under the 3x3 tiles of y: (points, tiles, C)."""
    n, oh, ow, _ = y.shape
    high, wide = -(-oh // TILE), -(-ow // TILE)
    out = _points_array(len(matrix) ** 2, n * high * wide, x.shape[3], x.dtype, use)
    for_parts(x, partial(_spread, x, matrix, high, wide, pad[0][0], pad[1][0], out))
    return out


def _for_points(kernel: Callable[..., None], spread: np.ndarray, *arrays: np.ndarray) -> None:
    for_chunks(len(spread), lambda _, start, stop: kernel(spread, *arrays, start, stop), spread.size)


def _of_kernel(kernel: np.ndarray, t: Transforms) -> np.ndarray:
    """Return the transformed kernel: (points, C, O)."""
    taps, _, c, o = kernel.shape
    return _sandwich_all(kernel.reshape(taps, taps, c * o), t.kernel).reshape(-1, c, o)


def _sandwich_all(tile: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return matrix @ tile @ matrix.T for tile (p, p, C), matrix (q, p): (q, q, C)."""
    out = np.empty((len(matrix), len(matrix), tile.shape[2]), tile.dtype)
    for_parts(tile[0, 0], partial(_sandwich_channels, tile, matrix, out))
    return out


@compiled
def _combine(matrix, row, source, source_at, step, out, out_at, length):
    """out[out_at:][:length] = sum over k of matrix[row, k] * source[source_at + k * step:][:length].

    Terms are taken four and two at a time, to load and store `out` as seldom as possible.
    """
    terms, n = matrix.shape[1], np.uintp(length)
    at, step, k = np.uintp(source_at), np.uintp(step), 0
    for c in range(n):
        out[out_at + c] = 0
    while k + 4 <= terms:
        f0, f1, f2, f3 = matrix[row, k], matrix[row, k + 1], matrix[row, k + 2], matrix[row, k + 3]
        at1, at2, at3 = at + step, at + step + step, at + step + step + step
        for c in range(n):
            out[out_at + c] += (f0 * source[at + c] + f1 * source[at1 + c]) + (
                f2 * source[at2 + c] + f3 * source[at3 + c]
            )
        at, k = at3 + step, k + 4
    if k + 2 <= terms:
        f0, f1, at1 = matrix[row, k], matrix[row, k + 1], at + step
        for c in range(n):
            out[out_at + c] += f0 * source[at + c] + f1 * source[at1 + c]
        at, k = at1 + step, k + 2
    if k < terms:
        f0 = matrix[row, k]
        for c in range(n):
            out[out_at + c] += f0 * source[at + c]


@compiled
def _sandwich_channels(tile, matrix, out, start, stop):
    q, p = matrix.shape
    channels, width = tile.shape[2], 1024  # so many at a time stay in cache
    half, source, target = np.empty(p * width, tile.dtype), tile.reshape(-1), out.reshape(-1)
    for lo in range(start, stop, width):
        length = min(width, stop - lo)
        for a in range(q):
            for b in range(p):
                at = np.uintp(b * width)
                _combine(matrix, a, source, b * channels + lo, p * channels, half, at, length)
            for b in range(q):
                at = np.uintp((a * q + b) * channels + lo)
                _combine(matrix, b, half, 0, width, target, at, length)


# A row of tiles at a time: then every loop runs over neighbours in memory, `wide` tiles of C channels long.


@compiled
def _spread(x, matrix, high, wide, top, left, out, start, stop):
    _, h, w, channels = x.shape
    q, p = matrix.shape
    tiles, length, source, target = out.shape[1], wide * channels, x.reshape(-1), out.reshape(-1)
    row_of_tiles, half = np.empty(p * p * length, x.dtype), np.empty(p * length, x.dtype)
    for image in range(start, stop):
        for i in range(high):
            for a in range(p):
                row = i * TILE + a - top
                for b in range(p):
                    for j in range(wide):
                        column = j * TILE + b - left
                        at = np.uintp(((a * p + b) * wide + j) * channels)
                        if 0 <= row < h and 0 <= column < w:
                            pixel = np.uintp(((image * h + row) * w + column) * channels)
                            for c in range(np.uintp(channels)):
                                row_of_tiles[at + c] = source[pixel + c]
                        else:
                            for c in range(np.uintp(channels)):
                                row_of_tiles[at + c] = 0
            here = (image * high + i) * wide
            for a in range(q):
                _combine(matrix, a, row_of_tiles, 0, p * length, half, np.uintp(0), p * length)
                for b in range(q):
                    at = np.uintp(((a * q + b) * tiles + here) * channels)
                    _combine(matrix, b, half, 0, length, target, at, length)


@compiled
def _collect(products, matrix, bias, y, start, stop):
    _, oh, ow, channels = y.shape
    q, p = matrix.shape
    high, wide, tiles = -(-oh // TILE), -(-ow // TILE), products.shape[1]
    length, source, target = wide * channels, products.reshape(-1), y.reshape(-1)
    half, pixels = np.empty(p * length, y.dtype), np.empty(length, y.dtype)
    for image in range(start, stop):
        for i in range(high):
            here = (image * high + i) * wide * channels
            for a in range(min(q, oh - TILE * i)):
                for b in range(p):
                    at, step = b * tiles * channels + here, p * tiles * channels
                    _combine(matrix, a, source, at, step, half, np.uintp(b * length), length)
                for b in range(q):
                    _combine(matrix, b, half, 0, length, pixels, np.uintp(0), length)
                    for j in range(-(-(ow - b) // TILE)):
                        at = np.uintp(((image * oh + TILE * i + a) * ow + TILE * j + b) * channels)
                        pixel = np.uintp(j * channels)
                        for c in range(np.uintp(channels)):
                            target[at + c] = pixels[pixel + c] + bias[c]


@compiled
def _multiply(spread, factors, products, start, stop):
    for point in range(start, stop):
        np.dot(spread[point], factors[point], products[point])


@compiled
def _add_outer(spread, d_products, total, start, stop):
    share = np.empty(total.shape[1:], total.dtype)
    for point in range(start, stop):
        np.dot(spread[point].T, d_products[point], share)
        total[point] += share
