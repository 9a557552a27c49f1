"""What fused kernels do to a few rows of an image in cache: flat arrays, an offset for each, one loop.

`row` is the length of a row of pixels, W*C. Per-channel numbers lie in `memory`, repeated along such a row by
`along_row`, so that every inner loop runs over neighbours, however few channels there are. The `np.uintp`
tell the compiler that no index is negative: Python's counting from the end would keep it from using SIMD.
"""

import numpy as np

from tinycnn.kernels.jit.compile import part, shared


@part
def along_row(per_channel, memory, at, row):
    """Repeat (C,) numbers along a row: set memory[at + k] for k < row."""
    shared()
    channels = per_channel.size
    for pixel in range(at, at + row, channels):
        for c in range(channels):
            memory[pixel + c] = per_channel[c]


@part
def finish(z, z_at, memory, scale, shift, floor, rows, row, out, out_at, out_row):
    """Write max(z * scale + shift, floor) row by row: normalisation and ReLU on the way into cache."""
    shared()
    for i in range(rows):
        here, there = np.uintp(z_at + i * row), np.uintp(out_at + i * out_row)
        factor, term = np.uintp(scale), np.uintp(shift)
        for k in range(np.uintp(row)):
            value = z[here + k] * memory[factor + k] + memory[term + k]
            out[there + k] = floor if value <= floor else value  # NaN stays NaN


@part
def add_finished(z, z_at, memory, scale, shift, floor, rows, row, out, out_at):
    """Add max(z * scale + shift, floor), row by row."""
    shared()
    for i in range(rows):
        here, there = np.uintp(z_at + i * row), np.uintp(out_at + i * row)
        factor, term = np.uintp(scale), np.uintp(shift)
        for k in range(np.uintp(row)):
            value = z[here + k] * memory[factor + k] + memory[term + k]
            out[there + k] += floor if value <= floor else value


@part
def centre(z, z_at, rows, row, channels, memory, pivot):
    """Set a row at `pivot` to each channel's mean over some rows: a number near the whole image's mean."""
    shared()
    clear(memory, pivot, row)
    for i in range(rows):
        here, there = np.uintp(z_at + i * row), np.uintp(pivot)
        for k in range(np.uintp(row)):
            memory[there + k] += z[here + k]
    for pixel in range(pivot + channels, pivot + row, channels):
        here, there = np.uintp(pixel), np.uintp(pivot)
        for c in range(np.uintp(channels)):
            memory[there + c] += memory[here + c]
    share = memory.dtype.type(1) / memory.dtype.type(rows * (row // channels))
    for c in range(pivot, pivot + channels):
        memory[c] *= share
    for k in range(pivot + channels, pivot + row):
        memory[k] = memory[k - channels]


@part
def add_moments(z, z_at, rows, row, memory, pivot, sums, squares):
    """Add z - pivot, and its square, to rows of sums.

    Sums of z and of its square alone would lose all digits of a variance that is small beside the mean.
    """
    shared()
    for i in range(rows):
        here, middle = np.uintp(z_at + i * row), np.uintp(pivot)
        to_sums, to_squares = np.uintp(sums), np.uintp(squares)
        for k in range(np.uintp(row)):
            deviation = z[here + k] - memory[middle + k]
            memory[to_sums + k] += deviation
            memory[to_squares + k] += deviation * deviation


@part
def moments(memory, pivot, sums, squares, row, channels, count, mean, variation, at):
    """From the sums over an image of `count` pixels set mean[at + c] and variation[at + c].

    The variation is the sum of squared deviations from the mean.
    """
    shared()
    fold(memory, sums, row, channels, mean, at)
    fold(memory, squares, row, channels, variation, at)
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
def fold(memory, at, row, channels, out, out_at):
    """Sum a row over its pixels: set out[out_at + c] for each channel c."""
    shared()
    clear(out, out_at, channels)
    for pixel in range(at, at + row, channels):
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
def norm_gradient(g, g_at, z, z_at, memory, gain, slope, offset, rows, row, out, out_at, out_row):
    """Write gain * g + slope * z + offset: batch norm's backward pass, on the way into cache."""
    shared()
    for i in range(rows):
        from_g, from_z = np.uintp(g_at + i * row), np.uintp(z_at + i * row)
        a, b, c, there = np.uintp(gain), np.uintp(slope), np.uintp(offset), np.uintp(out_at + i * out_row)
        for k in range(np.uintp(row)):
            out[there + k] = memory[a + k] * g[from_g + k] + memory[b + k] * z[from_z + k] + memory[c + k]


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
    zero = g.dtype.type(0)
    for i in range(rows):
        here, there, where = np.uintp(dx_at + i * row), np.uintp(g_at + i * row), np.uintp(x_at + i * x_row)
        for k in range(np.uintp(row)):
            g[there + k] = dx[here + k] if x[where + k] > floor else zero


@part
def add_gradient_sums(g, g_at, z, z_at, rows, row, memory, mean, first, second):
    """Add g, and g * (z - mean), to rows of sums."""
    shared()
    for i in range(rows):
        here, there = np.uintp(g_at + i * row), np.uintp(z_at + i * row)
        middle, to_g, to_gz = np.uintp(mean), np.uintp(first), np.uintp(second)
        for k in range(np.uintp(row)):
            memory[to_g + k] += g[here + k]
            memory[to_gz + k] += g[here + k] * (z[there + k] - memory[middle + k])
