"""How every kernel is compiled, and what their callers share."""

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401 - np.dot in kernels; loaded now, so that its threads get limited
from numba import njit, types
from numba.extending import intrinsic

#: Of all files here: machine code contains that of the functions it calls, from whichever file.
_SOURCES = hashlib.sha256(
    b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
).hexdigest()


#: Without the GIL, so that threads run at once. Division by zero gives inf, as in NumPy: the check for an
#: exception would be a branch that prevents SIMD code.
OPTIONS: Any = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel at its first call, and keep the machine code for the next process where it can."""
    try:
        dispatcher = njit(**OPTIONS, cache=True)(function)
    except RuntimeError:  # as in a container whose files cannot be changed
        text = "every start compiles anew: set NUMBA_CACHE_DIR to a folder that can be written"
        warnings.warn(text, RuntimeWarning, stacklevel=1)  # the same for all kernels, and so shown once
        return njit(**OPTIONS)(function)
    # Numba would take machine code from the cache as long as the function's own file is unchanged.
    dispatcher._cache._cache_file._source_stamp = _SOURCES
    return dispatcher


def part(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a part of kernels: called by `compiled` functions alone, so without an entrance from Python.

    Nor does it count references to its arrays: threads that count at once get in one another's way.
    """
    options = OPTIONS | {"_nrt": False, "no_cpython_wrapper": True}
    return njit(**options)(function)


def section(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a section of one kernel as if its lines stood there; a `part` is first compiled by itself."""
    return njit(inline="always")(function)


@intrinsic
def shared(typing_context: Any) -> Any:
    """Let the calling `part` be called where it is used, not copied there: less to compile."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate


def as_rows(x: np.ndarray) -> np.ndarray:
    """View x (N, H, W, C) as (N*H, W*C), or keep (N, C).

    A loop over W*C neighbours fills SIMD registers even where C is small.
    """
    return x.reshape(-1, x.shape[-2] * x.shape[-1]) if x.ndim == 4 else x.reshape(-1, x.shape[-1])


def tiled(per_channel: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Repeat a (C,) array along a row of `as_rows`: (W*C,), of the rows' dtype."""
    return np.tile(per_channel.astype(rows.dtype), rows.shape[1] // per_channel.size)


def folded(row: np.ndarray, channels: int) -> np.ndarray:
    """Sum a (..., W*C) array over W: (..., C)."""
    return row.reshape(*row.shape[:-1], -1, channels).sum(axis=-2)
