"""Fused kernels: a convolution with all that stands between it and the next one, a few rows at a time.

While a band of rows is in cache it is normalised, passes its ReLU, is convolved, and its statistics are
taken: each array is read once and written once. `tinycnn.kernels.reference.fused` says the same in NumPy, and
`fused_backward` is the way back.
"""

import numpy as np

from tinycnn.kernels.deferred import Input, raw
from tinycnn.kernels.jit import image as in_cache
from tinycnn.kernels.jit import winograd
from tinycnn.kernels.jit.compile import compiled, part, section
from tinycnn.kernels.jit.deferred import Source
from tinycnn.kernels.jit.depthwise_image import depthwise
from tinycnn.kernels.jit.fused_sizes import geometry, layout
from tinycnn.kernels.jit.product import product
from tinycnn.kernels.jit.team import CHUNKS, claim, own, share_call
from tinycnn.kernels.jit.together import together
from tinycnn.kernels.memory import empty
from tinycnn.kernels.padding import NO_PAD, Pad, Pair
from tinycnn.kernels.threads import chunk_count


def fuses_conv2d(x: np.ndarray, kernel: np.ndarray) -> bool:
    """Whether `conv_moments` is faster: with many channels, Winograd's algorithm saves more than fusion."""
    return not winograd.suits(x, kernel, (1, 1), NO_PAD)


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
    taps = np.zeros(0, dtype) if depthwise is None else depthwise.ravel()
    arrays = (taps, kernel.ravel(), z.reshape(-1), means.reshape(-1), squares.reshape(-1))
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
def _forward(x, g, at, taps, kernel, z, means, squares, n, memory, queue, mailbox):
    arguments = (x, g, at, taps, kernel, z, means, squares, n, memory, queue)
    together(_forward_part, arguments, mailbox)


@part
def _forward_part(x, g, at, taps, kernel, z, means, squares, n, memory, queue, member):
    memory = own(memory, queue, member)
    in_cache.clear(memory, np.int64(0), at.scale)  # the padding stays zero
    in_cache.repeat(x.scale, memory, at.scale, g.in_period)
    in_cache.repeat(x.shift, memory, at.shift, g.in_period)
    for turn in range(queue[CHUNKS]):
        chunk = claim(queue, member, turn)
        if chunk < 0:
            continue
        for image in range(chunk * n // queue[CHUNKS], (chunk + 1) * n // queue[CHUNKS]):
            in_cache.clear(memory, at.sums, at.spread - at.sums)
            seen = np.int64(0)
            for start in range(0, g.oh, g.band):
                rows, there = min(g.band, g.oh - start), (image * g.oh + start) * g.out_row
                seen = bring_input(x, g, at, memory, image, seen, start + rows)
                _convolve(g, at, memory, taps, kernel, start, rows, z, there)
                if start == 0:
                    in_cache.centre(z, there, rows, g.out_row, g.out_period, g.o, memory, at.pivot)
                in_cache.add_moments(
                    z, there, rows, g.out_row, g.out_period, memory, at.pivot, at.sums, at.squares
                )
            in_cache.moments(
                memory, at.pivot, at.sums, at.squares, g.out_period, g.o, g.oh * g.ow, means, squares,
                image * g.o,
            )  # fmt: skip


@section
def bring_input(x, g, at, memory, image, seen, stop):
    """Finish those rows of the input that output rows before `stop` see; return how many are done.

    `seen` of them are done already. The last band takes all that are left; and a stride passes over rows that
    the way back asks for all the same.
    """
    wanted = g.h if stop == g.oh else min(g.h, (stop - 1) * g.sh + max(g.kh - g.top, g.sh))
    here = (image * g.h + seen) * g.in_row
    there = at.padded + (g.top + seen) * g.padded_row + g.left * g.c
    rows = wanted - seen
    in_cache.finish(
        x.z, here, memory, at.scale, at.shift, x.floor, rows, g.in_row, g.in_period,
        memory, there, g.padded_row,
    )  # fmt: skip
    return max(seen, wanted)


@section
def _convolve(g, at, memory, taps, kernel, start, rows, z, there):
    """Write some rows of the output from the padded input."""
    zero, one = np.int64(0), np.int64(1)  # as plain numbers they would make `product` compile anew
    first = at.padded + start * g.sh * g.padded_row
    if g.separable:
        depthwise(memory, first, g.padded_row, taps, g.kh, g.kw, g.c, memory, at.between, rows, g.ow)
        times, runs, pixels, depth = one, one, rows * g.ow, g.c  # one product for all pixels
        a_at, a_down, a_run, a_step = at.between, zero, zero, g.c
    else:
        times, runs, pixels, depth = rows, g.kh, g.ow, g.kw * g.c  # one for each row
        a_at, a_down, a_run, a_step = first, g.sh * g.padded_row, g.padded_row, g.sw * g.c
    for i in range(times):
        product(
            memory, a_at + i * a_down, a_run, a_step, one, kernel, zero, depth * g.o, g.o,
            z, there + i * g.out_row, g.o, runs, pixels, depth, g.o, zero,
        )  # fmt: skip
