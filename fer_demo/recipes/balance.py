"""Two ways to make up for rare emotions: let their images count more, or show them more often."""

import math

import numpy as np

from fer_demo.data.dataset import EMOTIONS
from tinycnn.checks import is_number, refuse


def class_weights(labels: np.ndarray) -> np.ndarray:
    """Return a weight per emotion, (7,), that makes all emotions of labels (N,) count the same in total.

    Inverse frequency, such that the mean over the N images is 1 (scikit-learn's "balanced"). An emotion that
    does not occur has weight 0.

    >>> class_weights(np.array([0, 0, 0, 6])).round(2)
    array([0.67, 0.  , 0.  , 0.  , 0.  , 0.  , 2.  ])

    Raises:
        ConfigError: labels are no emotions.
    """
    counts = _counts(labels)
    share = len(labels) / np.count_nonzero(counts)
    return np.divide(share, counts, out=np.zeros(len(counts)), where=counts > 0)


def oversample(labels: np.ndarray, rng: np.random.Generator, limit: float = math.inf) -> np.ndarray:
    """Return indices, emotion by emotion, that show every emotion of labels (N,) as often as the commonest.

    Every image is there; those of one emotion equally often, up to one. For training images alone: a copy
    among the held-out ones would be scored twice, or scored after it was trained on.

    >>> oversample(np.array([6, 3, 3, 3, 3]), np.random.default_rng(0))[4:]
    array([0, 0, 0, 0])

    Args:
        labels: of integers, 0 to 6.
        rng: decides which images are there once more than others.
        limit: how many times as many images as it has an emotion may get, at least 1.

    Raises:
        ConfigError: labels are no emotions, or `limit` is below 1.
    """
    if limit != math.inf and not (is_number(limit) and limit >= 1):
        refuse("limit", limit, "a number of at least 1")
    most = _counts(labels).max()
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    # np.resize repeats an emotion's shuffled images until there are enough.
    return np.concatenate(
        [np.resize(rng.permutation(some), int(min(most, limit * len(some)))) for some in members]
    )


def _counts(labels: np.ndarray) -> np.ndarray:
    """(7,), how many of labels (N,) are each emotion."""
    whole = isinstance(labels, np.ndarray) and labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer)
    if not whole or not len(labels) or labels.min() < 0 or labels.max() >= len(EMOTIONS):
        refuse("labels", labels, f"an array (N,) of at least one integer from 0 to {len(EMOTIONS) - 1}")
    return np.bincount(labels, minlength=len(EMOTIONS))
