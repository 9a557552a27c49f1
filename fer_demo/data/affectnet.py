"""What AffectNet holds and where, in both forms in which it is handed out.

The older form is a CSV file with a face's box for each photograph. The newer one is a folder ``images`` of
faces that are cut out already and a folder ``annotations`` of one tiny NumPy file for each label.
"""

import csv
import os
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path, PurePosixPath

import numpy as np

from fer_demo.data.archives import naming, open_text, read_header, read_lines
from fer_demo.data.dataset import EMOTIONS
from fer_demo.data.folders import visible
from fer_demo.data.images import Box
from fer_demo.data.sources import Fault, Listing, Picture
from fer_demo.errors import DataError

_KNOWN = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry")
_UNKNOWN = ("contempt", "none", "uncertain", "non-face")
_EMOTIONS = {str(code): emotion for code, emotion in enumerate((*_KNOWN, *_UNKNOWN))}
_BOX = ("face_x", "face_y", "face_width", "face_height")
_PATH, _EXPRESSION = "subDirectory_filePath", "expression"
_ENDING = "_exp.npy"
#: How many rows are looked at to find out where the images are.
_PROBES = 50
#: No file of one label is larger; AffectNet's have 132 bytes.
_MAX_LABEL = 1 << 12
#: Such a file, up to its one value. NumPy's own parser believes any length, and can fail in many ways.
_LABEL_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([<>|](?:[iu][1248]|[SU]\d\d?))', 'fortran_order': (?:True|False), "
    rb"'shape': \((?:1,)?\), \} *\n",
    re.DOTALL,
)


def list_affectnet(source: Path) -> Listing:
    """List a CSV file, a folder of such files, or a folder with ``images`` and ``annotations``.

    Two such folders may also lie in subfolders, such as ``train_set`` and ``val_set``. The images of a CSV
    file may lie beside it, or up to one folder further down, or one up.

    Raises:
        DataError: nothing of that kind is there, or a CSV file cannot be read or lacks a column.
    """
    if source.is_file():
        return _list_table(source)
    inside = visible(source)
    pairs = [folder for folder in (source, *inside) if _is_pair(folder)]
    tables = [path for path in inside if path.suffix.lower() == ".csv"]
    if pairs:
        listings = [_list_pair(folder) for folder in pairs]
    elif tables:
        listings = [_list_table(path) for path in tables]
    else:
        raise DataError(
            f"{source}: expected AffectNet's CSV file, a folder with one, or a folder that holds the folders "
            "images and annotations"
        )
    pictures, faults = zip(*listings, strict=True)
    return Listing(list(chain(*pictures)), list(chain(*faults)))


def _is_pair(folder: Path) -> bool:
    return (folder / "images").is_dir() and (folder / "annotations").is_dir()


def _list_pair(folder: Path) -> Listing:
    images, faults = dict[str, Path](), list[Fault]()
    for path in visible(folder / "images"):
        if (first := images.setdefault(path.stem, path)) != path:
            faults.append(Fault(str(path), f"{first.name} has the same number and is taken"))
    labels = {
        path.name.removesuffix(_ENDING): path
        for path in visible(folder / "annotations")
        if path.name.endswith(_ENDING)
    }
    pictures = []
    for name in sorted(images.keys() | labels.keys()):
        if name not in images:
            faults.append(Fault(str(labels[name]), "there is no image of that number"))
        elif name not in labels:
            faults.append(Fault(str(images[name]), f"there is no label annotations/{name}{_ENDING}"))
        else:
            try:
                emotion = _emotion(_read_label(labels[name]))
                pictures.append(Picture(str(images[name]), emotion, images[name]))
            except (OSError, ValueError) as error:
                faults.append(Fault(str(labels[name]), str(error)))
    return Listing(pictures, faults)


def _read_label(path: Path) -> str:
    """The one number or word in a NumPy file; ValueError if it is another file."""
    if not path.is_file() or path.stat().st_size > _MAX_LABEL:
        raise ValueError(f"not a file of at most {_MAX_LABEL} bytes")
    content = path.read_bytes()
    header = _LABEL_HEADER.match(content)
    if not header:
        raise ValueError("not a NumPy file of one whole number")
    data, dtype = content[header.end() :], np.dtype(header[1].decode())
    if len(data) != dtype.itemsize:
        raise ValueError(f"found {len(data)} bytes of data, expected {dtype.itemsize}")
    if dtype.kind in "SU":  # a digit has one byte, in U among three that are 0
        return data.replace(b"\0", b"").decode(errors="replace")
    return str(np.frombuffer(data, dtype)[0])


def _emotion(code: str) -> str:
    if code.strip() not in _EMOTIONS:
        raise ValueError(f"{_EXPRESSION} is {code[:20]!r}, expected a whole number from 0 to 10")
    return _EMOTIONS[code.strip()]


def _list_table(path: Path) -> Listing:
    entries, faults = [], []
    for number, row in _rows(path):
        try:
            entries.append(_entry(row))
        except ValueError as error:
            faults.append(Fault(f"{path}: line {number}", str(error)))
    root = _image_root(path.parent, [name for name, _, _ in entries])
    pictures = [Picture(str(root / name), emotion, root / name, box) for name, emotion, box in entries]
    return Listing(pictures, faults)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line number and the needed columns of each row below the header."""
    with naming(path), open_text(path) as stream:
        names = [name.strip() for name in _cells(read_header(stream))]
        needed = (_PATH, *_BOX, _EXPRESSION)
        if missing := [name for name in needed if name not in names]:
            raise DataError(f"line 1 lacks {', '.join(missing)}; use AffectNet's training.csv")
        columns = {name: names.index(name) for name in needed}
        for number, line in enumerate(read_lines(stream, 2), 2):
            if line.isspace():
                continue
            cells = _cells(line)
            cells += [""] * (len(names) - len(cells))
            yield number, {name: cells[column] for name, column in columns.items()}


def _cells(line: bytes) -> list[str]:
    """Take a line apart; none at all if a quotation mark has no end or a cell is endless."""
    try:
        return next(csv.reader([line.decode("utf-8-sig", errors="replace")]), [])
    except csv.Error:
        return []


def _entry(row: dict[str, str]) -> tuple[str, str, Box | None]:
    """Return the image's name, the emotion and the face's box; ValueError if they cannot be used."""
    emotion, name = _emotion(row[_EXPRESSION]), PurePosixPath(row[_PATH].replace("\\", "/"))
    if not name.name:
        raise ValueError(f"{_PATH} is empty")
    if name.is_absolute() or ".." in name.parts:
        raise ValueError(f"{_PATH} is {row[_PATH][:100]!r}, expected a path within the data set")
    if emotion not in EMOTIONS:
        return str(name), emotion, None  # what shows no face has no box
    try:
        x, y, width, height = (int(row[column]) for column in _BOX)
    except ValueError:
        found = ", ".join(f"{column} is {row[column][:20]!r}" for column in _BOX)
        raise ValueError(f"{found}, expected whole numbers") from None
    if width < 1 or height < 1:
        raise ValueError(f"the face's box is {width} x {height} pixels, expected at least 1 x 1")
    return str(name), emotion, (x, y, width, height)


def _image_root(folder: Path, names: list[str]) -> Path:
    """Find the folder below which the images are: of those near the CSV file, the one with most of them."""
    above = folder.resolve().parent
    near = [folder, above, *sorted(folder.glob("*/")), *sorted(above.glob("*/"))]
    probes = names[:: max(1, len(names) // _PROBES)]
    return max(near, key=lambda root: sum(os.path.isfile(root / name) for name in probes))
