"""The files of one trial: under way, finished, and its trained model."""

import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tinycnn as tc
from tinycnn.files import remove_temporary, replace_file
from tinycnn.sealed import check_belongs, read_sealed, write_sealed

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]


@dataclass(frozen=True)
class TrialFiles:
    """Where a trial is kept. It is finished when its result is there, which is written last.

    Attributes:
        folder: is made if missing.
        name: what it has in common with others, such as the model's.
        number: tells it from these, such as the fold's, from 0; files count from 1, as people do.
        every: seconds between checkpoints.
    """

    folder: Path
    name: str
    number: int
    every: float = 60.0

    def title(self, folds: int) -> str:
        """Return what to call it as one of so many folds."""
        return f"{self.name}  fold {self.number + 1}/{folds}"

    @property
    def model(self) -> Path:
        """The trained model, for `tinycnn.load`."""
        return self._path("safetensors")

    @property
    def result(self) -> Path:
        """What was measured: probabilities, training accuracy and history."""
        return self._path("result")

    @property
    def checkpoint(self) -> tc.Checkpoint:
        """Where an unfinished training goes on from."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return tc.Checkpoint(self._path("checkpoint"), self.every)

    def read(self, belongs_to: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]] | None:
        """Return probabilities (M, 7) and the info of a finished trial; None if it must be trained.

        Warns:
            CheckpointWarning: the result is damaged, so the trial is repeated.

        Raises:
            ConfigError: the result is another run's.
            OSError: the result cannot be read.
        """
        try:
            arrays, info = read_sealed(self.result)
        except FileNotFoundError:
            return None
        except tc.FileFormatError as error:
            warnings.warn(f"{error}: training this one again", tc.CheckpointWarning, stacklevel=2)
            return None
        check_belongs(self.result, info["belongs_to"], belongs_to)
        self.checkpoint.remove()  # if the run was killed just before it did so
        return arrays["probabilities"], info

    def write(self, probabilities: np.ndarray, info: dict[str, Any], belongs_to: dict[str, Any]) -> None:
        """Keep a finished trial, and drop its checkpoint.

        Raises:
            OSError: the result cannot be written; the checkpoint is still there.
        """
        write_sealed(self.result, {"probabilities": probabilities}, {**info, "belongs_to": belongs_to})
        for path in (self.model, self.result):  # of an earlier process, killed while it wrote
            remove_temporary(path)
        self.checkpoint.remove()

    def contents(self) -> tuple[bytes, bytes]:
        """Return the files of a finished trial, the model's and the result's, to be adopted elsewhere."""
        return self.model.read_bytes(), self.result.read_bytes()

    def adopt(self, model: bytes, result: bytes) -> None:
        """Keep a trial that was finished in another folder, perhaps another machine's; see `contents`.

        Raises:
            OSError: it cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_file(self.model, model)
        replace_file(self.result, result)
        self.checkpoint.remove()

    def _path(self, ending: str) -> Path:
        return self.folder / f"{self.name}-{self.number + 1}.{ending}"


def remove_trials(folder: Path, names: Iterable[str]) -> None:
    """Delete all files of all trials of these names in a folder, and nothing else that may be there."""
    for name in names:
        for ending in ("result", "safetensors", "checkpoint", "checkpoint.previous"):
            for path in folder.glob(f"{name}-*.{ending}"):
                path.unlink()


@contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """Make a folder if it is missing, and keep other runs out of it within the block, however that ends.

    Where the system cannot lock folders, it keeps nobody out.

    Raises:
        ConfigError: another run has the folder, or it is a file.
        OSError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise tc.ConfigError(f"{folder}: a file is in the way; choose another --out") from error
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)  # closed by the system if the process is killed
    try:
        with suppress(OSError):  # some network folders cannot be locked
            _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise tc.ConfigError(
            f"{folder}: another run is at work there; wait for its end, or choose another --out"
        ) from error
