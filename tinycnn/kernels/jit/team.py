"""A team of threads that is quick to begin: how compiled kernels share their work among the cores.

A thread that sleeps takes between 100 microseconds and some milliseconds to wake, longer than many a kernel
runs. So after each piece of work a helper looks out for the next one for a moment, in compiled code and
without the GIL, and only then goes to sleep.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from tinycnn.kernels.jit.atomic import add_one, load_now, raise_to
from tinycnn.kernels.jit.compile import compiled, part
from tinycnn.kernels.memory import scratch
from tinycnn.kernels.threads import chunk_count, get_threads, single_threaded_blas

#: Times a waiting thread looks before it sleeps (a helper) or lets others run (the caller): 3 ms here. A core
#: that has gone to sleep may take as long to wake; what Python does between two kernels takes far less.
PATIENCE = 2_000_000

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

    def run(self, member: int = 0) -> None:
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


#: Places in a queue, far enough apart that threads which write one do not slow the readers of another.
TAKEN, DONE, CHUNKS, TICKET, MEMBERS, CLAIMS = 0, 16, 32, 33, 34, 48


def share_call(
    kernel: Callable[..., None],
    arguments: tuple[Any, ...],
    memory: tuple[int, np.dtype],
    chunks: int,
    size: int,
) -> None:
    """Call a compiled kernel in every thread at once; inside of it they take chunks until none are left.

    This needs one call per thread where `for_chunks` needs one per chunk. And the helpers are called when
    the caller is inside already: they would have to wait for the GIL if it were not.

    Args:
        kernel: is called with `arguments`, scratch memory, a queue, a ticket and the number of the calling
            member of the team, 0 for the caller. It begins with `begin`, gets chunks by `claim` or `take`,
            reports each by `done`, and ends with `finish`.
        arguments: of the kernel.
        memory: elements and dtype of the scratch memory that each thread gets.
        chunks: number of chunks.
        size: elements touched in all. If they are few, the calling thread does them alone.
    """
    with _borrowed_team(chunks, size) as team:
        call = _Call(kernel, arguments, memory, chunks, team)
        if team is not None:
            team.announce(call)
        call.run()
        call.wait()


class _Call:
    """A kernel's call, the same for every thread."""

    def __init__(
        self,
        kernel: Callable[..., None],
        arguments: tuple[Any, ...],
        memory: tuple[int, np.dtype],
        chunks: int,
        team: "_Team | None",
    ) -> None:
        self._kernel, self._arguments, self._memory = kernel, arguments, memory
        self._ticket = np.zeros(1, np.int64) if team is None else team.ticket
        members = 1 if team is None else 1 + team.helpers
        self.queue = np.zeros(CLAIMS + chunks, np.int64)
        self.queue[CHUNKS], self.queue[TICKET], self.queue[MEMBERS] = chunks, self._ticket[0] + 1, members

    def run(self, member: int = 0) -> None:
        """Take chunks until none are left."""
        self._kernel(*self._arguments, scratch(*self._memory, "fused"), self.queue, self._ticket, member)

    def wait(self) -> None:
        """Wait for the chunks that others have taken, where the kernel has lost patience."""
        while self.queue[DONE] < self.queue[CHUNKS]:
            time.sleep(0)


@part
def begin(queue, ticket):
    """Let the helpers see that there is work."""
    raise_to(ticket, np.intp(0), queue[TICKET])


@part
def take(queue):
    """Return the number of a chunk that nobody has taken yet, or -1."""
    chunk = add_one(queue, np.intp(TAKEN))
    return chunk if chunk < queue[CHUNKS] else np.int64(-1)


@part
def claim(queue, member, turn):
    """Return the chunk that is a member's at its n-th turn, or -1 if another has taken it.

    Each member begins elsewhere, so that in kernel after kernel it takes the same chunks, which its core's
    cache may still hold, and others only when its own are done.
    """
    chunk = (member * queue[CHUNKS] // queue[MEMBERS] + turn) % queue[CHUNKS]
    return chunk if add_one(queue, np.intp(CLAIMS + chunk)) == 0 else np.int64(-1)


@part
def done(queue):
    """Count a chunk as done."""
    add_one(queue, np.intp(DONE))


@part
def finish(queue, ticket, member):
    """Wait until all chunks are done, or, in a helper, until there is a new ticket; for a moment only.

    A helper that returned to Python at once would hold the GIL just when the caller wants it.
    """
    for _ in range(PATIENCE):
        if member:
            if load_now(ticket, np.intp(0)) != queue[TICKET]:
                break
        elif load_now(queue, np.intp(DONE)) >= queue[CHUNKS]:
            break


class _Team:
    """Helper threads; they look at a ticket number for a new job. Given up by setting `job` to None."""

    def __init__(self, helpers: int) -> None:
        self.helpers = helpers
        self.busy = threading.Lock()
        self.job: _Job | _Call | None = None
        self.ticket = np.zeros(1, np.int64)
        self._bell = threading.Condition()
        self._sleepers = 0
        for member in range(1, helpers + 1):
            threading.Thread(target=self._help, args=(member,), name="tinycnn", daemon=True).start()

    def post(self, job: _Job | _Call | None) -> None:
        """Offer a job to the helpers; None sends them home."""
        self.job = job
        self.ticket[0] += 1
        if self._sleepers:
            with self._bell:
                self._bell.notify_all()

    def announce(self, call: _Call) -> None:
        """Have a call ready for the helpers, which come when the caller has begun; wake those that sleep."""
        self.job = call
        if self._sleepers:
            self.post(call)

    def _help(self, member: int) -> None:
        seen = 0
        while True:
            if not _changes(self.ticket, 0, seen, PATIENCE):
                with self._bell:
                    self._sleepers += 1
                    while self.ticket[0] == seen:  # `post` changes it before it looks for sleepers
                        self._bell.wait()
                    self._sleepers -= 1
            seen, job = int(self.ticket[0]), self.job
            if job is None:
                return
            with suppress(Exception):  # such as no memory: then the others do the work, and this one stays
                job.run(member)


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


@contextmanager
def _borrowed_team(pieces: int, size: int) -> Iterator[_Team | None]:
    """Have the team within the block; or None, if the work is not worth sharing or the team is taken.

    If another Python thread has the team, this one does its work alone: every core is taken anyway.
    """
    team = _current_team() if size >= SHARED_FROM and min(pieces, get_threads()) > 1 else None
    if team is None or not team.busy.acquire(blocking=False):
        yield None
        return
    try:
        yield team
    finally:
        team.busy.release()


def _share(pieces: int, n: int, work: Work, size: int) -> None:
    job = _Job(pieces, n, work)
    with single_threaded_blas(), _borrowed_team(pieces, size) as team:
        if team is not None:
            team.post(job)
        job.run()
        job.finish()


@compiled
def _changes(array, index, old, looks):
    """Look at array[index] until it differs from `old`, at most `looks` times; return whether it does."""
    for _ in range(looks):  # noqa: SIM110 - numba compiles no generator expressions
        if load_now(array, index) != old:
            return True
    return False
