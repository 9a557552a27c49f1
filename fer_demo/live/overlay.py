"""Boxes, labels and whatever else is drawn onto the faces of a picture."""

from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np

from fer_demo.data.images import Box
from fer_demo.detector import Face
from fer_demo.live.drawing import BASE_HEIGHT, colour_of, ink_on, text, text_width

#: A hidden face becomes so many squares wide, and so does what is around it, by this share of the box.
SQUARES, AROUND = 6, 0.2
#: Units of the least size in which a label can be read.
_LABEL_SIZE = 0.5


def unit_of(image: np.ndarray) -> float:
    """Pixels a unit in a picture (H, W, 3); see `fer_demo.live.drawing`."""
    return max(min(image.shape[:2]) / BASE_HEIGHT, 0.5)


def draw_faces(image: np.ndarray, faces: Iterable[tuple[Face, str]]) -> None:
    """Draw a box around each face and write above it a name, the label and its probability.

    Args:
        image: uint8, (H, W, 3), changed.
        faces: each with a name, which may be empty.
    """
    unit = unit_of(image)
    for face, name in faces:
        colour = colour_of(face.label)
        left, top, width, height = face.box
        corners = (left, top), (left + width, top + height)
        cv2.rectangle(image, *corners, (0, 0, 0), max(3, round(4 * unit)), cv2.LINE_AA)
        cv2.rectangle(image, *corners, colour, max(1, round(2 * unit)), cv2.LINE_AA)
        _draw_label(image, f"{name} {face.label} {face.confidence:.0%}".strip(), face.box, colour, unit)


def _draw_label(image: np.ndarray, words: str, box: Box, colour: tuple[int, int, int], unit: float) -> None:
    width, height, gap = text_width(words, unit, _LABEL_SIZE), round(18 * unit), round(4 * unit)
    left = min(max(box[0], 0), max(image.shape[1] - width - 2 * gap, 0))
    bottom = box[1] if box[1] >= height else box[1] + height  # inside if there is no room above
    cv2.rectangle(image, (left, bottom - height), (left + width + 2 * gap, bottom), colour, cv2.FILLED)
    text(image, words, (left + gap, bottom - 5 * unit), unit, ink_on(colour), _LABEL_SIZE)


def hide(image: np.ndarray, box: Box) -> None:
    """Make a face unrecognisable: what is in the box, and around it, becomes a few squares.

    Args:
        image: uint8, (H, W, 3) or (H, W), changed.
        box: around the face; it may reach beyond the picture.
    """
    left, top, width, height = box
    more = round(AROUND * max(width, height))
    part = image[
        max(top - more, 0) : max(top + height + more, 0), max(left - more, 0) : max(left + width + more, 0)
    ]
    if part.size:
        squares = cv2.resize(part, (SQUARES, SQUARES), interpolation=cv2.INTER_AREA)
        part[:] = cv2.resize(squares, part.shape[1::-1], interpolation=cv2.INTER_NEAREST)


def warm(image: np.ndarray, box: Box, heat: np.ndarray) -> None:
    """Lay a map of heat over a box.

    Args:
        image: uint8, (H, W, 3), changed.
        box: within the picture.
        heat: uint8, (h, w): 0 leaves the picture as it is.
    """
    left, top, width, height = box
    part = image[top : top + height, left : left + width]
    heat = cv2.resize(heat, part.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    colours = cv2.applyColorMap(heat, cv2.COLORMAP_INFERNO)
    share = (heat * np.float32(0.7 / 255))[..., np.newaxis]
    part[:] = np.rint(part * (1 - share) + colours * share)


def mirrored(face: Face, width: int) -> Face:
    """Return the face where it is in the mirror image of a picture of that width."""
    left, top, side, height = face.box
    return replace(face, box=(width - left - side, top, side, height))
