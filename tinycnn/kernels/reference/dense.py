"""The dense (fully connected) layer, and the gradient of any bias."""

import numpy as np


def dense(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """Return y = x @ kernel + bias, for x (N, I), kernel (I, O), bias (O,) or None: (N, O)."""
    y = x @ kernel
    return y if bias is None else y + bias


def dense_backward(dy: np.ndarray, x: np.ndarray, kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return dx (N, I) and dkernel (I, O), given dy (N, O), the gradient of y.

    y[n,o] = sum over i of x[n,i] * kernel[i,o]. So x[n,i] reaches the loss through every o, which is row i of
    the kernel: dx = dy @ kernel.T; and kernel[i,o] reaches it through every n: dkernel = x.T @ dy.
    """
    return dy @ kernel.T, x.T @ dy


def bias_backward(dy: np.ndarray) -> np.ndarray:
    """Return dbias (O,): dy (..., O) summed over all axes but the last, wherever the bias was added."""
    return dy.reshape(-1, dy.shape[-1]).sum(axis=0, dtype=np.float64).astype(dy.dtype)
