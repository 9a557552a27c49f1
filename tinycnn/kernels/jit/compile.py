"""How every kernel is compiled, and what their callers share."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401 - np.dot in kernels; loaded now, so that its threads get limited
from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile an inner loop at its first call, and keep the machine code for the next process.

    Without the GIL, so that threads run at once. Division by zero gives inf, as in NumPy: the check for an
    exception would be a branch that prevents SIMD code.
    """
    return njit(nogil=True, cache=True, error_model="numpy")(function)


def as_rows(x: np.ndarray) -> np.ndarray:
    """View x (N, H, W, C) as (N*H, W*C), or keep (N, C).

    A loop over W*C neighbours fills SIMD registers even where C is small.
    """
    return x.reshape(-1, x.shape[-2] * x.shape[-1]) if x.ndim == 4 else x.reshape(-1, x.shape[-1])


def tiled(per_channel: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Repeat a (C,) array along a row of `as_rows`: (W*C,), of the rows' dtype."""
    return np.tile(per_channel.astype(rows.dtype), rows.shape[1] // per_channel.size)


def folded(row: np.ndarray, channels: int) -> np.ndarray:
    """Sum a (..., W*C) array over W: (..., C)."""
    return row.reshape(*row.shape[:-1], -1, channels).sum(axis=-2)
