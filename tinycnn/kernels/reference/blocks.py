"""Blocks of images: a few at a time go through all of a fused operation, while they are in cache."""

import numpy as np

from tinycnn.kernels.deferred import Input
from tinycnn.kernels.padding import Pair

#: Numbers in a block, about. Fewer would stay in a nearer cache, but then Python's share of the time grows,
#: and only one thread at a time can be in Python.
BLOCK = 1 << 18


def blocks(*arrays: np.ndarray) -> list[slice]:
    """Cut a batch of images, which all arrays (N, ...) hold, into an even number of nearly equal blocks."""
    n, size = len(arrays[0]), max(array.size for array in arrays)
    images = -(-n // (2 * -(-size // (2 * BLOCK))))
    return [slice(start, start + images) for start in range(0, n, images)]


def some(x: Input, block: slice, stride: Pair = (1, 1)) -> Input:
    """Return a block of images, of each every SH-th row and every SW-th column."""
    where = (block, slice(None, None, stride[0]), slice(None, None, stride[1]))
    return x[where] if isinstance(x, np.ndarray) else x._replace(z=x.z[where])
