"""Small matrix products, also straight from an image: the inner loop of every fused convolution.

BLAS first copies its operands into an order that suits it, which pays for large matrices. The products here
are small (an image's pixels by a few channels), so they are taken where they lie, through strides. Strides
may overlap: the windows of a convolution need not be copied out either.
"""

import numpy as np

from tinycnn.kernels.jit.compile import part, shared
from tinycnn.kernels.jit.simd import (
    MANY_REGISTERS,
    fma,
    half_zeros,
    load,
    load_four,
    store,
    store_each,
    zeros,
)


@part
def product(
    a, a_at, a_run, a_row, a_term, b, b_at, b_run, b_term, c, c_at, c_row, runs, rows, depth, columns, add
):
    """Set C[i, j] to the sum over r < runs and k < depth of A[r, i, k] * B[r, k, j], or add it if `add`.

    Args:
        a, a_at, a_run, a_row, a_term: A[r, i, k] is a[a_at + r * a_run + i * a_row + k * a_term].
        b, b_at, b_run, b_term: B[r, k, j] is b[b_at + r * b_run + k * b_term + j].
        c, c_at, c_row: C[i, j] is c[c_at + i * c_row + j].
        runs, rows, depth, columns: the lengths of r, i, k, j.
        add: 1 to add to what C holds, otherwise 0.
    """
    shared()
    lanes = 64 // c.itemsize
    a_steps = np.uintp(a_run), np.uintp(a_row), np.uintp(a_term)
    b_steps = np.uintp(b_run), np.uintp(b_term)
    c_step, lengths = np.uintp(c_row), (np.uintp(runs), np.uintp(depth))
    j = 0
    while j < columns:
        # The widest vector that fits, and as many rows of sums as registers hold, at an end eight or four;
        # or single sums.
        width = lanes if j + lanes <= columns else lanes // 2 if j + lanes // 2 <= columns else 1
        i = 0
        while i < rows:
            if not add and width > 1 and i + 8 > rows >= 8:
                i = rows - 8  # the last tile overlaps the one before: quicker than a smaller one
            tall = 16 if MANY_REGISTERS and i + 16 <= rows else 8 if i + 8 <= rows else min(4, rows - i)
            height = 1 if width == 1 else tall
            a_here, b_here = np.uintp(a_at + i * a_row), np.uintp(b_at + j)
            c_here = np.uintp(c_at + i * c_row + j)
            operands = a, a_here, a_steps, b, b_here, b_steps, c, c_here
            if width == 1:
                _single(*operands, lengths, add)
            elif height == 16 and width == lanes:
                _sixteen_rows(*operands, c_step, lengths, add, zeros(c))
            elif height == 16:
                _sixteen_rows(*operands, c_step, lengths, add, half_zeros(c))
            elif height == 8 and width == lanes:
                _eight_rows(*operands, c_step, lengths, add, zeros(c))
            elif height == 8:
                _eight_rows(*operands, c_step, lengths, add, half_zeros(c))
            elif width == lanes:
                _few_rows(*operands, c_step, height, lengths, add, zeros(c))
            else:
                _few_rows(*operands, c_step, height, lengths, add, half_zeros(c))
            i += height
        j += width


@part
def _sixteen_rows(a, a_at, a_steps, b, b_at, b_steps, c, c_at, c_row, lengths, add, zero):
    far, c_far = np.uintp(8) * a_steps[1], c_at + np.uintp(8) * c_row
    top = _load_eight(c, c_at, c_row, zero) if add else _eight(zero)
    bottom = _load_eight(c, c_far, c_row, zero) if add else _eight(zero)
    for run in range(lengths[0]):
        at, b_here = a_at + run * a_steps[0], b_at + run * b_steps[0]
        for _ in range(lengths[1]):
            x = load(b, b_here, zero)
            top = _add_eight(a, at, a_steps[1], x, top)
            bottom = _add_eight(a, at + far, a_steps[1], x, bottom)
            at += a_steps[2]
            b_here += b_steps[1]
    store_each(c, c_at, c_row, top)
    store_each(c, c_far, c_row, bottom)


@part
def _eight_rows(a, a_at, a_steps, b, b_at, b_steps, c, c_at, c_row, lengths, add, zero):
    sums = _load_eight(c, c_at, c_row, zero) if add else _eight(zero)
    for run in range(lengths[0]):
        at, b_here = a_at + run * a_steps[0], b_at + run * b_steps[0]
        for _ in range(lengths[1]):
            sums = _add_eight(a, at, a_steps[1], load(b, b_here, zero), sums)
            at += a_steps[2]
            b_here += b_steps[1]
    store_each(c, c_at, c_row, sums)


@part
def _eight(y):
    return y, y, y, y, y, y, y, y


@part
def _load_eight(c, at, row, zero):
    return load_four(c, at, row, zero) + load_four(c, at + np.uintp(4) * row, row, zero)


@part
def _add_eight(a, at, row, x, sums):
    """Add, to each of eight rows of sums, what one number of a's row gives."""
    y0, y1, y2, y3, y4, y5, y6, y7 = sums
    row2, row3, far = row + row, row + row + row, at + np.uintp(4) * row
    y0, y1 = fma(a[at], x, y0), fma(a[at + row], x, y1)
    y2, y3 = fma(a[at + row2], x, y2), fma(a[at + row3], x, y3)
    y4, y5 = fma(a[far], x, y4), fma(a[far + row], x, y5)
    y6, y7 = fma(a[far + row2], x, y6), fma(a[far + row3], x, y7)
    return y0, y1, y2, y3, y4, y5, y6, y7


@part
def _few_rows(a, a_at, a_steps, b, b_at, b_steps, c, c0, c_row, rows, lengths, add, zero):
    """Up to four rows; where there are fewer, the last is computed again, which costs no time."""
    second, third, last = np.uintp(min(rows - 1, 1)), np.uintp(min(rows - 1, 2)), np.uintp(rows - 1)
    r1, r2, r3 = second * a_steps[1], third * a_steps[1], last * a_steps[1]
    c1, c2, c3 = c0 + second * c_row, c0 + third * c_row, c0 + last * c_row
    y0 = y1 = y2 = y3 = zero
    if add:
        y0, y1, y2, y3 = load(c, c0, zero), load(c, c1, zero), load(c, c2, zero), load(c, c3, zero)
    for run in range(lengths[0]):
        at, b_here = a_at + run * a_steps[0], b_at + run * b_steps[0]
        for _ in range(lengths[1]):
            x = load(b, b_here, zero)
            y0, y1 = fma(a[at], x, y0), fma(a[at + r1], x, y1)
            y2, y3 = fma(a[at + r2], x, y2), fma(a[at + r3], x, y3)
            at += a_steps[2]
            b_here += b_steps[1]
    store(c, c0, y0)
    store(c, c1, y1)
    store(c, c2, y2)
    store(c, c3, y3)


@part
def _single(a, a_at, a_steps, b, b_at, b_steps, c, c_at, lengths, add):
    y = c[c_at] if add else c.dtype.type(0)
    for run in range(lengths[0]):
        at, b_here = a_at + run * a_steps[0], b_at + run * b_steps[0]
        for _ in range(lengths[1]):
            y += a[at] * b[b_here]
            at += a_steps[2]
            b_here += b_steps[1]
    c[c_at] = y
