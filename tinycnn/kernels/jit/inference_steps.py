"""The steps of an inference, compiled: one function that carries out a piece of any of them.

All values of an image lie in one flat array, each with room for the zeros that a later window reaches over.
A tile of pixels goes through a window at a time, its sums in registers from the bias to the ReLU: six pixels
keep the registers of most processors full, twelve those of others (`MANY_REGISTERS`).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinycnn.kernels.jit.compile import part, shared
from tinycnn.kernels.jit.image import clear
from tinycnn.kernels.jit.simd import MANY_REGISTERS, choose, fma, half_zeros, load, store, wins, zeros

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


def _tile(factor: Callable[..., Any], depthwise: bool, twelve: bool) -> Callable[..., None]:
    """Return the function that convolves twelve pixels, or six, given the one that loads a pixel's factor."""

    @part
    def add_three(x, at, apart, weights, sums):
        y0, y1, y2 = sums
        y0, y1 = fma(factor(x, at, y0), weights, y0), fma(factor(x, at + apart[0], y1), weights, y1)
        return y0, y1, fma(factor(x, at + apart[1], y2), weights, y2)

    @part
    def store_three(out, at, apart, sums, relu):
        y0, y1, y2 = sums
        store(out, at, positive(y0) if relu else y0)
        store(out, at + apart[0], positive(y1) if relu else y1)
        store(out, at + apart[1], positive(y2) if relu else y2)

    @part
    def tile(x, windows, apart, sizes, w, w_at, out, results, out_apart, relu, zero):
        """Set as many channels of each pixel as a vector is long to their sums, which begin with the bias.

        Pixels go in threes: with windows = (a, ...) and apart = (x1, x2), those of the first three begin at
        x[a], x[a + x1] and x[a + x2]. The same holds for the places of their results in out.
        """
        shared()
        a, b, c, d = windows
        runs, run_step, depth, channels = sizes
        # Numbers known to the compiler are worth much here: else it runs out of registers for addresses.
        step, lanes = channels if depthwise else np.uintp(1), lanes_of(zero)
        bias = load(w, w_at, zero)
        first = second = third = fourth = bias, bias, bias
        w_at += lanes
        for _ in range(runs):
            i, j, k, m = a, b, c, d
            for _ in range(depth):
                weights = load(w, w_at, zero)
                first = add_three(x, i, apart, weights, first)
                second = add_three(x, j, apart, weights, second)
                if twelve:
                    third = add_three(x, k, apart, weights, third)
                    fourth = add_three(x, m, apart, weights, fourth)
                i, j, k, m, w_at = i + step, j + step, k + step, m + step, w_at + lanes
            a, b, c, d = a + run_step, b + run_step, c + run_step, d + run_step
        store_three(out, results[0], out_apart, first, relu)
        store_three(out, results[1], out_apart, second, relu)
        if twelve:
            store_three(out, results[2], out_apart, third, relu)
            store_three(out, results[3], out_apart, fourth, relu)

    return tile


def _convolution(factor: Callable[..., Any], depthwise: bool) -> Callable[..., None]:
    """Return the function that convolves, given the one that loads a pixel's next factor."""
    six, twelve = _tile(factor, depthwise, False), _tile(factor, depthwise, True)

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
        # Pixels go in threes of one row, of which the last overlaps the one before.
        three = min(ow, 3)
        second, third = min(1, three - 1), min(2, three - 1)
        apart = np.uintp(second * source[1]), np.uintp(third * source[1])
        out_apart = np.uintp(second * target[1]), np.uintp(third * target[1])
        threes = (rows[1] - rows[0]) * -(-ow // three)
        here = rows[0] // oh, rows[0] % oh, np.int64(0)
        while threes > 0:
            many, places = MANY_REGISTERS and threes > 2, _places(here, threes, size)
            windows, results = _at(source, places), _at(target, places)
            for k in range(channels[0], channels[1], lanes):
                at = np.uintp(w_at + k * (runs * depth + 1))
                first, to = _moved(windows, k if depthwise else np.int64(0)), _moved(results, k)
                whole = k + lanes <= channels[1]
                if many and whole:
                    twelve(x, first, apart, sizes, w, at, out, to, out_apart, relu, zeros(x))
                elif many:
                    twelve(x, first, apart, sizes, w, at, out, to, out_apart, relu, half_zeros(x))
                elif whole:
                    six(x, first, apart, sizes, w, at, out, to, out_apart, relu, zeros(x))
                else:
                    six(x, first, apart, sizes, w, at, out, to, out_apart, relu, half_zeros(x))
            here = _next_three(places[3] if many else places[1], size)
            threes -= 4 if many else 2

    return convolve


@part
def _places(here, threes, size):
    """Return the places of four threes from `here` on; where there are fewer, of the last one again."""
    second = _next_three(here, size) if threes > 1 else here
    third = _next_three(second, size) if threes > 2 else second
    return here, second, third, _next_three(third, size) if threes > 3 else third


@part
def _next_three(place, size):
    (image, i, j), (oh, ow) = place, size
    if j + 3 < ow:
        return image, i, min(j + 3, ow - 3)
    return (image, i + 1, np.int64(0)) if i + 1 < oh else (image + 1, np.int64(0), np.int64(0))


@part
def _at(kind, places):
    """Return where pixels lie in a map, given where it begins, elements between columns, rows, images."""
    first, column, row, each = kind
    (n0, i0, j0), (n1, i1, j1), (n2, i2, j2), (n3, i3, j3) = places
    return (
        first + n0 * each + i0 * row + j0 * column,
        first + n1 * each + i1 * row + j1 * column,
        first + n2 * each + i2 * row + j2 * column,
        first + n3 * each + i3 * row + j3 * column,
    )


@part
def _moved(places, step):
    a, b, c, d = places
    return np.uintp(a + step), np.uintp(b + step), np.uintp(c + step), np.uintp(d + step)


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
