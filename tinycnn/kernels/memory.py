"""Where kernels get their arrays: fresh ones, or inside `recycled_memory` the same ones again each step.

A training step makes the same arrays over and over. Asking the system for them anew costs a page fault
for every 4 KiB, more than many a kernel's arithmetic. So `tinycnn.train.fit` runs each step inside one
`Arena`: the first step fills it, and the compiled kernels of later steps take the same buffers in the same
order. So what a loss, a layer or a callback of the user's sees of a step must be copied to be kept. Outside
of it every call gives arrays of its own, and nothing is ever overwritten behind a user's back.

What is needed only while a kernel runs comes from `scratch`, which each thread keeps for itself.
"""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

#: Bytes that a processor fetches at once.
CACHE_LINE = 64


class Arena:
    """A list of byte buffers handed out in order; `rewind` starts over with the same ones."""

    def __init__(self) -> None:
        self._buffers: list[np.ndarray] = []
        self._arrays: list[np.ndarray] = []  # as which each buffer was handed out last
        self._next = 0

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return an uninitialised array, valid until the next `rewind`."""
        place, self._next = self._next, self._next + 1
        if place == len(self._buffers):
            self._buffers.append(aligned(0))
            self._arrays.append(self._buffers[place])
        if self._arrays[place].shape != shape or self._arrays[place].dtype != dtype:
            size = math.prod(shape) * dtype.itemsize
            if self._buffers[place].size < size:
                self._buffers[place] = aligned(size)
            self._arrays[place] = self._buffers[place][:size].view(dtype).reshape(shape)
        return self._arrays[place]

    def rewind(self) -> None:
        """Declare every array handed out so far free for reuse."""
        self._next = 0


_local = threading.local()


@contextmanager
def recycled_memory(arena: Arena) -> Iterator[None]:
    """Take this thread's arrays from `arena` within the block, from its beginning."""
    previous = getattr(_local, "arena", None)
    arena.rewind()
    _local.arena = arena
    try:
        yield
    finally:
        _local.arena = previous


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an uninitialised array: the arena's inside `recycled_memory`, otherwise a fresh one."""
    arena = getattr(_local, "arena", None)
    return np.empty(shape, dtype) if arena is None else arena.empty(shape, np.dtype(dtype))


def scratch(size: int, dtype: np.dtype, use: str = "") -> np.ndarray:
    """Return `size` uninitialised elements, the same ones at every call for one `use` in this thread."""
    pools = _local.__dict__.setdefault("scratch", {})
    key = (np.dtype(dtype).char, use)
    if key not in pools or pools[key].size < size:
        pools[key] = aligned(size * np.dtype(dtype).itemsize).view(dtype)
    return pools[key][:size]


def aligned(size: int) -> np.ndarray:
    """Return `size` uninitialised bytes that begin at the border of a cache line, as SIMD loads like it."""
    memory = np.empty(size + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start : start + size]
