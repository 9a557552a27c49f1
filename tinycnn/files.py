"""Writing files that are complete or not there at all."""

import os
import threading
from collections.abc import Iterable
from pathlib import Path


def replace_file(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write `content` under a temporary name beside `path`, flush it to the disk, and rename it to `path`.

    A reader, or a power cut, finds the old file or the new one, never a half.

    Args:
        path: the file.
        content: all of it, or its parts in turn.

    Raises:
        OSError: the file cannot be written; whatever was at `path` is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")  # nobody else's
    try:
        with temporary.open("wb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
