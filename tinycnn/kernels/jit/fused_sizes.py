"""The sizes that fused kernels work with, and where in a thread's memory each part of their work lies."""

import math
from functools import cache
from typing import NamedTuple

from tinycnn.kernels.padding import Pad, Pair, output_size

#: Pixels in a band: enough to make the call of a product worth its while, few enough for the nearest caches.
BAND = 192
#: Elements in a vector of float32, and in two of float64.
LANES = 16


def period(channels: int) -> int:
    """Return how often per-channel numbers must be repeated to fill whole vectors, in elements."""
    return math.lcm(channels, LANES)


class Geometry(NamedTuple):
    """The sizes of a fused convolution, as compiled code takes them."""

    h: int  # of the input
    w: int
    c: int
    oh: int  # of the output
    ow: int
    o: int
    kh: int  # of the window, which is the depthwise kernel's where there is one
    kw: int
    sh: int
    sw: int
    top: int
    left: int
    bottom: int
    separable: int  # 1: a depthwise convolution, then one of 1x1
    slides: int  # 1: in the backward pass a window slides over the output's gradient itself
    band: int  # rows of the output that are worked on at a time
    in_row: int  # elements in a row of the input, and of the input with its padding
    padded_row: int
    out_row: int  # elements in a row of the output
    in_period: int  # elements after which the input's per-channel numbers repeat in whole vectors
    out_period: int
    inner: int  # channels of the gradient that a window slides over in the backward pass, and a row of it
    around_row: int


@cache
def geometry(
    x: tuple[int, ...], depthwise: tuple[int, ...] | None, kernel: tuple[int, ...], stride: Pair, pad: Pad
) -> Geometry:
    """Collect the sizes, given x's (H, W, C) and kernels' shapes; a ShapeError if the window does not fit."""
    h, w, c = x
    kh, kw = kernel[:2] if depthwise is None else depthwise[:2]
    oh, ow = output_size((h, w), (kh, kw), stride, pad)
    (top, bottom), (left, right) = pad
    separable, o = depthwise is not None, kernel[3]
    inner = c if separable else o
    return Geometry(
        *(h, w, c, oh, ow, o, kh, kw, *stride, top, left, bottom),
        separable=int(separable),
        slides=int(not separable and stride == (1, 1)),
        band=max(1, BAND // ow),
        in_row=w * c,
        padded_row=(w + left + right) * c,
        out_row=ow * o,
        in_period=period(c),
        out_period=period(o),
        inner=inner,
        around_row=(w + kw - 1) * inner,
    )


class Layout(NamedTuple):
    """Where in a thread's scratch memory each part of the work on one image begins, in elements."""

    padded: int  # the finished input with its padding: (H + padding, W + padding, C)
    scale: int  # this and the next, of the map that finishes the input: a period
    shift: int
    between: int  # of a separable convolution: a band of what the depthwise half gives, (band, OW, C)
    pivot: int  # a period that is subtracted before summing, and two periods of sums
    sums: int
    squares: int
    spread: int  # an output gradient that comes pooled, at its places: (OH, OW, O)
    dz: int  # a band of the output's gradient where no window slides over it, (band, OW, O)
    around: int  # the gradient that a window slides over, with zeros wherever it reaches over the edge
    dx: int  # the rows of the input's gradient that a band completes
    mean: int  # of the input: a period
    gain: int  # this and the next two, of the map that finishes the output's gradient: a period
    slope: int
    offset: int
    end: int


@cache
def layout(g: Geometry, backward: bool) -> Layout:
    """Lay out the parts one after another; a forward pass needs only the first ones."""
    sums = max(g.out_period, g.in_period)
    sizes = [
        (g.h + g.top + g.bottom) * g.padded_row,
        g.in_period,
        g.in_period,
        g.separable * g.band * g.ow * g.c,
        *[sums] * 3,
        backward * g.oh * g.out_row,
        backward * g.band * g.out_row,
        backward * (g.h + g.kh - 1) * g.around_row,
        backward * (g.band * g.sh + g.kh + g.sh) * g.in_row,
        backward * g.in_period,
        *[backward * g.out_period] * 3,
    ]
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + -(-size // 16) * 16)  # whole cache lines
    return Layout._make(starts)
