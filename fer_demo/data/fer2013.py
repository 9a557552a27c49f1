"""Reading the CSV files in which Kaggle delivers FER2013.

A file is read as a stream of blocks of whole lines, and the blocks are parsed on threads while the next ones
are read, so that the text is never in memory as a whole. A block that `parse_pixels` refuses is read again
line by line, which finds what is wrong, and where.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from fer_demo.data.archives import MAX_LINE, naming, open_text, read_header, read_lines
from fer_demo.data.columns import Columns, Row, parse_header, split_row
from fer_demo.data.dataset import IMAGE_SIZE
from fer_demo.data.pixels import BrokenRow, parse_pixels, parse_row
from fer_demo.errors import DataError
from tinycnn.kernels.threads import get_threads

#: Bytes of text parsed at a time: small enough for a processor's cache.
BLOCK_SIZE = 1 << 20
#: How many broken rows one error lists.
MAX_FAULTS = 5


class Table(NamedTuple):
    """The rows of a file as arrays.

    Attributes:
        images: uint8, (N, 48, 48, 1).
        labels: uint8, (N,), indices into `EMOTIONS`.
        usage: uint8, (N,), indices into `USAGES`; None where the file has no such column.
    """

    images: np.ndarray
    labels: np.ndarray
    usage: np.ndarray | None


class _Block(NamedTuple):
    """Whole lines; `cut_off` where the file ends with them without ending the last one."""

    lines: list[bytes]
    first_number: int
    cut_off: bool = False


def read_csv(path: Path, block_size: int = BLOCK_SIZE) -> Table:
    """Read ``fer2013.csv``, ``train.csv`` or ``icml_face_data.csv``, plain or as .gz, .xz or .zip.

    The header names the columns: ``emotion`` (0 to 6), ``pixels`` (2304 numbers from 0 to 255, with or
    without quotes) and, if there is one, ``Usage``; other columns are ignored. Lines end in LF or CRLF, and
    empty lines are allowed at the end alone.

    Args:
        path: the file.
        block_size: bytes of text to parse at a time.

    Raises:
        DataError: the file cannot be read, is no such table, or has broken rows: the message gives their line
            numbers (the header is line 1), what was found and what was expected.
    """
    parts: list[Table] = []
    pending: deque[Future[Table]] = deque()
    with naming(path), open_text(path) as stream, ThreadPoolExecutor(get_threads()) as pool:
        columns = parse_header(read_header(stream))
        for block in _blocks(stream, block_size):
            pending.append(pool.submit(_parse_block, block, columns))
            if len(pending) > get_threads():  # enough in hand: reading must not run away from parsing
                parts.append(pending.popleft().result())
        parts.extend(future.result() for future in pending)
    if not parts:
        raise DataError(
            f"{path}: there are no rows below the header; the file is incomplete, download it again"
        )
    images, labels, usage = zip(*parts, strict=True)
    return Table(
        np.concatenate(images),
        np.concatenate(labels),
        None if columns.usage is None else np.concatenate(usage),
    )


def _blocks(stream: IO[bytes], size: int) -> Iterator[_Block]:
    """Cut what follows the header into blocks of about `size` bytes, without the empty lines at the end."""
    lines: list[bytes] = []
    first_number, length = 2, 0
    for line in read_lines(stream, first_number):
        if line.isspace():
            rest = stream.read(MAX_LINE)
            if rest and (len(rest) == MAX_LINE or not rest.isspace()):
                lines.append(b"\n")  # this empty line was not at the end: it shall be found, in its place
            break
        lines.append(line)
        length += len(line)
        if length >= size:
            yield _Block(lines, first_number)
            first_number += len(lines)
            lines, length = [], 0
    if lines:
        yield _Block(lines, first_number, cut_off=not lines[-1].endswith(b"\n"))


def _parse_block(block: _Block, columns: Columns) -> Table:
    try:
        rows = [split_row(line, columns) for line in block.lines]
        pixels = parse_pixels([row.pixels for row in rows])
    except BrokenRow:
        rows, pixels = _parse_line_by_line(block, columns)
    return Table(
        pixels.reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 1),
        np.array([row.label for row in rows], np.uint8),
        None if columns.usage is None else np.array([row.usage for row in rows], np.uint8),
    )


def _parse_line_by_line(block: _Block, columns: Columns) -> tuple[list[Row], np.ndarray]:
    rows, pixels, faults = [], [], []
    for index, line in enumerate(block.lines):
        try:
            row = split_row(line, columns)
            pixels.append(parse_row(row.pixels))
            rows.append(row)
        except BrokenRow as fault:
            cut_off = block.cut_off and index == len(block.lines) - 1
            hint = "; the file ends within this line, so it is incomplete" if cut_off else ""
            faults.append(f"  line {block.first_number + index}: {fault}{hint}")
            if len(faults) == MAX_FAULTS:
                faults.append("  and perhaps more, which were not looked at")
                break
    if faults:
        raise DataError("\n".join(["broken rows", *faults, "Correct them, or download the file again."]))
    return rows, np.stack(pixels)
