"""The fused way back through a convolution: one pass over its input, and over its output's gradient."""

from functools import cache
from typing import NamedTuple

import numpy as np

from tinycnn.kernels.deferred import Gradient, Input, NormGradient, raw
from tinycnn.kernels.jit import image as in_cache
from tinycnn.kernels.jit.compile import compiled, part, section
from tinycnn.kernels.jit.deferred import Source, over_images
from tinycnn.kernels.jit.depthwise_image import add_taps_gradient, depthwise
from tinycnn.kernels.jit.fused import bring_input
from tinycnn.kernels.jit.fused_sizes import geometry, layout
from tinycnn.kernels.jit.product import product
from tinycnn.kernels.jit.team import CHUNKS, claim, own, share_call
from tinycnn.kernels.jit.together import together
from tinycnn.kernels.memory import empty
from tinycnn.kernels.padding import Pad, Pair
from tinycnn.kernels.threads import chunk_count


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
    taps = none if depthwise is None else depthwise.ravel()
    turned_taps = none if depthwise is None else depthwise[::-1, ::-1].ravel()
    turned = kernel[::-1, ::-1].transpose(0, 1, 3, 2).ravel()
    sums_of_chunks = empty((chunk_count(n), taps.size + kernel.size), dtype)
    arrays = (taps, turned_taps, turned, none if extra is None else extra.ravel())
    results = (dx.reshape(-1), sums.reshape(-1), sums_of_chunks)
    wanted = NOTHING if not need_dx else FINISHED if partial else DEFERRED
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
        arrays = g.ravel(), dz.z.reshape(-1), dz.gain, dz.slope, dz.offset
        if pooled is None:
            return cls(*arrays, _NOBODY, _NOWHERE, 0, 0, 0, 0, 0, 0)
        places = _places(pooled.window, *dz.z.shape[2:])
        (top, _), (left, _) = pooled.pad
        _, ph, pw, _ = g.shape
        return cls(*arrays, pooled.winner.reshape(-1), places, ph, pw, *pooled.stride, top, left)


_NOBODY, _NOWHERE = np.zeros(0, np.uint8), np.zeros(0, np.int64)


@cache
def _places(window: Pair, width: int, channels: int) -> np.ndarray:
    rows, columns = np.indices(window)
    return (rows * width + columns).reshape(-1) * channels


#: What is asked of the input's gradient: nothing, that of the finished input, or that of the deferred one.
NOTHING, FINISHED, DEFERRED = 0, 1, 2


@compiled
def _backward(
    x, y, g, at, taps, turned_taps, turned, extra, dx, sums, sums_of_chunks, n, wanted,
    memory, queue, mailbox,
):  # fmt: skip
    arguments = (
        x, y, g, at, taps, turned_taps, turned, extra, dx, sums, sums_of_chunks, n, wanted, memory, queue,
    )  # fmt: skip
    together(_backward_part, arguments, mailbox)


@part
def _backward_part(
    x, y, g, at, taps, turned_taps, turned, extra, dx, sums, sums_of_chunks, n, wanted,
    memory, queue, member,
):  # fmt: skip
    memory = own(memory, queue, member)
    zero = np.int64(0)
    in_cache.clear(memory, zero, at.end)  # the padding stays zero
    for per_channel, there in ((x.mean, at.mean), (x.scale, at.scale), (x.shift, at.shift)):
        in_cache.repeat(per_channel, memory, there, g.in_period)
    for per_channel, there in ((y.gain, at.gain), (y.slope, at.slope), (y.offset, at.offset)):
        in_cache.repeat(per_channel, memory, there, g.out_period)
    for turn in range(queue[CHUNKS]):
        chunk = claim(queue, member, turn)
        if chunk < 0:
            continue
        sum_of = sums_of_chunks[chunk]
        in_cache.clear(sum_of, zero, sum_of.size)
        for image in range(chunk * n // queue[CHUNKS], (chunk + 1) * n // queue[CHUNKS]):
            in_cache.clear(memory, at.sums, at.dz - at.sums)
            seen, spread, left = zero, zero, zero  # rows of x, of the pooled gradient, and of dx: done so far
            for start in range(0, g.oh, g.band):
                stop = min(start + g.band, g.oh)
                seen = bring_input(x, g, at, memory, image, seen, stop)
                spread = _bring_gradient(y, g, at, memory, image, spread, start, stop)
                _add_kernel_gradients(g, at, memory, taps, turned, start, stop - start, sum_of)
                if wanted != NOTHING:
                    ready = _ready(g, left, stop)
                    _input_gradient(g, at, memory, turned_taps, turned, stop - start, left, ready)
                    _hand_on(x, g, at, memory, extra, wanted, image, left, ready, dx)
                    left = ready
            in_cache.fold(memory, at.sums, g.in_period, g.c, sums, 2 * image * g.c)
            in_cache.fold(memory, at.squares, g.in_period, g.c, sums, (2 * image + 1) * g.c)


@section
def _bring_gradient(y, g, at, memory, image, spread, start, stop):
    """Finish the gradient of some rows of the output; return how many pooled rows are spread by now."""
    there = (image * g.oh + start) * g.out_row
    if y.winner.size:
        until = y.ph if stop == g.oh else min(y.ph, (stop + y.top + y.stride_h - 1) // y.stride_h)
        in_cache.scatter(
            y.g, y.winner, y.places, (image * y.ph + spread) * y.pw * g.o, until - spread, y.pw, g.o,
            y.stride_h, y.stride_w, y.top, y.left, g.out_row,
            memory, at.spread + spread * y.stride_h * g.out_row,
        )  # fmt: skip
        spread = max(until, spread)
        source, source_at = memory, at.spread + start * g.out_row
    else:
        source, source_at = y.g, there
    to, to_row = _dz(g, at, start)
    in_cache.norm_gradient(
        source, source_at, y.z, there, memory, at.gain, at.slope, at.offset, stop - start, g.out_row,
        g.out_period, memory, to, to_row,
    )  # fmt: skip
    return spread


@section
def _around(g, at, row):
    """Where in the gradient that the window slides over a row begins that belongs to an output row."""
    return at.around + (g.kh - 1 - g.top + row) * g.around_row + (g.kw - 1 - g.left) * g.inner


@section
def _dz(g, at, start):
    """Where the gradient of output rows from `start` on lies, and how long a row is."""
    if g.slides:
        return _around(g, at, start), g.around_row
    return at.dz, g.out_row


@section
def _add_kernel_gradients(g, at, memory, taps, turned, start, rows, sum_of):
    """Add what some rows contribute to the kernels' gradients."""
    zero, one = np.int64(0), np.int64(1)  # as plain numbers they would make `product` compile anew
    first, pixels = at.padded + start * g.sh * g.padded_row, rows * g.ow
    dz, dz_row = _dz(g, at, start)
    if g.separable:
        depthwise(memory, first, g.padded_row, taps, g.kh, g.kw, g.c, memory, at.between, rows, g.ow)
        product(
            memory, at.between, zero, one, g.c, memory, dz, zero, g.o,
            sum_of, taps.size, g.o, one, g.c, pixels, g.o, one,
        )  # fmt: skip
        product(
            memory, dz, zero, g.o, one, turned, zero, zero, g.c,
            memory, at.between, g.c, one, pixels, g.o, g.c, zero,
        )  # fmt: skip
        add_taps_gradient(
            memory, first, g.padded_row, g.kh, g.kw, g.c, memory, at.between, rows, g.ow, sum_of, zero
        )
        to = _around(g, at, start)
        in_cache.place(memory, at.between, rows, g.ow * g.c, memory, to, g.around_row)
    else:
        length = g.kw * g.c
        for r in range(g.kh):
            product(
                memory, first + r * g.padded_row, g.sh * g.padded_row, one, g.sw * g.c,
                memory, dz, dz_row, g.o, sum_of, r * length * g.o,
                g.o, rows, length, g.ow, g.o, one,
            )  # fmt: skip


@section
def _ready(g, left, stop):
    """Return how many rows of the input's gradient need no output row from `stop` on."""
    if stop == g.oh:
        return g.h
    return min(g.h, max(left, stop - g.top if g.slides or g.separable else stop * g.sh))


@section
def _input_gradient(g, at, memory, turned_taps, turned, rows, left, ready):
    """Compute rows `left` to `ready` of the input's gradient; with a stride the window is of one pixel."""
    zero, one = np.int64(0), np.int64(1)
    new, first = ready - left, at.around + left * g.around_row
    if g.separable:
        depthwise(memory, first, g.around_row, turned_taps, g.kh, g.kw, g.c, memory, at.dx, new, g.w)
    elif g.slides:
        for i in range(new):
            product(
                memory, first + i * g.around_row, g.around_row, g.o, one,
                turned, zero, g.kw * g.o * g.c, g.c,
                memory, at.dx + i * g.in_row, g.c, g.kh, g.w, g.kw * g.o, g.c, zero,
            )  # fmt: skip
    elif new:
        in_cache.clear(memory, at.dx, new * g.in_row)
        for i in range(rows):
            product(
                memory, at.dz + i * g.out_row, zero, g.o, one, turned, zero, zero, g.c,
                memory, at.dx + i * g.sh * g.in_row, g.sw * g.c, one, g.ow, g.o, g.c, zero,
            )  # fmt: skip


@section
def _hand_on(x, g, at, memory, extra, wanted, image, left, ready, dx):
    """Write these rows back through the ReLU, and take the sums that batch norm's backward pass asks for."""
    rows, there = ready - left, (image * g.h + left) * g.in_row
    if extra.size:
        in_cache.add_to(extra, there, rows * g.in_row, memory, at.dx)
    if wanted == FINISHED or x.floor < 0:  # nothing to mask where there is no ReLU
        in_cache.place(memory, at.dx, rows, g.in_row, dx, there, g.in_row)
    else:
        inside = at.padded + (g.top + left) * g.padded_row + g.left * g.c
        in_cache.mask(memory, at.dx, memory, inside, g.padded_row, x.floor, rows, g.in_row, dx, there)
    if wanted == DEFERRED:
        in_cache.add_gradient_sums(
            dx, there, x.z, there, rows, g.in_row, g.in_period, memory, at.mean, at.sums, at.squares
        )
