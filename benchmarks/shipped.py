"""How good the weights are that come with the package: the figures of the model card.

Run as ``python -m benchmarks.shipped --data fer2013.csv --json benchmarks/results/shipped.json`` after any of
them has changed, then ``python -m benchmarks.tables``. A test notices where that was forgotten. The last line
is one JSON object.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks import cli
from fer_demo import data
from fer_demo.classifier import SHIPPED, EmotionClassifier
from fer_demo.data.duplicates import near
from fer_demo.data.held_out import HeldOut
from fer_demo.evaluate import evaluation
from tinycnn.kernels.threads import get_threads

#: What a row keeps of an evaluation.
SCORES = ("images", "accuracy", "interval", "macro_f1", "ece")


def main(
    source: Annotated[Path, typer.Option("--data", help="FER2013 as .csv, with its Usage.")],
    part: Annotated[str, typer.Option(help="To score on.")] = "PublicTest",
    save: cli.JsonFile = None,
) -> None:
    """Score every file of shipped weights."""
    dataset = data.load(source)
    held_out = dataset.part(part)
    copies = near(dataset.part("Training").images, held_out.images)
    rows = [measure(name, HeldOut(held_out, part, {}, []), copies) for name in SHIPPED]
    cli.show(
        f"{part}, {len(held_out)} faces", rows, {"weights": "name", "accuracy": "accuracy", "ECE": "ece"}
    )
    cli.finish("shipped", rows, get_threads(), None, save, part=part, copies=int(copies.sum()))


def measure(name: str, held_out: HeldOut, copies: np.ndarray) -> dict[str, Any]:
    """Return scores of the weights called `name`, and what their file says of itself.

    Args:
        name: a key of `SHIPPED`.
        held_out: N faces.
        copies: bool, (N,), which of them are copies of faces that the model was trained on.
    """
    classifier, faces = EmotionClassifier(name), held_out.dataset
    probabilities = classifier(faces.images)
    found = evaluation(classifier, held_out, probabilities)
    new = faces.subset(np.flatnonzero(~copies))
    without_copies = evaluation(classifier, replace(held_out, dataset=new), probabilities[~copies])
    averaged = EmotionClassifier(name, flip_average=True)
    with_mirror_image = evaluation(averaged, held_out, averaged(faces.images))
    return {
        "name": name,
        "sha256": found["weights"]["sha256"],
        "bytes": classifier.path.stat().st_size,
        "parameters": sum(array.size for array in classifier.model.params.values()),
        **{key: found[key] for key in (*SCORES, "per_class", "confusion")},
        "without_copies": {key: without_copies[key] for key in SCORES},
        "flip_average": {key: with_mirror_image[key] for key in SCORES},
        **{key: classifier.info.get(key) for key in ("training", "calibration")},
        "train_accuracy": classifier.info["metrics"].get("train_accuracy"),
    }


if __name__ == "__main__":
    typer.run(main)
