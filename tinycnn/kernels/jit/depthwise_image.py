"""Depthwise convolution of one image in cache, its sums in registers."""

import numpy as np

from tinycnn.kernels.jit.compile import part, shared
from tinycnn.kernels.jit.simd import fill, fma, half_zeros, load, store, zeros


@part
def depthwise(x, x_at, x_row, taps, kh, kw, channels, y, y_at, h, w):
    """Set y[i, j, c] to the sum over r, s of x[i + r, j + s, c] * taps[r, s, c].

    Args:
        x, x_at, x_row: a padded image: pixel (i, j) begins at x[x_at + i * x_row + j * channels].
        taps: flat (KH, KW, C).
        kh, kw: KH and KW.
        channels: C.
        y, y_at: the output, (h, w, C).
        h, w: its size.
    """
    shared()
    lanes = 64 // x.itemsize
    window = np.uintp(x_row), np.uintp(channels), np.uintp(kh), np.uintp(kw)
    c = 0
    while c < channels:
        width = lanes if c + lanes <= channels else lanes // 2 if c + lanes // 2 <= channels else 1
        width = width if w >= 4 else 1
        for i in range(h):
            here, there = np.uintp(x_at + i * x_row + c), np.uintp(y_at + i * w * channels + c)
            if width == lanes:
                _row(x, here, taps, np.uintp(c), window, y, there, w, zeros(y))
            elif width > 1:
                _row(x, here, taps, np.uintp(c), window, y, there, w, half_zeros(y))
            else:
                for j in range(np.uintp(w)):
                    _pixel(x, here + j * window[1], taps, np.uintp(c), window, y, there + j * window[1])
        c += width


@part
def _row(x, x_at, taps, first_tap, window, y, y_at, w, zero):
    """A row of pixels, four at a time and three neighbouring taps at a time: they share each load of x."""
    x_row, step, kh, kw = window
    step2, step3 = step + step, step + step + step
    step4, step5 = step2 + step2, step2 + step3
    j = 0
    while j < w:
        j = min(j, w - 4)  # the last four overlap those before: quicker than one by one
        y0 = y1 = y2 = y3 = zero
        tap, here = first_tap, x_at + np.uintp(j) * step
        for r in range(kh):
            at, end = here + r * x_row, tap + kw * step
            while tap + step3 <= end:
                left, middle, right = (
                    load(taps, tap, zero),
                    load(taps, tap + step, zero),
                    load(taps, tap + step2, zero),
                )
                x0, x1, x2 = load(x, at, zero), load(x, at + step, zero), load(x, at + step2, zero)
                x3, x4, x5 = load(x, at + step3, zero), load(x, at + step4, zero), load(x, at + step5, zero)
                y0, y1, y2, y3 = fma(x0, left, y0), fma(x1, left, y1), fma(x2, left, y2), fma(x3, left, y3)
                y0, y1, y2, y3 = (
                    fma(x1, middle, y0),
                    fma(x2, middle, y1),
                    fma(x3, middle, y2),
                    fma(x4, middle, y3),
                )
                y0, y1, y2, y3 = (
                    fma(x2, right, y0),
                    fma(x3, right, y1),
                    fma(x4, right, y2),
                    fma(x5, right, y3),
                )
                at += step3
                tap += step3
            while tap < end:
                weight = load(taps, tap, zero)
                y0, y1 = fma(load(x, at, zero), weight, y0), fma(load(x, at + step, zero), weight, y1)
                y2, y3 = (
                    fma(load(x, at + step2, zero), weight, y2),
                    fma(load(x, at + step3, zero), weight, y3),
                )
                at += step
                tap += step
        there = y_at + np.uintp(j) * step
        store(y, there, y0)
        store(y, there + step, y1)
        store(y, there + step2, y2)
        store(y, there + step3, y3)
        j += 4


@part
def _pixel(x, x_at, taps, tap, window, y, y_at):
    x_row, step, kh, kw = window
    total = y.dtype.type(0)
    for r in range(kh):
        at = x_at + r * x_row
        for _ in range(kw):
            total += x[at] * taps[tap]
            at += step
            tap += step
    y[y_at] = total


@part
def add_taps_gradient(x, x_at, x_row, kh, kw, channels, dy, dy_at, h, w, dtaps, dtaps_at):
    """Increase dtaps[r, s, c] by the sum over i, j of x[i + r, j + s, c] * dy[i, j, c].

    The arrays lie as in `depthwise`.
    """
    shared()
    lanes = 64 // x.itemsize
    sizes = np.uintp(x_row), np.uintp(channels), np.uintp(h), np.uintp(w)
    c = 0
    while c < channels:
        width = lanes if c + lanes <= channels else lanes // 2 if c + lanes // 2 <= channels else 1
        there = np.uintp(dy_at + c)
        for r in range(kh):
            s = 0
            while s < kw:
                at = np.uintp(dtaps_at + (r * kw + s) * channels + c)
                here = np.uintp(x_at + r * x_row + s * channels + c)
                three = width > 1 and s + 3 <= kw
                if three and width == lanes:
                    _three_taps(x, here, dy, there, sizes, dtaps, at, zeros(x))
                elif three:
                    _three_taps(x, here, dy, there, sizes, dtaps, at, half_zeros(x))
                else:
                    for k in range(np.uintp(width)):
                        _tap(x, here + k, dy, there + k, sizes, dtaps, at + k)
                s += 3 if three else 1
        c += width


@part
def _three_taps(x, x_at, dy, dy_at, sizes, dtaps, at, zero):
    """Three neighbouring taps and two pixels at once: they share the loads of both."""
    x_row, step, h, w = sizes
    at2, at3, step3 = at + step, at + step + step, step + step + step
    y0, y1, y2 = load(dtaps, at, zero), load(dtaps, at2, zero), load(dtaps, at3, zero)
    z0 = z1 = z2 = zero
    for i in range(h):
        here, end = x_at + i * x_row, dy_at + w * step
        while dy_at + step < end:
            g0, g1 = load(dy, dy_at, zero), load(dy, dy_at + step, zero)
            x1, x2 = load(x, here + step, zero), load(x, here + step + step, zero)
            y0, y1, y2 = fma(load(x, here, zero), g0, y0), fma(x1, g0, y1), fma(x2, g0, y2)
            z0, z1, z2 = fma(x1, g1, z0), fma(x2, g1, z1), fma(load(x, here + step3, zero), g1, z2)
            here += step + step
            dy_at += step + step
        if dy_at < end:
            g0 = load(dy, dy_at, zero)
            y0, y1 = fma(load(x, here, zero), g0, y0), fma(load(x, here + step, zero), g0, y1)
            y2 = fma(load(x, here + step + step, zero), g0, y2)
            dy_at += step
    one = fill(x.dtype.type(1), zero)
    store(dtaps, at, fma(z0, one, y0))
    store(dtaps, at2, fma(z1, one, y1))
    store(dtaps, at3, fma(z2, one, y2))


@part
def _tap(x, x_at, dy, dy_at, sizes, dtaps, at):
    x_row, step, h, w = sizes
    total = dtaps[at]
    for i in range(h):
        here = x_at + i * x_row
        for _ in range(w):
            total += x[here] * dy[dy_at]
            here += step
            dy_at += step
    dtaps[at] = total
