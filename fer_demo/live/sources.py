"""Where frames come from: a camera, a file or a stream."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from fer_demo.data.dataset import display_name, opencv_name
from fer_demo.errors import DataError, DeviceError

# What FFmpeg has to say about a damaged file says less than our own messages.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

#: Frames a second of a source that does not say.
USUAL_RATE = 30.0
#: A file that claims more frames a second means the ticks of its clock.
FASTEST = 1000.0
#: A camera may fail so often in a row, with a pause in between, before it is taken for gone.
TRIES, PAUSE = 5, 0.1
#: Milliseconds that a stream may take to answer, and to give its next frame.
_PATIENCE = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 10_000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 10_000)
#: Cameras are looked for under these numbers.
MAX_CAMERAS = 10
#: How texts begin that FFmpeg follows to other files, which nobody has named, and to the network.
_PLAYLISTS = (b"ffconcat", b"#EXTM3U", b"<?xml")
_LONGEST = max(map(len, _PLAYLISTS))
#: A video that ends before this share of the time that it claims is cut short.
_COMPLETE = 0.9


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a sequence.

    Attributes:
        image: uint8, (H, W, 3), in the order blue, green, red.
        index: counts from 0.
        seconds: since the first frame: by a file's own clock, otherwise by the computer's.
    """

    image: np.ndarray
    index: int
    seconds: float


class Capture(Protocol):
    """What is needed of `cv2.VideoCapture`."""

    def read(self) -> tuple[bool, np.ndarray | None]: ...  # noqa: D102
    def get(self, prop: int, /) -> float: ...  # noqa: D102
    def release(self) -> None: ...  # noqa: D102


class Source:
    """Frames one after another; to be used in a ``with`` statement.

    Args:
        capture: an opened `cv2.VideoCapture`, or its like.
        name: for people to read.
        live: frames come when they come, and their time is the computer's.

    Attributes:
        name: see above.
        live: see above.
        rate: frames a second that it claims to have, or `USUAL_RATE`.
        size: width and height in pixels.
        seconds: how long a file claims to be; 0 if it does not say how fast it is, and for what is live.
        frame_count: how many frames a file claims to have, in the same way.
    """

    def __init__(self, capture: Capture, name: str, live: bool) -> None:
        self._capture, self.name, self.live = capture, name, live
        claimed = capture.get(cv2.CAP_PROP_FPS)
        credible = 0 < claimed <= FASTEST
        self.rate = claimed if credible else USUAL_RATE
        width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        self.size = round(width), round(height)
        self.frame_count = 0 if live else max(0, round(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.seconds = self.frame_count / self.rate if credible else 0.0

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames.

        Raises:
            DataError: a file has no frames, or fewer than it claims; those that it has were yielded before.
            DeviceError: a camera or a stream gives no more frames.
        """
        index, seconds, began = 0, 0.0, time.monotonic()
        while (image := self._read()) is not None:
            if self.live:
                seconds = time.monotonic() - began if index else 0.0
                began = began if index else time.monotonic()
            else:
                seconds = self._clock(index, seconds)
            yield Frame(image, index, seconds)
            index += 1
        self._check_end(index, seconds)

    def _read(self) -> np.ndarray | None:
        for _ in range(TRIES if self.live else 1):
            ok, image = self._capture.read()
            if ok and image is not None and image.size:
                return image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
            if self.live:
                time.sleep(PAUSE)
        return None

    def _clock(self, index: int, before: float) -> float:
        """Seconds by the file's clock; by its rate where a file has none, or it goes backwards."""
        seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        return seconds if seconds > before else before + (1 / self.rate if index else 0.0)

    def _check_end(self, frames: int, seconds: float) -> None:
        if self.live:
            what = f"gave no more frames after {frames}" if frames else "gives no frames"
            raise DeviceError(
                f"{self.name} {what}: look at its cable, and whether another program or the system took it; "
                "a network stream may simply be over"
            )
        if not frames:
            raise DataError(f"{self.name}: no frame of it can be read; it is damaged, or of an unknown codec")
        # By the clock, for some files claim too many frames; by their number, for the last may stay for long.
        early = seconds + 1.5 / self.rate < _COMPLETE * self.seconds
        if early and frames < _COMPLETE * self.frame_count:
            raise DataError(
                f"{self.name}: ends after {frames} of {self.frame_count} frames; it is cut short or damaged, "
                "or its sound is longer than its picture"
            )

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()


def open_source(source: str) -> Source:
    """Open a camera by its number, a file by its name, or a stream by its address (with ``://`` in it).

    Raises:
        DeviceError: there is no such camera, or no such stream.
        DataError: there is no such file, or it is no video.
    """
    if source.isdecimal() and len(source) < 10:  # no system counts its cameras further
        return _open_camera(int(source))
    if "://" in source:
        capture = cv2.VideoCapture(opencv_name(source), cv2.CAP_ANY, _PATIENCE)
        if not capture.isOpened():
            raise DeviceError(
                f"{source}: the stream cannot be opened; try its address in a video player, and see whether "
                "it wants a name and a password (rtsp://name:password@host/path)"
            )
        return Source(capture, source, live=True)
    return open_video(Path(source))


def open_video(path: Path) -> Source:
    """Open a video file.

    Raises:
        DataError: there is no such file, or it is no video, or it cannot be read.
    """
    name = display_name(str(path))
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "no such file"
        raise DataError(
            f"{name}: {problem}; expected a video, the number of a camera (0 is the first) or an address"
        )
    try:
        with path.open("rb") as file:
            begin = file.read(_LONGEST)
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror}); check its permissions") from error
    if begin.startswith(_PLAYLISTS):
        raise DataError(f"{name}: is a list of other files, and no video itself; name those")
    capture = cv2.VideoCapture(opencv_name(path))
    if not capture.isOpened():
        raise DataError(f"{name}: is no video that OpenCV can read, or damaged; expected MP4, AVI, MKV, ...")
    return Source(capture, name, live=False)


def _open_camera(number: int) -> Source:
    capture = cv2.VideoCapture(number)
    if not capture.isOpened():
        raise DeviceError(
            f"camera {number}: there is none, or another program has it, or you may not use it (on Linux "
            "join the group 'video'; on macOS and Windows see the privacy settings). --list-cameras shows "
            "those that work; --source FILE takes a video instead"
        )
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # a frame that waits in a queue is old when it is seen
    return Source(capture, f"camera {number}", live=True)


def list_cameras() -> list[Source]:
    """Return every camera that gives frames, opened; the search ends at two numbers in a row without one."""
    found, missing = [], 0
    for number in range(MAX_CAMERAS):
        try:
            found.append(_open_camera(number))
            missing = 0
        except DeviceError:
            missing += 1
        if missing == 2:
            break
    return found
