"""Pictures into a video file."""

from pathlib import Path

import cv2
import numpy as np

from fer_demo.data.dataset import display_name, opencv_name
from fer_demo.errors import DataError, DeviceError

#: Codecs that OpenCV's own packages can write, by the ending of the file's name.
CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".avi": "MJPG", ".mkv": "mp4v"}
#: A file with less than this share of the pictures that were written is not complete.
COMPLETE = 0.9


class Recorder:
    """A video that runs as fast as what was filmed, however irregularly its pictures came.

    It has a fixed number of pictures a second: of those that came too fast some are left out, and those that
    came too slowly are repeated. The file is opened with the first picture, and complete after `close`.

    Args:
        path: its ending decides on the codec, see `CODECS`; folders are made.
        rate: pictures a second.

    Raises:
        DataError: the ending is none of `CODECS`, or OpenCV cannot take the name.
    """

    def __init__(self, path: Path, rate: float) -> None:
        if path.suffix.lower() not in CODECS:
            raise DataError(f"{display_name(str(path))}: expected a name that ends in {', '.join(CODECS)}")
        self.path, self._rate, self._name = path, rate, opencv_name(path)
        self._writer: cv2.VideoWriter | None = None
        self._began, self._written, self._count = 0.0, 0, 0
        self._size = (0, 0)

    def add(self, picture: np.ndarray, seconds: float) -> None:
        """Write a picture, as often as its time demands.

        Args:
            picture: uint8, (H, W, 3); odd sizes lose a row or a column, which codecs do not like.
            seconds: when it was taken.

        Raises:
            DeviceError: OpenCV cannot write such a video here.
        """
        if self._writer is None:
            self._open(picture, seconds)
            assert self._writer is not None
        if _even(picture) != self._size:
            picture = cv2.resize(picture, self._size)  # a stream may change its size in the middle
        width, height = self._size
        due = round((seconds - self._began) * self._rate) + 1
        # A clock that jumps must not fill the disk: a gap is no longer than a second.
        for _ in range(min(due - self._written, max(1, round(self._rate)))):
            self._writer.write(picture[:height, :width])
            self._count += 1
        self._written = max(self._written, due)

    def _open(self, picture: np.ndarray, seconds: float) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        codec = CODECS[self.path.suffix.lower()]
        self._size = _even(picture)
        self._writer = cv2.VideoWriter(self._name, cv2.VideoWriter.fourcc(*codec), self._rate, self._size)
        self._began = seconds
        if not self._writer.isOpened():
            raise DeviceError(
                f"{display_name(str(self.path))}: OpenCV cannot write it: its folder is not writable, its "
                f"disk is full, this build has no codec {codec}, or it takes no pictures of "
                f"{self._size[0]}x{self._size[1]} pixels. Try a name that ends in .avi, "
                "or OpenCV as PyPI has it: pip install --force-reinstall 'opencv-python<5'"
            )

    def close(self) -> None:
        """Complete the file.

        Raises:
            DeviceError: pictures are missing in it, which OpenCV does not say.
        """
        if self._writer is None:
            return
        self._writer.release()
        saved = cv2.VideoCapture(self._name)
        kept = round(saved.get(cv2.CAP_PROP_FRAME_COUNT)) if saved.isOpened() else 0
        saved.release()
        if kept < COMPLETE * self._count:
            raise DeviceError(
                f"{display_name(str(self.path))}: holds {kept} of {self._count} pictures; is the disk full?"
            )


def _even(picture: np.ndarray) -> tuple[int, int]:
    """Width and height of a picture (H, W, 3), without a row or a column that makes them odd."""
    return picture.shape[1] // 2 * 2, picture.shape[0] // 2 * 2
