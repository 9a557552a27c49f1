"""Max-pooling of a deferred array: its winners, and their places in the map."""

from collections.abc import Iterator

import numpy as np

from tinycnn.kernels.deferred import Deferred, Pooled
from tinycnn.kernels.padding import Pad, Pair, output_size
from tinycnn.kernels.reference.blocks import blocks
from tinycnn.kernels.reference.rows import finish, rows
from tinycnn.kernels.reference.windows import pad_map
from tinycnn.kernels.threads import in_threads


def deferred_max_pool2d(x: Deferred, window: Pair, stride: Pair, pad: Pad) -> tuple[Deferred, Pooled]:
    """Return the pooled array, still deferred, and how its gradient finds its way back.

    The winner is the largest after the deferred map (a negative scale turns the order round); ReLU would
    change neither which one is largest nor, where all are below zero, any gradient.
    """
    n, h, w, c = x.z.shape
    shape = (n, *output_size((h, w), window, stride, pad), c)
    pooled = Pooled(np.empty(shape, np.uint8), window, stride, pad)
    z = np.empty(shape, x.z.dtype)

    def one(block: slice) -> None:
        part = x._replace(z=x.z[block], relu=False)
        y = finish(part, np.empty_like(rows(part.z))).reshape(part.z.shape)
        pooled.winner[block] = _winners(y, window, stride, pad)
        z[block] = part.z.reshape(-1)[winner_places(pooled, block, part.z.shape)]

    in_threads(one, blocks(x.z))
    return x._replace(z=z), pooled


def winner_places(pooled: Pooled, block: slice, shape: tuple[int, ...]) -> np.ndarray:
    """Return where a block's winners (N, OH, OW, C) stand in the map before, (N, H, W, C), laid flat."""
    winner, (kh, kw), stride, ((top, _), (left, _)) = pooled.winner[block], *pooled[1:]
    _, h, w, c = shape
    steps = (np.arange(kh)[:, np.newaxis] * w + np.arange(kw)).reshape(-1) * c
    n, i, j, channel = np.ogrid[tuple(slice(size) for size in winner.shape)]
    row, column = i * stride[0] - top, j * stride[1] - left
    return steps[winner] + (((n * h + row) * w + column) * c + channel)


def _winners(y: np.ndarray, window: Pair, stride: Pair, pad: Pad) -> np.ndarray:
    """Return kh * KW + kw of the first of the largest values in each window of y (N, H, W, C).

    Padding is NaN: `fmax` passes over it, and it equals nothing. A NaN of the map's own wins over numbers.
    """
    if np.isnan(y.max()):
        y = np.nan_to_num(y, nan=np.inf, posinf=np.finfo(y.dtype).max, neginf=-np.inf)
    seen = list(_seen(y, window, stride, pad))
    best = seen[0].copy()
    for values in seen[1:]:
        np.fmax(best, values, out=best)
    winner = np.full(best.shape, 255, np.uint8)
    for place, values in enumerate(seen):  # no masks and no branches: chance would mislead the processor
        other = (values != best).view(np.uint8) * np.uint8(255)
        np.minimum(winner, other | np.uint8(place), out=winner)
    return winner.reshape(*winner.shape[:2], -1, y.shape[3])


def _seen(y: np.ndarray, window: Pair, stride: Pair, pad: Pad) -> Iterator[np.ndarray]:
    """Yield, for each place in the window, the rows (N, OH, OW*C) of what it sees of y (N, H, W, C).

    Columns are first sorted by their remainder on division by the stride: what a place sees then lies
    together.
    """
    n, h, w, c = y.shape
    (top, bottom), (left, right) = pad
    oh, ow = output_size((h, w), window, stride, pad)
    padded = pad_map(y, ((top, bottom), (left, right + -(left + w + right) % stride[1])), np.nan)
    parted = padded.reshape(n, padded.shape[1], -1, stride[1], c).transpose(3, 0, 1, 2, 4)
    parts = parted.reshape(stride[1], n, padded.shape[1], -1)
    for kh in range(window[0]):
        for kw in range(window[1]):
            first = kw // stride[1] * c
            yield parts[kw % stride[1], :, kh : kh + oh * stride[0] : stride[0], first : first + ow * c]
