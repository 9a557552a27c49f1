"""`python -m fer_demo.evaluate`: score weights on faces that they have not seen."""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress

from fer_demo import cli, report
from fer_demo.calibration import reliability
from fer_demo.classifier import EmotionClassifier
from fer_demo.data.convert import NO_FACE
from fer_demo.data.dataset import display_name
from fer_demo.data.held_out import HeldOut, load_held_out
from fer_demo.errors import DataError
from fer_demo.metrics import fold_metrics, summarise_folds, wilson_interval
from fer_demo.output import check_writable
from fer_demo.report.evaluation import FILES, print_evaluation, write_evaluation
from fer_demo.training import was_trained_on

EXAMPLES = """
Examples:

  python -m fer_demo.evaluate mini_xception fer2013.csv --part PublicTest

  python -m fer_demo.evaluate weights.safetensors photos --out scored
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=EXAMPLES)
def main(
    weights: cli.WeightsArgument,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="FER2013 as .csv (also .gz, .xz, .zip), or a folder of photos by emotion."
        ),
    ],
    part: Annotated[
        cli.Part, typer.Option(metavar="PART", help="Training, PublicTest, PrivateTest; or all.")
    ] = cli.Part.all,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write all figures to this file.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Write figures and pictures here.")
    ] = None,
    flip_average: Annotated[
        bool, typer.Option("--flip-average", help="Average over each face and its mirror image.")
    ] = False,
    detect: cli.Detect = None,
) -> None:
    """Score a file of weights: accuracy, a table per emotion, confusion matrix, calibration.

    Photos may have any size: the face is found first, as for training.

    Photos without one are not scored, damaged files are skipped, and both are listed.
    """
    console = Console(markup=False, highlight=False, emoji=False)
    classifier = EmotionClassifier(weights, flip_average)
    pictures = {} if out is None else {f"--out's {name}": out / name for name in FILES}
    cli.check_outputs({"--json": json, "--out": out, **pictures}, [source, classifier.path])
    if json is not None:
        check_writable(json)
    made = out is not None and not out.exists()
    if out is not None:
        check_writable(out / "evaluation.json")
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=None)
        held_out = load_held_out(
            source, part, detect, lambda total: progress.update(task, total=total, advance=1)
        )
    if len(held_out.dataset):
        _score(classifier, held_out, json, out, console)
    elif json is not None:
        report.write_results({"images": 0, **_not_scored(held_out)}, json)
    cli.warn_of_unused(held_out, "--json lists them all")
    if not len(held_out.dataset):
        if made and out is not None:
            out.rmdir()
        raise DataError(
            f"{display_name(str(source))}: no face is left to score; where images are faces already, cut "
            "close, --no-detect takes them as they are"
        )


def _score(
    classifier: EmotionClassifier, held_out: HeldOut, json: Path | None, out: Path | None, console: Console
) -> None:
    """Show the scores, and write them where that is wanted."""
    faces = held_out.dataset
    probabilities = classifier(faces.images)
    results = evaluation(classifier, held_out, probabilities)
    print_evaluation(results, console)
    if json is not None:
        report.write_results(results, json)
    if out is not None:
        for path in write_evaluation(results, faces.images, faces.labels, probabilities, out):
            console.print(f"Wrote {display_name(str(path))}", soft_wrap=True)


def evaluation(classifier: EmotionClassifier, held_out: HeldOut, probabilities: np.ndarray) -> report.Results:
    """Return what `fer_demo.report.evaluation` describes.

    Args:
        classifier: is scored.
        held_out: faces, at least one.
        probabilities: (N, 7), what the classifier gave for them.
    """
    faces = held_out.dataset
    metrics = fold_metrics(faces.labels, probabilities.argmax(axis=1))
    per_class = summarise_folds([metrics])["per_class"]
    bins = reliability(faces.labels, probabilities)
    return {
        "weights": {
            "name": classifier.name,
            "sha256": hashlib.sha256(classifier.path.read_bytes()).hexdigest(),
            "temperature": classifier.temperature,
            "flip_average": classifier.flip_average,
            "trained_on_these": was_trained_on(classifier.info, faces),
        },
        "data": {"name": faces.name, "sha256": faces.sha256, "part": held_out.part},
        "images": len(faces),
        "accuracy": metrics.accuracy,
        "interval": wilson_interval(int(np.trace(metrics.confusion)), len(faces)),
        "macro_f1": metrics.macro_f1,
        "per_class": {
            name: {**scores, "support": int(scores["support"])} for name, scores in per_class.items()
        },
        "confusion": metrics.confusion.tolist(),
        "ece": bins.error,
        "reliability": asdict(bins),
        **_not_scored(held_out),
        "environment": report.environment(),
    }


def _not_scored(held_out: HeldOut) -> report.Results:
    """How many photographs are not scored, and which."""
    names = {reason: list(map(display_name, places)) for reason, places in held_out.left_out.items()}
    no_face = names.pop(NO_FACE, [])
    return {
        "no_face": len(no_face),
        "no_face_files": no_face,
        "skipped": len(held_out.faults),
        "skipped_files": [list(map(display_name, fault)) for fault in held_out.faults],
        "left_out": {reason: len(places) for reason, places in names.items()},
        "left_out_files": names,
    }


if __name__ == "__main__":
    cli.run(app)
