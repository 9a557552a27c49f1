"""Depthwise convolution of one image in cache, its sums in registers."""

import numpy as np

from tinycnn.kernels.jit.compile import part, shared
from tinycnn.kernels.jit.simd import fma, half_zeros, load, load_four, store_each, zeros


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
        width, tap = width if w >= 4 else 1, np.uintp(c)
        for i in range(h):
            here, there = np.uintp(x_at + i * x_row + c), np.uintp(y_at + i * w * channels + c)
            if width == 1:
                for j in range(np.uintp(w)):
                    _pixel(x, here + j * window[1], taps, tap, window, y, there + j * window[1])
            elif kh == kw == 3 and width == lanes:
                _row_3x3(x, here, taps, tap, window, y, there, w, zeros(y))
            elif kh == kw == 3:
                _row_3x3(x, here, taps, tap, window, y, there, w, half_zeros(y))
            elif width == lanes:
                _row(x, here, taps, tap, window, y, there, w, zeros(y))
            else:
                _row(x, here, taps, tap, window, y, there, w, half_zeros(y))
        c += width


@part
def _row(x, x_at, taps, first_tap, window, y, y_at, w, zero):
    """A row of pixels, four at a time."""
    x_row, step, kh, kw = window
    three = step + step + step
    j = 0
    while j < w:
        j = min(j, w - 4)  # the last four overlap those before: quicker than one by one
        sums = (zero, zero, zero, zero)
        tap, here = first_tap, x_at + np.uintp(j) * step
        for r in range(kh):
            at, end = here + r * x_row, tap + kw * step
            while tap + three <= end:
                sums = _add_three(x, at, step, _load_three(taps, tap, step, zero), sums)
                at += three
                tap += three
            while tap < end:
                sums = _add_one(x, at, step, load(taps, tap, zero), sums)
                at += step
                tap += step
        store_each(y, y_at + np.uintp(j) * step, step, sums)
        j += 4


@part
def _row_3x3(x, x_at, taps, first_tap, window, y, y_at, w, zero):
    """The same with a window of 3x3, whose taps stay in registers."""
    x_row, step, _, _ = window
    three = step + step + step
    top = _load_three(taps, first_tap, step, zero)
    middle = _load_three(taps, first_tap + three, step, zero)
    bottom = _load_three(taps, first_tap + three + three, step, zero)
    j = 0
    while j < w:
        j = min(j, w - 4)
        at = x_at + np.uintp(j) * step
        sums = _add_three(x, at, step, top, (zero, zero, zero, zero))
        sums = _add_three(x, at + x_row, step, middle, sums)
        sums = _add_three(x, at + x_row + x_row, step, bottom, sums)
        store_each(y, y_at + np.uintp(j) * step, step, sums)
        j += 4


@part
def _load_three(array, at, step, zero):
    return load(array, at, zero), load(array, at + step, zero), load(array, at + step + step, zero)


@part
def _add_three(x, at, step, taps, sums):
    """Add what three neighbouring taps see to four neighbouring pixels: they share each load of x."""
    left, middle, right = taps
    y0, y1, y2, y3 = sums
    x0, x1, x2 = _load_three(x, at, step, left)
    x3, x4, x5 = _load_three(x, at + step + step + step, step, left)
    y0, y1, y2, y3 = fma(x0, left, y0), fma(x1, left, y1), fma(x2, left, y2), fma(x3, left, y3)
    y0, y1, y2, y3 = fma(x1, middle, y0), fma(x2, middle, y1), fma(x3, middle, y2), fma(x4, middle, y3)
    y0, y1, y2, y3 = fma(x2, right, y0), fma(x3, right, y1), fma(x4, right, y2), fma(x5, right, y3)
    return y0, y1, y2, y3


@part
def _add_one(x, at, step, tap, sums):
    y0, y1, y2, y3 = sums
    x0, x1, x2, x3 = load_four(x, at, step, tap)
    return fma(x0, tap, y0), fma(x1, tap, y1), fma(x2, tap, y2), fma(x3, tap, y3)


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
        whole = kh == kw == 3 and width > 1
        for r in range(1 if whole else kh):
            s = 0
            while s < kw:
                at = np.uintp(dtaps_at + (r * kw + s) * channels + c)
                here = np.uintp(x_at + r * x_row + s * channels + c)
                three = width > 1 and s + 3 <= kw
                if whole and width == lanes:
                    _nine_taps(x, here, dy, there, sizes, dtaps, at, zeros(x))
                elif whole:
                    _nine_taps(x, here, dy, there, sizes, dtaps, at, half_zeros(x))
                elif three and width == lanes:
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
    """Three neighbouring taps, over all pixels."""
    x_row, step, h, w = sizes
    taps = _load_three(dtaps, at, step, zero)
    for i in range(h):
        here, end = x_at + i * x_row, dy_at + w * step
        while dy_at + step < end:
            pair = load(dy, dy_at, zero), load(dy, dy_at + step, zero)
            taps = _see_two(x, here, step, pair, taps)
            here += step + step
            dy_at += step + step
        if dy_at < end:
            taps = _see_one(x, here, step, load(dy, dy_at, zero), taps)
            dy_at += step
    store_each(dtaps, at, step, taps)


@part
def _nine_taps(x, x_at, dy, dy_at, sizes, dtaps, at, zero):
    """All of a window of 3x3, which share the loads of dy."""
    x_row, step, h, w = sizes
    at2, at3 = at + step + step + step, at + np.uintp(6) * step
    top, middle = _load_three(dtaps, at, step, zero), _load_three(dtaps, at2, step, zero)
    bottom = _load_three(dtaps, at3, step, zero)
    for i in range(h):
        here, end = x_at + i * x_row, dy_at + w * step
        while dy_at + step < end:
            pair = load(dy, dy_at, zero), load(dy, dy_at + step, zero)
            top = _see_two(x, here, step, pair, top)
            middle = _see_two(x, here + x_row, step, pair, middle)
            bottom = _see_two(x, here + x_row + x_row, step, pair, bottom)
            here += step + step
            dy_at += step + step
        if dy_at < end:
            g = load(dy, dy_at, zero)
            top = _see_one(x, here, step, g, top)
            middle = _see_one(x, here + x_row, step, g, middle)
            bottom = _see_one(x, here + x_row + x_row, step, g, bottom)
            dy_at += step
    store_each(dtaps, at, step, top)
    store_each(dtaps, at2, step, middle)
    store_each(dtaps, at3, step, bottom)


@part
def _see_two(x, at, step, pair, taps):
    """Add to three neighbouring taps what they saw of two neighbouring pixels, which share loads of x."""
    x0, x1, x2, x3 = load_four(x, at, step, pair[0])
    y0, y1, y2 = fma(x0, pair[0], taps[0]), fma(x1, pair[0], taps[1]), fma(x2, pair[0], taps[2])
    return fma(x1, pair[1], y0), fma(x2, pair[1], y1), fma(x3, pair[1], y2)


@part
def _see_one(x, at, step, g, taps):
    x0, x1, x2 = _load_three(x, at, step, g)
    return fma(x0, g, taps[0]), fma(x1, g, taps[1]), fma(x2, g, taps[2])


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
