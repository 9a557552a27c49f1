"""Faces on a figure: samples of a data set, and a model's mistakes."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fer_demo.data.dataset import EMOTIONS, IMAGE_SIZE

#: Faces shown of each emotion.
SAMPLES = 4
#: Rows and columns of mistakes, at most.
MISTAKES_GRID = (2, 6)

_CELL = IMAGE_SIZE + 2  # a face and the white line after it


def draw_faces(axes: Axes, images: np.ndarray, labels: np.ndarray) -> None:
    """Show a column of `SAMPLES` faces per emotion, taken evenly from the whole data set.

    Args:
        axes: where to draw.
        images: uint8, (N, 48, 48, 1).
        labels: integers, (N,), indices into `EMOTIONS`.
    """
    mosaic = np.full((SAMPLES * _CELL, len(EMOTIONS) * _CELL), 255, np.uint8)
    for column in range(len(EMOTIONS)):
        members = np.flatnonzero(labels == column)
        chosen = members[np.linspace(0, len(members) - 1, min(SAMPLES, len(members)), dtype=int)]
        for row, index in enumerate(chosen):
            top, left = row * _CELL, column * _CELL
            mosaic[top : top + IMAGE_SIZE, left : left + IMAGE_SIZE] = images[index, :, :, 0]
    show_face(axes, mosaic)
    axes.set_xticks(np.arange(len(EMOTIONS)) * _CELL + IMAGE_SIZE / 2, EMOTIONS)
    axes.tick_params(top=False, labeltop=True, bottom=False, labelbottom=False)


def surest_mistakes(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the indices of wrongly recognised faces with the highest probability, surest first.

    Args:
        labels: integers, (N,), indices into `EMOTIONS`.
        probabilities: float, (N, 7), NaN in the rows of images that were never held out.

    Returns:
        At most as many as `MISTAKES_GRID` has cells.
    """
    judged = np.flatnonzero(~np.isnan(probabilities).any(axis=1))
    wrong = judged[probabilities[judged].argmax(axis=1) != labels[judged]]
    confidence = probabilities[wrong].max(axis=1)
    return wrong[np.argsort(-confidence, kind="stable")][: math.prod(MISTAKES_GRID)]


def draw_mistakes(figure: Figure, images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray) -> None:
    """Show faces with their true and their predicted emotion, in as many rows as they need.

    Args:
        figure: where to draw, an empty one.
        images: uint8, (M, 48, 48, 1), at least one.
        labels: integers, (M,), indices into `EMOTIONS`.
        probabilities: float, (M, 7).
    """
    columns = MISTAKES_GRID[1]
    grid = figure.subplots(math.ceil(len(images) / columns), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    # Fewer mistakes than cells leave cells empty.
    for axes, image, label, given in zip(grid.flat, images, labels, probabilities, strict=False):
        predicted = given.argmax()
        show_face(axes, image[:, :, 0])
        axes.set_title(
            f"{EMOTIONS[label]}, taken for\n{EMOTIONS[predicted]} ({given[predicted]:.0%})", fontsize=8
        )


def show_face(axes: Axes, picture: np.ndarray) -> None:
    """Show grey levels, uint8 (H, W) or (H, W, 1), without axes."""
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
