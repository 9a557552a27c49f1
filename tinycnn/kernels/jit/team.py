"""A team of threads that is quick to begin: how compiled kernels share their work among the cores.

A thread that sleeps takes between 100 microseconds and some milliseconds to wake, longer than many a kernel
runs. So after each piece of work a helper looks out for the next one for a moment, in compiled code and
without the GIL (`together.serve`), and only then goes to sleep.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from tinycnn.kernels.jit.atomic import add, idle, load_now
from tinycnn.kernels.jit.compile import compiled, part, section
from tinycnn.kernels.jit.together import FAILED, HELPERS, INSIDE, MAILBOX, OPEN, PATIENCE, WANTED, serve
from tinycnn.kernels.memory import CACHE_LINE, scratch
from tinycnn.kernels.threads import chunk_count, get_threads, single_threaded_blas

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


#: Places in a queue, far enough apart that threads which write one do not slow the readers of another.
TAKEN, DONE, CHUNKS, MEMBERS, CLAIMS, LINE = 0, 16, 32, 33, 48, 8


def share_call(
    kernel: Callable[..., None],
    arguments: tuple[Any, ...],
    memory: tuple[int, np.dtype],
    chunks: int,
    size: int,
) -> None:
    """Call a compiled kernel that all threads carry out at once; inside they take chunks until none are left.

    Between two chunks nothing happens in Python, where `for_chunks` needs a call, and the GIL, for each.

    Args:
        kernel: is called with `arguments`, scratch memory, a queue and a mailbox, and hands on to `together`
            a part that ends with the number of the calling member of the team, 0 for the caller. The part
            finds its memory by `own`, and chunks by `claim` or `take`.
        arguments: of the kernel.
        memory: elements and dtype of the scratch memory that each thread gets.
        chunks: number of chunks.
        size: elements touched in all. If they are few, the calling thread does them alone.
    """
    length, dtype = memory
    line = CACHE_LINE // dtype.itemsize
    queue = np.zeros(CLAIMS + LINE * chunks, np.int64)
    with _borrowed_team(chunks, size) as team:
        mailbox, members = (_NOBODY, 1) if team is None else (team.mailbox, 1 + team.helpers)
        queue[CHUNKS], queue[MEMBERS] = chunks, members
        everyone = scratch(members * -(-length // line) * line, dtype, "fused")
        if team is None:
            kernel(*arguments, everyone, queue, mailbox)
        else:
            team.call(kernel, (*arguments, everyone, queue, mailbox))


@section
def own(memory, queue, member):
    """Return a member's part of the scratch memory."""
    length = memory.size // queue[MEMBERS]
    return memory[member * length : (member + 1) * length]


@part
def take(queue):
    """Return the number of a chunk that nobody has taken yet, or -1."""
    chunk = add(queue, np.intp(TAKEN), np.int64(1))
    return chunk if chunk < queue[CHUNKS] else np.int64(-1)


@part
def claim(queue, member, turn):
    """Return the chunk that is a member's at its n-th turn, or -1 if another has taken it.

    Each member begins elsewhere, so that in kernel after kernel it takes the same chunks, which its core's
    cache may still hold, and others only when its own are done.
    """
    chunk = its_turn(queue, member, turn, queue[CHUNKS])
    return chunk if is_first(queue, chunk) else np.int64(-1)


@part
def its_turn(queue, member, turn, count):
    """Return which of `count` pieces is a member's at its n-th turn.

    One member begins where its share does, its neighbour where its own ends: they meet in the middle.
    """
    if member % 2:
        return ((member + 1) * count // queue[MEMBERS] - 1 - turn) % count
    return (member * count // queue[MEMBERS] + turn) % count


@part
def is_first(queue, chunk):
    """Whether nobody has asked for a chunk before."""
    return add(queue, np.intp(CLAIMS + LINE * chunk), np.int64(1)) == 0


class _Team:
    """Helper threads, which watch a mailbox for compiled calls. Given up by setting `job` to None."""

    def __init__(self, helpers: int) -> None:
        self.helpers = helpers
        self.busy = threading.Lock()
        self.job: _Job | None = None
        self.mailbox = np.zeros(MAILBOX, np.int64)
        self.mailbox[HELPERS] = helpers
        self._held: Any = None  # a call's arguments: they stay if it is interrupted, for helpers inside
        self._lock = threading.Lock()
        self._bell = threading.Condition(self._lock)
        self._sleepers = 0
        for member in range(1, helpers + 1):
            threading.Thread(target=self._help, args=(member,), name="tinycnn", daemon=True).start()

    def post(self, job: _Job | None) -> None:
        """Offer a job to the helpers; None sends them home."""
        self.job = job
        self.mailbox[WANTED] += 1
        self._wake()

    def call(self, kernel: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        """Call a kernel that lets the helpers in, and wait until all of them are out again."""
        try:
            self._held = arguments
            self._wake()
            kernel(*arguments)
        finally:
            self.mailbox[OPEN] = 0  # as it is already, unless the kernel failed
            while self.mailbox[INSIDE]:
                time.sleep(0)  # the machine is busy: let the helper run
            self._held = None
        if self.mailbox[FAILED]:
            self.mailbox[FAILED] = 0
            raise RuntimeError("a kernel failed in a helper thread: tinycnn.set_threads(1) shows how")

    def is_free(self) -> bool:
        """Whether no helper is still inside a call that an interrupted caller has left."""
        return self._held is None or not self.mailbox[INSIDE]

    def _wake(self) -> None:
        if self._sleepers:
            with self._lock:  # itself: Ctrl-C may come within the Python code that a Condition takes it by
                self._bell.notify_all()

    def _help(self, member: int) -> None:
        jobs = 0
        while True:
            serve(self.mailbox, jobs, member, PATIENCE)
            with self._bell:
                self._sleepers += 1
                # `post` and `call` change these before they look for sleepers.
                if self.mailbox[WANTED] == jobs and self._held is None:
                    self._bell.wait()
                self._sleepers -= 1
            if self.mailbox[WANTED] == jobs:  # a compiled call
                continue
            jobs, job = int(self.mailbox[WANTED]), self.job
            if job is None:
                return
            with suppress(Exception):  # such as no memory: then the others do the work, and this one stays
                job.run()


#: The mailbox of a caller without helpers.
_NOBODY = np.zeros(MAILBOX, np.int64)
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
    if team is None or team.busy.locked():
        yield None
        return
    with team.busy:  # Ctrl-C cannot come between this and what gives it back, as behind a call of `acquire`
        yield team if team.is_free() else None


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
    for _ in range(looks):
        if load_now(array, index) != old:
            return True
        idle()
    return False
