"""Faces that are copies of one another, mirrored or not: found by a hash, confirmed by correlation.

FER2013 came from web searches, so that many photographs are in it several times: cut a little differently,
scaled, brightened, with a watermark. A model that has trained on one copy is not tested by another.

The hash holds the signs of a face's 63 lowest frequencies, as in C. Zauner, "Implementation and Benchmarking
of Perceptual Image Hash Functions" (2010). Mirroring a face turns the signs of the odd horizontal frequencies
and nothing else, so that a hash also tells the mirrored face's. All hashes are compared with all others,
which takes two seconds for 36,000; so many bits may differ that an index of pieces of hashes saves nothing.
"""

from collections.abc import Iterator

import cv2
import numpy as np

from fer_demo.data.dataset import IMAGE_SIZE
from fer_demo.errors import DataError

#: How many of the 63 bits may differ, and the least correlation of pixels that confirms a copy. Where FER2013
#: offers no copies, among mirrored pairs, unlike faces reach 0.88 at this distance, and hardly more.
MAX_DISTANCE, MIN_CORRELATION = 10, 0.88
#: By how many pixels at most two copies may be shifted when they are compared.
MAX_SHIFT = 4

_FREQUENCIES = 8
#: The bits of odd horizontal frequencies.
_MIRROR = np.uint64(0x5555555555555555)
#: Faces at a time: so few that the arrays in between stay in cache.
_HASH_BLOCK, _COMPARE_BLOCK = 1024, 8


def perceptual_hash(images: np.ndarray) -> np.ndarray:
    """Return 64 bits for each face; similar faces differ in few of them.

    Bit 8u + v, counted from the most significant one, tells whether the coefficient of vertical frequency u
    and horizontal frequency v in the discrete cosine transform (DCT-II) is positive. Bit 0, the brightness,
    is always 0.

    Args:
        images: uint8, (N, 48, 48, 1).

    Returns:
        uint64, (N,).
    """
    frequency, pixel = np.arange(_FREQUENCIES)[:, None], np.arange(IMAGE_SIZE)
    waves = np.cos(np.pi / IMAGE_SIZE * frequency * (pixel + 0.5)).astype(np.float32)
    hashes = np.empty(len(images), ">u8")
    for start in range(0, len(images), _HASH_BLOCK):
        block = images[start : start + _HASH_BLOCK, :, :, 0].astype(np.float32)
        # Rounding leaves up to 0.1 of a frequency that is absent, and the weakest that is seen has hundreds.
        bits = waves @ (block @ waves.T) > 1
        bits[:, 0, 0] = False
        hashes[start : start + _HASH_BLOCK] = np.packbits(bits.reshape(-1, 64), axis=1).view(">u8")[:, 0]
    return hashes.astype(np.uint64)


def groups(images: np.ndarray) -> np.ndarray:
    """Number the faces so that copies, and copies of copies, have the same number.

    Args:
        images: uint8, (N, 48, 48, 1).

    Returns:
        int64, (N,): the index of the first face of each face's group, its own if it has no copy before it.
    """
    firsts: dict[bytes, int] = {}
    parents = [firsts.setdefault(image.tobytes(), index) for index, image in enumerate(images)]

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    distinct = list(firsts.values())
    hashes = perceptual_hash(images[distinct])
    for i, j, mirrored in _similar(hashes, hashes):
        one, other = root(distinct[i]), root(distinct[j])
        if one != other and _is_copy(images[distinct[i]], images[distinct[j]], mirrored):
            parents[max(one, other)] = min(one, other)
    return np.array([root(index) for index in range(len(images))], np.int64)


def near(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Tell which of `others` are copies of any of `images`.

    Args:
        images: uint8, (N, 48, 48, 1).
        others: uint8, (M, 48, 48, 1).

    Returns:
        bool, (M,).
    """
    found = np.zeros(len(others), bool)
    for i, j, mirrored in _similar(perceptual_hash(images), perceptual_hash(others)):
        found[j] = found[j] or _is_copy(images[i], others[j], mirrored)
    return found


def keep_together(held_out_in: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Move faces so that every group is in one fold, that of its first face.

    How many have moved is ``(new != old).sum()``. Folds are then no longer equal in size, but nearly so: no
    face is more likely to be the first of its group than another.

    Args:
        held_out_in: integers from 0, (N,), the fold that each face is held out in.
        groups: (N,), as from the function of that name.

    Returns:
        (N,), the same for the folds as they are now.

    Raises:
        DataError: a fold has no face left.
    """
    _, firsts, group_of = np.unique(groups, return_index=True, return_inverse=True)
    together = held_out_in[firsts][group_of]
    if len(emptied := np.setdiff1d(held_out_in, together)):
        raise DataError(
            f"fold {emptied[0] + 1} is empty when copies of a face are kept in one fold: of {len(groups)} "
            f"faces only {len(firsts)} differ; use more data or fewer folds"
        )
    return together


def _similar(hashes: np.ndarray, others: np.ndarray) -> Iterator[tuple[int, int, bool]]:
    """Yield (i, j, whether others[j] must be mirrored) for hashes at most `MAX_DISTANCE` bits apart.

    If both are the same array, only i < j.
    """
    same = others is hashes
    for start in range(0, len(hashes), _COMPARE_BLOCK):
        skipped = start if same else 0
        differing = hashes[start : start + _COMPARE_BLOCK, None] ^ others[skipped:]
        straight, mirrored = np.bitwise_count(differing), np.bitwise_count(differing ^ _MIRROR)
        close = np.flatnonzero(np.minimum(straight, mirrored) <= MAX_DISTANCE)
        for row, column in zip(*np.unravel_index(close, differing.shape), strict=True):
            i, j = start + int(row), skipped + int(column)
            if not same or i < j:
                yield i, j, bool(mirrored[row, column] < straight[row, column])


def _is_copy(image: np.ndarray, other: np.ndarray, mirrored: bool) -> bool:
    """Compare two faces (48, 48, 1) by the middle of the second one, wherever it fits the first one best."""
    if mirrored:
        other = np.ascontiguousarray(other[:, ::-1])
    middle = other[MAX_SHIFT:-MAX_SHIFT, MAX_SHIFT:-MAX_SHIFT]
    if middle.std() < 1:  # in a flat image the correlation is that of noise
        return np.array_equal(image, other)
    return bool(cv2.matchTemplate(image, middle, cv2.TM_CCOEFF_NORMED).max() >= MIN_CORRELATION)
