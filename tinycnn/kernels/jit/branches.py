"""Several branches' maps as one array, and back: copies, which NumPy makes, shared among the threads."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np

from tinycnn.kernels.jit.team import for_parts
from tinycnn.kernels.memory import empty


def concat(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return arrays as one, one behind the other along the last axis; see the reference."""
    first = arrays[0]
    y = empty((*first.shape[:-1], sum(array.shape[-1] for array in arrays)), first.dtype)

    def work(start: int, stop: int) -> None:
        np.concatenate([array[start:stop] for array in arrays], axis=-1, out=y[start:stop])

    for_parts(y, work)
    return y


def split(x: np.ndarray, channels: Sequence[int]) -> list[np.ndarray]:
    """Return an array for each of `channels`; see the reference."""
    parts = [empty((*x.shape[:-1], count), x.dtype) for count in channels]
    borders = [*pairwise([0, *accumulate(channels)])]

    def work(start: int, stop: int) -> None:
        for part, (low, high) in zip(parts, borders, strict=True):
            part[start:stop] = x[start:stop, ..., low:high]

    for_parts(x, work)
    return parts
