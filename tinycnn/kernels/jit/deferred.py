"""Fused kernels around a residual module's end: pooling, addition, and where their gradients part."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tinycnn.kernels.deferred import Deferred, Gradient, Input, Pooled
from tinycnn.kernels.jit import image as in_cache
from tinycnn.kernels.jit.compile import compiled, part
from tinycnn.kernels.jit.fused_sizes import period
from tinycnn.kernels.jit.pool_image import max_pool_image
from tinycnn.kernels.jit.team import CHUNKS, claim, own, share_call
from tinycnn.kernels.jit.together import together
from tinycnn.kernels.memory import empty
from tinycnn.kernels.padding import Pad, Pair, output_size
from tinycnn.kernels.threads import chunk_count


class Source(NamedTuple):
    """A `Deferred` as compiled code takes it; a finished array has the map that changes nothing."""

    z: np.ndarray  # flat
    mean: np.ndarray  # this and the next two: (C,)
    scale: np.ndarray
    shift: np.ndarray
    floor: Any  # 0 for ReLU, otherwise minus infinity

    @classmethod
    def of(cls, x: Input) -> "Source":
        """Unpack x."""
        if isinstance(x, Deferred):
            z, maps = x.z, (x.mean, x.scale, x.shift)
        else:
            z, maps = x, _no_change(x.shape[3], x.dtype)
        if not z.flags.writeable:
            z = z.copy()  # numba would compile every kernel anew for a read-only array
        floor = z.dtype.type(0 if isinstance(x, Deferred) and x.relu else -np.inf)
        return cls(z.ravel(), *maps, floor)  # unlike `reshape`, it makes a copy of what is not contiguous


@lru_cache(maxsize=64)
def _no_change(channels: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean 0, scale 1 and shift 0, each (C,)."""
    return np.zeros(channels, dtype), np.ones(channels, dtype), np.zeros(channels, dtype)


def finished(x: Deferred, other: Input | None = None) -> np.ndarray:
    """Compute what was deferred, and add `other`, if given; see the reference."""
    y = empty(x.z.shape, x.z.dtype)
    first = Source.of(x)
    second = first if other is None else Source.of(other)
    every = period(y.shape[3])
    arguments = (first, second, int(other is not None), y.reshape(-1), *y.shape, every)
    share_call(_finish, arguments, (4 * every, y.dtype), chunk_count(len(y)), y.size)
    return y


@compiled
def _finish(x, other, add, y, n, h, w, c, every, memory, queue, mailbox):
    arguments = (x, other, add, y, n, h, w, c, every, memory, queue)
    together(_finish_part, arguments, mailbox)


@part
def _finish_part(x, other, add, y, n, h, w, c, every, memory, queue, member):
    memory, row = own(memory, queue, member), w * c
    scale, shift, other_scale, other_shift = np.int64(0), every, 2 * every, 3 * every
    in_cache.repeat(x.scale, memory, scale, every)
    in_cache.repeat(x.shift, memory, shift, every)
    in_cache.repeat(other.scale, memory, other_scale, every)
    in_cache.repeat(other.shift, memory, other_shift, every)
    for turn in range(queue[CHUNKS]):
        chunk = claim(queue, member, turn)
        if chunk < 0:
            continue
        for image in range(chunk * n // queue[CHUNKS], (chunk + 1) * n // queue[CHUNKS]):
            at = image * h * row
            in_cache.finish(x.z, at, memory, scale, shift, x.floor, h, row, every, y, at, row)
            if add:
                in_cache.add_finished(
                    other.z, at, memory, other_scale, other_shift, other.floor, h, row, every, y, at
                )


def gradient_of(x: Deferred, dy: np.ndarray) -> Gradient:
    """Return the gradient of a deferred array, given that of the finished one; see the reference."""
    n, h, w, c = dy.shape
    g = empty(dy.shape, dy.dtype) if x.relu else dy
    sums = empty((n, 2, c), dy.dtype)
    every = period(c)
    flat = (dy.ravel(), g.ravel(), sums.reshape(-1))
    arguments = (Source.of(x), int(x.relu), *flat, n, h, w, c, every)
    share_call(_gradient, arguments, (h * w * c + 5 * every, dy.dtype), chunk_count(n), dy.size)
    return Gradient(g, *over_images(sums))


def over_images(sums: np.ndarray) -> np.ndarray:
    """Sum (N, 2, C) over images, in float64: (2, C)."""
    total = np.zeros(sums.shape[1:])
    _add_up(sums, total)
    return total


@compiled
def _add_up(sums, total):
    for image in range(sums.shape[0]):
        for i in range(sums.shape[1]):
            for c in range(sums.shape[2]):
                total[i, c] += sums[image, i, c]


@compiled
def _gradient(x, relu, dy, g, sums, n, h, w, c, every, memory, queue, mailbox):
    arguments = (x, relu, dy, g, sums, n, h, w, c, every, memory, queue)
    together(_gradient_part, arguments, mailbox)


@part
def _gradient_part(x, relu, dy, g, sums, n, h, w, c, every, memory, queue, member):
    memory, row, image_at = own(memory, queue, member), w * c, np.int64(0)
    totals, mean = h * row, h * row + 2 * every
    scale, shift = mean + every, mean + 2 * every
    in_cache.repeat(x.mean, memory, mean, every)
    in_cache.repeat(x.scale, memory, scale, every)
    in_cache.repeat(x.shift, memory, shift, every)
    for turn in range(queue[CHUNKS]):
        chunk = claim(queue, member, turn)
        if chunk < 0:
            continue
        for image in range(chunk * n // queue[CHUNKS], (chunk + 1) * n // queue[CHUNKS]):
            at = image * h * row
            if relu:
                in_cache.finish(x.z, at, memory, scale, shift, x.floor, h, row, every, memory, image_at, row)
                in_cache.mask(dy, at, memory, image_at, row, x.floor, h, row, g, at)
            in_cache.clear(memory, totals, 2 * every)
            in_cache.add_gradient_sums(g, at, x.z, at, h, row, every, memory, mean, totals, totals + every)
            in_cache.fold(memory, totals, every, c, sums, 2 * image * c)
            in_cache.fold(memory, totals + every, every, c, sums, 2 * image * c + c)


def deferred_max_pool2d(x: Deferred, window: Pair, stride: Pair, pad: Pad) -> tuple[Deferred, Pooled]:
    """Return the pooled array, still deferred, and the way back; see the reference."""
    n, h, w, c = x.z.shape
    out = output_size((h, w), window, stride, pad)
    z = empty((n, *out, c), x.z.dtype)
    winner = empty(z.shape, np.dtype(np.uint8))
    geometry = (h, w, c, *out, *window, *stride, pad[0][0], pad[1][0])
    arguments = (x.z.reshape(-1), x.scale, x.shift, z.reshape(-1), winner.reshape(-1), geometry, n)
    share_call(_max_pool, arguments, (0, z.dtype), chunk_count(n), x.z.size)
    return x._replace(z=z), Pooled(winner, window, stride, pad)


@compiled
def _max_pool(x, scale, shift, z, winner, geometry, n, memory, queue, mailbox):
    arguments = (x, scale, shift, z, winner, geometry, n, memory, queue)
    together(_max_pool_part, arguments, mailbox)


@part
def _max_pool_part(x, scale, shift, z, winner, geometry, n, memory, queue, member):
    h, w, c, oh, ow = geometry[0], geometry[1], geometry[2], geometry[3], geometry[4]
    for turn in range(queue[CHUNKS]):
        chunk = claim(queue, member, turn)
        if chunk < 0:
            continue
        for image in range(chunk * n // queue[CHUNKS], (chunk + 1) * n // queue[CHUNKS]):
            max_pool_image(x, image * h * w * c, scale, shift, z, winner, image * oh * ow * c, geometry)
