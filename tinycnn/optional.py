"""Packages that not everybody needs: imported where they are used, and named where they are missing."""

import importlib
from typing import Any

from tinycnn.errors import MissingPackageError


def optional(name: str, extra: str) -> Any:
    """Return the module called `name`, which one of this project's extras brings.

    Raises:
        MissingPackageError: it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise missing(error, extra) from error


def missing(error: ModuleNotFoundError, extra: str) -> MissingPackageError:
    """Return the error that says what is not installed, and which extra brings it."""
    return MissingPackageError(
        f"this needs {error.name}, which is not installed: pip install 'tinycnn[{extra}]'"
    )
