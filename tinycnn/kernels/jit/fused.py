"""Fused kernels: a convolution with all that stands between it and the next one, a few rows at a time.

While a band of rows is in cache it is normalised, passes its ReLU, is convolved, and its statistics are
taken: each array is read once and written once. `tinycnn.kernels.reference.fused` says the same in terms of
the plain kernels.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from tinycnn.kernels.deferred import Gradient, Input, NormGradient, raw
from tinycnn.kernels.jit import image as in_cache
from tinycnn.kernels.jit.compile import compiled
from tinycnn.kernels.jit.deferred import Source, over_images
from tinycnn.kernels.jit.depthwise_image import add_taps_gradient, depthwise
from tinycnn.kernels.jit.product import product
from tinycnn.kernels.jit.team import CHUNKS, begin, claim, done, finish, share_call
from tinycnn.kernels.memory import empty
from tinycnn.kernels.padding import Pad, Pair, output_size
from tinycnn.kernels.threads import chunk_count

#: Pixels in a band: enough to fill the registers of a product, few enough for the nearest cache.
BAND = 48


class Geometry(NamedTuple):
    """The sizes of a fused convolution, as compiled code takes them."""

    h: int  # of the input
    w: int
    c: int
    oh: int  # of the output
    ow: int
    o: int
    kh: int  # of the window, which is the depthwise kernel's where there is one
    kw: int
    sh: int
    sw: int
    top: int
    left: int
    bottom: int
    right: int
    separable: int  # 1: a depthwise convolution, then one of 1x1
    band: int  # rows of the output that are worked on at a time


@cache
def geometry(
    x: tuple[int, ...], depthwise: tuple[int, ...] | None, kernel: tuple[int, ...], stride: Pair, pad: Pad
) -> Geometry:
    """Collect the sizes, given x's (H, W, C) and kernels' shapes; a ShapeError if the window does not fit."""
    window = kernel[:2] if depthwise is None else depthwise[:2]
    out = output_size(x[:2], window, stride, pad)
    (top, bottom), (left, right) = pad
    separable, band = int(depthwise is not None), max(1, BAND // out[1])
    sizes = (*x, *out, kernel[3], *window, *stride, top, left, bottom, right)
    return Geometry._make((*sizes, separable, band))


class Layout(NamedTuple):
    """Where in a thread's scratch memory each part of the work on one image begins, in elements."""

    padded: int  # the finished input with its padding: (H + padding, W + padding, C)
    scale: int  # this and the next, of the map that finishes the input, along a row of it
    shift: int
    between: int  # of a separable convolution: a band of what the depthwise half gives, (band, OW, C)
    pivot: int  # a row that is subtracted before summing, and two rows of sums
    sums: int
    squares: int
    spread: int  # an output gradient that comes pooled, at its places: (OH, OW, O)
    dz: int  # a band of the output's gradient where no window slides over it, (band, OW, O)
    around: int  # the gradient that a window slides over, with zeros wherever it reaches over the edge
    dx: int  # the rows of the input's gradient that a band completes
    mean: int  # of the input, along a row of it
    gain: int  # this and the next two, of the map that finishes the output's gradient, along a row of it
    slope: int
    offset: int
    end: int


@cache
def layout(g: Geometry, backward: bool) -> Layout:
    """Lay out the parts one after another; a forward pass needs only the first ones."""
    in_row, out_row = g.w * g.c, g.ow * g.o
    row, inner = max(out_row, in_row), g.c if g.separable else g.o
    sizes = [
        (g.h + g.top + g.bottom) * (g.w + g.left + g.right) * g.c,
        in_row,
        in_row,
        g.separable * g.band * g.ow * g.c,
        row,
        row,
        row,
        backward * g.oh * out_row,
        backward * g.band * out_row,
        backward * (g.h + g.kh - 1) * (g.w + g.kw - 1) * inner,
        backward * (g.band * g.sh + g.kh + g.sh) * in_row,
        backward * in_row,
        *[backward * out_row] * 3,
    ]
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + -(-size // 16) * 16)  # whole cache lines
    return Layout._make(starts)


def conv_moments(
    x: Input, depthwise: np.ndarray | None, kernel: np.ndarray, stride: Pair, pad: Pad
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a convolution's output, and each channel's mean and variance; see the reference."""
    x_array = raw(x)
    n, dtype = len(x_array), x_array.dtype
    shape = None if depthwise is None else depthwise.shape
    g = geometry(x_array.shape[1:], shape, kernel.shape, stride, pad)
    z = empty((n, g.oh, g.ow, g.o), dtype)
    means, squares = empty((2, n, g.o), dtype)
    taps = np.zeros(0, dtype) if depthwise is None else depthwise.reshape(-1)
    arrays = (taps, kernel.reshape(-1), z.reshape(-1), means.reshape(-1), squares.reshape(-1))
    parts = layout(g, backward=False)
    share_call(
        _forward, (Source.of(x), g, parts, *arrays, n), (parts.end, dtype), chunk_count(n), x_array.size
    )
    mean, var = np.empty((2, g.o), dtype)
    _statistics(means, squares, g.oh * g.ow, mean, var)
    return z, mean, var


@compiled
def _statistics(means, squares, count, mean, var):
    """Set mean and var (C,) over all images, given each one's mean and sum of squared deviations from it."""
    n = len(means)
    for c in range(mean.size):
        total = within = between = 0.0
        for image in range(n):
            total += means[image, c]
            within += squares[image, c]
        for image in range(n):
            between += (means[image, c] - total / n) ** 2
        mean[c] = total / n
        var[c] = (within / count + between) / n


@compiled
def _forward(x, g, at, taps, kernel, z, means, squares, n, memory, queue, ticket, member):
    begin(queue, ticket)
    zero, one = np.int64(0), np.int64(1)  # as plain numbers they would make `product` compile anew
    row, in_row, out_row = (g.w + g.left + g.right) * g.c, g.w * g.c, g.ow * g.o
    inside = at.padded + g.top * row + g.left * g.c
    in_cache.clear(memory, zero, at.scale)  # the padding stays zero
    in_cache.along_row(x.scale, memory, at.scale, in_row)
    in_cache.along_row(x.shift, memory, at.shift, in_row)
    for turn in range(queue[CHUNKS]):
        chunk = claim(queue, member, turn)
        if chunk < 0:
            continue
        for image in range(chunk * n // queue[CHUNKS], (chunk + 1) * n // queue[CHUNKS]):
            in_cache.clear(memory, at.sums, at.spread - at.sums)
            finished_rows = zero
            for start in range(0, g.oh, g.band):
                rows = min(g.band, g.oh - start)
                here, there = (
                    image * g.h * in_row + finished_rows * in_row,
                    image * g.oh * out_row + start * out_row,
                )
                more = min(g.h, (start + rows - 1) * g.sh + g.kh - g.top) - finished_rows
                padded_at = inside + finished_rows * row
                in_cache.finish(
                    x.z, here, memory, at.scale, at.shift, x.floor, more, in_row, memory, padded_at, row
                )
                finished_rows = max(finished_rows, finished_rows + more)
                if g.separable:
                    from_row = at.padded + start * row
                    depthwise(memory, from_row, row, taps, g.kh, g.kw, g.c, memory, at.between, rows, g.ow)
                    times, runs, pixels, depth = one, one, rows * g.ow, g.c  # one product for all pixels
                    a_at, a_down, a_run, a_step = at.between, zero, zero, g.c
                else:
                    times, runs, pixels, depth = rows, g.kh, g.ow, g.kw * g.c  # one for each row
                    a_at, a_down, a_run, a_step = at.padded + start * g.sh * row, g.sh * row, row, g.sw * g.c
                for i in range(times):
                    product(
                        memory, a_at + i * a_down, a_run, a_step, one, kernel, zero, depth * g.o, g.o,
                        z, there + i * out_row, g.o, runs, pixels, depth, g.o, zero,
                    )  # fmt: skip
                if start == 0:
                    in_cache.centre(z, there, rows, out_row, g.o, memory, at.pivot)
                in_cache.add_moments(z, there, rows, out_row, memory, at.pivot, at.sums, at.squares)
            in_cache.moments(
                memory, at.pivot, at.sums, at.squares, out_row, g.o, g.oh * g.ow, means, squares, image * g.o
            )
        done(queue)
    finish(queue, ticket, member)


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
    """Return the gradients of x, of the depthwise kernel and of the kernel; see the reference."""
    x_array = raw(x)
    n, dtype = len(x_array), x_array.dtype
    shape = None if depthwise is None else depthwise.shape
    g = geometry(x_array.shape[1:], shape, kernel.shape, stride, pad)
    dx = empty(x_array.shape, dtype)
    sums = empty((n, 2, g.c), dtype)
    none = np.zeros(0, dtype)
    taps = none if depthwise is None else depthwise.reshape(-1)
    turned_taps = none if depthwise is None else depthwise[::-1, ::-1].reshape(-1)
    turned = kernel[::-1, ::-1].transpose(0, 1, 3, 2).reshape(-1)
    sums_of_chunks = empty((chunk_count(n), taps.size + kernel.size), dtype)
    arrays = (taps, turned_taps, turned, none if extra is None else extra.reshape(-1))
    results = (dx.reshape(-1), sums.reshape(-1), sums_of_chunks)
    wanted = 0 if not need_dx else 1 if partial else 2
    parts = layout(g, backward=True)
    arguments = (Source.of(x), Incoming.of(dz), g, parts, *arrays, *results, n, wanted)
    share_call(_backward, arguments, (parts.end, dtype), len(sums_of_chunks), x_array.size)
    total, (sum_g, sum_gz) = sums_of_chunks.sum(axis=0), over_images(sums)
    dtaps = None if depthwise is None else total[: taps.size].reshape(depthwise.shape)
    return Gradient(dx, sum_g, sum_gz), dtaps, total[taps.size :].reshape(kernel.shape)


class Incoming(NamedTuple):
    """A `NormGradient` as compiled code takes it."""

    g: np.ndarray  # flat, like the next
    z: np.ndarray
    gain: np.ndarray  # this and the next two: (O,)
    slope: np.ndarray
    offset: np.ndarray
    winner: np.ndarray  # flat; empty if there was no pooling
    places: np.ndarray  # how far behind a window's corner each of its positions lies
    ph: int  # size of the pooled map
    pw: int
    stride_h: int
    stride_w: int
    top: int
    left: int

    @classmethod
    def of(cls, dz: NormGradient) -> "Incoming":
        """Unpack dz."""
        g, pooled = dz.gradient.g, dz.gradient.pooled
        arrays = g.reshape(-1), dz.z.reshape(-1), dz.gain, dz.slope, dz.offset
        if pooled is None:
            return cls(*arrays, _NOBODY, _NOWHERE, 0, 0, 0, 0, 0, 0)
        places = _places(pooled.window, *dz.z.shape[2:])
        (top, _), (left, _) = pooled.pad
        return cls(*arrays, pooled.winner.reshape(-1), places, *g.shape[1:3], *pooled.stride, top, left)


_NOBODY, _NOWHERE = np.zeros(0, np.uint8), np.zeros(0, np.int64)


@cache
def _places(window: Pair, width: int, channels: int) -> np.ndarray:
    rows, columns = np.indices(window)
    return (rows * width + columns).reshape(-1) * channels


@compiled
def _backward(
    x, y, g, at, taps, turned_taps, turned, extra, dx, sums, sums_of_chunks, n, wanted,
    memory, queue, ticket, member,
):  # fmt: skip
    begin(queue, ticket)
    zero, one = np.int64(0), np.int64(1)  # as plain numbers they would make `product` compile anew
    row, in_row, out_row = (g.w + g.left + g.right) * g.c, g.w * g.c, g.ow * g.o
    inside = at.padded + g.top * row + g.left * g.c
    inner = g.c if g.separable else g.o  # channels of the gradient that the window slides over
    around_row = (g.w + g.kw - 1) * inner
    around_at = at.around + (g.kh - 1 - g.top) * around_row + (g.kw - 1 - g.left) * inner
    strided = g.sh > 1 or g.sw > 1
    slides = not (g.separable or strided)
    dz_row = around_row if slides else out_row
    in_cache.clear(memory, zero, at.end)  # the padding stays zero
    in_cache.along_row(x.mean, memory, at.mean, in_row)
    in_cache.along_row(x.scale, memory, at.scale, in_row)
    in_cache.along_row(x.shift, memory, at.shift, in_row)
    in_cache.along_row(y.gain, memory, at.gain, out_row)
    in_cache.along_row(y.slope, memory, at.slope, out_row)
    in_cache.along_row(y.offset, memory, at.offset, out_row)
    for turn in range(queue[CHUNKS]):
        chunk = claim(queue, member, turn)
        if chunk < 0:
            continue
        sum_of = sums_of_chunks[chunk]
        in_cache.clear(sum_of, zero, sum_of.size)
        for image in range(chunk * n // queue[CHUNKS], (chunk + 1) * n // queue[CHUNKS]):
            in_cache.clear(memory, at.sums, at.dz - at.sums)
            finished_rows, spread_rows, dx_rows = zero, zero, zero
            for start in range(0, g.oh, g.band):
                rows = min(g.band, g.oh - start)
                stop, last = start + rows, start + rows == g.oh
                # 1. The input as far as these rows see it, and the gradient of the convolution's output.
                here = image * g.h * in_row + finished_rows * in_row
                more = (g.h if last else min(g.h, (stop - 1) * g.sh + g.kh - g.top)) - finished_rows
                padded_at = inside + finished_rows * row
                in_cache.finish(
                    x.z, here, memory, at.scale, at.shift, x.floor, more, in_row, memory, padded_at, row
                )
                finished_rows = max(finished_rows, finished_rows + more)
                there = image * g.oh * out_row + start * out_row
                if y.winner.size:
                    until = y.ph if last else min(y.ph, (stop + y.top + y.stride_h - 1) // y.stride_h)
                    pooled_at = (image * y.ph + spread_rows) * y.pw * g.o
                    spread_at = at.spread + spread_rows * y.stride_h * out_row
                    in_cache.scatter(
                        y.g, y.winner, y.places, pooled_at, until - spread_rows, y.pw, g.o,
                        y.stride_h, y.stride_w, y.top, y.left, out_row, memory, spread_at,
                    )  # fmt: skip
                    spread_rows = max(until, spread_rows)
                source, source_at = (memory, at.spread + start * out_row) if y.winner.size else (y.g, there)
                dz_at = around_at + start * around_row if slides else at.dz
                in_cache.norm_gradient(
                    source, source_at, y.z, there, memory, at.gain, at.slope, at.offset,
                    rows, out_row, memory, dz_at, dz_row,
                )  # fmt: skip
                # 2. The kernels' gradients.
                from_row = at.padded + start * g.sh * row
                if g.separable:
                    pixels = rows * g.ow
                    depthwise(memory, from_row, row, taps, g.kh, g.kw, g.c, memory, at.between, rows, g.ow)
                    product(
                        memory, at.between, zero, one, g.c, memory, dz_at, zero, g.o,
                        sum_of, taps.size, g.o, one, g.c, pixels, g.o, one,
                    )  # fmt: skip
                    product(
                        memory, dz_at, zero, g.o, one, turned, zero, zero, g.c,
                        memory, at.between, g.c, one, pixels, g.o, g.c, zero,
                    )  # fmt: skip
                    add_taps_gradient(
                        memory, from_row, row, g.kh, g.kw, g.c, memory, at.between, rows, g.ow, sum_of, zero
                    )
                    to_row = around_at + start * around_row
                    in_cache.place(memory, at.between, rows, g.ow * g.c, memory, to_row, around_row)
                else:
                    length = g.kw * g.c
                    for r in range(g.kh):
                        product(
                            memory, from_row + r * row, g.sh * row, one, g.sw * g.c,
                            memory, dz_at, dz_row, g.o, sum_of, r * length * g.o,
                            g.o, rows, length, g.ow, g.o, one,
                        )  # fmt: skip
                # 3. The rows of the input's gradient that need no row of dz after these.
                ready = g.h if last else min(g.h, max(dx_rows, stop * g.sh if strided else stop - g.top))
                new = ready - dx_rows if wanted else zero
                if g.separable:
                    from_row = at.around + dx_rows * around_row
                    depthwise(
                        memory, from_row, around_row, turned_taps, g.kh, g.kw, g.c, memory, at.dx, new, g.w
                    )
                elif strided and new:  # with a 1x1 window each gradient goes to one pixel
                    in_cache.clear(memory, at.dx, new * in_row)
                    for i in range(rows):
                        product(
                            memory, dz_at + i * dz_row, zero, g.o, one, turned, zero, zero, g.c,
                            memory, at.dx + i * g.sh * in_row, g.sw * g.c, one, g.ow, g.o, g.c, zero,
                        )  # fmt: skip
                else:
                    for i in range(new):
                        product(
                            memory, at.around + (dx_rows + i) * around_row, around_row, g.o, one,
                            turned, zero, g.kw * g.o * g.c, g.c,
                            memory, at.dx + i * in_row, g.c, g.kh, g.w, g.kw * g.o, g.c, zero,
                        )  # fmt: skip
                # 4. Back through the ReLU, and the sums that batch norm's backward pass will ask for.
                to = (image * g.h + dx_rows) * in_row
                if extra.size:
                    in_cache.add_to(extra, to, new * in_row, memory, at.dx)
                if wanted == 1 or x.floor < 0:  # nothing to mask where there is no ReLU
                    in_cache.place(memory, at.dx, new, in_row, dx, to, in_row)
                else:
                    padded_at = inside + dx_rows * row
                    in_cache.mask(memory, at.dx, memory, padded_at, row, x.floor, new, in_row, dx, to)
                if wanted == 2:
                    in_cache.add_gradient_sums(
                        dx, to, x.z, to, new, in_row, memory, at.mean, at.sums, at.squares
                    )
                dx_rows = ready
            in_cache.fold(memory, at.sums, in_row, g.c, sums, 2 * image * g.c)
            in_cache.fold(memory, at.squares, in_row, g.c, sums, (2 * image + 1) * g.c)
        done(queue)
    finish(queue, ticket, member)
