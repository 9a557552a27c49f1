"""What `fit` shows while it works: a bar with rich where that is installed, a line per epoch where not."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinycnn.train import History


class Progress:
    """Hears of a training as it goes on, and shows nothing. Override what is of interest.

    >>> model = tc.Sequential([tc.Dense(2, 2, rng=0), tc.Softmax()])
    >>> x, labels = np.eye(2, dtype=np.float32), np.array([0, 1])
    >>> class Lines(Progress):
    ...     def epoch(self, history):
    ...         print("epoch", len(history.loss))
    >>> history = model.fit(x, labels, epochs=2, progress=Lines())
    epoch 1
    epoch 2
    """

    @contextmanager
    def training(self, epochs: int, images: int) -> Iterator[None]:
        """Enclose a training of `epochs` over `images`."""
        yield

    def resumed(self, epochs: int, images: int) -> None:
        """Note that the training begins after `epochs` and `images` of the next, as its checkpoint says."""

    def batch(self, images: int, loss: float, accuracy: float) -> None:
        """Note a batch of `images`, with its loss in nats and accuracy from 0 to 1."""

    def epoch(self, history: "History") -> None:
        """Note the end of an epoch, whose figures are the last in `history`."""


class Bar(Progress):
    """A bar over all epochs with loss, accuracy, images per second and time left."""

    @contextmanager
    def training(self, epochs: int, images: int) -> Iterator[None]:
        """Show the bar, or without rich print nothing until an epoch ends."""
        self._epochs, self._images, self._seen, self._began = epochs, images, 0, time.perf_counter()
        self._summary, self._done = "", 0
        try:
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as RichProgress
        except ModuleNotFoundError:
            self._bar = None
            yield
            return
        columns = ("epoch {task.fields[epoch]}", BarColumn(), "{task.fields[figures]}", TimeRemainingColumn())
        with RichProgress(*[TextColumn(c) if isinstance(c, str) else c for c in columns]) as self._bar:
            self._task = self._bar.add_task("", total=epochs * images, epoch=self._epoch(), figures="")
            yield

    def resumed(self, epochs: int, images: int) -> None:
        """Begin where the checkpoint does."""
        self._done = epochs
        if self._bar is not None:
            self._bar.reset(self._task, completed=epochs * self._images + images)
            self._bar.update(self._task, epoch=self._epoch())

    def batch(self, images: int, loss: float, accuracy: float) -> None:
        """Move the bar."""
        self._seen += images
        if self._bar is not None:
            rate = self._seen / (time.perf_counter() - self._began)
            figures = f"loss {loss:.3f}  accuracy {accuracy:.3f}  {rate:,.0f} images/s{self._summary}"
            self._bar.update(self._task, advance=images, figures=figures)

    def epoch(self, history: "History") -> None:
        """Show the epoch's validation figures in the bar, or print the epoch's line."""
        self._done += 1
        if history.val_loss:
            self._summary = f"  held out: {history.val_loss[-1]:.3f}, {history.val_accuracy[-1]:.3f}"
        if self._bar is not None:
            self._bar.update(self._task, epoch=self._epoch())
        else:
            print(
                f"epoch {self._done}/{self._epochs}  loss {history.loss[-1]:.3f}  "
                f"accuracy {history.accuracy[-1]:.3f}{self._summary}  {history.seconds[-1]:.1f} s"
            )

    def _epoch(self) -> str:
        return f"{min(self._done + 1, self._epochs)}/{self._epochs}"
