"""Checkpoints: a training that was killed at any moment goes on, and ends with the bits it would have had.

A `Checkpoint` says where and how often; `kept` is what `tinycnn.train.fit` does with it.
"""

import math
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tinycnn.checks import check, number
from tinycnn.errors import CheckpointWarning, FileFormatError, NonFiniteError
from tinycnn.files import remove_temporary
from tinycnn.finite import all_finite
from tinycnn.layers import Layer
from tinycnn.optimizers import check_alike
from tinycnn.sealed import check_belongs, read_sealed, write_sealed

Content = tuple[dict[str, np.ndarray], dict[str, Any]]


class Checkpoint:
    """A file from which `model.fit(..., checkpoint=...)` goes on where an earlier call was cut short.

    It holds weights, optimiser, schedule, moving averages, best weights, history, random generators and the
    place in the epoch. `fit` writes it at the start, from time to time, when Ctrl-C stops it, and at the end.
    If it is there already, `fit` goes on from it, whatever weights the model has by then; after the last
    epoch it gives the trained model at once, until the file is removed.

    The one before the last is kept beside it as ``<path>.previous``, and used if the last is damaged.

    Args:
        path: the file.
        every: seconds from one writing to the next. 0 writes after every batch.

    Raises:
        ConfigError: `every` is no number of seconds.

    >>> model = tc.Sequential([tc.Dense(2, 2, rng=0), tc.Softmax()])
    >>> x, labels = np.eye(2, dtype=np.float32), np.array([0, 1])
    >>> checkpoint = Checkpoint("run.checkpoint")
    >>> history = model.fit(x, labels, epochs=2, checkpoint=checkpoint, progress=False)
    >>> again = model.fit(x, labels, epochs=2, checkpoint=checkpoint, progress=False)  # nothing is left to do
    >>> again.seconds == history.seconds
    True
    """

    def __init__(self, path: str | os.PathLike, every: float = 60.0) -> None:
        check(0 <= number(every) < math.inf, "every", every, "a number of seconds, such as 60")
        self.path, self.every = Path(path), every
        if self.path.is_symlink():  # what stands beside the file must be on its file system
            self.path = Path(os.path.realpath(path))
        self.previous = self.path.with_name(f"{self.path.name}.previous")

    def exists(self) -> bool:
        """Whether there is something to go on from."""
        return self.path.exists() or self.previous.exists()

    def remove(self) -> None:
        """Delete the file, the previous one, and what a killed process may have left of a third."""
        self.path.unlink(missing_ok=True)
        self.previous.unlink(missing_ok=True)
        remove_temporary(self.path)

    def write(self, arrays: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> None:
        """Write a new checkpoint and keep the one before.

        Raises:
            OSError: it cannot be written; the earlier ones are still there.
        """
        write_sealed(self.path, arrays, info, self.previous)

    def read(self) -> Content:
        """Return arrays and info of the last checkpoint that is whole.

        Warns:
            CheckpointWarning: the last one is damaged, and the one before it took its place.

        Raises:
            FileFormatError: there is none, or none that is whole.
            OSError: it cannot be read.
        """
        remove_temporary(self.path)
        damaged: list[str] = []
        for path in (self.path, self.previous):
            try:
                content = read_sealed(path)
            except FileNotFoundError:
                continue
            except FileFormatError as error:
                damaged.append(str(error))
                continue
            if damaged:
                path.replace(self.path)  # or the next writing would keep the damaged one instead of this
                warnings.warn(f"{damaged[0]}: used the one before it", CheckpointWarning, stacklevel=2)
            return content
        found = " and ".join(damaged) or f"{self.path} does not exist"
        raise FileFormatError(f"{found}: no checkpoint to go on from; delete what is left to start anew")

    def load_weights(self, model: Layer) -> None:
        """Give a model the weights and state of the checkpoint, such as for a new start from there.

        Raises:
            FileFormatError, OSError: as `read`.
            ConfigError, ShapeError, DTypeError: it is another model's.
        """
        arrays, _ = self.read()
        saved = {name[8:]: array for name, array in arrays.items() if name.startswith("weights/")}
        own = {**model.params, **model.state}
        check_alike(saved, str(self.path), own, "the model")
        for name, array in saved.items():
            own[name][...] = array


class Resumable(Protocol):
    """What `kept` keeps: see `tinycnn.run.Run`."""

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """All arrays of the model."""

    def state_dict(self) -> Content:
        """Return arrays, and what JSON can hold."""

    def load_state_dict(self, arrays: dict[str, np.ndarray], info: dict[str, Any]) -> None:
        """Undo `state_dict`."""


@contextmanager
def kept(
    checkpoint: Checkpoint | None, run: Resumable, belongs_to: Mapping[str, Any]
) -> Iterator[Callable[[], None]]:
    """Bring `run` to where its checkpoint is, and write further ones as it goes on.

    Gives a function to call wherever the run is in a state to go on from. It writes a checkpoint if it is
    time, or if Ctrl-C was pressed since the last call, and then raises KeyboardInterrupt; a second Ctrl-C
    does not wait for it. When loss or gradients turn non-finite, the state before that is written.

    A checkpoint that cannot be written, as on a full disk, is a warning: the training may well end without
    it, and the earlier one is still there. Only the first one is an error, for its path may be wrong.

    Raises:
        ConfigError: the checkpoint belongs to another run.
        FileFormatError: the checkpoint and the one before it are damaged.
        OSError: the checkpoint cannot be read, or not even the first one written.
    """
    if checkpoint is None:
        yield lambda: None
        return

    written = time.monotonic()

    def save() -> None:
        if all(map(all_finite, run.weights.values())):
            arrays, info = run.state_dict()
            checkpoint.write(arrays, {**info, "belongs_to": belongs_to})

    def save_or_warn() -> None:
        nonlocal written
        try:
            save()
        except OSError as error:
            text = f"no checkpoint written ({error}): training goes on, the earlier checkpoint is kept"
            warnings.warn(text, CheckpointWarning, stacklevel=2)
        written = time.monotonic()

    def keep() -> None:
        if interrupted() or time.monotonic() - written >= checkpoint.every:
            save_or_warn()
        if interrupted():
            raise KeyboardInterrupt

    if checkpoint.exists():
        arrays, info = checkpoint.read()
        check_belongs(checkpoint.path, info.get("belongs_to", {}), belongs_to)
        run.load_state_dict(arrays, info)
    else:
        save()
    with _interrupts_held() as interrupted:
        try:
            yield keep
        except NonFiniteError as error:
            save_or_warn()
            if checkpoint.exists():  # not if the weights were not finite from the beginning
                error.add_note(
                    f"The state before is kept in {checkpoint.path}; Checkpoint(path).load_weights(model) "
                    "brings its weights back."
                )
            raise
        save_or_warn()
        if interrupted():
            raise KeyboardInterrupt


@contextmanager
def _interrupts_held() -> Iterator[Callable[[], bool]]:
    """Within the block, note Ctrl-C instead of raising KeyboardInterrupt; a second one raises it at once.

    The same for SIGTERM where it raises KeyboardInterrupt too. Handlers of the user's own stay as they are.
    """
    raising = signal.default_int_handler
    in_main = threading.current_thread() is threading.main_thread()  # no other may set handlers
    held = [s for s in (signal.SIGINT, signal.SIGTERM) if in_main and signal.getsignal(s) is raising]
    interrupted = False

    def note(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        release()

    def release() -> None:
        for signum in held:
            signal.signal(signum, raising)

    for signum in held:
        signal.signal(signum, note)
    try:
        yield lambda: interrupted
    finally:
        release()
