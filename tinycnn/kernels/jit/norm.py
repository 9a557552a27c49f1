"""Batch normalisation in two passes over memory: one for sums, one to apply them."""

import numpy as np

from tinycnn.kernels.jit.compile import as_rows, compiled, folded, tiled
from tinycnn.kernels.jit.dense import column_sums
from tinycnn.kernels.jit.team import for_chunk_ranges, for_parts
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
    for_chunk_ranges(rows, lambda first, stop: _moments(rows, first, stop, counts, means, squares))
    mean = (counts * means).sum(axis=0) / counts.sum()
    var = (squares + counts * (means - mean) ** 2).sum(axis=0) / counts.sum()
    return mean.astype(x.dtype), var.astype(x.dtype)


def batch_norm_apply(x: np.ndarray, mean: np.ndarray, scale: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """Return (x - mean) * scale + beta."""
    y = empty(x.shape, x.dtype)
    x_rows, y_rows = as_rows(x), as_rows(y)
    vectors = [tiled(v, x_rows) for v in (mean, scale, beta)]
    for_parts(x_rows, lambda start, stop: _apply(x_rows[start:stop], *vectors, y_rows[start:stop]))
    return y


def batch_norm_backward(
    dy: np.ndarray, x: np.ndarray, mean: np.ndarray, inv_std: np.ndarray, gamma: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return dx, dgamma and dbeta; see the reference for the derivation."""
    x_rows, dy_rows, channels = as_rows(x), as_rows(dy), x.shape[-1]
    mean_row = tiled(mean, x_rows)
    sums = np.zeros((chunk_count(len(x_rows)), 2, x_rows.shape[1]))
    for_chunk_ranges(x_rows, lambda first, stop: _backward_sums(dy_rows, x_rows, mean_row, first, stop, sums))
    dbeta, projection = folded(sums.sum(axis=0), channels)  # sums of dy and of dy * (x - mean)
    count, gain = x.size // channels, gamma * inv_std
    # dx = gain * dy - slope * (x - mean) - offset, with x_hat = (x - mean) * inv_std put into the definition
    slope = gain * inv_std * inv_std * projection / count
    offset = gain * dbeta / count
    dx = empty(x.shape, x.dtype)
    dx_rows, vectors = as_rows(dx), [tiled(v, x_rows) for v in (mean, gain, slope, offset)]
    for_parts(
        x_rows,
        lambda start, stop: _backward_apply(
            dy_rows[start:stop], x_rows[start:stop], *vectors, dx_rows[start:stop]
        ),
    )
    return dx, (projection * inv_std).astype(x.dtype), dbeta.astype(x.dtype)


@compiled
def _moments(rows, first, stop, counts, means, squares):
    chunks, channels = means.shape
    n, length = rows.shape
    for chunk in range(first, stop):
        lo, hi = chunk * n // chunks, (chunk + 1) * n // chunks
        count = (hi - lo) * (length // channels)
        total, mean = np.zeros(length), means[chunk]
        column_sums(rows[lo:hi], total)
        mean[:] = 0
        for j in range(length):
            mean[j % channels] += total[j] / count
        mean_row = np.empty(length, rows.dtype)
        for j in range(length):
            mean_row[j] = mean[j % channels]
        total[:] = 0
        for i in range(lo, hi):
            for j in range(length):
                deviation = rows[i, j] - mean_row[j]
                total[j] += deviation * deviation
        squares[chunk] = 0
        for j in range(length):
            squares[chunk, j % channels] += total[j]
        counts[chunk] = count


@compiled
def _apply(x, mean, scale, beta, y):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = (x[i, j] - mean[j]) * scale[j] + beta[j]


@compiled
def _backward_sums(dy, x, mean, first, stop, sums):
    chunks, n = sums.shape[0], x.shape[0]
    for chunk in range(first, stop):
        sum_dy, sum_projection = sums[chunk, 0], sums[chunk, 1]
        for i in range(chunk * n // chunks, (chunk + 1) * n // chunks):
            for j in range(x.shape[1]):
                sum_dy[j] += dy[i, j]
                sum_projection[j] += dy[i, j] * (x[i, j] - mean[j])


@compiled
def _backward_apply(dy, x, mean, gain, slope, offset, dx):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            dx[i, j] = gain[j] * dy[i, j] - slope[j] * (x[i, j] - mean[j]) - offset[j]
