"""Faces found by cascades of simple features (Viola and Jones, 2001), which come with OpenCV."""

import threading
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from fer_demo.data.dataset import opencv_name
from fer_demo.data.images import Box, to_grey
from fer_demo.errors import DataError
from tinycnn.checks import is_number, refuse

#: OpenCV's files by the names that a user gives.
CASCADES = {
    "haar": "haarcascade_frontalface_default.xml",
    "haar_alt": "haarcascade_frontalface_alt2.xml",
    "profile": "haarcascade_profileface.xml",
    "lbp": "lbpcascade_frontalface_improved.xml",
    "lbp_profile": "lbpcascade_profileface.xml",
}
#: Cascades that know faces which look to the picture's left, and must be shown the mirror image, too.
ONE_SIDED = ("profile", "lbp_profile")
#: Pictures with a longer side are searched at this size: faces are large in them, and time is saved.
LONGEST_SIDE = 640
#: A picture that is so many times as long as it is wide, or more, is reduced no further than one that is.
NARROWEST = 4
#: How much of two squares' union both may cover: more, and they are of one face.
_OVERLAP = 0.3
#: Where OpenCV's packages keep cascades: Python's have those of the Haar kind alone, Linux's all of them.
_FOLDERS = (
    Path(cv2.__file__).parent / "data",
    *Path("/usr/share/opencv4").glob("*cascades"),
    *Path("/usr/local/share/opencv4").glob("*cascades"),
)


class Cascade:
    """One of OpenCV's cascades, which may be used by several threads.

    Args:
        file: an XML file, or the name of one that is among OpenCV's.

    Raises:
        ConfigError: there is no such file.
        DataError: it is no cascade.
    """

    def __init__(self, file: str | Path) -> None:
        self._file = next((folder / file for folder in _FOLDERS if (folder / file).is_file()), Path(file))
        if not self._file.is_file():
            refuse(
                "cascade",
                str(file),
                "a file of cascades; this OpenCV has none of that name (Debian's opencv-data has more)",
            )
        self._local = threading.local()
        self._classifier()

    def find(
        self, grey: np.ndarray, least: int, most: int = 0, quick: bool = False
    ) -> list[tuple[int, int, int]]:
        """Return left, top and side of whatever it finds.

        Args:
            grey: uint8, (H, W).
            least: sides below so many pixels are not found.
            most: nor sides above so many; 0 for no limit.
            quick: try fewer sizes, which takes half the time.
        """
        step, neighbours = (1.2, 3) if quick else (1.1, 5)  # fewer sizes, so fewer neighbours to be had
        found = self._classifier().detectMultiScale(
            grey, scaleFactor=step, minNeighbors=neighbours, minSize=(least, least), maxSize=(most, most)
        )
        return [(int(x), int(y), int(side)) for x, y, side, _ in found]

    def _classifier(self) -> cv2.CascadeClassifier:
        """One for each thread: OpenCV's may not be shared."""
        if not hasattr(self._local, "classifier"):
            classifier = cv2.CascadeClassifier()
            try:
                loaded = classifier.load(opencv_name(self._file))
            except cv2.error:
                loaded = False
            if not loaded:
                raise DataError(
                    f"{self._file}: is no cascade of OpenCV; expected an XML file such as {CASCADES['haar']}"
                )
            self._local.classifier = classifier
        return self._local.classifier


class CascadeDetector:
    """A `fer_demo.detection.FaceDetector` that finds frontal faces, or profiles, by a cascade.

    Args:
        cascade: a name in `CASCADES`, or a cascade's file.
        margin: what is added to the box on each side, as a share of it; negative takes away. 0 is how
            FER2013's faces were cut, and therefore best: see docs/application.md.
        min_size: the least side of a face, as a share of the picture's shorter side.
        longest_side: pictures are reduced to so many pixels before the search.
        quick: try fewer sizes, which takes half the time and misses few more faces.

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
        quick: bool = False,
    ) -> None:
        if not is_number(margin) or not -0.4 <= margin <= 1:
            refuse("margin", margin, "a number from -0.4 to 1")
        if not is_number(min_size) or not 0 <= min_size < 1:
            refuse("min_size", min_size, "a number from 0 up to, but not including, 1")
        if type(longest_side) is not int or longest_side < 24:
            refuse("longest_side", longest_side, "a whole number of at least 24")
        self._cascade = Cascade(CASCADES.get(str(cascade), cascade))
        self._mirror, self._quick = str(cascade) in ONE_SIDED, quick
        self._margin, self._min_size, self._longest_side = margin, min_size, longest_side

    def __call__(self, image: np.ndarray, /) -> list[Box]:
        """See `FaceDetector`. In pictures of `longest_side`, faces of fewer than 20 pixels are not found."""
        grey = to_grey(image)
        # A panorama is reduced less: its faces are as large as its shorter side allows.
        longest, shortest = max(grey.shape), min(grey.shape)
        scale = max(1.0, min(longest, NARROWEST * shortest) / self._longest_side)
        size = (round(grey.shape[1] / scale), round(grey.shape[0] / scale))
        if min(size) < 1:
            return []
        searched = grey if scale == 1 else cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        least = round(self._min_size * min(size))
        found = self._cascade.find(searched, least, quick=self._quick)
        if self._mirror:
            other = self._cascade.find(cv2.flip(searched, 1), least, quick=self._quick)
            found = _distinct([*found, *((size[0] - x - side, y, side) for x, y, side in other)])
        largest_first = sorted(found, key=lambda square: square[2], reverse=True)
        return [self._box(x * scale, y * scale, side * scale) for x, y, side in largest_first]

    def _box(self, x: float, y: float, side: float) -> Box:
        margin = self._margin * side
        whole = round(side + 2 * margin)
        return round(x - margin), round(y - margin), whole, whole


def _distinct(squares: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Leave out squares that lie upon larger ones: the same faces, which both searches have found."""
    boxes, sides = [(x, y, side, side) for x, y, side in squares], [float(side) for _, _, side in squares]
    return [squares[kept] for kept in cv2.dnn.NMSBoxes(boxes, sides, 0.0, _OVERLAP)]


@cache
def _default() -> CascadeDetector:
    return CascadeDetector()


def largest_face(image: np.ndarray) -> Box | None:
    """Return the square around the largest frontal face, from eyebrows to chin, or None.

    Args:
        image: uint8, (H, W).
    """
    return next(iter(_default()(image)), None)
