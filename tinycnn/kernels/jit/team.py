"""A team of threads that is quick to begin: how compiled kernels share their work among the cores.

A thread that sleeps takes about 100 microseconds to wake, as long as many a kernel runs. So after each piece
of work a helper looks out for the next one for a moment, in compiled code and without the GIL, and only then
goes to sleep.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tinycnn.kernels.jit.compile import compiled
from tinycnn.kernels.threads import chunk_count, get_threads

#: Times a waiting thread looks before it sleeps (a helper) or lets others run (the caller): 0.15 ms here.
PATIENCE = 100_000

#: Work on fewer elements is done by the calling thread alone: sharing would take longer.
SHARED_FROM = 1 << 15

Work = Callable[[int, int, int], None]


def for_chunks(n: int, work: Work, size: int) -> None:
    """Call ``work(chunk, start, stop)`` for each chunk of ``range(n)``, spread over the threads.

    Args:
        n: number of items.
        work: must release the GIL for its heavy part and write only what belongs to its own chunk.
        size: elements touched in all. If they are few, the same chunks are done one after another.
    """
    _share(chunk_count(n), n, work, size)


def for_images(x: np.ndarray, work: Work) -> None:
    """`for_chunks` over the first axis of x."""
    for_chunks(len(x), work, x.size)


def for_parts(x: np.ndarray, work: Callable[[int, int], None]) -> None:
    """Call ``work(start, stop)`` for one part of x's first axis per thread: fewer calls than `for_images`.

    Only for work whose results do not depend on where the parts begin, so without sums and matrix products.
    """
    _share(max(1, min(len(x), get_threads())), len(x), lambda _, start, stop: work(start, stop), x.size)


def for_chunk_ranges(x: np.ndarray, work: Callable[[int, int], None]) -> None:
    """Call ``work(first, stop)`` for a range of x's chunks per thread, for kernels that loop over chunks."""
    chunks = chunk_count(len(x))
    _share(min(chunks, get_threads()), chunks, lambda _, first, stop: work(first, stop), x.size)


class _Job:
    """Pieces of work, taken by whichever thread is free."""

    def __init__(self, pieces: int, n: int, work: Work) -> None:
        self._pieces, self._n, self._work = pieces, n, work
        self._todo = iter(range(pieces))  # shared by all threads: `next` on it is atomic under the GIL
        self._done = np.zeros(pieces, np.int64)
        self._error: BaseException | None = None

    def run(self) -> None:
        """Take pieces until none are left."""
        for piece in self._todo:
            try:
                self._work(piece, piece * self._n // self._pieces, (piece + 1) * self._n // self._pieces)
            except BaseException as error:  # to be raised where the job was given, not in a helper
                self._error = error
            self._done[piece] = 1

    def finish(self) -> None:
        """Wait for the pieces that others have taken."""
        for piece in range(self._pieces):
            while not _changes(self._done, piece, 0, PATIENCE):
                time.sleep(0)  # the machine is busy: let the helper run
        if self._error is not None:
            raise self._error


class _Team:
    """Helper threads; they look at a ticket number for a new job. Given up by setting `job` to None."""

    def __init__(self, helpers: int) -> None:
        self.helpers = helpers
        self.busy = threading.Lock()
        self.job: _Job | None = None
        self._ticket = np.zeros(1, np.int64)
        self._bell = threading.Condition()
        self._sleepers = 0
        for _ in range(helpers):
            threading.Thread(target=self._help, name="tinycnn", daemon=True).start()

    def post(self, job: _Job | None) -> None:
        """Offer a job to the helpers; None sends them home."""
        self.job = job
        self._ticket[0] += 1
        if self._sleepers:
            with self._bell:
                self._bell.notify_all()

    def _help(self) -> None:
        seen = 0
        while True:
            if not _changes(self._ticket, 0, seen, PATIENCE):
                with self._bell:
                    self._sleepers += 1
                    while self._ticket[0] == seen:  # `post` changes it before it looks for sleepers
                        self._bell.wait()
                    self._sleepers -= 1
            seen, job = int(self._ticket[0]), self.job
            if job is None:
                return
            job.run()


_team: _Team | None = None
_team_lock = threading.Lock()


def _current_team() -> _Team:
    global _team
    with _team_lock:
        if _team is None or _team.helpers != get_threads() - 1:
            if _team is not None:
                with _team.busy:
                    _team.post(None)
            _team = _Team(get_threads() - 1)
        return _team


def _forget_team() -> None:
    """After a fork the child has the team's memory and none of its threads."""
    global _team, _team_lock
    _team, _team_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_team)


def _share(pieces: int, n: int, work: Work, size: int) -> None:
    job = _Job(pieces, n, work)
    team = _current_team() if size >= SHARED_FROM and min(pieces, get_threads()) > 1 else None
    # If another Python thread has the team, this one does its work alone: every core is taken anyway.
    if team is not None and team.busy.acquire(blocking=False):
        try:
            team.post(job)
            job.run()
            job.finish()
        finally:
            team.busy.release()
    else:
        job.run()
        job.finish()


@intrinsic
def _load(typing_context: Any, array: Any, index: Any) -> Any:
    """Read array[index] from memory each time: an ordinary read in a loop would be done once, before it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        pointer = cgutils.get_item_pointer(
            context, builder, kind, context.make_array(kind)(context, builder, arguments[0]), [arguments[1]]
        )
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(array, types.intp), generate


@compiled
def _changes(array, index, old, looks):
    """Look at array[index] until it differs from `old`, at most `looks` times; return whether it does."""
    for _ in range(looks):  # noqa: SIM110 - numba compiles no generator expressions
        if _load(array, index) != old:
            return True
    return False
