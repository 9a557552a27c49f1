"""Reading folders of images, one subfolder for each emotion."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from fer_demo.data.dataset import EMOTIONS, Dataset, content_digest, display_name
from fer_demo.data.images import cut_face, read_grey
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
#: How many unusable images one error lists.
MAX_FAULTS = 10

_LABELS = {name: label for label, name in enumerate(EMOTIONS)}
_LABELS |= {synonym: _LABELS[name] for synonym, name in SYNONYMS.items()}

#: What operating systems leave behind, besides names that start with a dot.
_LITTER = {"thumbs.db", "desktop.ini", "__macosx"}

_T = TypeVar("_T")


class Entry(NamedTuple, Generic[_T]):
    """One file below a folder whose name tells what it shows, and perhaps below a part."""

    path: Path
    meaning: _T
    usage: str | None


def read_folder(folder: Path) -> Dataset:
    """Read ``folder/happy/1.png`` and its like, or ``folder/train/happy/1.png``, in the order of the names.

    Emotions are named as in `EMOTIONS` or `SYNONYMS`, parts as in `PARTS`. Every file in an emotion's folder
    must be an image, see `fer_demo.data.images.read_grey`; it is cut to the square in its middle and resized.
    Beside the folders, an image is an error and any other file is left alone. Hidden files are never looked
    at.

    Raises:
        DataError: a folder has an unknown name, a file is no image or damaged, or there is no image at all.
    """
    entries = find_entries(folder, _LABELS)
    images = _read_all([entry.path for entry in entries])
    labels = np.array([entry.meaning for entry in entries], np.int64)
    usage = None if entries[0].usage is None else np.array([entry.usage for entry in entries])
    content = content_digest(images, labels)
    return Dataset(images, labels, display_name(folder.resolve().name), content, usage, content=content)


def find_entries(folder: Path, meanings: Mapping[str, _T]) -> list[Entry[_T]]:
    """Find ``folder/name/file`` or ``folder/part/name/file`` in the order of the names; no file is opened.

    Args:
        folder: where to look.
        meanings: the names in lower case that may occur, and what each means; parts are named as in `PARTS`.

    Raises:
        DataError: a folder has another name, an image lies beside the folders, or there is no file in them.
    """
    parts: Iterable[tuple[Path, str | None]] = [(folder, None)]
    if any(path.is_dir() and path.name.lower() in PARTS for path in visible(folder)):
        parts = _subfolders(folder, PARTS)
    entries = [
        Entry(path, meaning, usage)
        for part, usage in parts
        for subfolder, meaning in _subfolders(part, meanings)
        for path in visible(subfolder)
    ]
    if not entries:
        raise DataError(
            f"{folder}: there are no images in it; expected some in subfolders named {_names(meanings)}"
        )
    return entries


def visible(folder: Path) -> list[Path]:
    """Everything in a folder in the order of the names, without hidden files.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        paths = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error}); check its permissions") from error
    return [path for path in paths if not path.name.startswith(".") and path.name.lower() not in _LITTER]


def _subfolders(folder: Path, meanings: Mapping[str, _T]) -> Iterator[tuple[Path, _T]]:
    """Each subfolder and what its name means."""
    for path in visible(folder):
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


def _names(meanings: Mapping[str, _T]) -> str:
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
    image = read_grey(path)
    return image if isinstance(image, str) else cut_face(image)
