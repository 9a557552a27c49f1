"""How far a head is tilted, by the line from eye to eye."""

from functools import cache
from math import atan2, degrees

import cv2
import numpy as np

from fer_demo.data.images import Box, cut_face, square_around
from fer_demo.detection.cascades import Cascade

#: Eyes are searched in a face of so many pixels a side, between these shares of its height.
_SIDE, _TOP, _BOTTOM = 128, 0.16, 0.6
#: An eye's least and greatest width, and the least distance of two, as shares of the face's side.
_LEAST, _GREATEST, _DISTANCE = 0.16, 0.5, 0.25
#: More degrees are no tilt but a mistake: faces that are tilted further are not found.
_MOST = 30.0


def tilt(grey: np.ndarray, box: Box) -> float:
    """Return how many degrees the line from eye to eye falls to the right; 0 unless both eyes are found.

    Args:
        grey: uint8, (H, W).
        box: around the face; it may reach beyond the picture.
    """
    left, top, side, _ = square_around(box, grey.shape)
    band = grey[top + round(_TOP * side) : top + round(_BOTTOM * side), left : left + side]
    size = _SIDE, round((_BOTTOM - _TOP) * _SIDE)
    found = _eyes().find(cv2.resize(band, size), round(_LEAST * _SIDE), round(_GREATEST * _SIDE))
    centres = [(x + width / 2, y + width / 2) for x, y, width in found]
    left_eyes = [(x, y) for x, y in centres if x < 0.45 * _SIDE]
    right_eyes = [(x, y) for x, y in centres if x > 0.55 * _SIDE]
    if len(left_eyes) != 1 or len(right_eyes) != 1:
        return 0.0
    (x1, y1), (x2, y2) = left_eyes[0], right_eyes[0]
    angle = degrees(atan2(y2 - y1, x2 - x1))
    return angle if x2 - x1 >= _DISTANCE * _SIDE and abs(angle) <= _MOST else 0.0


def cut_upright(grey: np.ndarray, box: Box, angle: float) -> np.ndarray:
    """Cut a face out like `fer_demo.data.images.cut_face`, having turned it back by its `tilt`."""
    if not angle:
        return cut_face(grey, box)
    left, top, side, _ = square_around(box, grey.shape)
    turn = cv2.getRotationMatrix2D((left + (side - 1) / 2, top + (side - 1) / 2), angle, 1.0)
    turn[:, 2] -= left, top
    return cut_face(cv2.warpAffine(grey, turn, (side, side), borderMode=cv2.BORDER_REPLICATE))


@cache
def _eyes() -> Cascade:
    return Cascade("haarcascade_eye.xml")
