"""Faces found by cascades of simple features (Viola and Jones, 2001), which come with OpenCV."""

import threading
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from fer_demo.data.images import Box, to_grey
from fer_demo.errors import DataError
from tinycnn.checks import is_number, refuse

#: Files by the name that a user gives, and the side of their windows, the smallest face that they know.
CASCADES = {
    "haar": "haarcascade_frontalface_default.xml",
    "haar_alt": "haarcascade_frontalface_alt2.xml",
    "haar_profile": "haarcascade_profileface.xml",
    "lbp": "lbpcascade_frontalface_improved.xml",
    "lbp_profile": "lbpcascade_profileface.xml",
}
#: Pictures with a longer side are searched at this size: faces are large in them, and time is saved.
LONGEST_SIDE = 640
#: Where OpenCV's wheels and Linux distributions keep cascades; wheels have those of the Haar kind alone.
_FOLDERS = (
    Path(cv2.__file__).parent / "data",
    Path("/usr/share/opencv4/haarcascades"),
    Path("/usr/share/opencv4/lbpcascades"),
    Path("/usr/local/share/opencv4/haarcascades"),
    Path("/usr/local/share/opencv4/lbpcascades"),
)


class CascadeDetector:
    """Finds frontal faces, or profiles, with one of OpenCV's cascades.

    Args:
        cascade: a name in `CASCADES`, or a cascade's file.
        margin: what is added to the box on each side, as a share of it; negative takes away.
        min_size: the least side of a face, as a share of the picture's shorter side.
        longest_side: pictures are reduced to so many pixels before the search.

    Raises:
        ConfigError: there is no such cascade, or a number is out of range.
        DataError: the file is no cascade.
    """

    def __init__(
        self,
        cascade: str | Path = "haar",
        margin: float = 0.0,
        min_size: float = 0.0,
        longest_side: int = LONGEST_SIDE,
    ) -> None:
        if not is_number(margin) or not -0.4 <= margin <= 1:
            refuse("margin", margin, "a number from -0.4 to 1")
        if not is_number(min_size) or not 0 <= min_size < 1:
            refuse("min_size", min_size, "a number from 0 up to, but not including, 1")
        if type(longest_side) is not int or longest_side < 24:
            refuse("longest_side", longest_side, "a whole number of at least 24")
        self._file = _file_of(cascade)
        self._margin, self._min_size, self._longest_side = margin, min_size, longest_side
        self._local = threading.local()
        self._cascade()

    def __call__(self, image: np.ndarray, /) -> list[Box]:
        """See `FaceDetector`. In pictures of `longest_side`, faces of fewer than 20 pixels are not found."""
        grey = to_grey(image)
        scale = max(1.0, max(grey.shape) / self._longest_side)
        size = (round(grey.shape[1] / scale), round(grey.shape[0] / scale))
        if min(size) < 1:
            return []
        searched = grey if scale == 1 else cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        least = round(self._min_size * min(size))
        found = self._cascade().detectMultiScale(
            searched, scaleFactor=1.1, minNeighbors=5, minSize=(least, least)
        )
        largest_first = sorted(((int(side), int(x), int(y)) for x, y, side, _ in found), reverse=True)
        return [self._box(side * scale, x * scale, y * scale) for side, x, y in largest_first]

    def _box(self, side: float, x: float, y: float) -> Box:
        margin = self._margin * side
        whole = round(side + 2 * margin)
        return round(x - margin), round(y - margin), whole, whole

    def _cascade(self) -> cv2.CascadeClassifier:
        """One for each thread: it may not be shared."""
        if not hasattr(self._local, "cascade"):
            self._local.cascade = _load(self._file)
        return self._local.cascade


def _load(file: Path) -> cv2.CascadeClassifier:
    cascade = cv2.CascadeClassifier()
    try:
        loaded = cascade.load(str(file))
    except cv2.error:
        loaded = False
    if not loaded:
        raise DataError(f"{file}: is no cascade of OpenCV; expected an XML file such as {CASCADES['haar']}")
    return cascade


def _file_of(cascade: str | Path) -> Path:
    name = CASCADES.get(str(cascade))
    if name is None:
        if not Path(cascade).is_file():
            refuse("cascade", str(cascade), f"a file, or one of {', '.join(CASCADES)}")
        return Path(cascade)
    for folder in _FOLDERS:
        if (folder / name).is_file():
            return folder / name
    refuse("cascade", str(cascade), f"a cascade that this OpenCV has; {name} is not in it, give its file")


@cache
def _default() -> CascadeDetector:
    return CascadeDetector()


def largest_face(image: np.ndarray) -> Box | None:
    """Return the square around the largest frontal face, from eyebrows to chin, or None.

    Args:
        image: uint8, (H, W).
    """
    return next(iter(_default()(image)), None)
