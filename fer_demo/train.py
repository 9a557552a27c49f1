"""`python -m fer_demo.train`: train one model on a whole data set and keep it in one file."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

import tinycnn as tc
from fer_demo import cli, data
from fer_demo.classifier import weights_path
from fer_demo.data.extra import load_extra, with_extra
from fer_demo.display import Display
from fer_demo.distillation import Teaching
from fer_demo.metrics import fold_metrics
from fer_demo.recipes import RECIPES
from fer_demo.training import default_batch_size, hold_out, options_of, save_model, train_model
from tinycnn.logs import log_to
from tinycnn.sealed import check_belongs
from tinycnn.train import Callback

EXAMPLES = """
Examples:

  python -m fer_demo.train --data fer2013.csv --epochs 40 --validation PublicTest

  python -m fer_demo.train --data fer2013.csv --epochs 40 --resume

  python -m fer_demo.train --model alexnet --validation 0.1

  python -m fer_demo.train --data fer2013.csv --teacher first.safetensors
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=EXAMPLES)
@cli.resumable("fer_demo.train")
def main(
    source: cli.Source = None,
    model: Annotated[cli.ModelName, typer.Option(help="Which model to train.")] = cli.ModelName.mini_xception,
    recipe: cli.RecipeOption = cli.RecipeName.default,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data.")] = 8,
    seed: cli.Seed = 0,
    batch_size: cli.BatchSize = None,
    validation: Annotated[
        str, typer.Option(metavar="PART", help="To score on: a share, such as 0.1, or PublicTest.")
    ] = "0",
    extra: cli.Extra = None,
    keep_copies_together: cli.KeepCopiesTogether = False,
    teacher: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="Weights to learn from too; may be repeated.")
    ] = None,
    teacher_share: cli.TeacherShare = 0.5,
    teacher_temperature: cli.TeacherTemperature = 1.0,
    backend: cli.BackendOption = None,
    out: Annotated[Path, typer.Option(dir_okay=False, help="File of the model.")] = Path(
        "weights.safetensors"
    ),
    log: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Of every epoch: .csv, .jsonl, or TensorBoard's folder."),
    ] = None,
    resume: cli.Resume = False,
    checkpoint_every: cli.CheckpointEvery = 60,
) -> None:
    """Train a model, and save it with all that is needed to use it.

    Without --data the faces are synthetic: drawn by this program, so that everything runs with no download.
    """
    console = Console()
    teachers = tuple(teacher or ())
    cli.check_outputs({"--out": out, "--log": log}, [source, *(extra or ()), *map(weights_path, teachers)])
    if backend is not None:
        tc.backend(backend)
    dataset, more = data.load(source), load_extra(extra or ())
    teaching = Teaching(teachers, teacher_share, teacher_temperature) if teachers else None
    options: dict[str, Any] = {
        "model": str(model),
        "recipe": str(recipe),
        "details": repr(RECIPES[recipe]),
        "learning_rate": RECIPES[recipe].learning_rates[model],
        "epochs": epochs,
        "seed": seed,
        "batch_size": batch_size or default_batch_size(RECIPES[recipe], len(dataset)),
        "validation": validation,
        "keep_copies_together": keep_copies_together,
        "data": dataset.sha256,
        "extra": more and more.sha256,
        "teacher": teaching and teaching.describe(),
        "backend": tc.backend_name(),
    }
    checkpoint = tc.Checkpoint(out.with_name(f"{out.name}.checkpoint"), checkpoint_every)
    if out.exists() and resume and not checkpoint.exists():
        check_belongs(out, options_of(tc.load_info(out)), options)
        console.print(f"{out} is finished: nothing is left to go on with.", soft_wrap=True, markup=False)
        return
    if checkpoint.exists() and not resume:
        raise tc.ConfigError(
            f"{checkpoint.path} holds an unfinished training. To go on with it: "
            f"{cli.resuming('fer_demo.train')}. To start over, delete it or choose another --out"
        )
    for path in (out, log):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    logs: list[Callback] = [] if log is None else [log_to(log)]
    metrics = _train(dataset, more, options, teaching, out, checkpoint, logs, console)
    console.print("  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    console.print(f"Model: {out}", soft_wrap=True, markup=False)


def _train(
    dataset: data.Dataset,
    extra: data.Dataset | None,
    options: dict[str, Any],
    teaching: Teaching | None,
    out: Path,
    checkpoint: tc.Checkpoint,
    logs: list[Callback],
    console: Console,
) -> dict[str, float]:
    """Train, score and save the model, and drop its checkpoint; return the scores."""
    name, epochs, seed = options["model"], options["epochs"], options["seed"]
    training, held_out = _parts(dataset, options, console)
    x, labels = dataset.images[training], dataset.labels[training]
    if extra is not None:
        x, labels = with_extra(dataset, training, held_out, extra)
        left_out = len(training) + len(extra) - len(labels)
        console.print(f"{left_out} of {len(extra)} extra faces left out: copies of held-out ones")
    unseen = dataset.subset(held_out)
    rest = (unseen.images, unseen.labels) if len(unseen) else None
    if teaching and rest:
        teaching.check_unseen(options, unseen)
    recipe = RECIPES[options["recipe"]]
    with Display(console, 1, epochs * len(recipe.shown(labels, seed))) as display:
        model, normalise, history = train_model(
            name,
            x,
            labels,
            recipe=recipe,
            epochs=epochs,
            batch_size=options["batch_size"],
            seed=seed,
            targets=teaching.targets(x, labels) if teaching else None,
            validation=rest,
            checkpoint=checkpoint,
            progress=display.watch(name),
            callbacks=logs,
        )
    metrics = {"train_accuracy": model.evaluate(x, labels, prepare=normalise).accuracy}
    if rest is not None:
        faces, mirrored = (model.predict(x, prepare=normalise) for x in (rest[0], rest[0][:, :, ::-1]))
        scores = fold_metrics(rest[1], faces.argmax(axis=1))
        metrics |= {"validation_accuracy": scores.accuracy, "validation_macro_f1": scores.macro_f1}
        averaged = fold_metrics(rest[1], (faces + mirrored).argmax(axis=1))
        metrics["validation_flip_accuracy"] = averaged.accuracy
    save_model(model, out, normalise, dataset, metrics, options, history, extra)
    checkpoint.remove()
    return metrics


def _parts(dataset: data.Dataset, options: dict[str, Any], console: Console) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the faces to train on and of those held out."""
    validation, seed = options["validation"], options["seed"]
    parts = hold_out(dataset, validation, seed)
    if not options["keep_copies_together"]:
        return parts
    together = hold_out(dataset, validation, seed, keep_copies_together=True)
    moved = len(np.setxor1d(parts[1], together[1]))
    console.print(f"{moved:,} faces moved to where their copies are")
    return together


if __name__ == "__main__":
    cli.run(app)
