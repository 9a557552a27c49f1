"""The steps of an integer inference, compiled: one image goes through all of them while it is in cache.

Values are int8 maps (H, W, C), one behind the other. A convolution first copies its source to int16, without
the zero point and with the margin that padding asks for, and then takes its products two by two.
"""

import numpy as np

from tinycnn.kernels.integer import HIGH, LOW
from tinycnn.kernels.jit.compile import part, shared
from tinycnn.kernels.jit.inference_steps import lanes_of
from tinycnn.kernels.jit.simd import half_zeros, load, store, zeros
from tinycnn.kernels.jit.simd_int import add_products, load_pair, requantised

#: The kinds of steps.
CONV, DEPTHWISE, MEAN, ADD, POOL, SAME = range(6)
#: Pixels that a convolution does together, and channels.
TILE, LANES = 6, 16

#: A step as compiled code takes it. Places (`_at`) count from the beginning of the flat arrays.
STEP = np.dtype(
    [
        (name, np.int64)
        for name in (
            "kind", "h", "w", "c", "oh", "ow", "o", "kh", "kw", "sh", "sw", "top", "left", "ph", "pw",
            "source_at", "source_zero", "target_at", "zero", "shift",
            "extra_at", "extra_zero",  # of the second source; in POOL, a place for a row
            "pairs",  # of a window's row: products that are added two by two
            "weights_at", "bias_at", "multiplier_at", "offsets_at",
            "sums_only",  # whether int32 sums are wanted, the network's result
        )
    ]
)  # fmt: skip


@part
def run_step(g, values, padded, sums, weights, numbers):
    """Carry out a step for one image.

    Args:
        g: a `STEP`.
        values: int8, flat, all values.
        padded: int16, for the source of a convolution.
        sums: int32, for a row of sums, or all that are wanted.
        weights: int16, all kernels.
        numbers: int32, all biases, multipliers and offsets.
    """
    shared()
    if g.kind == CONV:
        _unpack(g, values, padded)
        _convolve(g, values, padded, sums, weights, numbers)
    elif g.kind == DEPTHWISE:
        _unpack(g, values, padded)
        _depthwise(g, values, padded, sums, weights, numbers)
    elif g.kind == MEAN:
        _mean(g, values, sums, numbers)
    elif g.kind == ADD:
        _add(g, values, numbers)
    elif g.kind == POOL:
        _pool(g, values)
    else:
        here, there = np.uintp(g.source_at), np.uintp(g.target_at)
        for k in range(np.uintp(g.oh * g.ow * g.o)):
            values[there + k] = values[here + k]


@part
def _unpack(g, values, padded):
    """Copy a step's source to int16: q - zero, and zeros around it."""
    shared()
    row, inside = g.pw * g.c, np.uintp(g.w * g.c)
    if g.ph != g.h or g.pw != g.w:
        for k in range(np.uintp(g.ph * row)):
            padded[k] = 0
    for i in range(g.h):
        here, there = np.uintp(g.source_at + i * g.w * g.c), np.uintp((g.top + i) * row + g.left * g.c)
        for k in range(inside):
            padded[there + k] = values[here + k] - g.source_zero


@part
def _convolve(g, values, padded, sums, weights, numbers):
    """All pixels, `TILE` at a time, and of each all channels, `LANES` or half as many at a time."""
    shared()
    arrays = padded, weights, numbers, values, sums
    for p in range(0, g.oh * g.ow, TILE):
        # The last channels come first: their vector may reach into the next pixel, which is written later.
        for c in range((g.o - 1) // LANES * LANES, -1, -LANES):
            if g.o - c > LANES // 2:
                _tile(g, p, c, arrays, zeros(weights), zeros(sums))
            else:
                _tile(g, p, c, arrays, half_zeros(weights), half_zeros(sums))


@part
def _tile(g, p, c, arrays, pairs, zero):
    """As many channels as `zero` is long of `TILE` pixels from p on, their sums in registers.

    `pairs` is as long as that many pairs of weights. Instead of pixels behind the last, it is done again.
    """
    shared()
    x, w, numbers, values, sums = arrays
    last = g.oh * g.ow - 1
    p1, p2, p3, p4, p5 = (
        min(p + 1, last),
        min(p + 2, last),
        min(p + 3, last),
        min(p + 4, last),
        min(p + 5, last),
    )
    x0, x1, x2 = _window(g, numbers, p), _window(g, numbers, p1), _window(g, numbers, p2)
    x3, x4, x5 = _window(g, numbers, p3), _window(g, numbers, p4), _window(g, numbers, p5)
    y0 = y1 = y2 = y3 = y4 = y5 = load(numbers, np.uintp(g.bias_at + c), zero)
    w_at = np.uintp(g.weights_at + c * g.kh * g.pairs * 2)
    for r in range(g.kh):
        i = np.uintp(r * g.pw * g.c)
        for _ in range(g.pairs):
            ws = load(w, w_at, pairs)
            y0, y1 = _pair(x, x0 + i, ws, y0), _pair(x, x1 + i, ws, y1)
            y2, y3 = _pair(x, x2 + i, ws, y2), _pair(x, x3 + i, ws, y3)
            y4, y5 = _pair(x, x4 + i, ws, y4), _pair(x, x5 + i, ws, y5)
            i, w_at = i + np.uintp(2), w_at + lanes_of(pairs)
    _write(g, y0, p, c, numbers, values, sums)
    _write(g, y1, p1, c, numbers, values, sums)
    _write(g, y2, p2, c, numbers, values, sums)
    _write(g, y3, p3, c, numbers, values, sums)
    _write(g, y4, p4, c, numbers, values, sums)
    _write(g, y5, p5, c, numbers, values, sums)


@part
def _window(g, numbers, p):
    """Where the window of a pixel begins."""
    return np.uintp(numbers[g.offsets_at + p])


@part
def _pair(x, at, ws, y):
    """Two inputs, times their weights for all channels, added to the sums."""
    return add_products(load_pair(x, at, ws), ws, y)


@part
def _write(g, y, p, c, numbers, values, sums):
    """Write sums, or the int8 numbers that they become."""
    at = p * g.o + c
    if g.sums_only:
        store(sums, np.uintp(at), y)
    else:
        multiplier = load(numbers, np.uintp(g.multiplier_at + c), y)
        store(values, np.uintp(g.target_at + at), requantised(y, multiplier, g.shift, g.zero))


@part
def _depthwise(g, values, padded, sums, weights, numbers):
    """Row by row: kernel, bias and multipliers are repeated along a row, so that inner loops are long."""
    shared()
    row = g.ow * g.c
    for i in range(g.oh):
        bias, here = np.uintp(g.bias_at), np.uintp(i * row if g.sums_only else 0)
        for k in range(np.uintp(row)):
            sums[here + k] = numbers[bias + k]
        for tap in range(g.kh * g.kw):
            start = ((i * g.sh + tap // g.kw) * g.pw + tap % g.kw) * g.c
            length = row if g.sw == 1 else g.c
            for j in range(0, row, length):
                x_at, at = np.uintp(start + j * g.sw), here + np.uintp(j)
                w_at = np.uintp(g.weights_at + tap * row + j)
                for k in range(np.uintp(length)):
                    sums[at + k] += padded[x_at + k] * weights[w_at + k]
        if not g.sums_only:
            _requantise(g, sums, row, values, g.target_at + i * row, numbers)


@part
def _requantise(g, sums, length, values, target, numbers):
    shared()
    half, there, multiplier = 1 << (g.shift - 1), np.uintp(target), np.uintp(g.multiplier_at)
    for k in range(np.uintp(length)):
        value = ((sums[k] * numbers[multiplier + k] + half) >> g.shift) + g.zero
        values[there + k] = min(max(value, LOW), HIGH)


@part
def _mean(g, values, sums, numbers):
    shared()
    for c in range(g.c):
        sums[c] = 0
    for pixel in range(g.h * g.w):
        here = np.uintp(g.source_at + pixel * g.c)
        for c in range(np.uintp(g.c)):
            sums[c] += values[here + c] - g.source_zero
    if not g.sums_only:
        _requantise(g, sums, g.c, values, g.target_at, numbers)


@part
def _add(g, values, numbers):
    shared()
    first, second, half = numbers[g.multiplier_at], numbers[g.multiplier_at + 1], 1 << (g.shift - 1)
    here, other, there = np.uintp(g.source_at), np.uintp(g.extra_at), np.uintp(g.target_at)
    for k in range(np.uintp(g.oh * g.ow * g.o)):
        total = (values[here + k] - g.source_zero) * first + (values[other + k] - g.extra_zero) * second
        values[there + k] = min(max(((total + half) >> g.shift) + g.zero, LOW), HIGH)


@part
def _pool(g, values):
    """The largest of a few rows, number by number, and then of a few pixels of that row."""
    shared()
    row, spare = np.uintp(g.w * g.c), np.uintp(g.extra_at)
    for i in range(g.oh):
        first, stop = max(i * g.sh - g.top, 0), min(i * g.sh - g.top + g.kh, g.h)
        for r in range(first, stop):
            here = np.uintp(g.source_at + r * g.w * g.c)
            _largest(values, here, spare, row, r == first)
        for j in range(g.ow):
            left, right = max(j * g.sw - g.left, 0), min(j * g.sw - g.left + g.kw, g.w)
            there = np.uintp(g.target_at + (i * g.ow + j) * g.c)
            for s in range(left, right):
                _largest(values, spare + np.uintp(s * g.c), there, np.uintp(g.c), s == left)


@part
def _largest(values, here, there, length, begin):
    if begin:
        for k in range(length):
            values[there + k] = values[here + k]
    else:
        for k in range(length):
            values[there + k] = max(values[there + k], values[here + k])
