"""What the commands show while they train."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import tinycnn as tc


class Display(tc.Progress):
    """One bar over a number of trainings of about equal length.

    Args:
        console: where to show it.
        trainings: how many there will be.
        images: of one training, times its epochs.
        title: stands beside the bar until a training is watched.
    """

    def __init__(self, console: Console, trainings: int, images: int, title: str = "") -> None:
        self._console, self._images, self._done = console, images, 0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
            expand=True,
        )
        self._task = self._bar.add_task(title, total=trainings * images, figures="")

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def watch(self, title: str) -> "Display":
        """Expect a training, and show it under this title."""
        self._title = title
        return self

    @contextmanager
    def training(self, epochs: int, images: int) -> Iterator[None]:
        """Begin a training."""
        self._epochs, self._epoch, self._per_epoch = epochs, 0, images
        self._seen, self._began = 0, time.perf_counter()
        self._describe("starting (compiles if it must)")
        yield

    def resumed(self, epochs: int, images: int) -> None:
        """Begin where the checkpoint does."""
        self._epoch = epochs
        before = self._done * self._images + epochs * self._per_epoch + images
        self._bar.reset(self._task, completed=before)  # what it guesses the time left by begins anew, too

    def batch(self, images: int, loss: float, accuracy: float) -> None:
        """Move the bar."""
        self._seen += images
        rate = self._seen / (time.perf_counter() - self._began)
        self._bar.advance(self._task, images)
        self._describe(f"loss {loss:.2f}  acc {accuracy:.2f}  {rate:,.0f}/s")

    def epoch(self, history: tc.History) -> None:
        """Count an epoch."""
        self._epoch += 1

    def finished(self, line: str) -> None:
        """End a training, whether it was watched, read from a file or done elsewhere; the line stays."""
        self._done += 1
        self._bar.update(self._task, completed=self._done * self._images)
        self._console.print(line)

    def _describe(self, figures: str) -> None:
        epoch = min(self._epoch + 1, self._epochs)
        self._bar.update(
            self._task, description=f"{self._title}  epoch {epoch}/{self._epochs}", figures=figures
        )
