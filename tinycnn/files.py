"""Writing files that are complete or not there at all."""

import glob
import os
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path


def replace_file(path: Path, content: bytes | Iterable[bytes], previous: Path | None = None) -> None:
    """Write `content` under a temporary name beside `path`, flush it to the disk, and rename it to `path`.

    A reader, or a power cut, finds the old file or the new one, never a half. What is no file, such as
    /dev/null or a pipe, is not replaced but written into; of a link, what it leads to is replaced. The new
    file has the old one's permissions.

    Args:
        path: where the content shall be.
        content: all of it, or its parts in turn.
        previous: a name that the old file gets, once the new one is whole. Between the two renamings
            there is a file there and none at `path`.

    Raises:
        OSError: the file, which it names, cannot be written; whatever was at `path` is still there, or at
            `previous`.
    """
    parts = [content] if isinstance(content, bytes) else content
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            file.writelines(parts)
        return
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.tmp")  # nobody else's
    try:
        with temporary.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        if previous is not None and target.exists():
            target.replace(previous)
        temporary.replace(target)
    except OSError as error:
        if error.errno is None:
            raise
        # Name the file that the caller knows: the system names the temporary one, or none.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporary(path: Path) -> None:
    """Remove what `replace_file` left beside `path` if its process was killed in the midst of writing."""
    for litter in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        litter.unlink(missing_ok=True)
