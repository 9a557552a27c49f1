"""Opening a text file that may be compressed."""

import gzip
import itertools
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, cast

from fer_demo.errors import DataError

#: No line is longer; FER2013's have at most 9.3 kB.
MAX_LINE = 1 << 20
#: No file holds more text; FER2013 has 0.3 GB, and a small archive may unpack to more than any memory holds.
MAX_TEXT = 1 << 30

#: What the standard library raises for files that cannot be read, are cut short or damaged, or claim that
#: unpacking them takes gigabytes.
_UNREADABLE = (EOFError, OSError, MemoryError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)

#: How files begin that are packed in other ways, gzip within gzip included, and text in UTF-16.
_PACKED = {
    b"BZh": "bzip2",
    b"7z\xbc\xaf": "7-Zip",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"Rar!": "RAR",
    b"\x1f\x8b": "gzip twice",
}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")

#: What a tar archive has, and where: Kaggle's first fer2013.tar.gz is one.
_TAR, _TAR_PLACE = b"ustar", 257


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put a file's name before the message of any `DataError` raised within the block."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


@contextmanager
def open_text(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading; gzip, xz and zip are recognised by their first bytes, whatever the name.

    A zip archive must hold exactly one ``.csv`` file; a tar archive is refused. Nothing is unpacked to disk.

    Raises:
        DataError: the file cannot be read or decompressed, now or while it is being read within the block.
    """
    try:
        with ExitStack() as stack:
            file = stack.enter_context(path.open("rb", buffering=1 << 17))
            magic = file.read(6)
            file.seek(0)
            if magic.startswith(b"\x1f\x8b"):
                text = cast(IO[bytes], stack.enter_context(gzip.open(file)))
            elif magic == b"\xfd7zXZ\x00":
                text = stack.enter_context(lzma.open(file))
            elif magic.startswith(b"PK"):
                text = stack.enter_context(_open_member(file, stack))
            else:
                text = file
            first = text.read(_TAR_PLACE + len(_TAR))
            if first[_TAR_PLACE:] == _TAR:
                raise DataError("a tar archive, which is not read; unpack it first: tar -xf")
            if packer := next((name for begin, name in _PACKED.items() if first.startswith(begin)), None):
                raise DataError(f"packed by {packer}, which is not read here; unpack it first")
            if first.startswith(_UTF16):
                raise DataError("text in UTF-16, which is not read; save it as UTF-8")
            text.seek(0)
            yield text
    except _UNREADABLE as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"cannot be read to the end ({reason}); check or download it again") from error


def read_header(stream: IO[bytes]) -> bytes:
    """Return the first line of a stream.

    Raises:
        DataError: its lines do not end as lines do.
    """
    line = stream.readline(MAX_LINE)
    if b"\r" in line.rstrip(b"\r\n") and b"\0" not in line:  # which no text has
        raise DataError("lines end in carriage returns alone, as on old Macs; save the file with line feeds")
    return line


def read_lines(stream: IO[bytes], first_number: int = 1) -> Iterator[bytes]:
    """Each line that is left in a stream; they are counted from `first_number`.

    Raises:
        DataError: a line has `MAX_LINE` bytes or more, or all lines have more than `MAX_TEXT`.
    """
    total = 0
    for number in itertools.count(first_number):
        line = stream.readline(MAX_LINE)
        if not line:
            return
        if len(line) == MAX_LINE:
            raise DataError(
                f"line {number} has {MAX_LINE} bytes or more, expected a few thousand; is it the right file?"
            )
        total += len(line)
        if total > MAX_TEXT:
            raise DataError(f"there are more than {MAX_TEXT} bytes of text; split the file")
        yield line


def _open_member(file: IO[bytes], stack: ExitStack) -> IO[bytes]:
    try:
        archive = stack.enter_context(zipfile.ZipFile(file))
        return archive.open(_only_table(archive))
    except (RuntimeError, UnicodeDecodeError) as error:  # encrypted, unknown to Python, or a garbled name
        raise DataError(f"the archive cannot be unpacked here ({error}); unpack it first") from error


def _only_table(archive: zipfile.ZipFile) -> str:
    members = [name for name in archive.namelist() if not name.startswith("__MACOSX/")]
    shown = [name for name in members if not PurePosixPath(name).name.startswith(".")]
    tables = [name for name in shown if name.lower().endswith(".csv")]
    if len(tables) != 1:
        found = repr(", ".join(members[:10])[:200]) if members else "nothing"
        raise DataError(f"expected one .csv file in the archive, found {found}; unpack it and choose one")
    return tables[0]
