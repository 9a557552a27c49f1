"""Faces found by YuNet (Wu et al. 2023, "YuNet: A Tiny Millisecond-level Face Detector"), run by OpenCV."""

import threading
from pathlib import Path

import cv2
import numpy as np

from fer_demo.data.dataset import opencv_name
from fer_demo.data.images import Box
from fer_demo.errors import DataError

#: Pictures with a longer side are searched at this size.
LONGEST_SIDE = 640
#: The least probability of a face, and how much two boxes of different faces may overlap.
_SCORE, _OVERLAP = 0.7, 0.3
#: After left, top, width and height come x and y of both eyes, the nose and both corners of the mouth.
_EYES, _MOUTH = slice(4, 8), slice(10, 14)
#: In the mean of FER2013's training faces, of 48 rows, the eyes are in row 17.5 and the mouth in row 38.5. So
#: much is the side by the distance from eyes to mouth, and so much of it is above the eyes.
_SIDES, _ABOVE = 48 / (38.5 - 17.5), 17.5 / 48


class YuNetDetector:
    """A `fer_demo.detection.FaceDetector` for YuNet's ONNX file, which OpenCV's model zoo has.

    It finds faces that are turned or tilted further than a cascade can follow. Its own boxes are not cut as
    FER2013's are, so squares are made from the eyes and the mouth that it finds.

    Args:
        file: such as ``face_detection_yunet_2023mar.onnx``.

    Raises:
        DataError: there is no such file, or OpenCV cannot run it.
    """

    def __init__(self, file: str | Path) -> None:
        self._file = Path(file)
        self._local = threading.local()
        self._network()

    def __call__(self, image: np.ndarray, /) -> list[Box]:
        """See `fer_demo.detection.FaceDetector`."""
        colour = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
        scale = max(1.0, max(colour.shape[:2]) / LONGEST_SIDE)
        size = (round(colour.shape[1] / scale), round(colour.shape[0] / scale))
        if min(size) < 1:
            return []
        searched = colour if scale == 1 else cv2.resize(colour, size, interpolation=cv2.INTER_AREA)
        network = self._network()
        network.setInputSize(size)
        _, found = network.detect(searched)
        boxes = [square_of(face * scale) for face in (found if found is not None else ())]
        return sorted(boxes, key=lambda box: box[2], reverse=True)

    def _network(self) -> cv2.FaceDetectorYN:
        """One for each thread: it has an input size of its own."""
        if not hasattr(self._local, "network"):
            if not self._file.is_file():
                raise DataError(f"{self._file}: no such file; expected YuNet's, of OpenCV's model zoo")
            try:
                self._local.network = cv2.FaceDetectorYN.create(
                    opencv_name(self._file), "", (320, 320), _SCORE, _OVERLAP
                )
            except cv2.error as error:
                raise DataError(
                    f"{self._file}: OpenCV cannot run it; expected YuNet's ONNX file, of OpenCV's model zoo"
                ) from error
        return self._local.network


def square_of(face: np.ndarray) -> Box:
    """Return the square that FER2013 would have cut around a face.

    Args:
        face: (14,) or more: left, top, width, height, then x and y of both eyes, the nose, and both corners
            of the mouth.
    """
    eyes, mouth = face[_EYES].reshape(2, 2).mean(axis=0), face[_MOUTH].reshape(2, 2).mean(axis=0)
    side = _SIDES * float(np.hypot(*(mouth - eyes)))
    left, top = eyes[0] - side / 2, eyes[1] - _ABOVE * side
    return round(float(left)), round(float(top)), round(side), round(side)
