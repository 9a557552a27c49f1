"""What other data sets hold and where, before any picture is opened.

Each data set has its own names, codes and folders for emotions. The functions here turn them into a list of
pictures, each with an emotion of `EMOTIONS` or with the data set's own name for what FER2013 does not know,
such as "contempt". Single entries that cannot be used become faults, so that one of them stops nothing.
AffectNet, which has two forms, is in `fer_demo.data.affectnet`.
"""

from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fer_demo.data.archives import naming, open_text, read_header, read_lines
from fer_demo.data.columns import parse_header, split_row
from fer_demo.data.dataset import EMOTIONS, IMAGE_SIZE
from fer_demo.data.folders import SYNONYMS, find_entries
from fer_demo.data.images import Box
from fer_demo.data.pixels import BrokenRow, parse_row
from fer_demo.errors import DataError


class Picture(NamedTuple):
    """Something that may become a face.

    Attributes:
        place: what to call it in a message: its path, or a file and a line.
        emotion: one of `EMOTIONS`, or another word for what FER2013 does not know.
        image: the file that it is in, or its pixels, uint8, (H, W).
        box: where the face is, if the data set says so.
    """

    place: str
    emotion: str
    image: Path | np.ndarray
    box: Box | None = None


class Fault(NamedTuple):
    """A picture that cannot be used because something is damaged or missing."""

    place: str
    reason: str


class Listing(NamedTuple):
    """All that a data set holds, in an order that does not depend on the file system."""

    pictures: list[Picture]
    faults: list[Fault]


#: Emotions in common use that FER2013 does not know, as names of folders.
_FOREIGN = ("contempt",)
_NAMES = {name: name for name in (*EMOTIONS, *_FOREIGN)} | SYNONYMS
#: The codes of RAF-DB.
_RAFDB = dict(
    zip("1234567", ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"), strict=True)
)
#: The codes of the CSV file of CK+ as it is passed around: FER2013's and one more.
_CKPLUS = {str(code).encode(): code for code in range(len(EMOTIONS) + 1)}


def list_folders(source: Path, usage: str | None = None) -> Listing:
    """A folder for each emotion, named as `read_folder` knows them or "contempt", perhaps below parts.

    Args:
        source: the folder around them.
        usage: the part to list; None for all.
    """
    return _from_folders(source, _NAMES, usage)


def list_ckplus(source: Path) -> Listing:
    """CK+ as 48x48 faces: a folder for each emotion, or the CSV file, whose emotion 7 is contempt."""
    if source.is_dir():
        return _from_folders(source, _NAMES)
    pictures, faults = [], []
    with naming(source), open_text(source) as stream:
        columns = parse_header(read_header(stream))
        for number, line in enumerate(read_lines(stream, 2), 2):
            if line.isspace():
                continue
            place = f"{source}: line {number}"
            try:
                row = split_row(line, columns, _CKPLUS)
                pixels = parse_row(row.pixels).reshape(IMAGE_SIZE, IMAGE_SIZE)
                pictures.append(Picture(place, (*EMOTIONS, *_FOREIGN)[row.label], pixels))
            except BrokenRow as fault:
                faults.append(Fault(place, str(fault)))
    return Listing(pictures, faults)


def list_rafdb(source: Path) -> Listing:
    """RAF-DB: its list of labels and its aligned faces, or folders named 1 to 7.

    Raises:
        DataError: `source` is no folder, or there is neither such a list in it nor such folders.
    """
    spellings = (
        "list_patition_label.txt",
        "list_partition_label.txt",
    )  # the first one is RAF-DB's own spelling
    candidates = [source / a / b / c for a, b, c in product(("", "basic"), ("", "EmoLabel"), spellings)]
    table = next((path for path in candidates if path.is_file()), None)
    if table is None:
        return _from_folders(source, _RAFDB | _NAMES)
    root = table.parent.parent if table.parent.name == "EmoLabel" else table.parent
    folders = [root / path for path in ("Image/aligned", "aligned", "Image")]
    images = next((path for path in folders if path.is_dir()), root)
    pictures, faults, lines = [], [], dict[str, int]()
    with naming(table), open_text(table) as stream:
        for number, line in enumerate(read_lines(stream), 1):
            if line.isspace():
                continue
            *names, code = line.decode("utf-8-sig", errors="replace").split() or [""]
            name = " ".join(names)
            if code not in _RAFDB or Path(name).name != name or not name:
                fault = (
                    f"found {name[:50]!r} and {code[:20]!r}, expected a file's name and a code from 1 to 7"
                )
                faults.append(Fault(f"{table}: line {number}", fault))
                continue
            if (first := lines.setdefault(name, number)) != number:
                faults.append(Fault(f"{table}: line {number}", f"{name} has a label in line {first} already"))
                continue
            aligned = images / f"{Path(name).stem}_aligned{Path(name).suffix}"
            path = aligned if aligned.is_file() else images / name
            pictures.append(Picture(str(path), _RAFDB[code], path))
    return Listing(pictures, faults)


def _from_folders(source: Path, names: dict[str, str], usage: str | None = None) -> Listing:
    if not source.is_dir():
        raise DataError(f"{source}: expected a folder with the data set; see --help for what it must hold")
    entries = find_entries(source, names)
    return Listing(
        [Picture(str(path), emotion, path) for path, emotion, part in entries if usage in (None, part)], []
    )
