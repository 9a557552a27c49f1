"""Text files to write into."""

import io
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TextIO


class _Raw(io.FileIO):
    """Names itself in errors of writing, such as of a full disk; Python's own name it when it is opened."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = self.name
            raise


def check_writable(path: Path) -> None:
    """Make the folder of a file that will be written, and find out now whether that will be possible.

    Raises:
        OSError: it will not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.is_file():  # what is neither, such as /dev/null, is written into as it is
        try:
            TemporaryFile(dir=path.parent).close()
        except OSError as error:
            raise OSError(f"{path}: cannot be written ({error.strerror or error})") from error


def open_output(path: Path) -> TextIO:
    """Open a file in UTF-8, whose folder is made if need be, and whose line ends stay as they are written.

    Raises:
        OSError: it cannot be written; so do its own methods, and all of them name it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return io.TextIOWrapper(io.BufferedWriter(_Raw(str(path), "w")), encoding="utf-8", newline="")
