"""Batch normalisation in two passes over memory: one for sums, one to apply them."""

import numpy as np

from tinycnn.kernels.jit.compile import as_rows, compiled, folded, for_images, tiled
from tinycnn.kernels.jit.dense import column_sums
from tinycnn.kernels.memory import empty
from tinycnn.kernels.threads import chunk_count


def batch_norm_statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and biased variance of each channel.

    Each chunk takes its own mean and squared deviations, and the chunks' are combined (Chan, Golub & LeVeque
    1979). E[x^2] - E[x]^2 would be shorter, and wrong in float32 where the mean is far from zero.
    """
    rows, channels = as_rows(x), x.shape[-1]
    chunks = chunk_count(len(rows))
    counts, means, squares = np.empty((chunks, 1)), np.empty((chunks, channels)), np.empty((chunks, channels))

    def work(chunk: int, start: int, stop: int) -> None:
        total = np.zeros(rows.shape[1])
        column_sums(rows[start:stop], total)
        counts[chunk] = (stop - start) * rows.shape[1] // channels
        means[chunk] = folded(total, channels) / counts[chunk]
        total[:] = 0
        _squared_deviations(rows[start:stop], tiled(means[chunk], rows), total)
        squares[chunk] = folded(total, channels)

    for_images(rows, work)
    mean = (counts * means).sum(axis=0) / counts.sum()
    var = (squares + counts * (means - mean) ** 2).sum(axis=0) / counts.sum()
    return mean.astype(x.dtype), var.astype(x.dtype)


def batch_norm_apply(x: np.ndarray, mean: np.ndarray, scale: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """Return (x - mean) * scale + beta."""
    y = empty(x.shape, x.dtype)
    x_rows, y_rows = as_rows(x), as_rows(y)
    vectors = [tiled(v, x_rows) for v in (mean, scale, beta)]
    for_images(x_rows, lambda _, start, stop: _apply(x_rows[start:stop], *vectors, y_rows[start:stop]))
    return y


def batch_norm_backward(
    dy: np.ndarray, x: np.ndarray, mean: np.ndarray, inv_std: np.ndarray, gamma: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return dx, dgamma and dbeta; see the reference for the derivation."""
    x_rows, dy_rows, channels = as_rows(x), as_rows(dy), x.shape[-1]
    mean_row = tiled(mean, x_rows)
    partial = np.zeros((chunk_count(len(x_rows)), 2, x_rows.shape[1]))
    for_images(
        x_rows,
        lambda chunk, start, stop: _backward_sums(
            dy_rows[start:stop], x_rows[start:stop], mean_row, partial[chunk, 0], partial[chunk, 1]
        ),
    )
    dbeta, projection = folded(partial.sum(axis=0), channels)  # sums of dy and of dy * (x - mean)
    count, gain = x.size // channels, gamma * inv_std
    # dx = gain * dy - slope * (x - mean) - offset, with x_hat = (x - mean) * inv_std put into the definition
    slope = gain * inv_std * inv_std * projection / count
    offset = gain * dbeta / count
    dx = empty(x.shape, x.dtype)
    dx_rows, vectors = as_rows(dx), [tiled(v, x_rows) for v in (mean, gain, slope, offset)]
    for_images(
        x_rows,
        lambda _, start, stop: _backward_apply(
            dy_rows[start:stop], x_rows[start:stop], *vectors, dx_rows[start:stop]
        ),
    )
    return dx, (projection * inv_std).astype(x.dtype), dbeta.astype(x.dtype)


@compiled
def _squared_deviations(rows, mean, total):
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            deviation = rows[i, j] - mean[j]
            total[j] += deviation * deviation


@compiled
def _apply(x, mean, scale, beta, y):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = (x[i, j] - mean[j]) * scale[j] + beta[j]


@compiled
def _backward_sums(dy, x, mean, sum_dy, sum_projection):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            sum_dy[j] += dy[i, j]
            sum_projection[j] += dy[i, j] * (x[i, j] - mean[j])


@compiled
def _backward_apply(dy, x, mean, gain, slope, offset, dx):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            dx[i, j] = gain[j] * dy[i, j] - slope[j] * (x[i, j] - mean[j]) - offset[j]
