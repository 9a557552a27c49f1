"""Floor 1: arrays in, arrays out. Two backends with the same names and signatures.

`reference` is NumPy and defines every operation; `jit` is numba and changes speed alone. Layers ask for
the one in force: ``active().conv2d(x, kernel, bias, stride, pad)``.
"""

import importlib
import os
from contextlib import AbstractContextManager
from functools import cache
from importlib.util import find_spec
from types import ModuleType

from tinycnn.errors import BackendError
from tinycnn.kernels.threads import single_threaded_blas

#: Backend names as users write them, and the module that holds each.
BACKENDS = {"numpy": "tinycnn.kernels.reference", "numba": "tinycnn.kernels.jit"}

_selected: str | None = None


def default_backend() -> str:
    """`TINYCNN_BACKEND` if set, otherwise "numba" where it is installed and "numpy" where not."""
    # find_spec looks without importing: numba takes longer to import than all of tinycnn.
    return os.environ.get("TINYCNN_BACKEND") or ("numba" if find_spec("numba") else "numpy")


def backend_name() -> str:
    """Name of the backend in force, "numpy" or "numba".

    >>> with backend("numpy"):
    ...     backend_name()
    'numpy'
    """
    global _selected
    if _selected is None:
        _selected = default_backend()
    return _selected


def active() -> ModuleType:
    """The module of kernels in force.

    Raises:
        BackendError: the name is unknown, or numba is asked for and not installed.
    """
    return _module(backend_name())


@cache
def _module(name: str) -> ModuleType:
    if name not in BACKENDS:
        raise BackendError(f"unknown backend {name!r}: expected one of {', '.join(map(repr, BACKENDS))}")
    try:
        return importlib.import_module(BACKENDS[name])
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("tinycnn"):
            raise
        raise BackendError(
            f"the {name!r} backend needs {error.name}, which is not installed: "
            "pip install 'tinycnn[jit]', or use tinycnn.backend('numpy')"
        ) from error


def one_thread_pool() -> AbstractContextManager[None]:
    """Within the block, only the kernels' own threads work, and BLAS has one.

    Two pools on one another are slow, and BLAS rounds otherwise with another number of threads.
    """
    active()  # load the backend first: it brings a BLAS of its own
    return single_threaded_blas()


class backend:
    """Select the backend: from now on as a call, for a block as a context manager.

    >>> import tinycnn as tc
    >>> with tc.backend("numpy"):
    ...     tc.backend_name()
    'numpy'

    Raises:
        BackendError: the name is unknown, or numba is asked for and not installed.
    """

    def __init__(self, name: str) -> None:
        global _selected
        _module(name)
        self._previous = _selected
        _selected = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        global _selected
        _selected = self._previous
