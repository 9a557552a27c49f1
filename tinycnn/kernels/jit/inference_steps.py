"""The steps of an inference, compiled: one function that carries out a piece of any of them.

All values of an image lie in one flat array, each with room for the zeros that a later window reaches over.
A tile of pixels goes through a window at a time, its sums in registers from the bias to the ReLU.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinycnn.kernels.jit.compile import part, shared
from tinycnn.kernels.jit.image import clear
from tinycnn.kernels.jit.simd import choose, fma, half_zeros, load, store, wins, zeros

#: The kinds of steps; the last two bring the input in and the result out.
WINDOW, POOL, MEAN, SOFTMAX, SAME, LOAD, STORE = range(7)

#: A step as compiled code takes it. Places (`_at`) count from the beginning of an image's values to a map's
#: first pixel, a map's `_row` includes its margins, and -1 stands for what is missing.
STEP = np.dtype(
    [
        (name, np.int64)
        for name in (
            "kind", "h", "w", "c", "oh", "ow", "o", "kh", "kw", "sh", "sw", "top", "left", "relu",
            "source_at", "source_row", "target_at", "target_row", "extra_at", "extra_row",
            "above", "below", "before", "after",  # the target's margins
            "taps_at", "kernel_at",  # in the weights
            "rows", "channels",  # of one piece of the work
            "between",  # elements of what lies between its two convolutions
            "spans", "span", "source_span", "target_span",  # how a row is copied: parts, length, distances
            "incomplete",  # whether only part of the target's elements are written
        )
    ]
)  # fmt: skip


@part
def pieces(g, images):
    """Return the number of pieces that a step can be done in, in any order and by any thread."""
    return -(-images * g.oh // g.rows) * -(-g.o // g.channels)


@part
def run_piece(g, piece, x, y, first, images, values, size, weights, memory, memory_at):
    """Carry out one piece of a step for a few images.

    Args:
        g: a `STEP`.
        piece: its number.
        x, y: flat (N, H, W, C), the input and the result of the whole batch.
        first, images: of the batch, the first image and how many.
        values, size: flat array of all values, and elements of each image's.
        weights: flat array.
        memory, memory_at: this thread's own memory, from a place on.
    """
    shared()
    zero, blocks = np.int64(0), -(-g.o // g.channels)
    row, channel = piece // blocks * g.rows, piece % blocks * g.channels
    rows, channels = (row, min(row + g.rows, images * g.oh)), (channel, min(channel + g.channels, g.o))
    if piece == 0 and g.kind != STORE:
        _clear_margins(g, images, values, size)
    if g.kind == WINDOW:
        _window(g, rows, channels, values, size, weights, memory, memory_at)
    elif g.kind == POOL:
        _pool(g, rows, values, size)
    elif g.kind == MEAN:
        _mean(g, images, values, size)
    elif g.kind == SOFTMAX:
        _softmax(g, images, values, size)
    else:
        from_at, from_size, to_at, to_size = zero, size, zero, size
        source = target = values
        if g.kind == LOAD:
            source, from_size = x, g.h * g.source_row
            from_at = first * from_size
        elif g.kind == STORE:
            target, to_size = y, g.h * g.target_row
            to_at = first * to_size
        _same(g, images, source, from_at, from_size, target, to_at, to_size, values, size)


@part
def _clear_margins(g, images, values, size):
    """Set to zero what lies around a step's target, or all of it if channels are missing from each pixel."""
    inside, first = g.ow * g.o, g.target_at - g.above * g.target_row - g.before
    for image in range(images):
        at = image * size
        if g.incomplete:
            clear(values, at + first, (g.above + g.oh + g.below) * (inside + g.before + g.after))
        else:
            clear(values, at + first, g.above * g.target_row + g.before)
            at += g.target_at + inside
            for _ in range(g.oh - 1):  # what lies right of one row and left of the next is one piece
                clear(values, at, g.before + g.after)
                at += g.target_row
            clear(values, at, g.after + g.below * g.target_row)


@part
def _one(x, at, like):
    return x[at]


@intrinsic
def lanes_of(typing_context: Any, vector: Any) -> Any:
    """Return a vector's number of lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.get_constant(types.uintp, vector.lanes)

    return types.uintp(vector), generate


@intrinsic
def positive(typing_context: Any, vector: Any) -> Any:
    """Return max(vector, 0); NaN stays NaN."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zero = ir.Constant(arguments[0].type, [0.0] * vector.lanes)
        return builder.select(builder.fcmp_ordered(">", zero, arguments[0]), zero, arguments[0])

    return vector(vector), generate


def _convolution(factor: Callable[..., Any], depthwise: bool) -> Callable[..., None]:
    """Return the function that convolves, given the function that loads a pixel's next factor."""

    @part
    def tile(x, windows, sizes, w, w_at, relu, out, results, zero):
        """Set as many channels of six pixels as a vector is long to their sums, which begin with the bias.

        With windows = (a, b, x1, x2), those of the first three pixels begin at x[a], x[a + x1] and x[a + x2],
        of the others at x[b] and so on. The same holds for the places of their results in out.
        """
        shared()
        a, b, x1, x2 = windows
        c, d, out1, out2 = results
        runs, run_step, depth, channels = sizes
        # Numbers known to the compiler are worth much here: else it runs out of registers for addresses.
        step, lanes = channels if depthwise else np.uintp(1), lanes_of(zero)
        y0 = y1 = y2 = y3 = y4 = y5 = load(w, w_at, zero)
        w_at += lanes
        for _ in range(runs):
            i, j = a, b
            for _ in range(depth):
                weights = load(w, w_at, zero)
                y0, y1 = fma(factor(x, i, zero), weights, y0), fma(factor(x, i + x1, zero), weights, y1)
                y2, y3 = fma(factor(x, i + x2, zero), weights, y2), fma(factor(x, j, zero), weights, y3)
                y4, y5 = fma(factor(x, j + x1, zero), weights, y4), fma(factor(x, j + x2, zero), weights, y5)
                i, j, w_at = i + step, j + step, w_at + lanes
            a, b = a + run_step, b + run_step
        if relu:
            y0, y1, y2 = positive(y0), positive(y1), positive(y2)
            y3, y4, y5 = positive(y3), positive(y4), positive(y5)
        store(out, c, y0)
        store(out, c + out1, y1)
        store(out, c + out2, y2)
        store(out, d, y3)
        store(out, d + out1, y4)
        store(out, d + out2, y5)

    @part
    def convolve(x, source, out, target, size, rows, channels, window, w, w_at, relu):
        """Convolve some rows into some channels.

        Args:
            x, source, out, target: the maps: where each begins, elements between columns, rows, images.
            size: height and width of the output.
            rows: the first row, and the one after the last, counted through all images.
            channels: the first channel, and the one after the last.
            window: number of runs, elements between them, factors in a run, and elements between the
                factors of a depthwise convolution.
            w, w_at: for each panel of channels a vector of biases, then one of weights for each factor.
            relu: whether negative sums become zero.
        """
        shared()
        (oh, ow), (runs, run_step, depth, step) = size, window
        lanes = np.int64(64 // x.itemsize)
        sizes = np.uintp(runs), np.uintp(run_step), np.uintp(depth), np.uintp(step)
        # Pixels go in threes of one row, two threes at a time. The last three overlap those before.
        three = min(ow, 3)
        second, third = min(1, three - 1), min(2, three - 1)
        x1, x2 = np.uintp(second * source[1]), np.uintp(third * source[1])
        out1, out2 = np.uintp(second * target[1]), np.uintp(third * target[1])
        row, j = rows[0], np.int64(0)
        image, i = row // oh, row % oh
        while row < rows[1]:
            a = b = source[0] + image * source[3] + i * source[2] + j * source[1]
            c = d = target[0] + image * target[3] + i * target[2] + j * target[1]
            for turn in range(2):
                if j + three < ow:
                    j = min(j + 3, ow - three)
                else:
                    j, row, i = np.int64(0), row + 1, i + 1
                    if i == oh:
                        i, image = np.int64(0), image + 1
                if turn == 0 and row < rows[1]:
                    b = source[0] + image * source[3] + i * source[2] + j * source[1]
                    d = target[0] + image * target[3] + i * target[2] + j * target[1]
            for k in range(channels[0], channels[1], lanes):
                at = np.uintp(w_at + k * (runs * depth + 1))
                windows = np.uintp(a + k * depthwise), np.uintp(b + k * depthwise), x1, x2
                results = np.uintp(c + k), np.uintp(d + k), out1, out2
                if k + lanes <= channels[1]:
                    tile(x, windows, sizes, w, at, relu, out, results, zeros(x))
                else:
                    tile(x, windows, sizes, w, at, relu, out, results, half_zeros(x))

    return convolve


_convolve, _convolve_depthwise = _convolution(_one, False), _convolution(load, True)


@part
def _window(g, rows, channels, values, size, weights, memory, memory_at):
    """A depthwise convolution, an ordinary one, or one after the other for a few rows."""
    shared()
    zero, one, out_size = np.int64(0), np.int64(1), (g.oh, g.ow)
    source = (g.source_at - g.top * g.source_row - g.left * g.c, g.sw * g.c, g.sh * g.source_row, size)
    target = (g.target_at, g.o, g.target_row, size)
    if g.taps_at >= 0:
        window = (g.kh, g.source_row, g.kw, g.c)
        if g.kernel_at >= 0:
            between = (memory_at - rows[0] * g.ow * g.c, g.c, g.ow * g.c, g.oh * g.ow * g.c)
            _convolve_depthwise(
                values, source, memory, between, out_size, rows, (zero, g.c), window, weights, g.taps_at, zero
            )
            window = (one, zero, g.c, one)
            _convolve(
                memory,
                between,
                values,
                target,
                out_size,
                rows,
                channels,
                window,
                weights,
                g.kernel_at,
                g.relu,
            )
        else:
            _convolve_depthwise(
                values, source, values, target, out_size, rows, channels, window, weights, g.taps_at, g.relu
            )
    else:
        window = (g.kh, g.source_row, g.kw * g.c, one)
        _convolve(
            values, source, values, target, out_size, rows, channels, window, weights, g.kernel_at, g.relu
        )


@part
def _pool(g, rows, values, size):
    """The largest value of each window, plus `extra`."""
    shared()
    zero, one = half_zeros(values), values.dtype.type(1)
    lanes = np.int64(32 // values.itemsize)
    for here in range(rows[0], rows[1]):
        image, i = here // g.oh * size, here % g.oh
        first_row, stop_row = max(i * g.sh - g.top, 0), min(i * g.sh - g.top + g.kh, g.h)
        for j in range(g.ow):
            left, right = max(j * g.sw - g.left, 0), min(j * g.sw - g.left + g.kw, g.w)
            source = image + g.source_at + first_row * g.source_row + left * g.c
            target = image + g.target_at + i * g.target_row + j * g.c
            extra = image + g.extra_at + i * g.extra_row + j * g.c
            for c in range(0, g.c, lanes):
                best = load(values, np.uintp(source + c), zero)
                for r in range(stop_row - first_row):
                    at = np.uintp(source + r * g.source_row + c)
                    for _ in range(right - left):
                        value = load(values, at, zero)
                        best = choose(wins(value, best), value, best)
                        at += np.uintp(g.c)
                if g.extra_at >= 0:
                    best = fma(one, load(values, np.uintp(extra + c), zero), best)
                store(values, np.uintp(target + c), positive(best) if g.relu else best)


@part
def _mean(g, images, values, size):
    shared()
    count = values.dtype.type(g.h * g.w)
    for image in range(images):
        source, target = image * size + g.source_at, image * size + g.target_at
        clear(values, target, g.c)
        for i in range(g.h):
            for j in range(g.w):
                here, there = np.uintp(source + i * g.source_row + j * g.c), np.uintp(target)
                for c in range(np.uintp(g.c)):
                    values[there + c] += values[here + c]
        for c in range(target, target + g.c):
            values[c] /= count


@part
def _softmax(g, images, values, size):
    shared()
    for pixel in range(images * g.h * g.w):
        image, i, j = pixel // (g.h * g.w) * size, pixel // g.w % g.h, pixel % g.w
        source = image + g.source_at + i * g.source_row + j * g.c
        target = image + g.target_at + i * g.target_row + j * g.c
        top, total = values[source], values.dtype.type(0)
        for c in range(source, source + g.span):
            top = max(top, values[c])
        for c in range(g.span):
            values[target + c] = np.exp(values[source + c] - top)
            total += values[target + c]
        for c in range(target, target + g.span):
            values[c] /= total


@part
def _same(g, images, x, x_at, x_size, y, y_at, y_size, values, size):
    """Copy, plus `extra`, in spans: whole rows, or pixels where only one side has them one by one."""
    shared()
    zero = y.dtype.type(0)
    for image in range(images):
        for i in range(g.h):
            for j in range(g.spans):
                here = np.uintp(x_at + image * x_size + g.source_at + i * g.source_row + j * g.source_span)
                there = np.uintp(y_at + image * y_size + g.target_at + i * g.target_row + j * g.target_span)
                for k in range(np.uintp(g.span)):
                    y[there + k] = x[here + k]
                if g.extra_at >= 0:
                    extra = np.uintp(image * size + g.extra_at + i * g.extra_row + j * g.target_span)
                    for k in range(np.uintp(g.span)):
                        y[there + k] += values[extra + k]
                if g.relu:
                    for k in range(np.uintp(g.span)):
                        y[there + k] = zero if y[there + k] < zero else y[there + k]
