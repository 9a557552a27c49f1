"""How many threads, and how work is cut for them; `tinycnn.kernels.jit.team` is the threads themselves.

Work is cut into chunks whose borders depend on its size alone, never on the number of threads, and partial
sums are combined in the order of the chunks: 1, 2 or 64 threads give the same bits.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from tinycnn.errors import ConfigError

if TYPE_CHECKING:  # it takes a third of what `import tinycnn` takes beyond NumPy, and not all need threads
    from concurrent.futures import ThreadPoolExecutor

#: Work with sums in it, whose order must not depend on threads, is cut into at most this many chunks.
MAX_CHUNKS = 8

_count: int | None = None


def get_threads() -> int:
    """Return the number of threads in use: `set_threads`, else `TINYCNN_THREADS`, else the usable cores.

    Raises:
        ConfigError: `TINYCNN_THREADS` is not a positive whole number.

    >>> get_threads() >= 1
    True
    """
    global _count
    if _count is None:
        text = os.environ.get("TINYCNN_THREADS", "")
        if text and not (text.isdecimal() and int(text) > 0):
            raise ConfigError(f"TINYCNN_THREADS is {text!r}: expected a positive whole number such as 2")
        _count = int(text) if text else _usable_cores()
    return _count


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux: respects taskset and containers
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def set_threads(count: int) -> None:
    """Use `count` threads from now on. Results do not depend on it, to the bit.

    Raises:
        ConfigError: `count` is not a positive whole number.

    >>> set_threads(2)
    >>> get_threads()
    2
    """
    global _count
    if type(count) is not int or count < 1:
        raise ConfigError(f"set_threads({count!r}): expected a positive whole number")
    _count = count


def chunk_count(n: int) -> int:
    """How many chunks `n` items are cut into."""
    return max(1, min(n, MAX_CHUNKS))


def in_threads(work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Return [work(item) for item in items], computed by all threads; `work` spends its time in NumPy."""
    from concurrent.futures import wait

    results: list[Any] = [None] * len(items)
    todo = iter(range(len(items)))  # whoever is free takes the next

    def take_turns() -> None:
        for index in todo:
            results[index] = work(items[index])

    helpers = min(get_threads(), len(items)) - 1
    with single_threaded_blas():
        futures = [_helpers(helpers).submit(take_turns) for _ in range(helpers)]
        try:
            take_turns()
        finally:  # waking a thread takes time: one that has not even begun is no longer needed
            running = [future for future in futures if not future.cancel()]
            wait(running)
    for future in running:
        future.result()
    return results


@cache
def _helpers(count: int) -> "ThreadPoolExecutor":
    """Return threads that help the calling one: to start them anew costs as much as many a kernel."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(count, thread_name_prefix="tinycnn")


_blas_lock = threading.Lock()
_blas_users = set[object]()
_blas_threads: list[tuple[Any, int]] = []  # what to restore: libraries, and their threads before


def _after_fork() -> None:
    """Begin anew in a child, which has none of its parent's threads."""
    _helpers.cache_clear()
    _blas_lock.release()


if hasattr(os, "register_at_fork"):  # held meanwhile, lest the child get the lock taken, for ever
    os.register_at_fork(
        before=_blas_lock.acquire, after_in_parent=_blas_lock.release, after_in_child=_after_fork
    )


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Keep BLAS to one thread within the block, since the kernels' own threads occupy the cores.

    Two thread pools on one another cost far more than either gains.
    """
    global _blas_threads
    user = object()
    try:  # Ctrl-C may come anywhere, and must not leave a user behind
        with _blas_lock:
            if not _blas_users:
                libraries = _blas_libraries("scipy.linalg" in sys.modules)
                _blas_threads = [(library, library.get_num_threads()) for library in libraries]
                _set_blas_threads([(library, 1) for library in libraries])
            _blas_users.add(user)
        yield
    finally:
        with _blas_lock:
            _blas_users.discard(user)
            if not _blas_users:
                _set_blas_threads(_blas_threads)


@cache
def _blas_libraries(with_scipy: bool) -> list[Any]:
    """Return threadpoolctl's controllers of the BLAS libraries loaded by now; SciPy brings one of its own."""
    try:
        from threadpoolctl import ThreadpoolController
    except ModuleNotFoundError:  # numba without the rest of the `jit` extra: slower, and as right
        return []
    return [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]


def _set_blas_threads(threads: list[tuple[Any, int]]) -> None:
    for library, count in threads:
        # threadpoolctl 3.7 and later let only the first Python thread that asks set OpenBLAS's threads, and
        # silently ignore all others; here `_blas_users` keeps them apart.
        getattr(library, "_real_set_num_threads", library.set_num_threads)(count)
