"""The one form in which every source delivers its faces."""

import hashlib
import os
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from fer_demo.errors import DataError

#: FER2013's emotions; a label is an index into this tuple.
EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

#: FER2013's three parts: to learn from, to choose a model by, and to report on once.
USAGES = ("Training", "PublicTest", "PrivateTest")

#: Height and width of a face in pixels.
IMAGE_SIZE = 48


@dataclass(frozen=True, eq=False)
class Dataset:
    """N grey faces with their emotions.

    Attributes:
        images: uint8, (N, 48, 48, 1), 0 black to 255 white.
        labels: int64, (N,), indices into `EMOTIONS`.
        name: what a person calls this data, such as a file's name.
        sha256: hexadecimal digest of the content (of the file, or of the pixels and labels).
        usage: (N,) of str, each one of `USAGES`; None where the source has none.
        synthetic: whether the faces were drawn by a program; reports say so loudly.
        content: `content_digest`, which is the same however the faces are packed into a file.

    >>> data = Dataset(np.zeros((2, 48, 48, 1), np.uint8), np.array([3, 6]), "two faces", sha256="")
    >>> len(data.images), data.labels.tolist()
    (2, [3, 6])
    """

    images: np.ndarray
    labels: np.ndarray
    name: str
    sha256: str
    usage: np.ndarray | None = None
    synthetic: bool = False
    content: str = ""

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def groups(self) -> np.ndarray:
        """(N,), the same number for faces that are copies of one another; see `fer_demo.data.duplicates`.

        Takes seconds for tens of thousands of faces, once.
        """
        from fer_demo.data import duplicates  # which knows this module

        return duplicates.groups(self.images)

    def class_counts(self) -> dict[str, int]:
        """How many images each emotion has, in the order of `EMOTIONS`."""
        counts = np.bincount(self.labels, minlength=len(EMOTIONS))
        return {emotion: int(count) for emotion, count in zip(EMOTIONS, counts, strict=True)}

    def part(self, usage: str) -> Self:
        """Return the faces of one usage; name and digests remain those of the whole.

        Raises:
            DataError: there is none.
        """
        if self.usage is None:
            raise DataError(
                f"{self.name}: faces are not marked with a usage, so there is no part {usage}; take all of "
                "them, or a file with the column Usage"
            )
        chosen = np.flatnonzero(self.usage == usage)
        if not len(chosen):
            marks = ", ".join(np.unique(self.usage))
            raise DataError(f"{self.name}: no face is marked {usage}, only {marks}; name one of these parts")
        return self.subset(chosen)

    def subset(self, indices: np.ndarray) -> Self:
        """Return some of the faces, by their indices, (M,); name and digests remain those of the whole."""
        usage = None if self.usage is None else self.usage[indices]
        return replace(self, images=self.images[indices], labels=self.labels[indices], usage=usage)


def display_name(name: str) -> str:
    """Return a file's or folder's name for people to read, with a ? for whatever is no text.

    That is what a name may hold to mislead a terminal, too: line breaks, and codes that control it.
    """
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "?", name.encode(errors="replace").decode())


def opencv_name(place: str | Path) -> str:
    """Return a file's name or a stream's address as OpenCV, which may end the program otherwise, can take it.

    A file's begins with its folder: of a mere a:b, FFmpeg would take a for a protocol.

    Raises:
        DataError: it is not UTF-8.
    """
    name = place if isinstance(place, str) else os.path.join(os.curdir, place)  # pathlib drops a "./"
    try:
        name.encode()
    except UnicodeEncodeError as error:
        shown = display_name(str(place))
        raise DataError(f"{shown}: its name is not UTF-8, which OpenCV cannot open; rename it") from error
    return name


def content_digest(images: np.ndarray, labels: np.ndarray) -> str:
    """SHA-256 of pixels and labels, hexadecimal: the identity of faces that no single file holds.

    Args:
        images: uint8, (N, 48, 48, 1).
        labels: integers, (N,); hashed as little-endian int64, so that every machine finds the same digest.
    """
    digest = hashlib.sha256(np.ascontiguousarray(images, np.uint8).data)
    digest.update(np.ascontiguousarray(labels, "<i8").data)
    return digest.hexdigest()
