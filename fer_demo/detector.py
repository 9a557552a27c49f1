"""From a picture to its faces and what they express: `fer_demo.EmotionDetector`."""

from collections.abc import Iterator
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

import tinycnn as tc
from fer_demo.classifier import EmotionClassifier
from fer_demo.data.dataset import EMOTIONS, IMAGE_SIZE, display_name
from fer_demo.data.images import Box, read_colour, square_around, to_grey
from fer_demo.detection import FaceDetector
from fer_demo.detection.cascades import CascadeDetector
from fer_demo.detection.eyes import cut_upright, tilt
from fer_demo.errors import DataError
from tinycnn.checks import check_flag, is_number, refuse

if TYPE_CHECKING:
    from fer_demo.results import Result

__all__ = ["Cut", "EmotionDetector", "Face"]

#: What a face is called if no emotion is probable enough.
UNSURE = "unsure"


class Cut(NamedTuple):
    """What is cut out of a picture for the network: box, crop (48, 48) and tilt, as in `Face`.

    >>> detector = EmotionDetector()
    >>> (cut,) = detector.cut(np.full((120, 160, 3), 128, np.uint8), boxes=[(40, 20, 80, 80)])
    >>> cut.box, cut.crop.shape, cut.tilt
    ((40, 20, 80, 80), (48, 48), 0.0)
    """

    box: Box
    crop: np.ndarray
    tilt: float


@dataclass(frozen=True, eq=False)
class Face:
    """One face of one picture.

    Attributes:
        box: left, top, width and height in pixels of the picture: the square that was cut out.
        probabilities: float32, (7,), in the order of `EMOTIONS`.
        crop: uint8, (48, 48): what the network saw.
        unsure: the least probability of an emotion that the face is labelled with.
        tilt: degrees by which the head was turned back to be upright in the crop; see
            `fer_demo.detection.eyes`.

    >>> probabilities = np.array([0.1, 0, 0, 0.6, 0.1, 0.1, 0.1], np.float32)
    >>> face = Face((40, 20, 80, 80), probabilities, np.zeros((48, 48), np.uint8), unsure=0.7)
    >>> face.emotion, round(face.confidence, 2), face.label
    ('happy', 0.6, 'unsure')
    """

    box: Box
    probabilities: np.ndarray
    crop: np.ndarray
    unsure: float = 0.0
    tilt: float = 0.0

    @property
    def emotions(self) -> dict[str, float]:
        """The probability of each of `EMOTIONS`."""
        return dict(zip(EMOTIONS, map(float, self.probabilities), strict=True))

    @property
    def emotion(self) -> str:
        """The most probable emotion."""
        return EMOTIONS[int(self.probabilities.argmax())]

    @property
    def confidence(self) -> float:
        """Its probability."""
        return float(self.probabilities.max())

    @property
    def label(self) -> str:
        """The most probable emotion, or `UNSURE`."""
        return self.emotion if self.confidence >= self.unsure else UNSURE


class EmotionDetector:
    """Finds faces and tells which emotions strangers would read in them.

    Args:
        weights: see `fer_demo.classifier.EmotionClassifier`.
        faces: how to find faces; frontal ones by OpenCV's Haar cascade if None.
        unsure: the least probability of an emotion that a face is labelled with, from 0 to 1.
        flip_average: see `fer_demo.classifier.EmotionClassifier`.
        align: set tilted heads upright where both eyes are found.

    Attributes:
        classifier: what tells emotions.
        find_faces: what finds faces.

    Raises:
        ConfigError: an argument is out of range, or there are no such weights.
        FileFormatError: the weights are damaged, or of another kind of network.

    >>> detector = EmotionDetector()
    >>> picture = np.full((120, 160, 3), 128, np.uint8)  # or a file's name
    >>> detector.faces(picture), detector.top_emotion(picture)
    ([], (None, None))
    >>> (face,) = detector.classify(picture, boxes=[(40, 20, 80, 80)])  # as if one had been found there
    >>> round(sum(face.emotions.values()), 3)
    1.0
    """

    def __init__(
        self,
        weights: str | Path = "mini_xception",
        faces: FaceDetector | None = None,
        unsure: float = 0.4,
        flip_average: bool = False,
        align: bool = True,
    ) -> None:
        if not is_number(unsure) or not 0 <= unsure <= 1:
            refuse("unsure", unsure, "a number from 0 to 1")
        if faces is not None and not callable(faces):
            refuse("faces", faces, "a function that finds faces, such as a CascadeDetector")
        check_flag(align=align)
        self.classifier = EmotionClassifier(weights, flip_average)
        self.find_faces: FaceDetector = CascadeDetector() if faces is None else faces
        self.unsure, self.align = unsure, align

    def faces(self, image: str | Path | np.ndarray) -> list[Face]:
        """Return the faces of a picture, the largest first.

        Args:
            image: a file; or uint8, (H, W), (H, W, 3) in the order blue, green, red as OpenCV has it, or
                (H, W, 4) with transparency, which is ignored.

        Raises:
            DataError: the file cannot be read.
            DTypeError, ShapeError: the array is no picture.
        """
        picture = as_picture(image)
        return self.classify(picture, self.find_faces(picture))

    def classify(self, picture: np.ndarray, boxes: list[Box]) -> list[Face]:
        """Return what is in the boxes, in their order, having asked the network once for all of them.

        Args:
            picture: uint8, (H, W) or (H, W, 3), not empty.
            boxes: around the faces, in whole pixels; they may reach beyond the picture.

        Raises:
            ConfigError: a box is no four whole numbers, empty, or wholly outside of the picture.
        """
        return self.read(self.cut(picture, boxes))

    def cut(self, picture: np.ndarray, boxes: list[Box]) -> list[Cut]:
        """Cut out what is in the boxes of a picture, (H, W) or (H, W, 3); the first half of `classify`."""
        grey = to_grey(picture)
        boxes = [_checked(box, grey.shape) for box in boxes]
        tilts = [tilt(grey, box) if self.align else 0.0 for box in boxes]
        return [
            Cut(square_around(box, grey.shape), cut_upright(grey, box, angle), angle)
            for box, angle in zip(boxes, tilts, strict=True)
        ]

    def read(self, cuts: list[Cut]) -> list[Face]:
        """Ask the network about all of them at once; the second half of `classify`."""
        crops = np.array([crop for _, crop, _ in cuts], np.uint8)
        answers = self.classifier(crops.reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 1))
        return [
            Face(box, probabilities, crop, self.unsure, angle)
            for (box, crop, angle), probabilities in zip(cuts, answers, strict=True)
        ]

    def detect_emotions(self, image: str | Path | np.ndarray) -> list[dict]:
        """Return ``[{"box": [left, top, width, height], "emotions": {"angry": 0.01, ...}}, ...]``.

        Users of the `fer` package know this form. For the image, a file or (H, W, 3), the order
        and errors see `faces`.
        """
        return [{"box": list(face.box), "emotions": face.emotions} for face in self.faces(image)]

    def top_emotion(self, image: str | Path | np.ndarray) -> tuple[str, float] | tuple[None, None]:
        """Return the largest face's most probable emotion and its probability; two None without a face.

        For the image, a file or (H, W, 3), and errors see `faces`.
        """
        faces = self.faces(image)
        return (faces[0].emotion, faces[0].confidence) if faces else (None, None)

    def analyze(self, path: str | Path) -> Iterator["Result"]:
        """Yield what is in a picture, in each frame of a video, or in all that is in a folder.

        `fer_demo.results.to_pandas` makes a table of them.

        Raises:
            DataError: there is no such file, or it is damaged; see `fer_demo.media.analyse`.
        """
        from fer_demo.media import analyse, find_media

        for file in find_media([Path(path)]):
            yield from analyse(self, file)


def _checked(box: Box, shape: tuple[int, ...]) -> Box:
    """Return a box that somebody else has found, with Python's own numbers, or raise a ConfigError.

    Args:
        box: what was found.
        shape: (H, W) of the picture.
    """
    try:
        left, top, width, height = map(index, box)
    except (TypeError, ValueError):
        left = top = width = height = 0
    if width < 1 or height < 1:
        refuse("box", box, "left, top, width and height in whole pixels, the last two of at least 1")
    if left >= shape[1] or top >= shape[0] or left + width <= 0 or top + height <= 0:
        refuse("box", box, f"one that reaches into the picture of {shape[1]}x{shape[0]} pixels")
    return left, top, width, height


def as_picture(image: str | Path | np.ndarray) -> np.ndarray:
    """Return a file's or an array's picture as uint8, (H, W) or (H, W, 3); see `EmotionDetector.faces`."""
    if isinstance(image, str | Path):
        read = read_colour(Path(image))
        if isinstance(read, str):
            raise DataError(
                f"{display_name(str(image))}: {read}; expected a picture, such as a PNG or JPEG file"
            )
        return read
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        found = getattr(image, "dtype", type(image).__name__)
        raise tc.DTypeError(
            f"the picture is {found}: expected a file's name, or an array of uint8 from 0 (black) to 255"
        )
    channels = image.shape[2:]
    if image.ndim not in (2, 3) or channels not in ((), (1,), (3,), (4,)) or not image.size:
        raise tc.ShapeError(f"expected a picture (H, W), (H, W, 3) or (H, W, 4), found {image.shape}")
    if channels == (4,):
        return cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)
    return image[..., 0] if channels == (1,) else image
