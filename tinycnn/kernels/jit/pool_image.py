"""Max-pooling of one image, the best so far in registers."""

import numpy as np

from tinycnn.kernels.jit.compile import part, shared
from tinycnn.kernels.jit.simd import choose, fill, fma, half_zeros, load, store, wins


@part
def max_pool_image(x, x_at, scale, shift, y, winner, y_at, geometry):
    """Write, of each window, the x whose x * scale + shift is largest, and its position kh * KW + kw.

    Args:
        x, x_at: flat array, and where the image (H, W, C) begins.
        scale, shift: (C,).
        y, winner, y_at: flat arrays, winner of uint8, and where the results (OH, OW, C) begin.
        geometry: (H, W, C, OH, OW, KH, KW, SH, SW, top, left).
    """
    shared()
    h, w, c, oh, ow, kh, kw, sh, sw, top, left = geometry
    lanes = 32 // x.itemsize
    for i in range(oh):
        for j in range(ow):
            there = np.uintp(y_at + (i * ow + j) * c)
            first_row, stop_row = max(i * sh - top, 0), min(i * sh - top + kh, h)
            first_column, stop_column = max(j * sw - left, 0), min(j * sw - left + kw, w)
            corner = (top - i * sh) * kw + left - j * sw  # so that row * kw + column + corner is the position
            k = 0
            while k + lanes <= c:
                at = np.uintp(k)
                factor, offset = load(scale, at, half_zeros(x)), load(shift, at, half_zeros(x))
                raw = best = position = half_zeros(x)
                begun = False
                for row in range(first_row, stop_row):
                    for column in range(first_column, stop_column):
                        z = load(x, np.uintp(x_at + (row * w + column) * c + k), factor)
                        value, here = (
                            fma(z, factor, offset),
                            fill(x.dtype.type(row * kw + column + corner), z),
                        )
                        if begun:
                            better = wins(value, best)
                            best, raw = choose(better, value, best), choose(better, z, raw)
                            position = choose(better, here, position)
                        else:
                            best, raw, position, begun = value, z, here, True
                store(y, there + at, raw)
                store(winner, there + at, position)
                k += lanes
            while k < c:
                rows, columns, to = (first_row, stop_row), (first_column, stop_column), there + np.uintp(k)
                _one_channel(x, x_at + k, scale[k], shift[k], rows, columns, w, c, kw, corner, y, winner, to)
                k += 1


@part
def _one_channel(x, x_at, factor, offset, rows, columns, w, c, kw, corner, y, winner, at):
    begun, best = False, x.dtype.type(0)
    for row in range(rows[0], rows[1]):
        for column in range(columns[0], columns[1]):
            z = x[x_at + (row * w + column) * c]
            value = z * factor + offset
            if not begun or value > best or value != value:
                begun, best, y[at], winner[at] = True, value, z, row * kw + column + corner
