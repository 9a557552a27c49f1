"""Where faces come from: FER2013 files, folders of images, or a generator of synthetic ones."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from fer_demo.data.cache import read_cache, write_cache
from fer_demo.data.dataset import EMOTIONS, IMAGE_SIZE, USAGES, Dataset, content_digest, display_name
from fer_demo.data.faces import program_digest, synthetic_faces
from fer_demo.data.fer2013 import Table, read_csv
from fer_demo.data.folders import read_folder
from fer_demo.errors import DataError

# Faces are small, folders are read in threads anyway, and OpenCV's own would take cores from the training.
cv2.setNumThreads(1)

__all__ = ["EMOTIONS", "IMAGE_SIZE", "USAGES", "Dataset", "load"]


def load(source: str | Path | None = None, *, cache: bool = True) -> Dataset:
    """Deliver faces from wherever they are.

    Args:
        source: a CSV file of FER2013 (see `fer_demo.data.fer2013.read_csv`), a folder of images (see
            `fer_demo.data.folders.read_folder`), or None for synthetic faces.
        cache: keep a CSV file's or synthetic faces for the next time (see `fer_demo.data.cache` for where).

    Raises:
        DataError: there is no such file or folder, or it cannot be used; the message says where and why.

    >>> Path("photos/happy").mkdir(parents=True)
    >>> cv2.imwrite("photos/happy/1.png", np.full((48, 48), 128, np.uint8))
    True
    >>> data = load("photos")
    >>> data.images.shape, EMOTIONS[data.labels[0]]
    ((1, 48, 48, 1), 'happy')
    """
    if source is None:
        return _load_synthetic(cache)
    path = Path(source)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be looked at ({error}); check the name and its permissions"
        ) from error
    if is_folder:
        return read_folder(path)
    if not is_file:
        raise DataError(
            f"{path}: no such file or folder; expected a CSV file of FER2013 or a folder of images"
        )
    return _load_csv(path, cache)


def _load_synthetic(cache: bool) -> Dataset:
    def draw() -> Table:
        faces = synthetic_faces()
        return Table(faces.images, faces.labels.astype(np.uint8), usage=None)

    table = _kept(program_digest(), draw, cache)
    labels = table.labels.astype(np.int64)
    content = content_digest(table.images, labels)
    return Dataset(table.images, labels, "synthetic faces", content, synthetic=True, content=content)


def _load_csv(path: Path, cache: bool) -> Dataset:
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}); check its permissions") from error
    table = _kept(sha256, partial(read_csv, path), cache)
    usage = None if table.usage is None else np.array(USAGES)[table.usage]
    labels = table.labels.astype(np.int64)
    content = content_digest(table.images, labels)
    return Dataset(table.images, labels, display_name(path.name), sha256, usage, content=content)


def _kept(sha256: str, make: Callable[[], Table], cache: bool) -> Table:
    """What the cache holds under this digest; otherwise what `make` returns, which is kept."""
    table = read_cache(sha256) if cache else None
    if table is None:
        table = make()
        if cache:
            write_cache(sha256, table)
    return table
