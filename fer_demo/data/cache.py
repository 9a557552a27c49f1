"""Faces that took long to parse or to draw, kept for the next start.

They lie in the user's cache folder, or where the environment variable ``TINYCNN_CACHE`` points, one file for
each digest of what they were made from. Everything there may be deleted at any time. A cache that cannot be
read or written, for whatever reason, costs the time of making them again and nothing else, so no error is
raised.
"""

import os
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
from platformdirs import user_cache_dir
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from fer_demo.data.dataset import EMOTIONS, IMAGE_SIZE, USAGES
from fer_demo.data.fer2013 import Table
from tinycnn.files import replace_file

#: To be raised whenever `fer_demo.data.fer2013` reads the same file into something else.
PARSER_VERSION = 1


def cache_file(sha256: str) -> Path:
    """Where the faces made from what has this digest are or would be."""
    folder = os.environ.get("TINYCNN_CACHE") or user_cache_dir("tinycnn", appauthor=False)
    return Path(folder) / f"faces-{sha256}-v{PARSER_VERSION}.safetensors"


def read_cache(sha256: str) -> Table | None:
    """What `write_cache` kept under this digest; None if there is nothing, or it is damaged or foreign."""
    try:
        arrays = load_file(cache_file(sha256))
        table = Table(arrays["images"], arrays["labels"], arrays.get("usage"))
        intact = _is_table(table) and np.array_equal(arrays["checksum"], _checksum(table))
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        return None
    return table if intact else None


def _is_table(table: Table) -> bool:
    """Whether the arrays are such as `read_csv` makes."""
    n = len(table.images)
    codes = [(table.labels, EMOTIONS)] + ([] if table.usage is None else [(table.usage, USAGES)])
    return (
        n > 0
        and table.images.shape == (n, IMAGE_SIZE, IMAGE_SIZE, 1)
        and table.images.dtype == np.uint8
        and all(code.shape == (n,) and code.dtype == np.uint8 and code.max() < len(of) for code, of in codes)
    )


def write_cache(sha256: str, table: Table) -> None:
    """Keep faces under the digest of what they were made from; see `tinycnn.files.replace_file`."""
    path = cache_file(sha256)
    arrays = {name: array for name, array in table._asdict().items() if array is not None}
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, save({**arrays, "checksum": _checksum(table)}))


def _checksum(table: Table) -> np.ndarray:
    value = 0
    for array in table:
        if array is not None:
            value = zlib.crc32(array.data, value)
    return np.array([value], np.uint32)
