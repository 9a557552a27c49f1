"""The one place that splits work over cores.

Work is cut into chunks whose borders depend on its size alone, never on the number of threads, and partial
sums are combined in the order of the chunks: 1, 2 or 64 threads give the same bits.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tinycnn.errors import ConfigError

#: Work is cut into at most this many chunks, so at most this many threads can share it.
MAX_CHUNKS = 8

_lock = threading.Lock()
_count: int | None = None
_pool: ThreadPoolExecutor | None = None


def get_threads() -> int:
    """Return the number of threads in use: `set_threads`, else `TINYCNN_THREADS`, else the usable cores.

    Raises:
        ConfigError: `TINYCNN_THREADS` is not a positive whole number.
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
    """
    global _count
    if not isinstance(count, int) or count < 1:
        raise ConfigError(f"set_threads({count!r}): expected a positive whole number")
    _count = count
    _forget_pool()


def _forget_pool() -> None:
    global _pool
    _pool = None


# A forked child inherits the pool's bookkeeping but none of its threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def _workers() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(MAX_CHUNKS, thread_name_prefix="tinycnn")
        return _pool


def chunk_count(n: int) -> int:
    """How many chunks `for_chunks` cuts `n` items into."""
    return max(1, min(n, MAX_CHUNKS))


def for_chunks(n: int, work: Callable[[int, int, int], None], *, parallel: bool = True) -> None:
    """Call ``work(chunk, start, stop)`` for each chunk of ``range(n)``, spread over the threads.

    Args:
        n: number of items, usually images.
        work: must release the GIL for its heavy part and write only what belongs to its own chunk.
        parallel: False runs the same chunks one after another, for work too small to share.
    """
    _share(chunk_count(n), n, work, parallel)


def for_parts(n: int, work: Callable[[int, int], None], *, parallel: bool = True) -> None:
    """Call ``work(start, stop)`` for one part of ``range(n)`` per thread: fewer calls than `for_chunks`.

    Only for work whose results do not depend on where the parts begin, so without sums and matrix products.
    """
    parts = max(1, min(n, get_threads())) if parallel else 1
    _share(parts, n, lambda _, start, stop: work(start, stop), parallel)


def _share(pieces: int, n: int, work: Callable[[int, int, int], None], parallel: bool) -> None:
    todo = iter(range(pieces))  # shared by all threads: `next` on it is atomic under the GIL

    def run() -> None:
        for piece in todo:
            work(piece, piece * n // pieces, (piece + 1) * n // pieces)

    helpers = min(get_threads(), pieces) - 1 if parallel else 0
    futures = [_workers().submit(run) for _ in range(helpers)]
    run()
    for future in futures:
        if not future.cancel():  # one that has not started finds nothing left to do
            future.result()


_blas_lock = threading.Lock()
_blas_users = 0
_blas_limit: Any = None


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Keep BLAS to one thread within the block, since `for_chunks` already occupies the cores.

    Two thread pools on one another cost far more than either gains.
    """
    global _blas_users, _blas_limit
    with _blas_lock:
        if _blas_users == 0:
            _blas_limit = _limit_blas()
        _blas_users += 1
    try:
        yield
    finally:
        with _blas_lock:
            _blas_users -= 1
            if _blas_users == 0 and _blas_limit is not None:
                _blas_limit.restore_original_limits()


_blas_controller: Any = None


def _limit_blas() -> Any:
    global _blas_controller
    try:
        from threadpoolctl import ThreadpoolController
    except ModuleNotFoundError:  # numba without the rest of the `jit` extra: slower, and as right
        return None
    if _blas_controller is None:
        _blas_controller = ThreadpoolController()
    return _blas_controller.limit(limits=1, user_api="blas")
