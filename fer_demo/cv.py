"""`python -m fer_demo.cv`: cross-validate the models and write tables, pictures and a page."""

from contextlib import closing
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import tinycnn as tc
from fer_demo import cli, data, report
from fer_demo.crossval import Protocol, split
from fer_demo.display import Display
from fer_demo.fold_files import FoldFiles, own_folder
from fer_demo.jobs import Workers, train_folds
from fer_demo.models import MODELS, PAPERS
from fer_demo.recipes import RECIPES
from fer_demo.record import Record
from fer_demo.training import default_batch_size


class ModelChoice(StrEnum):
    """What ``--model`` takes."""

    mini_xception = "mini_xception"
    alexnet = "alexnet"
    alexnet_bn = "alexnet_bn"
    compact = "compact"
    paper = "paper"
    all = "all"


EXAMPLES = """
Examples:

  python -m fer_demo.cv                              synthetic faces

  python -m fer_demo.cv --data fer2013.csv           FER2013

  python -m fer_demo.cv --data fer2013.csv --resume  go on after Ctrl-C

  python -m fer_demo.cv --data faces/ --model mini_xception --epochs 20
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=EXAMPLES)
@cli.resumable("fer_demo.cv")
def main(
    source: cli.Source = None,
    model: Annotated[
        ModelChoice, typer.Option(metavar="NAME", help="As for train; paper: its two; or all.")
    ] = ModelChoice.paper,
    folds: Annotated[int, typer.Option(min=2, metavar="N", help="Parts to cut the data into.")] = 5,
    epochs: Annotated[int, typer.Option(min=1, metavar="N", help="Passes over training part.")] = 8,
    recipe: cli.RecipeOption = cli.RecipeName.default,
    seed: cli.Seed = 0,
    batch_size: cli.BatchSize = None,
    backend: cli.BackendOption = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("cv-results"),
    resume: cli.Resume = False,
    checkpoint_every: cli.CheckpointEvery = 60,
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="Folds to train at once.")] = 1,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Of a Dask cluster: tcp://host:8786.")
    ] = None,
) -> None:
    """Train and compare mini-Xception and AlexNet by k-fold cross-validation.

    Without --data the faces are synthetic: drawn by this program, so that everything runs with no download.
    """
    console, workers = Console(), Workers(jobs, scheduler)
    if backend is not None:
        tc.backend(backend)
    dataset = data.load(source)
    batch_size = batch_size or default_batch_size(RECIPES[recipe], len(dataset))
    protocol = Protocol(folds, epochs, seed, batch_size, str(recipe))
    names = {ModelChoice.paper: list(PAPERS), ModelChoice.all: list(MODELS)}.get(model, [str(model)])
    record = Record(out, dataset, names, _describe(protocol, names, workers))
    with own_folder(out):
        record.begin(resume, cli.resuming("fer_demo.cv"))
        try:
            _train(dataset, names, protocol, record, checkpoint_every, workers, console)
        except KeyboardInterrupt:
            report.print_results(record.results, console)
            raise
        report.print_results(record.results, console)
        console.print(f"Report: {record.finish()}", soft_wrap=True, markup=False)


def _train(
    dataset: data.Dataset,
    names: list[str],
    protocol: Protocol,
    record: Record,
    checkpoint_every: float,
    workers: Workers,
    console: Console,
) -> None:
    """Run all folds of all models, show them and enter them into the record."""
    folds = split(dataset, protocol)
    todo = [
        FoldFiles(record.folds, name, fold, checkpoint_every) for name in names for fold in range(len(folds))
    ]
    images = protocol.epochs * (len(dataset) * (len(folds) - 1) // len(folds))
    with (
        Display(console, len(todo), images, str(workers)) as display,
        closing(train_folds(dataset, protocol, todo, workers, display)) as finished,
    ):
        for files, result in finished:
            record.add(files.name, files.fold, folds[files.fold], result)
            display.finished(
                f"{files.title(len(folds))}  accuracy {result.metrics.accuracy:.4f}  "
                f"(training part {result.train_accuracy:.4f})  {result.seconds:.1f} s"
            )


def _describe(protocol: Protocol, names: list[str], workers: Workers) -> dict[str, object]:
    recipe = RECIPES[protocol.recipe]
    return {
        **asdict(protocol),
        "learning_rate": {name: recipe.learning_rates[name] for name in names},
        "details": repr(recipe),
        "normalisation": "mean and standard deviation of the training part",
        "backend": tc.backend_name(),
        "threads": workers.threads,
        "workers": workers.scheduler or workers.jobs,
    }


if __name__ == "__main__":
    cli.run(app)
