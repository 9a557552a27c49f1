"""`python -m fer_demo.cv`: cross-validate the models and write tables, pictures and a page."""

from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import tinycnn as tc
from fer_demo import cli, data, report
from fer_demo.crossval import Protocol, moved, split
from fer_demo.data.extra import load_extra
from fer_demo.display import Display
from fer_demo.distillation import fold_teachings
from fer_demo.jobs import Workers, train_folds
from fer_demo.models import MODELS, PAPERS
from fer_demo.recipes import RECIPES
from fer_demo.record import Record
from fer_demo.training import default_batch_size
from fer_demo.trial_files import TrialFiles, own_folder


class ModelChoice(StrEnum):
    """What ``--model`` takes."""

    mini_xception = "mini_xception"
    alexnet = "alexnet"
    alexnet_bn = "alexnet_bn"
    compact = "compact"
    vggnet = "vggnet"
    inception = "inception"
    resnet = "resnet"
    paper = "paper"
    all = "all"


EXAMPLES = """
Examples:

  python -m fer_demo.cv                              synthetic faces

  python -m fer_demo.cv --data fer2013.csv --resume  go on after Ctrl-C

  python -m fer_demo.cv --data fer2013.csv --teacher cv-results --out taught
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=EXAMPLES)
@cli.resumable("fer_demo.cv")
def main(
    source: cli.Source = None,
    model: Annotated[
        ModelChoice, typer.Option(metavar="NAME", help="One, paper's two, or all")
    ] = ModelChoice.paper,
    folds: Annotated[int, typer.Option(min=2, metavar="N", help="Parts of the data.")] = 5,
    epochs: Annotated[int, typer.Option(min=1, metavar="N", help="Passes over the data.")] = 8,
    recipe: cli.RecipeOption = cli.RecipeName.default,
    seed: cli.Seed = 0,
    batch_size: cli.BatchSize = None,
    extra: cli.Extra = None,
    keep_copies_together: cli.KeepCopiesTogether = False,
    teacher: Annotated[
        list[Path] | None, typer.Option(metavar="PATH", help="Folder of an earlier cv.")
    ] = None,
    teacher_share: cli.TeacherShare = 0.5,
    teacher_temperature: cli.TeacherTemperature = 1.0,
    backend: cli.BackendOption = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("cv-results"),
    resume: cli.Resume = False,
    checkpoint_every: cli.CheckpointEvery = 60,
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="Folds to train at once.")] = 1,
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Dask's: tcp://host:8786.")] = None,
) -> None:
    """Train and compare mini-Xception and AlexNet by k-fold cross-validation.

    Without --data the faces are synthetic, drawn by this program: no download.
    """
    console, workers = Console(), Workers(jobs, scheduler)
    cli.check_outputs({"--out": out}, [source, *(extra or ()), *(teacher or ())])
    if backend is not None:
        tc.backend(backend)
    dataset, more = data.load(source), load_extra(extra or ())
    batch_size = batch_size or default_batch_size(RECIPES[recipe], len(dataset))
    split_by = {
        "data": dataset.sha256,
        "folds": folds,
        "seed": seed,
        "keep_copies_together": keep_copies_together,
    }
    teachings = fold_teachings(teacher or (), split_by, teacher_share, teacher_temperature)
    protocol = Protocol(folds, epochs, seed, batch_size, str(recipe), keep_copies_together, teachings)
    names = {ModelChoice.paper: list(PAPERS), ModelChoice.all: list(MODELS)}.get(model, [str(model)])
    split(dataset, protocol)  # refuses data that are too few before there is a run to be resumed
    with own_folder(out):
        record = Record(out, dataset, names, describe(dataset, protocol, names, workers), more)
        if record.begin(resume, cli.resuming("fer_demo.cv")):
            report.print_results(record.results, console)
            console.print(f"{out} is finished: nothing is left to go on with.", soft_wrap=True, markup=False)
            return
        try:
            train(dataset, names, protocol, record, checkpoint_every, workers, console, more)
        except KeyboardInterrupt:
            report.print_results(record.results, console)
            raise
        report.print_results(record.results, console)
        console.print(f"Report: {record.finish()}", soft_wrap=True, markup=False)


def train(
    dataset: data.Dataset,
    names: list[str],
    protocol: Protocol,
    record: Record,
    checkpoint_every: float,
    workers: Workers,
    console: Console,
    extra: data.Dataset | None = None,
) -> None:
    """Run all folds of all models, show them and enter them into the record.

    Args:
        dataset: N faces.
        names: of the models.
        protocol: how to run.
        record: its folder keeps the folds; those that are there already are read.
        checkpoint_every: seconds.
        workers: who trains.
        console: where to show it.
        extra: more faces to train every fold on.
    """
    folds = split(dataset, protocol)
    if protocol.keep_copies_together:
        console.print(f"{moved(dataset, protocol):,} faces moved into the folds of their copies")
    todo = [
        TrialFiles(record.folds, name, fold, checkpoint_every) for name in names for fold in range(len(folds))
    ]
    more = 0 if extra is None else len(extra)
    images = protocol.epochs * (len(dataset) * (len(folds) - 1) // len(folds) + more)
    with (
        Display(console, len(todo), images, str(workers)) as display,
        closing(train_folds(dataset, protocol, todo, workers, display, extra)) as finished,
    ):
        for files, result in finished:
            record.add(files.name, files.number, folds[files.number], result)
            left_out = (
                f"  {result.left_out} of {more} extra faces are copies of held-out ones" if more else ""
            )
            display.finished(
                f"{files.title(len(folds))}  accuracy {result.metrics.accuracy:.4f}  "
                f"(training part {result.train_accuracy:.4f})  {result.seconds:.1f} s{left_out}"
            )


def describe(
    dataset: data.Dataset, protocol: Protocol, names: list[str], workers: Workers
) -> dict[str, object]:
    """Return the protocol as `results.json` has it; see `fer_demo.report.results`."""
    recipe = RECIPES[protocol.recipe]
    return {
        **protocol.describe(),
        "faces_moved": moved(dataset, protocol),
        "learning_rate": {name: recipe.learning_rates[name] for name in names},
        "details": repr(recipe),
        "normalisation": "mean and standard deviation of the training part",
        "backend": tc.backend_name(),
        "threads": workers.threads,
        "workers": workers.scheduler or workers.jobs,
    }


if __name__ == "__main__":
    cli.run(app)
