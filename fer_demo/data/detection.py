"""Finding the face in a photograph."""

import threading

import cv2
import numpy as np
from cv2.data import haarcascades

from fer_demo.data.images import Box

#: Photographs with a longer side are searched at this size: faces are large in them, and time is saved.
LONGEST_SIDE = 640

_local = threading.local()


def largest_face(image: np.ndarray) -> Box | None:
    """Find the largest frontal face with OpenCV's Haar cascade (Viola and Jones, 2001).

    Args:
        image: uint8, (H, W).

    Returns:
        A square around it, from eyebrows to chin; None if none is found. In a photograph of `LONGEST_SIDE`
        pixels, faces of fewer than 24 are not found.
    """
    scale = max(1.0, max(image.shape) / LONGEST_SIDE)
    size = (round(image.shape[1] / scale), round(image.shape[0] / scale))
    if min(size) < 1:
        return None
    searched = image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    boxes = _cascade().detectMultiScale(searched, scaleFactor=1.1, minNeighbors=5)
    if not len(boxes):
        return None
    side, left, top = max((int(side), int(x), int(y)) for x, y, side, _ in boxes)
    return round(left * scale), round(top * scale), round(side * scale), round(side * scale)


def _cascade() -> cv2.CascadeClassifier:
    """One for each thread: it may not be shared."""
    if not hasattr(_local, "cascade"):
        _local.cascade = cv2.CascadeClassifier(f"{haarcascades}haarcascade_frontalface_default.xml")
    return _local.cascade
