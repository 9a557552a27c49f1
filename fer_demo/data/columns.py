"""The columns of FER2013's CSV files: finding them by the header, and taking a line apart."""

import csv
from typing import NamedTuple

from fer_demo.data.dataset import EMOTIONS, USAGES
from fer_demo.data.pixels import BrokenRow
from fer_demo.errors import DataError

_LABELS = {str(label).encode(): label for label in range(len(EMOTIONS))}
_USAGES = {usage.encode(): code for code, usage in enumerate(USAGES)}


class Columns(NamedTuple):
    """The names of a file's columns, and which one is which, counted from 0."""

    names: list[str]
    emotion: int
    pixels: int
    usage: int | None


class Row(NamedTuple):
    """One line taken apart: code of the emotion, text of the pixels, index into `USAGES`."""

    label: int
    pixels: bytes
    usage: int | None


def parse_header(line: bytes) -> Columns:
    """Find the columns by their names, in any order, in upper or lower case, with or without quotes.

    Raises:
        DataError: "emotion" or "pixels" is missing, or a name stands there twice.
    """
    if not line:
        raise DataError("the file is empty; download it again")
    text = line.decode("utf-8-sig", errors="replace")
    try:
        cells = next(csv.reader([text.rstrip("\r\n")], skipinitialspace=True), [])
    except csv.Error:  # no table's header, but its words tell the user what the file is
        cells = text.split(",")
    names = [name.strip(' \t\r\n"') for name in cells]
    keys = [name.lower() for name in names]
    if "pixels" in keys and "emotion" not in keys:
        raise DataError(
            "there are pixels but no emotions, as in Kaggle's test.csv, which can neither train nor judge a "
            "model; use fer2013.csv, icml_face_data.csv or train.csv"
        )
    if keys.count("emotion") != 1 or keys.count("pixels") != 1 or keys.count("usage") > 1:
        raise DataError(
            f"line 1 names the columns {', '.join(names)[:100]!r}, expected emotion, pixels and perhaps "
            "Usage, each once, with commas between them; use fer2013.csv, icml_face_data.csv or train.csv"
        )
    usage = keys.index("usage") if "usage" in keys else None
    return Columns(names, keys.index("emotion"), keys.index("pixels"), usage)


def split_row(line: bytes, columns: Columns, labels: dict[bytes, int] = _LABELS) -> Row:
    """Take a line apart; the text of its pixels is not looked at.

    Args:
        line: of the file.
        columns: which one is which.
        labels: the code for each text that may stand in the column of emotions; by default, `EMOTIONS` alone.

    Raises:
        BrokenRow: it has too many or too few columns, or an unknown emotion or usage.
    """
    if line.isspace():
        raise BrokenRow("the line is empty; only the end of the file may have empty lines")
    cells = _split(line)
    if len(cells) > len(columns.names) and b'"' in line:
        cells = _split_quoted(line)
    if len(cells) != len(columns.names):
        names = ", ".join(columns.names)
        raise BrokenRow(f"the number of columns is {len(cells)}, expected {len(columns.names)} ({names})")
    if any(cell.count(b'"') % 2 for cell in cells):
        raise BrokenRow("a quotation mark has no partner in its column")
    label = _code(cells[columns.emotion], labels, "emotion")
    usage = None if columns.usage is None else _code(cells[columns.usage], _USAGES, "Usage")
    return Row(label, _unquote(cells[columns.pixels]), usage)


def _split(line: bytes) -> list[bytes]:
    # bytes.split looks at every byte by itself, which takes ten times as long on 8 kB.
    cells, start = [], 0
    while (end := line.find(b",", start)) >= 0:
        cells.append(line[start:end])
        start = end + 1
    return [*cells, line[start:]]


def _split_quoted(line: bytes) -> list[bytes]:
    """Take a line apart where a comma may stand within quotation marks; no cell has any then."""
    try:
        return [cell.encode() for cell in next(csv.reader([line.decode(errors="replace")], strict=True))]
    except csv.Error:  # a quotation mark has no partner, or something stands behind it
        return _split(line)


def _unquote(cell: bytes) -> bytes:
    cell = cell.strip()
    quoted = len(cell) > 1 and cell.startswith(b'"') and cell.endswith(b'"')
    return cell[1:-1].strip() if quoted else cell


def _code(cell: bytes, codes: dict[bytes, int], column: str) -> int:
    cell = _unquote(cell)
    try:
        return codes[cell]
    except KeyError:
        found = cell[:20].decode(errors="replace")
        expected = ", ".join(code.decode() for code in codes)
        raise BrokenRow(f"{column} is {found!r}, expected one of {expected}") from None
