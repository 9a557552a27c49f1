"""Occlusion: cover a part of the image, and see what the score says."""

import numpy as np

from tinycnn.checks import is_number, refuse
from tinycnn.errors import ShapeError
from tinycnn.explain.twin import ClassIndex, check_model, chosen_classes
from tinycnn.inference import Prepared, compile_for_inference
from tinycnn.kernels import one_thread_pool
from tinycnn.kernels.padding import Pair, pair
from tinycnn.layers import Sequential
from tinycnn.train import logit_layers

#: Covered copies of an image that go through the network at once.
_BATCH = 64


def occlusion(
    model: Sequential,
    x: np.ndarray,
    class_index: ClassIndex,
    size: int | Pair,
    stride: int | Pair,
    value: float = 0.0,
) -> np.ndarray:
    """Return how much a class's score falls when a patch is covered, for each place of the patch.

    The patch moves as a window without padding does (Zeiler & Fergus 2014, "Visualizing and understanding
    convolutional networks", section 4.2): the result is (N, rows, columns), and its number [n, i, j] is the
    score of image n minus that of the image covered from pixel (i * stride, j * stride) on. Positive numbers
    are places that the class needs. Nothing is differentiated, so this is also the judge of the other ways.

    Args:
        model: a classifier; a final `Softmax` is left out.
        x: (N, H, W, C), of the parameters' dtype.
        class_index: from 0 to K - 1, one for all images or one for each.
        size: of the patch in pixels, one number or two (rows, columns).
        stride: step of the patch in pixels, one number or two. If it does not divide what `size` leaves of
            the image, a margin at bottom or right is never covered.
        value: what the covered pixels become; 0 is the mean grey of normalised images.

    Raises:
        ShapeError, DTypeError, ConfigError: x, the class or the patch does not fit.

    >>> features = {"conv": tc.Conv2D(1, 4, 3, rng=0), "relu": tc.ReLU(), "mean": tc.GlobalAvgPool2D()}
    >>> model = tc.Sequential({**features, "dense": tc.Dense(4, 2, rng=1)})
    >>> x = np.ones((3, 8, 8, 1), np.float32)
    >>> occlusion(model, x, class_index=1, size=4, stride=2).shape
    (3, 3, 3)
    """
    check_model(model)
    if not is_number(value):
        refuse("value", value, "a finite number")
    (rows, columns), (down, right) = pair(size, "size"), pair(stride, "stride")
    network = compile_for_inference(logit_layers(model))  # of a copy, so the model's caches stay
    with one_thread_pool():
        scores = network(x)
        classes = chosen_classes(class_index, scores)
        if x.ndim != 4 or rows > x.shape[1] or columns > x.shape[2]:
            raise ShapeError(f"occlusion: cannot cover {rows}x{columns} pixels in x of shape {x.shape}")
        tops, lefts = range(0, x.shape[1] - rows + 1, down), range(0, x.shape[2] - columns + 1, right)
        patches = [np.s_[top : top + rows, left : left + columns] for top in tops for left in lefts]
        covered = [
            _scores_when_covered(network, image, patches, value)[:, chosen]
            for image, chosen in zip(x, classes, strict=True)
        ]
    drops = scores[np.arange(len(x)), classes, np.newaxis] - np.stack(covered)
    return drops.reshape(len(x), len(tops), len(lefts))


def _scores_when_covered(
    network: Prepared, image: np.ndarray, patches: list[tuple[slice, slice]], value: float
) -> np.ndarray:
    """Return the scores (patches, K) of an image (H, W, C) with each of the patches covered in turn."""
    scores = []
    for start in range(0, len(patches), _BATCH):
        some = patches[start : start + _BATCH]
        covered = np.repeat(image[np.newaxis], len(some), axis=0)
        for copy, patch in zip(covered, some, strict=True):
            copy[patch] = value
        scores.append(network(covered))
    return np.concatenate(scores)
