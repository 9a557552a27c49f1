"""Text files to write into."""

import io
from pathlib import Path
from typing import Any, TextIO


class _Raw(io.FileIO):
    """Names itself in errors of writing, such as of a full disk; Python's own name it when it is opened."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = self.name
            raise


def open_output(path: Path) -> TextIO:
    """Open a file in UTF-8, whose folder is made if need be, and whose line ends stay as they are written.

    Raises:
        OSError: it cannot be written; so do its own methods, and all of them name it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return io.TextIOWrapper(io.BufferedWriter(_Raw(str(path), "w")), encoding="utf-8", newline="")
