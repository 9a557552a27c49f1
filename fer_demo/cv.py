"""`python -m fer_demo.cv`: cross-validate the models and write tables, pictures and a page."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import tinycnn as tc
from fer_demo import data, report
from fer_demo.crossval import LEARNING_RATES, FoldResult, Protocol, cross_validate
from fer_demo.models import MODELS


class ModelChoice(StrEnum):
    """What ``--model`` takes."""

    mini_xception = "mini_xception"
    alexnet = "alexnet"
    all = "all"


class Backend(StrEnum):
    """What ``--backend`` takes."""

    numpy = "numpy"
    numba = "numba"


#: A small data set needs small batches, to make enough steps in a few epochs; large ones are faster.
SMALL_BATCH, LARGE_BATCH, MANY_IMAGES = 24, 128, 5000

EXAMPLES = """
Examples:

  python -m fer_demo.cv                                     both models, synthetic faces, under three minutes

  python -m fer_demo.cv --data fer2013.csv                  both models on FER2013

  python -m fer_demo.cv --data faces/ --model mini_xception --epochs 20
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=EXAMPLES)
def main(
    source: Annotated[
        Path | None,
        typer.Option(
            "--data", help="FER2013 as .csv (also .gz, .xz, .zip), or a folder of images by emotion."
        ),
    ] = None,
    model: Annotated[ModelChoice, typer.Option(help="Which model to run.")] = ModelChoice.all,
    folds: Annotated[int, typer.Option(min=2, help="Parts to cut the data into.")] = 5,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training part.")] = 8,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of folds, weights, order and flips.")] = 0,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help=f"Images a step: {SMALL_BATCH}, or {LARGE_BATCH} for many images."),
    ] = None,
    backend: Annotated[Backend | None, typer.Option(help="numba where installed, otherwise numpy.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for results.json, report.html and pictures.")] = Path(
        "cv-results"
    ),
) -> None:
    """Train and compare mini-Xception and AlexNet by k-fold cross-validation.

    Without --data the faces are synthetic: drawn by this program, so that everything runs with no download.
    """
    console, began = Console(), time.perf_counter()
    if backend is not None:
        tc.backend(backend)
    dataset = data.load(source)
    batch_size = batch_size or (SMALL_BATCH if len(dataset) < MANY_IMAGES else LARGE_BATCH)
    protocol = Protocol(folds, epochs, seed, batch_size)
    names = list(MODELS) if model is ModelChoice.all else [str(model)]
    out.mkdir(parents=True, exist_ok=True)  # fail now, not after the training

    models, probabilities = {}, {}
    with Display(console, len(names) * folds * epochs, len(dataset) * (folds - 1) // folds) as display:
        for name in names:
            models[name], probabilities[name] = cross_validate(
                dataset, name, protocol, display.watch(name, folds), display.fold_done
            )
    results = {
        "protocol": _describe(protocol, names),
        "data": {
            "name": dataset.name,
            "sha256": dataset.sha256,
            "images": len(dataset),
            "synthetic": dataset.synthetic,
            "class_counts": dataset.class_counts(),
        },
        "environment": report.environment(),
        "models": models,
        "seconds": time.perf_counter() - began,
    }
    report.print_results(results, console)
    page = report.write_all(results, dataset.images, dataset.labels, out, probabilities)
    console.print(f"Report: {page}", soft_wrap=True)


def _describe(protocol: Protocol, names: list[str]) -> dict[str, object]:
    return {
        **asdict(protocol),
        "optimizer": "Adam",
        "learning_rate": {name: LEARNING_RATES[name] for name in names},
        "schedule": "one cycle, peak at 30 %",
        "augmentation": "horizontal flip",
        "normalisation": "mean and standard deviation of the training part",
        "backend": tc.backend_name(),
        "threads": tc.get_threads(),
    }


class Display(tc.Progress):
    """One bar over all models, folds and epochs, and a line for each finished fold."""

    def __init__(self, console: Console, trainings: int, images: int) -> None:
        self._console = console
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
        self._task = self._bar.add_task("", total=trainings * images, figures="")

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def watch(self, name: str, folds: int) -> "Display":
        """Expect the folds of the model called `name` from now on."""
        self._name, self._folds, self._fold = name, folds, 0
        return self

    @contextmanager
    def training(self, epochs: int, images: int) -> Iterator[None]:
        """Begin a fold."""
        self._fold += 1
        self._epochs, self._epoch, self._seen, self._began = epochs, 0, 0, time.perf_counter()
        self._describe("starting (compiles if it must)")
        yield

    def batch(self, images: int, loss: float, accuracy: float) -> None:
        """Move the bar."""
        self._seen += images
        rate = self._seen / (time.perf_counter() - self._began)
        self._bar.advance(self._task, images)
        self._describe(f"loss {loss:.2f}  acc {accuracy:.2f}  {rate:,.0f}/s")

    def epoch(self, history: tc.History) -> None:
        """Count an epoch."""
        self._epoch += 1

    def fold_done(self, fold: int, result: FoldResult) -> None:
        """Print a line that stays, on a screen and in a log."""
        self._console.print(
            f"{self._name}  fold {fold + 1}/{self._folds}  accuracy {result.metrics.accuracy:.4f}  "
            f"(training part {result.train_accuracy:.4f})  {result.seconds:.1f} s"
        )

    def _describe(self, figures: str) -> None:
        epoch = min(self._epoch + 1, self._epochs)
        text = f"{self._name}  fold {self._fold}/{self._folds}  epoch {epoch}/{self._epochs}"
        self._bar.update(self._task, description=text, figures=figures)


def run() -> None:
    """Run the command; turn errors that a user can mend into one message and exit code 2."""
    try:
        app()
    except (tc.TinyCNNError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    run()
