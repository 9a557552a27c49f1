"""`python -m fer_demo.calibrate`: fit a temperature on held-out faces, and keep it with the weights."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

import tinycnn as tc
from fer_demo import cli
from fer_demo.calibration import (
    BINS,
    cross_fitted,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)
from fer_demo.classifier import EmotionClassifier
from fer_demo.data.dataset import display_name
from fer_demo.data.held_out import HeldOut, load_held_out
from fer_demo.errors import DataError
from fer_demo.training import was_trained_on

#: With fewer faces than these, bins of a few faces say nothing.
MIN_FACES = 100

EXAMPLES = """
Example, after training with --validation PublicTest:

  python -m fer_demo.calibrate weights.safetensors --data fer2013.csv
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=EXAMPLES)
def main(
    weights: Annotated[
        Path, typer.Argument(metavar="WEIGHTS", help="A file of train; it gets the temperature.")
    ],
    source: cli.Photos,
    part: Annotated[
        cli.Part, typer.Option(metavar="PART", help="Of the data: none that it was trained on.")
    ] = cli.Part.public_test,
) -> None:
    """Make a model's probabilities honest: of the faces that it is 80 % sure of, 80 % shall be right.

    One number, the temperature, is fitted on faces that the model has not seen. No prediction changes.
    """
    console = Console(soft_wrap=True, markup=False, highlight=False, emoji=False)
    if not weights.is_file():  # the name of shipped weights will not do: they are the package's
        raise DataError(f"{display_name(str(weights))}: no such file; name one of python -m fer_demo.train")
    classifier = EmotionClassifier(weights.absolute())
    if classifier.quantized:
        raise DataError(
            f"{display_name(str(weights))}: an int8 file; calibrate the float32 weights, then quantise them"
        )
    classifier.temperature = 1.0  # whatever an earlier calibration found
    held_out = load_held_out(source, part)
    cli.warn_of_unused(held_out)
    _check(classifier, held_out)
    found = calibration(classifier, held_out)
    write_calibration(classifier.path, found)
    console.print(
        f"Temperature {found['temperature']:.3f}, fitted on {found['faces']:,} faces\n"
        f"Expected calibration error, {BINS} bins: {found['ece_before']:.3f} before, "
        f"{found['ece_after']:.3f} after\n"
        f"Negative log-likelihood, nats: {found['nll_before']:.3f} before, {found['nll_after']:.3f} after\n"
        f"Each half of the faces was scored with the temperature of the other half.\n"
        f"Wrote {display_name(str(weights))}"
    )


def calibration(classifier: EmotionClassifier, held_out: HeldOut) -> dict[str, Any]:
    """Return the temperature, and how well it does on faces that it was not fitted on.

    Args:
        classifier: at temperature 1.
        held_out: faces that it has not seen, at least two.

    Returns:
        `temperature`; `ece_before`, `nll_before` at temperature 1 and `ece_after`, `nll_after`, for which
        each half of the faces is tempered as the other half demands: expected calibration error in so many
        `bins`, and negative log-likelihood in nats; `faces`, how many; `data`: their name, digest and part.
    """
    faces = held_out.dataset
    labels, before = faces.labels, classifier(faces.images)
    after = cross_fitted(labels, before)
    return {
        "temperature": fit_temperature(labels, before),
        "ece_before": reliability(labels, before).error,
        "ece_after": reliability(labels, after).error,
        "nll_before": negative_log_likelihood(labels, before),
        "nll_after": negative_log_likelihood(labels, after),
        "bins": BINS,
        "faces": len(faces),
        "data": {"name": faces.name, "sha256": faces.sha256, "part": str(held_out.part)},
    }


def write_calibration(path: Path, found: dict[str, Any]) -> None:
    """Write the calibration into a file of weights, whole or not at all; all else of it stays as it is.

    Raises:
        OSError: the file cannot be written.
    """
    written_by_save = ("architecture", "version")
    info = {key: value for key, value in tc.load_info(path).items() if key not in written_by_save}
    tc.save(tc.load(path), path, **{**info, "calibration": found})


def _check(classifier: EmotionClassifier, held_out: HeldOut) -> None:
    """Raise a DataError if these faces cannot tell how sure the model may be of others."""
    faces = held_out.dataset
    if was_trained_on(classifier.info, faces):
        raise DataError(
            f"{faces.name}: as far as the files tell, the model was trained on some of these faces, which it "
            "knows too well; calibrate on others, --part PublicTest after train --validation PublicTest"
        )
    if len(faces) < MIN_FACES or len(np.unique(faces.labels)) < 2:
        raise DataError(
            f"{faces.name}: found {len(faces)} faces, expected at least {MIN_FACES}, of more than one emotion"
        )


if __name__ == "__main__":
    cli.run(app)
