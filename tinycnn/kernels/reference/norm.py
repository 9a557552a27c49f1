"""Batch normalisation (Ioffe & Szegedy, 2015), per channel over images, rows and columns.

Sums are in float64: NumPy adds up a channel's values one after the other, and with hundreds of thousands of
them float32 would lose the digits that a variance far from zero is made of.
"""

import numpy as np


def batch_norm_statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and biased variance of each channel of x (..., C): two arrays (C,)."""
    axes = tuple(range(x.ndim - 1))
    mean, var = x.mean(axis=axes, dtype=np.float64), x.var(axis=axes, dtype=np.float64)
    return mean.astype(x.dtype), var.astype(x.dtype)


def batch_norm_apply(x: np.ndarray, mean: np.ndarray, scale: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """Return (x - mean) * scale + beta for x (..., C) and the rest (C,), where scale = gamma * inv_std."""
    return (x - mean) * scale + beta


def batch_norm_backward(
    dy: np.ndarray, x: np.ndarray, mean: np.ndarray, inv_std: np.ndarray, gamma: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return dx (..., C), dgamma (C,) and dbeta (C,), given dy (..., C), the gradient of y.

    With x_hat = (x - mean) * inv_std over M = N*H*W values a channel, dbeta = sum(dy) and
    dgamma = sum(dy * x_hat). Mean and variance depend on every x too, which takes away from dy its own mean
    and its projection on x_hat: dx = gamma * inv_std * (dy - dbeta / M - x_hat * dgamma / M).
    """
    axes = tuple(range(x.ndim - 1))
    count = x.size // x.shape[-1]
    x_hat = (x - mean) * inv_std
    dbeta = dy.sum(axis=axes, dtype=np.float64).astype(x.dtype)
    dgamma = (dy * x_hat).sum(axis=axes, dtype=np.float64).astype(x.dtype)
    dx = gamma * inv_std * (dy - dbeta / count - x_hat * (dgamma / count))
    return dx, dgamma, dbeta
