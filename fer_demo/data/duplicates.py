"""Faces that are copies of one another, mirrored or not: found by fingerprints, confirmed by correlation.

FER2013 came from web searches, so that many photographs are in it several times: cut a little differently,
scaled, brightened, with a watermark. A model that has trained on one copy is not tested by another.

A fingerprint is a perceptual hash that keeps numbers where others keep their signs as bits (C. Zauner,
"Implementation and Benchmarking of Perceptual Image Hash Functions", 2010): of FER2013's faces, moved by two
pixels and one, it finds 96 % where 63 bits find a third. All fingerprints are compared with all others by
products of matrices, which takes a few seconds for 36,000 faces.
"""

from collections.abc import Iterator

import cv2
import numpy as np

from fer_demo.data.dataset import IMAGE_SIZE
from fer_demo.errors import DataError
from tinycnn.kernels.threads import in_threads

#: The least cosine of two fingerprints, and then the least correlation of pixels, of what counts as a copy.
#: Near both limits, one pair in six in FER2013 is of unlike faces; of all pairs found, one in a hundred.
MIN_COSINE, MIN_CORRELATION = 0.75, 0.88
#: By how many pixels at most two copies may be shifted when they are compared.
MAX_SHIFT = 4

#: Mean and standard deviation of each frequency over FER2013's faces, each face scaled to length 1: rows are
#: vertical, columns horizontal frequencies. What all faces share does not tell them apart.
_MEAN = np.array(
    [
        [0, 0, -0.24, 0, 0, 0],
        [0.05, 0, -0.08, 0, 0.03, 0],
        [-0.14, 0, 0, 0, 0.04, 0],
        [0.09, 0, -0.01, 0, -0.04, 0],
        [0.05, 0, 0, 0, 0, 0],
        [-0.09, 0, 0.05, 0, 0.02, 0],
    ],
    np.float32,
)
_STD = np.array(
    [
        [1, 0.43, 0.41, 0.23, 0.20, 0.14],
        [0.33, 0.15, 0.18, 0.11, 0.11, 0.08],
        [0.22, 0.11, 0.13, 0.08, 0.10, 0.07],
        [0.16, 0.08, 0.09, 0.07, 0.08, 0.06],
        [0.14, 0.07, 0.08, 0.06, 0.06, 0.05],
        [0.14, 0.06, 0.08, 0.05, 0.06, 0.04],
    ],
    np.float32,
)
#: How many numbers of a fingerprint belong to even horizontal frequencies; they come first.
_EVEN = 18
#: Faces at a time: for one thread so few that the arrays in between stay in cache, and for all threads.
_COMPARE_BLOCK, _AT_A_TIME = 8, 1024


def fingerprints(images: np.ndarray) -> np.ndarray:
    """Return the lowest frequencies of each face, without its brightness and contrast.

    They are the first 6 x 6 coefficients of the discrete cosine transform (DCT-II), standardised. Mirroring
    a face turns the signs of those of odd horizontal frequencies, the last 18, and nothing else.

    Args:
        images: uint8, (N, 48, 48, 1).

    Returns:
        float32, (N, 36), each of length 1.
    """
    frequency, pixel = np.arange(len(_MEAN))[:, None], np.arange(IMAGE_SIZE)
    waves = np.cos(np.pi / IMAGE_SIZE * frequency * (pixel + 0.5)).astype(np.float32)
    result = np.empty((len(images), _MEAN.size), np.float32)
    for start in range(0, len(images), _AT_A_TIME):
        block = images[start : start + _AT_A_TIME, :, :, 0].astype(np.float32)
        coefficients = waves @ (block @ waves.T)
        coefficients[:, 0, 0] = 0  # the brightness
        length = np.linalg.norm(coefficients, axis=(1, 2), keepdims=True)
        coefficients = (coefficients / np.maximum(length, 1) - _MEAN) / _STD  # a flat image has only rounding
        parts = coefficients[:, :, ::2], coefficients[:, :, 1::2]
        numbers = np.concatenate([part.reshape(len(block), -1) for part in parts], axis=1)
        numbers /= np.linalg.norm(numbers, axis=1, keepdims=True)
        result[start : start + _AT_A_TIME] = numbers
    return result


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
    prints = fingerprints(images[distinct])
    for i, j, mirrored in _similar(prints, prints):
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
    for i, j, mirrored in _similar(fingerprints(images), fingerprints(others)):
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


def _similar(prints: np.ndarray, others: np.ndarray) -> Iterator[tuple[int, int, bool]]:
    """Yield (i, j, whether the second face must be mirrored) for prints[i] and others[j] of `MIN_COSINE`.

    If both are the same array, only i < j.
    """
    same = others is prints
    even, odd = np.ascontiguousarray(others[:, :_EVEN].T), np.ascontiguousarray(others[:, _EVEN:].T)

    def compare(start: int) -> list[tuple[int, int, bool]]:
        skipped = start if same else 0
        block = prints[start : start + _COMPARE_BLOCK]
        # The cosine is the sum of both for the face as it is, and the difference for the mirrored one.
        by_even, by_odd = block[:, :_EVEN] @ even[:, skipped:], block[:, _EVEN:] @ odd[:, skipped:]
        close = np.flatnonzero(by_even + np.abs(by_odd) >= MIN_COSINE)
        rows, columns = np.unravel_index(close, by_odd.shape)
        i, j, mirrored = start + rows, skipped + columns, by_odd[rows, columns] < 0
        wanted = i < j if same else slice(None)
        return list(zip(i[wanted].tolist(), j[wanted].tolist(), mirrored[wanted].tolist(), strict=True))

    for start in range(0, len(prints), _AT_A_TIME):
        blocks = range(start, min(start + _AT_A_TIME, len(prints)), _COMPARE_BLOCK)
        for found in in_threads(compare, blocks):
            yield from found


def _is_copy(image: np.ndarray, other: np.ndarray, mirrored: bool) -> bool:
    """Compare two faces (48, 48, 1) by the middle of the second one, wherever it fits the first one best."""
    if mirrored:
        other = np.ascontiguousarray(other[:, ::-1])
    middle = other[MAX_SHIFT:-MAX_SHIFT, MAX_SHIFT:-MAX_SHIFT]
    if middle.std() < 1:  # in a flat image the correlation is that of noise
        return np.array_equal(image, other)
    return bool(cv2.matchTemplate(image, middle, cv2.TM_CCOEFF_NORMED).max() >= MIN_CORRELATION)
