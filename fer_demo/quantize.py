"""`python -m fer_demo.quantize`: weights as int8, a quarter of the size, for arithmetic in whole numbers."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

import tinycnn as tc
from fer_demo import cli
from fer_demo.classifier import EmotionClassifier
from fer_demo.data.dataset import display_name
from fer_demo.data.held_out import load_held_out
from fer_demo.errors import DataError
from fer_demo.output import check_writable

#: Faces that show how large a network's numbers get.
IMAGES = 512
#: What of a file goes along, besides the labels.
KEPT = ("preprocessing", "calibration", "training", "data", "extra", "metrics")

EXAMPLES = """
Example:

  python -m fer_demo.quantize mini_xception --data fer2013.csv --out int8.safetensors

  python -m fer_demo.evaluate int8.safetensors fer2013.csv --part PublicTest
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=EXAMPLES)
def main(
    weights: cli.WeightsArgument,
    source: cli.Photos,
    out: Annotated[Path, typer.Option(metavar="FILE", dir_okay=False, help="Write the int8 weights here.")],
    part: Annotated[cli.Part, typer.Option(metavar="PART", help="Of the data.")] = cli.Part.training,
    images: Annotated[int, typer.Option(min=1, metavar="N", help="Faces at most.")] = IMAGES,
    seed: cli.Seed = 0,
) -> None:
    """Make int8 weights of a model's float32 weights.

    Some faces, drawn at random, show the range of every layer's numbers. Nothing is trained.

    Preprocessing and temperature go along; the file serves wherever weights do, but for heat maps.
    """
    console = Console(soft_wrap=True, markup=False, highlight=False, emoji=False)
    classifier = EmotionClassifier(weights)
    if classifier.quantized:
        raise DataError(f"{display_name(weights)}: weights in int8 already; name those in float32")
    cli.check_outputs({"--out": out}, [source, classifier.path])
    check_writable(out)
    held_out = load_held_out(source, part)
    cli.warn_of_unused(held_out)
    faces = held_out.dataset.images
    if not len(faces):
        raise DataError(f"{display_name(str(source))}: found no faces, expected some hundred")
    some = drawn(faces, images, seed)
    model = quantize(classifier, some, out)
    before, after = classifier(some).argmax(axis=1), EmotionClassifier(out)(some).argmax(axis=1)
    console.print(
        f"{model}, ranges from {len(some):,} faces\n"
        f"The same answer as in float32 for {np.mean(before == after):.1%} of them\n"
        f"Wrote {display_name(str(out))}: {out.stat().st_size:,} bytes, "
        f"in float32 {classifier.path.stat().st_size:,}"
    )


def drawn(faces: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return so many faces of (N, 48, 48, 1), or all if there are fewer, drawn without repetition."""
    return faces[np.random.default_rng(seed).permutation(len(faces))[:count]]


def quantize(classifier: EmotionClassifier, faces: np.ndarray, out: Path) -> tc.QuantizedModel:
    """Quantise a classifier in float32, and write what `EmotionClassifier` reads.

    Args:
        classifier: has the network.
        faces: uint8, (N, 48, 48, 1), which show the ranges.
        out: the file.

    Raises:
        ConfigError: a layer has no form in whole numbers.
        OSError: the file cannot be written.
    """
    model = tc.quantize(classifier.model, classifier.normalise(faces))
    kept = {key: classifier.info[key] for key in KEPT if key in classifier.info}
    model.save(out, labels=classifier.info["labels"], **kept)
    return model


if __name__ == "__main__":
    cli.run(app)
