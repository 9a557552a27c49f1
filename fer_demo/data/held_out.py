"""Faces to score a model on: rows of a CSV file, or photographs in folders."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_demo import data
from fer_demo.data.convert import Choice, convert
from fer_demo.data.dataset import Dataset, content_digest, display_name
from fer_demo.data.sources import Fault, list_folders
from fer_demo.errors import DataError

#: The part that is everything there is.
ALL = "all"


@dataclass(frozen=True)
class HeldOut:
    """Faces, and what did not become one.

    Attributes:
        dataset: N faces; N is 0 if no photograph had one. The digest is that of the whole file or folder, as
            a training on it notes it.
        part: one of `USAGES`, or `ALL`.
        left_out: places of photographs that are not scored though the file is whole, by reason.
        faults: files that cannot be read, sorted.
    """

    dataset: Dataset
    part: str
    left_out: dict[str, list[str]]
    faults: list[Fault]


def load_held_out(
    source: Path,
    part: str = ALL,
    detect: bool | None = None,
    on_picture: Callable[[int], object] = lambda total: None,
) -> HeldOut:
    """Read the faces of a CSV file of FER2013, or of a folder of photographs for each emotion.

    Photographs go the way that `fer_demo.prepare` takes: the face is found, cut out and resized.

    Args:
        source: the file, or the folder around the emotions' folders, named as `read_folder` knows them.
        part: one of `USAGES`, or `ALL`.
        detect: of photographs: see `Choice`.
        on_picture: called with the number of photographs for every one that is done.

    Raises:
        DataError: the source cannot be used, or does not have the part.
    """
    if not source.is_dir():
        dataset = data.load(source)
        return HeldOut(dataset if part == ALL else dataset.part(part), part, {}, [])
    pictures, faults = list_folders(source, None if part == ALL else part)
    if not pictures:
        raise DataError(f"{source}: there is no folder of the part {part}; name another, or --part all")
    total = len(pictures)
    converted = convert(pictures, Choice(detect=detect, min_size=1), lambda: on_picture(total))
    images, labels = converted.images, converted.labels
    name = display_name(source.resolve().name)
    # Weights say which part they were trained on.
    usage = None if part == ALL else np.full(len(labels), part)
    content = content_digest(images, labels)
    dataset = Dataset(images, labels, name, _folder_digest(source) or content, usage, content=content)
    return HeldOut(dataset, part, converted.left_out, faults + converted.faults)


def _folder_digest(folder: Path) -> str | None:
    """Of all parts of a folder, read as a training reads them; None if no training can."""
    try:
        return data.load(folder).sha256
    except DataError:
        return None
