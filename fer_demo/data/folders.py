"""Reading folders of images, one subfolder for each emotion."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import numpy as np

from fer_demo.data.dataset import EMOTIONS, IMAGE_SIZE, Dataset, content_digest, display_name
from fer_demo.errors import DataError
from tinycnn.kernels.threads import get_threads

#: Other names in common use for the emotions' folders; upper and lower case are the same.
SYNONYMS = {
    "anger": "angry",
    "disgusted": "disgust",
    "fearful": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprised": "surprise",
    "neutrality": "neutral",
}
#: Names of the folders above the emotions' folders, where there are any, and the usage that each stands for.
PARTS = {
    "train": "Training",
    "training": "Training",
    "val": "PublicTest",
    "valid": "PublicTest",
    "validation": "PublicTest",
    "publictest": "PublicTest",
    "test": "PrivateTest",
    "privatetest": "PrivateTest",
}
#: No image's file is larger. How many pixels OpenCV unpacks is limited too; see `fer_demo.__init__`.
MAX_BYTES = 1 << 28
#: How many unusable images one error lists.
MAX_FAULTS = 10

_LABELS = {name: label for label, name in enumerate(EMOTIONS)}
_LABELS |= {synonym: _LABELS[name] for synonym, name in SYNONYMS.items()}
#: What operating systems leave behind, besides names that start with a dot.
_LITTER = {"thumbs.db", "desktop.ini", "__macosx"}

_T = TypeVar("_T")


class _Picture(NamedTuple):
    path: Path
    label: int
    usage: str | None


def read_folder(folder: Path) -> Dataset:
    """Read ``folder/happy/1.png`` and its like, or ``folder/train/happy/1.png``, in the order of the names.

    Emotions are named as in `EMOTIONS` or `SYNONYMS`, parts as in `PARTS`. Every file in an emotion's folder
    must be an image that OpenCV can read; it becomes grey, is turned upright if a camera has noted how it was
    held, is cut to the square in its middle and resized to 48 x 48 by averaging areas. Transparency is
    ignored, and of a moving picture the first frame is taken. Beside the folders, an image is an error and
    any other file is left alone. Hidden files are never looked at.

    Raises:
        DataError: a folder has an unknown name, a file is no image or damaged, or there is no image at all.
    """
    pictures = list(_find(folder))
    if not pictures:
        raise DataError(
            f"{folder}: there are no images in it; expected some in subfolders named {_names(_LABELS)}"
        )
    images = _read_all([picture.path for picture in pictures])
    labels = np.array([picture.label for picture in pictures], np.int64)
    usage = None if pictures[0].usage is None else np.array([picture.usage for picture in pictures])
    return Dataset(images, labels, display_name(folder.resolve().name), content_digest(images, labels), usage)


def _find(folder: Path) -> Iterator[_Picture]:
    if any(path.name.lower() in PARTS for path in _visible(folder)):
        for part, usage in _subfolders(folder, PARTS):
            yield from _find_emotions(part, usage)
    else:
        yield from _find_emotions(folder, None)


def _find_emotions(folder: Path, usage: str | None) -> Iterator[_Picture]:
    for emotion, label in _subfolders(folder, _LABELS):
        for path in _visible(emotion):
            yield _Picture(path, label, usage)


def _visible(folder: Path) -> list[Path]:
    try:
        paths = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error}); check its permissions") from error
    return [path for path in paths if not path.name.startswith(".") and path.name.lower() not in _LITTER]


def _subfolders(folder: Path, meanings: dict[str, _T]) -> Iterator[tuple[Path, _T]]:
    """Each subfolder and what its name means."""
    for path in _visible(folder):
        if path.is_dir() and path.name.lower() not in meanings:
            raise DataError(
                f"{path}: the folder's name is unknown, expected one of {_names(meanings)}; rename or move it"
            )
        if path.is_dir():
            yield path, meanings[path.name.lower()]
        elif not isinstance(_read_face(path), str):  # cv2.haveImageReader dies of a name that is not UTF-8
            raise DataError(
                f"{path}: this image must be moved into a folder that tells what it is: {_names(meanings)}"
            )


def _names(meanings: dict[str, _T]) -> str:
    return ", ".join(meanings)


def _read_all(paths: list[Path]) -> np.ndarray:
    """Uint8, (N, 48, 48, 1)."""
    with ThreadPoolExecutor(get_threads()) as pool:
        faces = list(pool.map(_read_face, paths))
    intact = [face for face in faces if not isinstance(face, str)]
    if len(intact) < len(paths):
        faults = [
            f"  {path}: {face}" for path, face in zip(paths, faces, strict=True) if isinstance(face, str)
        ]
        more = [f"  and {len(faults) - MAX_FAULTS} more"] if len(faults) > MAX_FAULTS else []
        message = f"{len(faults)} of {len(paths)} files cannot be read as images; replace or remove them:"
        raise DataError("\n".join([message, *faults[:MAX_FAULTS], *more]))
    return np.stack(intact)[..., None]


def _read_face(path: Path) -> np.ndarray | str:
    """Uint8, (48, 48); or what is wrong with the file."""
    try:
        if not path.is_file():
            return "not a file"  # but a folder, a link to nothing, or a pipe, which might never end
        if path.stat().st_size > MAX_BYTES:
            return f"the file has {path.stat().st_size} bytes, expected at most {MAX_BYTES}"
        # Not cv2.imread, which cannot open every name on Windows and may return half of a damaged picture.
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE)
    except OSError as error:
        return f"cannot be read ({error})"
    except cv2.error as error:
        return "it claims too many pixels" if "CV_IO_MAX_IMAGE" in str(error) else "damaged, or no image"
    if image is None:
        return "damaged, or no image"
    height, width = image.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    return cv2.resize(square, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA)
