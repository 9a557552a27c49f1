"""Several branches' maps as one array, and back."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np


def concat(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return arrays, whose last axes alone may differ, as one, one behind the other along it."""
    return np.concatenate(arrays, axis=-1)


def split(x: np.ndarray, channels: Sequence[int]) -> list[np.ndarray]:
    """Undo `concat`: return an array for each of `channels`, which add up to x's last axis."""
    borders = [0, *accumulate(channels)]
    return [np.ascontiguousarray(x[..., start:stop]) for start, stop in pairwise(borders)]
