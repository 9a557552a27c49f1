"""Fused operations, block by block: a few images at a time go through all of one, while they are in cache.

A `Deferred` stands for max(z * scale + shift, 0) or, without ReLU, for z * scale + shift. Every convolution
here is one matrix product: the windows of the input, or what a depthwise convolution makes of them, times
the kernel.
"""

from collections.abc import Sequence

import numpy as np

from tinycnn.kernels.deferred import Deferred, Gradient, Input, NormGradient, Pooled, raw
from tinycnn.kernels.padding import Pad, Pair, output_size
from tinycnn.kernels.reference.rows import (
    depthwise_rows,
    depthwise_rows_backward,
    finish,
    padded_rows,
    patches,
    rows,
    sum_columns,
    turned_pad,
)
from tinycnn.kernels.reference.windows import pad_map
from tinycnn.kernels.threads import in_threads

#: Numbers in the blocks of images that are worked on at a time: they stay in cache, and NumPy's intermediate
#: results with them.
BLOCK = 1 << 18


def _blocks(*arrays: np.ndarray) -> list[slice]:
    """Cut a batch into an even number of blocks of images, equal but for the last."""
    n, size = len(arrays[0]), max(array.size for array in arrays)
    images = -(-n // (2 * -(-size // (2 * BLOCK))))
    return [slice(start, start + images) for start in range(0, n, images)]


def _some(x: Input, block: slice, stride: Pair = (1, 1)) -> Input:
    """Return a block of images, of each every SH-th row and every SW-th column."""
    where = (block, slice(None, None, stride[0]), slice(None, None, stride[1]))
    return x._replace(z=x.z[where]) if isinstance(x, Deferred) else x[where]


def finished(x: Deferred, other: Input | None = None) -> np.ndarray:
    """Compute what was deferred, and add `other`, if given, finished too: (N, H, W, C)."""
    y = np.empty_like(x.z)

    def one(block: slice) -> None:
        out = finish(_some(x, block), rows(y[block]))
        if isinstance(other, Deferred):
            out += finish(_some(other, block), np.empty_like(out))
        elif other is not None:
            out += rows(other[block])

    in_threads(one, _blocks(y))
    return y


def gradient_of(x: Deferred, dy: np.ndarray) -> Gradient:
    """Return the gradient of a deferred array, given dy (N, H, W, C), that of the finished one."""
    g = dy.copy()
    sums = in_threads(lambda block: _mask(_some(x, block), g[block]), _blocks(g))
    return Gradient(g, *map(sum, zip(*sums, strict=True)))


def _mask(x: Deferred, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn dy into the gradient of a deferred x, in place, and return the two sums of `Gradient`."""
    g, (w, c) = rows(dy), dy.shape[2:]
    if x.relu:
        g *= finish(x._replace(relu=False), np.empty_like(g)) > 0
    centred = rows(x.z) - np.tile(x.mean, w)
    sums = g.sum(axis=(0, 1)), np.einsum("nhx,nhx->x", g, centred)
    sum_g, sum_gz = (sum_columns(s.astype(np.float64), c) for s in sums)
    return sum_g, sum_gz


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
    n, *size, c = raw(x).shape
    window, o = (kernel if depthwise is None else depthwise).shape[:2], kernel.shape[3]
    z = np.empty((n, *output_size(tuple(size), window, stride, pad), o), raw(x).dtype)

    def one(block: slice) -> tuple[int, np.ndarray, np.ndarray]:
        columns = _columns(padded_rows(_some(x, block, stride), pad), depthwise, kernel)
        np.matmul(columns, kernel.reshape(-1, o), out=z[block].reshape(-1, o))
        return _moments(z[block])

    mean, var = _merged(in_threads(one, _blocks(raw(x), z)))
    return z, mean.astype(z.dtype), var.astype(z.dtype)


def _columns(padded: np.ndarray, depthwise: np.ndarray | None, kernel: np.ndarray) -> np.ndarray:
    """Return what is to be multiplied with the kernel, one row for each place of the output."""
    if depthwise is None:
        return patches(padded, kernel.shape[:2], kernel.shape[2])
    return depthwise_rows(padded, depthwise).reshape(-1, kernel.shape[2])


def _moments(z: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Return how many values a channel of z (N, H, W, C) has, their mean, and their squared distances from it."""
    n, h, w, c = z.shape
    count = n * h * w
    mean = sum_columns(rows(z).sum(axis=(0, 1)).astype(np.float64), c) / count
    away = rows(z) - np.tile(mean.astype(z.dtype), w)
    return count, mean, sum_columns(np.einsum("nhx,nhx->x", away, away).astype(np.float64), c)


def _merged(parts: Sequence[tuple[int, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of a whole whose parts have these counts, means and squared distances."""
    counts, means, squares = (np.array(values) for values in zip(*parts, strict=True))
    total = counts.sum()
    mean = counts @ means / total
    return mean, (squares.sum(axis=0) + counts @ (means - mean) ** 2) / total


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
    dx = np.empty_like(raw(x))
    window, c, o = (kernel if depthwise is None else depthwise).shape[:2], *kernel.shape[2:]

    def one(block: slice) -> tuple[list[np.ndarray], tuple[np.ndarray, ...]]:
        padded = padded_rows(_some(x, block, stride), pad)
        columns = _columns(padded, depthwise, kernel)
        d_out = _output_gradient(dz, block)
        found = [np.dot(columns.T, d_out.reshape(-1, o))]
        if depthwise is not None:
            d_out = (d_out.reshape(-1, o) @ kernel[0, 0].T).reshape(*d_out.shape[:3], c)
            found.append(depthwise_rows_backward(rows(d_out), padded, depthwise))
        if need_dx:
            if stride != (1, 1):
                dx[block] = 0
            dy = _some(dx, block, stride)
            dy[...] = _input_gradient(d_out, depthwise, kernel, pad).reshape(dy.shape)
            if extra is not None:
                dx[block] += extra[block]
        if need_dx and isinstance(x, Deferred) and not partial:
            return found, _mask(_some(x, block), dx[block])
        return found, tuple(np.zeros((2, c)))

    kernels, sums = zip(*in_threads(one, _blocks(dx, dz.z)), strict=True)
    dkernel, *d_depthwise = map(sum, zip(*kernels, strict=True))
    gradient = Gradient(dx, *map(sum, zip(*sums, strict=True)))
    return gradient, d_depthwise[0] if d_depthwise else None, dkernel.reshape(kernel.shape)


def _output_gradient(dz: NormGradient, block: slice) -> np.ndarray:
    """Carry out gain * g + slope * z + offset for a block: (n, OH, OW, O)."""
    z, (g, _, _, pooled) = dz.z[block], dz.gradient
    d_out, w = np.empty_like(z), z.shape[2]
    np.multiply(rows(z), np.tile(dz.slope, w), out=rows(d_out))
    rows(d_out)[...] += np.tile(dz.offset, w)
    scaled = rows(g[block]) * np.tile(dz.gain, g.shape[2])
    if pooled is None:
        rows(d_out)[...] += scaled
    else:
        places = winner_places(pooled.winner[block], z.shape, *pooled[1:])
        np.add.at(d_out.reshape(-1), places.reshape(-1), scaled.reshape(-1))
    return d_out


def _input_gradient(d_out: np.ndarray, depthwise: np.ndarray | None, kernel: np.ndarray, pad: Pad) -> np.ndarray:
    """Return the gradient of a convolution's input: its output's, convolved with the kernel turned by 180 degrees."""
    if depthwise is not None:
        padded = padded_rows(d_out, turned_pad(pad, depthwise.shape[:2]))
        return depthwise_rows(padded, depthwise[::-1, ::-1])
    kh, kw, c, o = kernel.shape
    turned = kernel[::-1, ::-1].transpose(0, 1, 3, 2).reshape(-1, c)
    return patches(padded_rows(d_out, turned_pad(pad, (kh, kw))), (kh, kw), o) @ turned


def deferred_max_pool2d(x: Deferred, window: Pair, stride: Pair, pad: Pad) -> tuple[Deferred, Pooled]:
    """Return the pooled array, still deferred, and how its gradient finds its way back.

    The winner is the largest after the deferred map (a negative scale turns the order round); ReLU would
    change neither which one is largest nor, where all are below zero, any gradient.
    """
    n, *size, c = x.z.shape
    shape = (n, *output_size(tuple(size), window, stride, pad), c)
    z, winner = np.empty(shape, x.z.dtype), np.empty(shape, np.uint8)

    def one(block: slice) -> None:
        some = _some(x._replace(relu=False), block)
        y = finish(some, np.empty_like(rows(some.z))).reshape(some.z.shape)
        winner[block] = winners(y, window, stride, pad, shape[1:3])
        z[block] = some.z.reshape(-1)[winner_places(winner[block], some.z.shape, window, stride, pad)]

    in_threads(one, _blocks(x.z))
    return x._replace(z=z), Pooled(winner, window, stride, pad)


def winners(y: np.ndarray, window: Pair, stride: Pair, pad: Pad, out_size: Pair) -> np.ndarray:
    """Return where in each window the first of the largest values of y (N, H, W, C) stands: (N, OH, OW, C).

    Padding is NaN, which `fmax` passes over and which equals nothing.
    """
    if np.isnan(y.max()):  # a NaN of the map's own wins over all numbers
        y = np.nan_to_num(y, nan=np.inf, posinf=np.finfo(y.dtype).max, neginf=-np.inf)
    views = list(_pool_views(y, window, stride, pad, out_size))
    best = views[0].copy()
    for view in views[1:]:
        np.fmax(best, view, out=best)
    winner = np.full(best.shape, 255, np.uint8)
    for place, view in enumerate(views):
        others = (view != best).view(np.uint8) * np.uint8(255)
        np.minimum(winner, others | np.uint8(place), out=winner)
    return winner.reshape(len(y), *out_size, -1)


def _pool_views(y, window, stride, pad, out_size):
    """Yield, for each position of the window, the rows (N, OH, OW*C) that it sees.

    Columns are sorted by their remainder by the stride first: what a position sees then lies in one piece.
    """
    n, _, w, c = y.shape
    (top, bottom), (left, right) = pad
    right += -(left + w + right) % stride[1]
    padded = pad_map(y, ((top, bottom), (left, right)), np.nan)
    h = padded.shape[1]
    sorted_ = np.ascontiguousarray(padded.reshape(n, h, -1, stride[1], c).transpose(3, 0, 1, 2, 4)).reshape(
        stride[1], n, h, -1)
    for kh in range(window[0]):
        for kw in range(window[1]):
            first = kw // stride[1] * c
            yield sorted_[kw % stride[1]][:, kh : kh + stride[0] * out_size[0] : stride[0], first : first + out_size[1] * c]


def winner_places(winner: np.ndarray, shape: tuple[int, ...], window: Pair, stride: Pair, pad: Pad) -> np.ndarray:
    """Return the places of the winners (N, OH, OW, C) in an array of the given shape, laid flat."""
    _, h, w, c = shape
    steps = (np.arange(window[0])[:, np.newaxis] * w + np.arange(window[1])).reshape(-1) * c
    n, i, j, channel = np.ogrid[tuple(map(slice, winner.shape))]
    row, column = i * stride[0] - pad[0][0], j * stride[1] - pad[1][0]
    return steps[winner] + (((n * h + row) * w + column) * c + channel)
