"""Element by element, on flat views shared among the threads."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinycnn.kernels.jit.compile import compiled
from tinycnn.kernels.jit.team import for_parts
from tinycnn.kernels.memory import empty


def _elementwise(
    kernel: Callable[..., None], x: np.ndarray, *operands: np.ndarray, scalars: Any = ()
) -> np.ndarray:
    """Return a new array that `kernel` has filled from the flat x, the other arrays and the scalars."""
    y = empty(x.shape, x.dtype)
    flat = [array.ravel() for array in (y, x, *operands)]
    for_parts(flat[0], lambda start, stop: kernel(*(array[start:stop] for array in flat), *scalars))
    return y


def relu(x: np.ndarray) -> np.ndarray:
    """Return max(x, 0)."""
    return _elementwise(_relu, x)


def relu_backward(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return dy where y is positive, 0 elsewhere."""
    return _elementwise(_where_positive, dy, y)


def dropout(x: np.ndarray, keep: np.ndarray, rate: float) -> np.ndarray:
    """Return x / (1 - rate) where `keep` is true, 0 elsewhere."""
    return _elementwise(_dropout, x, keep, scalars=(x.dtype.type(1 / (1 - rate)),))


def add(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a + b, of one shape."""
    return _elementwise(_add, a, b)


@compiled
def _relu(y, x):
    zero = x.dtype.type(0)
    for i in range(y.size):
        y[i] = x[i] if x[i] > zero or x[i] != x[i] else zero  # NaN stays NaN, as in NumPy


@compiled
def _where_positive(dx, dy, y):
    zero = y.dtype.type(0)
    for i in range(dx.size):
        dx[i] = dy[i] if y[i] > zero else zero


@compiled
def _dropout(y, x, keep, scale):
    zero = x.dtype.type(0)
    for i in range(y.size):
        y[i] = x[i] * scale if keep[i] else zero


@compiled
def _add(y, a, b):
    for i in range(y.size):
        y[i] = a[i] + b[i]
