"""The dense layer: BLAS on blocks of outputs, and column sums for any bias."""

import numpy as np

from tinycnn.kernels.jit.compile import as_rows, compiled, folded
from tinycnn.kernels.jit.team import for_chunks, for_images
from tinycnn.kernels.memory import empty
from tinycnn.kernels.threads import chunk_count


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a @ b for a (M, K) and b (K, N), the columns of the result shared among the threads."""
    y = empty((len(a), b.shape[1]), a.dtype)

    def block(_: int, start: int, stop: int) -> None:
        np.matmul(a, b[:, start:stop], out=y[:, start:stop])

    for_chunks(b.shape[1], block, b.size)
    return y


def dense(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """Return x @ kernel + bias."""
    y = matmul(x, kernel)
    if bias is not None:
        y += bias
    return y


def dense_backward(dy: np.ndarray, x: np.ndarray, kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return dx = dy @ kernel.T and dkernel = x.T @ dy."""
    dkernel = empty(kernel.shape, kernel.dtype)

    def block(_: int, start: int, stop: int) -> None:
        np.matmul(x.T[start:stop], dy, out=dkernel[start:stop])

    for_chunks(len(kernel), block, kernel.size)
    return matmul(dy, kernel.T), dkernel


def bias_backward(dy: np.ndarray) -> np.ndarray:
    """Return dy summed over all axes but the last."""
    rows = as_rows(dy)
    partial = np.zeros((chunk_count(len(rows)), rows.shape[1]))
    for_images(rows, lambda chunk, start, stop: column_sums(rows[start:stop], partial[chunk]))
    return folded(partial.sum(axis=0), dy.shape[-1]).astype(dy.dtype)


@compiled
def column_sums(rows, total):
    """Add each row to `total`, in float64 so that long sums lose nothing."""
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            total[j] += rows[i, j]
