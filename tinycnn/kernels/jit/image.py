"""What fused kernels do to a few rows of an image in cache: flat arrays, an offset for each, one loop.

`row` is the length of a row of pixels, W*C. Per-channel numbers lie in `memory`, repeated by `repeat` until
they fill whole vectors: `period` elements. Loops keep a vector of each in registers while they stride from
period to period, however few channels there are; what a row holds beyond its last whole vector goes number by
number. The `np.uintp` tell the compiler that no index is negative: Python's counting from the end would keep
it from using SIMD.
"""

import numpy as np

from tinycnn.kernels.jit.compile import part, shared
from tinycnn.kernels.jit.simd import choose, fill, fma, larger, load, store, wins, zeros


@part
def repeat(per_channel, memory, at, period):
    """Repeat (C,) numbers: set memory[at + k] for k < period."""
    shared()
    channels = per_channel.size
    for pixel in range(at, at + period, channels):
        for c in range(channels):
            memory[pixel + c] = per_channel[c]


@part
def finish(z, z_at, memory, scale, shift, floor, rows, row, period, out, out_at, out_row):
    """Write max(z * scale + shift, floor) row by row: normalisation and ReLU on the way into cache."""
    shared()
    bottom, end = fill(floor, zeros(z)), np.uintp(row)
    step, lanes = np.uintp(period), np.uintp(64 // z.itemsize)
    for i in range(rows):
        here, there = np.uintp(z_at + i * row), np.uintp(out_at + i * out_row)
        for c in range(np.uintp(0), step, lanes):
            factor, term = (
                load(memory, np.uintp(scale) + c, bottom),
                load(memory, np.uintp(shift) + c, bottom),
            )
            for k in range(c, end - end % lanes, step):
                value = fma(load(z, here + k, bottom), factor, term)
                store(out, there + k, choose(wins(value, bottom), value, bottom))
        for k in range(end - end % lanes, end):
            value = z[here + k] * memory[np.uintp(scale) + k % step] + memory[np.uintp(shift) + k % step]
            out[there + k] = floor if value <= floor else value  # NaN stays NaN


@part
def add_finished(z, z_at, memory, scale, shift, floor, rows, row, period, out, out_at):
    """Add max(z * scale + shift, floor), row by row."""
    shared()
    for i in range(rows):
        for block in range(0, row, period):
            here, there = np.uintp(z_at + i * row + block), np.uintp(out_at + i * row + block)
            factor, term = np.uintp(scale), np.uintp(shift)
            for k in range(np.uintp(min(period, row - block))):
                value = z[here + k] * memory[factor + k] + memory[term + k]
                out[there + k] += floor if value <= floor else value


@part
def centre(z, z_at, rows, row, period, channels, memory, pivot):
    """Set a period at `pivot` to each channel's mean over some rows: a number near the whole image's mean."""
    shared()
    clear(memory, pivot, period)
    for i in range(rows):
        for block in range(0, row, period):
            here, there = np.uintp(z_at + i * row + block), np.uintp(pivot)
            for k in range(np.uintp(min(period, row - block))):
                memory[there + k] += z[here + k]
    for pixel in range(pivot + channels, pivot + period, channels):
        here, there = np.uintp(pixel), np.uintp(pivot)
        for c in range(np.uintp(channels)):
            memory[there + c] += memory[here + c]
    share = memory.dtype.type(1) / memory.dtype.type(rows * (row // channels))
    for c in range(pivot, pivot + channels):
        memory[c] *= share
    for k in range(pivot + channels, pivot + period):
        memory[k] = memory[k - channels]


@part
def add_moments(z, z_at, rows, row, period, memory, pivot, sums, squares):
    """Add z - pivot, and its square, to sums over a period.

    Sums of z and of its square alone would lose all digits of a variance that is small beside the mean.
    """
    shared()
    zero, end = zeros(z), np.uintp(row)
    step, lanes = np.uintp(period), np.uintp(64 // z.itemsize)
    one, minus = fill(z.dtype.type(1), zero), fill(z.dtype.type(-1), zero)
    for i in range(rows):
        here = np.uintp(z_at + i * row)
        for c in range(np.uintp(0), step, lanes):
            middle = load(memory, np.uintp(pivot) + c, zero)
            total, square = load(memory, np.uintp(sums) + c, zero), load(memory, np.uintp(squares) + c, zero)
            for k in range(c, end - end % lanes, step):
                deviation = fma(middle, minus, load(z, here + k, zero))
                total, square = fma(deviation, one, total), fma(deviation, deviation, square)
            store(memory, np.uintp(sums) + c, total)
            store(memory, np.uintp(squares) + c, square)
        for k in range(end - end % lanes, end):
            deviation = z[here + k] - memory[np.uintp(pivot) + k % step]
            memory[np.uintp(sums) + k % step] += deviation
            memory[np.uintp(squares) + k % step] += deviation * deviation


@part
def moments(memory, pivot, sums, squares, period, channels, count, mean, variation, at):
    """From the sums over an image of `count` pixels set mean[at + c] and variation[at + c].

    The variation is the sum of squared deviations from the mean.
    """
    shared()
    fold(memory, sums, period, channels, mean, at)
    fold(memory, squares, period, channels, variation, at)
    for c in range(channels):
        mean_deviation = mean[at + c] / count
        variation[at + c] -= mean[at + c] * mean_deviation
        mean[at + c] = memory[pivot + c] + mean_deviation


@part
def clear(array, at, length):
    """Set a part of an array to zero."""
    shared()
    for k in range(np.uintp(at), np.uintp(at + length)):
        array[k] = 0


@part
def fold(memory, at, period, channels, out, out_at):
    """Sum a period over its pixels: set out[out_at + c] for each channel c."""
    shared()
    clear(out, out_at, channels)
    for pixel in range(at, at + period, channels):
        here, there = np.uintp(pixel), np.uintp(out_at)
        for c in range(np.uintp(channels)):
            out[there + c] += memory[here + c]


@part
def scatter(g, winner, places, g_at, out_h, out_w, channels, stride_h, stride_w, top, left, row, out, out_at):
    """Add each pooled gradient to the value that won its window, `places[winner]` behind its corner."""
    shared()
    at = np.uintp(g_at)
    for i in range(out_h):
        for j in range(out_w):
            corner = out_at + (i * stride_h - top) * row + (j * stride_w - left) * channels
            for c in range(channels):
                out[np.uintp(corner + places[winner[at]] + c)] += g[at]
                at += np.uintp(1)


@part
def norm_gradient(g, g_at, z, z_at, memory, gain, slope, offset, rows, row, period, out, out_at, out_row):
    """Write gain * g + slope * z + offset: batch norm's backward pass, on the way into cache."""
    shared()
    zero, end = zeros(z), np.uintp(row)
    step, lanes = np.uintp(period), np.uintp(64 // z.itemsize)
    a_at, b_at, c_at = np.uintp(gain), np.uintp(slope), np.uintp(offset)
    for i in range(rows):
        from_g, from_z, there = (
            np.uintp(g_at + i * row),
            np.uintp(z_at + i * row),
            np.uintp(out_at + i * out_row),
        )
        for at in range(np.uintp(0), step, lanes):
            a, b, c = (
                load(memory, a_at + at, zero),
                load(memory, b_at + at, zero),
                load(memory, c_at + at, zero),
            )
            for k in range(at, end - end % lanes, step):
                store(out, there + k, fma(load(g, from_g + k, zero), a, fma(load(z, from_z + k, zero), b, c)))
        for k in range(end - end % lanes, end):
            at = k % step
            value = memory[b_at + at] * z[from_z + k] + memory[c_at + at]
            out[there + k] = memory[a_at + at] * g[from_g + k] + value


@part
def place(x, x_at, rows, row, out, out_at, out_row):
    """Copy an image into a larger one."""
    shared()
    for i in range(rows):
        here, there = np.uintp(x_at + i * row), np.uintp(out_at + i * out_row)
        for k in range(np.uintp(row)):
            out[there + k] = x[here + k]


@part
def add_to(x, x_at, length, out, out_at):
    """Add one image to another."""
    shared()
    here, there = np.uintp(x_at), np.uintp(out_at)
    for k in range(np.uintp(length)):
        out[there + k] += x[here + k]


@part
def mask(dx, dx_at, x, x_at, x_row, floor, rows, row, g, g_at):
    """Write dx where the finished x lies above the floor of its ReLU, 0 elsewhere."""
    shared()
    nothing, end, lanes = zeros(g), np.uintp(row), np.uintp(64 // g.itemsize)
    bottom = fill(floor, nothing)
    for i in range(rows):
        here, there, where = np.uintp(dx_at + i * row), np.uintp(g_at + i * row), np.uintp(x_at + i * x_row)
        for k in range(np.uintp(0), end - end % lanes, lanes):
            passes = larger(load(x, where + k, bottom), bottom)
            store(g, there + k, choose(passes, load(dx, here + k, nothing), nothing))
        for k in range(end - end % lanes, end):
            g[there + k] = dx[here + k] if x[where + k] > floor else g.dtype.type(0)


@part
def add_gradient_sums(g, g_at, z, z_at, rows, row, period, memory, mean, first, second):
    """Add g, and g * (z - mean), to sums over a period."""
    shared()
    zero, end = zeros(z), np.uintp(row)
    step, lanes = np.uintp(period), np.uintp(64 // z.itemsize)
    one, minus = fill(z.dtype.type(1), zero), fill(z.dtype.type(-1), zero)
    middle_at, to_g, to_gz = np.uintp(mean), np.uintp(first), np.uintp(second)
    for i in range(rows):
        here, there = np.uintp(g_at + i * row), np.uintp(z_at + i * row)
        for c in range(np.uintp(0), step, lanes):
            middle = load(memory, middle_at + c, zero)
            total = projection = zero  # of one row: a sum through all rows at once would lose digits
            for k in range(c, end - end % lanes, step):
                dy = load(g, here + k, zero)
                total = fma(dy, one, total)
                projection = fma(dy, fma(middle, minus, load(z, there + k, zero)), projection)
            store(memory, to_g + c, fma(total, one, load(memory, to_g + c, zero)))
            store(memory, to_gz + c, fma(projection, one, load(memory, to_gz + c, zero)))
        for k in range(end - end % lanes, end):
            memory[to_g + k % step] += g[here + k]
            memory[to_gz + k % step] += g[here + k] * (z[there + k] - memory[middle_at + k % step])
