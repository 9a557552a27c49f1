"""Pictures and videos by their names: finding them, and reading what they show."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from fer_demo.data.dataset import display_name
from fer_demo.data.folders import visible
from fer_demo.detector import EmotionDetector, as_picture
from fer_demo.errors import DataError
from fer_demo.live.sources import open_video
from fer_demo.results import Result

#: Endings of files that are looked for in folders. A file that is named outright may have any other, and is
#: then taken for a picture.
PICTURES = {
    ".png",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".bmp",
    ".webp",
    ".tif",
    ".tiff",
    ".gif",
    ".pgm",
    ".ppm",
    ".avif",
    ".heic",  # cannot be read, but shall not be passed over in silence
    ".heif",
}
VIDEOS = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp"}

#: Is shown every picture, uint8 (H, W) or (H, W, 3), what was found in it, and a video's frames a second.
Watch = Callable[[np.ndarray, Result, float], object]


def find_media(paths: Iterable[Path]) -> list[Path]:
    """Return files as they are, and instead of each folder the pictures and videos below it, by name.

    Raises:
        DataError: there is no such file or folder, or none of them holds a picture or video.
    """
    found: list[Path] = []
    paths = list(paths)
    for path in paths:
        name = display_name(str(path))
        try:
            is_folder, is_file = path.is_dir(), path.is_file()
        except OSError as error:  # such as a name that is too long
            raise DataError(f"{name}: {error.strerror}; expected photos or videos") from error
        if not is_folder and not is_file:
            raise DataError(f"{name}: no such file or folder; expected photos or videos")
        found += _below(path) if is_folder else [path]
    if not found:
        names = ", ".join(display_name(str(path)) for path in paths)
        raise DataError(f"{names}: no picture or video in it; expected some, such as .jpg or .mp4")
    return list(dict.fromkeys(found))


def _below(folder: Path, above: tuple[str, ...] = ()) -> Iterator[Path]:
    place = os.path.realpath(folder)
    if place in above:  # a link leads back up, and round for ever
        return
    for path in visible(folder):
        if path.is_dir():
            yield from _below(path, (*above, place))
        elif path.suffix.lower() in PICTURES | VIDEOS and (path.is_file() or not path.exists()):
            yield path  # a link that leads nowhere is a damaged file


def is_video(path: Path) -> bool:
    """Whether a file's name is a video's."""
    return path.suffix.lower() in VIDEOS


def analyse(detector: EmotionDetector, path: Path, watch: Watch = lambda *_: None) -> Iterator[Result]:
    """Yield what is found in a picture, or in each frame of a video.

    Args:
        detector: finds it.
        path: a file.
        watch: called with each picture after its result was yielded, which its failure cannot undo.

    Raises:
        DataError: it cannot be read; of a video that is cut short, all that is left was yielded before.
    """
    name = str(path).encode(errors="replace").decode()  # with line breaks and all: programs read it
    if not is_video(path):
        picture = as_picture(path)
        result = Result(name, None, None, detector.faces(picture))
        yield result
        watch(picture, result, 0.0)
        return
    with open_video(path) as video:
        for frame in video:
            seconds = round(frame.seconds, 3)
            result = Result(name, frame.index, seconds, detector.faces(frame.image))
            yield result
            watch(frame.image, result, video.rate)
