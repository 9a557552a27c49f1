"""Arrays and JSON in one safetensors file that can tell whether it is still as it was written.

The file is written whole or not at all, and carries a SHA-256 checksum of all its bytes. Nothing in it is
ever executed or unpickled.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from tinycnn.errors import ConfigError, FileFormatError
from tinycnn.files import replace_file

FORMAT = "tinycnn-sealed-1"

#: Where the checksum, in hexadecimal, stands in the file's header.
_SEAL, _DIGITS = b'"sha256":"', 64


def safetensors_bytes(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file, with the same bytes for the same content.

    The library alone writes the metadata in another order in every process.
    """
    data = save_tensors(
        {name: np.asarray(array, order="C") for name, array in arrays.items()}, dict(metadata)
    )
    header, body = _split(data)
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)  # so that arrays begin at whole words, as the format wishes
    return b"".join((struct.pack("<Q", len(text)), text, body))


def write_sealed(
    path: Path, arrays: Mapping[str, np.ndarray], info: Mapping[str, Any], previous: Path | None = None
) -> None:
    """Write arrays by name, and whatever JSON can hold; see `tinycnn.files.replace_file` for `previous`.

    Raises:
        OSError: the file cannot be written.
    """
    text = json.dumps(info, default=lambda array: array.tolist())  # some generators' states hold arrays
    data = safetensors_bytes(arrays, {"format": FORMAT, "info": text, "sha256": "0" * _DIGITS})
    place = data.index(_SEAL) + len(_SEAL)
    seal = _digest(data, place).encode()
    replace_file(
        path, b"".join((memoryview(data)[:place], seal, memoryview(data)[place + _DIGITS :])), previous
    )


def read_sealed(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the info that `write_sealed` wrote.

    Raises:
        FileFormatError: the file is damaged, or of another kind.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    try:
        metadata = _split(data)[0]["__metadata__"]
        if metadata["format"] != FORMAT:
            raise ValueError(f"its format is {metadata['format']!r}, expected {FORMAT!r}")
        if _digest(data, data.index(_SEAL) + len(_SEAL)) != metadata["sha256"]:
            raise ValueError("its checksum is not that of its content")
        return load_tensors(data), json.loads(metadata["info"])
    except (SafetensorError, struct.error, KeyError, TypeError, ValueError, RecursionError) as error:
        raise FileFormatError(f"{path} is damaged ({type(error).__name__}: {error})") from error


def check_belongs(path: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Check that what a file was written for is what it shall be used for.

    Args:
        path: the file, for the message.
        then: values by name, as the file has them.
        now: the present ones, as JSON can hold them.

    Raises:
        ConfigError: a value differs; the message says which, what it was and what it is.
    """
    now = json.loads(json.dumps(now))
    different = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    if different:
        listed = "; ".join(f"{name} was {then.get(name)!r}, is {now.get(name)!r}" for name in different[:5])
        more = f"; and {len(different) - 5} more" if len(different) > 5 else ""
        raise ConfigError(
            f"{path} belongs to another run: {listed}{more}. Repeat that run's options and data to go on "
            "with it, or delete it to start from the beginning"
        )


def _split(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """Return a safetensors file's header, and its body."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), memoryview(data)[8 + length :]


def _digest(data: bytes, place: int) -> str:
    """SHA-256 of a file but for the checksum itself, which stands at `place`."""
    digest = hashlib.sha256(memoryview(data)[:place])
    digest.update(memoryview(data)[place + _DIGITS :])
    return digest.hexdigest()
