"""Where faces come from: FER2013 files, folders of images, or a generator of synthetic ones."""

import hashlib
from pathlib import Path

import numpy as np

from fer_demo.data.cache import read_cache, write_cache
from fer_demo.data.dataset import EMOTIONS, IMAGE_SIZE, USAGES, Dataset
from fer_demo.data.faces import synthetic_faces
from fer_demo.data.fer2013 import read_csv
from fer_demo.data.folders import read_folder
from fer_demo.errors import DataError

__all__ = ["EMOTIONS", "IMAGE_SIZE", "Dataset", "load"]


def load(source: str | Path | None = None, *, cache: bool = True) -> Dataset:
    """Deliver faces from wherever they are.

    Args:
        source: a CSV file of FER2013 (see `fer_demo.data.fer2013.read_csv`), a folder of images (see
            `fer_demo.data.folders.read_folder`), or None for synthetic faces.
        cache: keep what a CSV file holds for the next time (see `fer_demo.data.cache` for where).

    Raises:
        DataError: there is no such file or folder, or it cannot be used; the message says where and why.
    """
    if source is None:
        return synthetic_faces()
    path = Path(source)
    if path.is_dir():
        return read_folder(path)
    if not path.is_file():
        raise DataError(
            f"{path}: no such file or folder; expected a CSV file of FER2013 or a folder of images"
        )
    return _load_csv(path, cache)


def _load_csv(path: Path, cache: bool) -> Dataset:
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}); check its permissions") from error
    table = read_cache(sha256) if cache else None
    if table is None:
        table = read_csv(path)
        if cache:
            write_cache(sha256, table)
    usage = None if table.usage is None else np.array(USAGES)[table.usage]
    return Dataset(table.images, table.labels.astype(np.int64), path.name, sha256, usage)
