"""HDF5 files from strangers: only what lies in the file itself, as it lies there, and no more than that."""

import io
import math
import re
import struct
from typing import Any

import numpy as np

from tinycnn.errors import ConfigError
from tinycnn.optional import optional

#: h5py's errors for files that are damaged, and for members that are not there.
ERRORS = (OSError, KeyError, ValueError, RuntimeError, TypeError)


class HDF5:
    """An HDF5 file in memory.

    HDF5 can point into other files, fill arrays that were never written, and pack much into little. Keras
    uses none of that, so it is refused: reading takes no more memory than the file has bytes.

    Args:
        data: the file's content.

    Raises:
        ConfigError: it is no HDF5 file.
        MissingPackageError: h5py is not installed.
    """

    def __init__(self, data: bytes) -> None:
        self._h5py = optional("h5py", "interop")
        _check_heaps(data)
        try:
            self._root = self._h5py.File(io.BytesIO(data), "r")
        except ERRORS as error:
            raise ConfigError(f"no whole HDF5 file ({error}): save or download it again") from error
        self._size = self._left = len(data)

    def __enter__(self) -> "HDF5":
        return self

    def __exit__(self, *_: object) -> None:
        self._root.close()

    def attribute(self, group: str, name: str) -> Any:
        """Return an attribute of a group, text decoded; None if it has no such attribute.

        Args:
            group: path in the file; "" for the whole file.
            name: the attribute's.
        """
        attributes = self._member(group).attrs
        if name not in attributes:
            return None
        identifier = attributes.get_id(name)
        if math.prod(identifier.shape or ()) * identifier.dtype.itemsize > self._size:
            raise ConfigError(f"attribute {name!r} of {group!r} claims more bytes than the file has")
        value = attributes[name]
        return value.decode() if isinstance(value, bytes) else value

    def has(self, path: str) -> bool:
        """Whether there is a group or an array of this path."""
        try:
            self._member(path)
        except ConfigError:
            return False
        return True

    def shape(self, path: str) -> tuple[int, ...]:
        """Return what an array claims as its shape."""
        return self._dataset(path).shape

    def array(self, path: str) -> np.ndarray:
        """Return an array of float32 or float64.

        Raises:
            ConfigError: it is of another type, or does not lie in this file as it is.
        """
        dataset = self._dataset(path)
        storage, layout = dataset.id.get_create_plist(), self._h5py.h5d
        plain = (
            storage.get_layout() in (layout.CONTIGUOUS, layout.COMPACT) and not storage.get_external_count()
        )
        if not plain or dataset.id.get_storage_size() != dataset.nbytes:
            raise ConfigError(f"{path!r} lies in pieces, packed, or in another file: expected plain arrays")
        self._left -= dataset.nbytes
        if self._left < 0:
            raise ConfigError(f"its arrays claim more bytes than the {self._size} that it has")
        types = self._h5py.h5t
        if dataset.id.get_type() not in (types.IEEE_F32LE, types.IEEE_F64LE):  # HDF5 would convert any layout
            raise ConfigError(f"{path!r} is {dataset.dtype}: expected float32 or float64 as in IEEE 754")
        return dataset[()]

    def _dataset(self, path: str) -> Any:
        member = self._member(path)
        if not isinstance(member, self._h5py.Dataset) or member.shape is None:
            raise ConfigError(f"{path!r} is no array")
        return member

    def _member(self, path: str) -> Any:
        """Return a group or dataset; a link out of the file is never followed."""
        here = self._root
        for part in filter(None, path.split("/")):
            try:
                kind = here.id.links.get_info(part.encode()).type
                here = here[part] if kind == self._h5py.h5l.TYPE_HARD else None
            except (AttributeError, *ERRORS) as error:
                raise ConfigError(f"it has no {path!r}") from error
            if here is None:
                raise ConfigError(f"{path!r} is a link: expected what it leads to in its place")
        return here


#: How a heap begins that holds texts, and what stands at the beginning of each of its objects.
_HEAP, _OBJECT = re.compile(rb"GCOL\x01\0\0\0"), struct.Struct("<HHIQ")


def _check_heaps(data: bytes) -> None:
    """Raise a ConfigError if objects in a heap of texts do not fill it: HDF5's own library can hang on that.

    HDF5 file format specification, version 3.0, section III.E, "Global heap".
    """
    objects = 0
    for found in _HEAP.finditer(data):
        place = found.end() + 8
        end = found.start() + int.from_bytes(data[found.end() : place], "little")
        while place + _OBJECT.size <= min(end, len(data)):
            number, _, _, size = _OBJECT.unpack_from(data, place)
            objects += 1
            overlap = objects > len(data) // _OBJECT.size  # heaps do not: to read all of them takes no longer
            # What is free is the last object, its head included.
            if overlap or (number == 0 and place + size != end):
                raise ConfigError(
                    "no whole HDF5 file (a heap of texts is damaged): save or download it again"
                )
            place += size if number == 0 else _OBJECT.size + -(-size // 8) * 8
