"""Figures of every epoch in a file, for spreadsheets, scripts and TensorBoard: callbacks for `fit`.

>>> import tempfile
>>> import numpy as np
>>> import tinycnn as tc
>>> from tinycnn.logs import CSVLog
>>> model = tc.Sequential([tc.Dense(2, 2, rng=0)])
>>> x, labels = np.eye(2, dtype=np.float32), np.arange(2)
>>> with tempfile.TemporaryDirectory() as folder:
...     log = CSVLog(f"{folder}/log.csv")
...     history = model.fit(x, labels, epochs=2, callbacks=[log], progress=False)
...     print(log.path.read_text().splitlines()[0])
epoch,loss,accuracy,learning_rate,seconds
"""

import csv
import io
import json
import os
from dataclasses import asdict
from pathlib import Path

from tinycnn.files import replace_file
from tinycnn.layers import Sequential
from tinycnn.optional import optional
from tinycnn.run import History

__all__ = ["CSVLog", "FileLog", "JSONLinesLog", "TensorBoardLog", "log_to", "rows"]


def rows(history: History) -> list[dict[str, float]]:
    """Return a history epoch by epoch: "epoch", counted from 1, and the figures that there are.

    >>> rows(History(loss=[0.9, 0.4], accuracy=[0.5, 0.8]))
    [{'epoch': 1, 'loss': 0.9, 'accuracy': 0.5}, {'epoch': 2, 'loss': 0.4, 'accuracy': 0.8}]
    """
    columns = {name: values for name, values in asdict(history).items() if values}
    return [
        {"epoch": number + 1, **{name: values[number] for name, values in columns.items()}}
        for number in range(len(history.loss))
    ]


class FileLog:
    """A file with the whole history, written anew after each epoch.

    So it is complete whenever one looks, and a training that was cut short and went on from its checkpoint
    has each epoch once.

    Args:
        path: of the file, in a folder that exists.

    >>> class Best(FileLog):
    ...     def text(self, epochs):
    ...         return str(min(epoch["loss"] for epoch in epochs))
    >>> Best("best.txt").text([{"epoch": 1, "loss": 0.9}, {"epoch": 2, "loss": 0.4}])
    '0.4'
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)

    def __call__(self, model: Sequential, history: History) -> None:
        """Write the file.

        Raises:
            OSError: it cannot be written.
        """
        replace_file(self.path, self.text(rows(history)).encode())

    def text(self, epochs: list[dict[str, float]]) -> str:
        """Return the file's content."""
        raise NotImplementedError


class CSVLog(FileLog):
    """A table with a line per epoch, under a line with the names of the columns.

    >>> print(CSVLog("log.csv").text([{"epoch": 1, "loss": 0.9}, {"epoch": 2, "loss": 0.4}]), end="")
    epoch,loss
    1,0.9
    2,0.4
    """

    def text(self, epochs: list[dict[str, float]]) -> str:
        """Return the table, empty before the first epoch."""
        if not epochs:
            return ""
        table = io.StringIO()
        writer = csv.DictWriter(table, epochs[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(epochs)
        return table.getvalue()


class JSONLinesLog(FileLog):
    """An object per epoch, each in a line of its own.

    >>> print(JSONLinesLog("log.jsonl").text([{"epoch": 1, "loss": 0.9}]), end="")
    {"epoch": 1, "loss": 0.9}
    """

    def text(self, epochs: list[dict[str, float]]) -> str:
        """Return the lines."""
        return "".join(f"{json.dumps(epoch)}\n" for epoch in epochs)


class TensorBoardLog:
    """Curves for TensorBoard: ``tensorboard --logdir FOLDER``.

    Args:
        folder: is made where it is missing. A training that goes on writes its earlier epochs once more.

    Raises:
        MissingPackageError: tensorboardX is not installed.
        OSError: the folder cannot be made.

    >>> model = tc.Sequential([tc.Dense(2, 2, rng=0), tc.Softmax()])
    >>> x, labels = np.eye(2, dtype=np.float32), np.array([0, 1])
    >>> log = TensorBoardLog("runs/first")
    >>> history = model.fit(x, labels, epochs=2, callbacks=[log], progress=False)
    >>> log.close()
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self._writer = optional("tensorboardX", "logs").SummaryWriter(os.fspath(folder), flush_secs=1)
        self._written = 0

    def __call__(self, model: Sequential, history: History) -> None:
        """Write the epochs that are new; of another training, all."""
        if len(history.loss) <= self._written:
            self._written = 0
        for epoch in rows(history)[self._written :]:
            number = epoch.pop("epoch")
            for name, value in epoch.items():
                self._writer.add_scalar(name, value, number)
        self._written = len(history.loss)

    def close(self) -> None:
        """Have all on the disk at once; otherwise it is within a second or so, and when Python ends."""
        self._writer.close()


def log_to(path: str | os.PathLike) -> FileLog | TensorBoardLog:
    """Return the log for a path: ``.csv``, ``.jsonl``, or a folder for TensorBoard.

    Raises:
        MissingPackageError, OSError: see `TensorBoardLog`.

    >>> type(log_to("log.csv")).__name__, type(log_to("log.jsonl")).__name__
    ('CSVLog', 'JSONLinesLog')
    """
    kinds = {".csv": CSVLog, ".jsonl": JSONLinesLog}
    return kinds.get(Path(path).suffix.lower(), TensorBoardLog)(path)
