"""Element by element: ReLU, dropout, addition; and softmax along the last axis."""

import numpy as np


def relu(x: np.ndarray) -> np.ndarray:
    """Return max(x, 0), of any shape."""
    return np.maximum(x, 0)


def relu_backward(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return dx: dy where y = relu(x) is positive, 0 elsewhere (the derivative at x = 0 is taken as 0)."""
    return np.where(y > 0, dy, 0)


def dropout(x: np.ndarray, keep: np.ndarray, rate: float) -> np.ndarray:
    """Return x / (1 - rate) where `keep` (bool, x's shape) is true, 0 elsewhere. It is its own backward pass.

    Dividing in training leaves the expected value as it was, so evaluation needs no change.
    """
    return np.where(keep, x * x.dtype.type(1 / (1 - rate)), 0)


def add(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a + b, of one shape."""
    return a + b


def softmax(x: np.ndarray) -> np.ndarray:
    """Return exp(x) / sum(exp(x)) along the last axis: positive numbers that add up to 1.

    The largest x is subtracted first, which changes nothing but keeps exp from overflowing.
    """
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_backward(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return dx = y * (dy - sum(dy * y)), given y = softmax(x).

    From d y[i] / d x[j] = y[i] * ((i == j) - y[j]).
    """
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))
