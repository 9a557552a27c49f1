"""What mirrored faces do to a test when they are stored before it is split off.

Run as ``python -m benchmarks.mirror_leak --data fer2013.csv``. Every face gets its mirror image, and all are
split at random as if each were a face of its own: most held-out ones have been learnt, seen in a mirror. The
few whose mirror image is held out as well tell what the network can do. The last line is one JSON object,
about accuracy, not time.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import tinycnn as tc
from benchmarks import cli
from fer_demo import data
from fer_demo.cli import RecipeName, RecipeOption
from fer_demo.data import Dataset
from fer_demo.recipes import RECIPES
from fer_demo.training import default_batch_size, train_model

COLUMNS = {
    "model": "name",
    "all": "accuracy",
    "mirror image\nlearnt": "accuracy_learnt",
    "mirror image\nheld out": "accuracy_held_out",
    "training\npart": "accuracy_training",
}


def main(
    source: Annotated[Path, typer.Option("--data", help="FER2013 as .csv.")],
    models: cli.Models = cli.WITH_PEERS,
    recipe: RecipeOption = RecipeName.default,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training part.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is random.")] = 0,
    save: cli.JsonFile = None,
) -> None:
    """Train on faces and mirror images that were mixed before a fifth was held out, without augmentation."""
    dataset = data.load(source)
    rows = [
        {"name": name, **measure(name, dataset, str(recipe), epochs, seed)} for name in cli.chosen(models)
    ]
    cli.show("Accuracy on held-out faces and mirror images", rows, COLUMNS)
    more = {"recipe": str(recipe), "epochs": epochs, "seed": seed, "sha256": dataset.sha256}
    cli.finish("mirror_leak", rows, tc.get_threads(), tc.backend_name(), save, **more)


def measure(name: str, dataset: Dataset, recipe: str, epochs: int, seed: int) -> dict[str, Any]:
    """Train on four fifths, and return the shares of images that are classified rightly."""
    faces = np.concatenate([dataset.images, dataset.images[:, :, ::-1]])
    labels, own = np.tile(dataset.labels, 2), len(dataset)
    held_out = np.zeros(2 * own, bool)
    held_out[np.random.default_rng(seed).permutation(2 * own)[: 2 * own // 5]] = True
    chosen = RECIPES[recipe]
    model, normalise, _ = train_model(
        name,
        faces[~held_out],
        labels[~held_out],
        recipe=dataclasses.replace(chosen, augment=None),
        epochs=epochs,
        batch_size=default_batch_size(chosen, own),
        seed=seed,
        progress=True,
    )
    right = model.predict(faces, prepare=normalise).argmax(axis=1) == labels
    mirror_held_out = np.roll(held_out, own)  # a face and its mirror image lie half the array apart
    learnt, unseen = held_out & ~mirror_held_out, held_out & mirror_held_out

    def share(which: np.ndarray) -> float:
        return float(right[which].mean())

    return {
        "accuracy": share(held_out),
        "accuracy_learnt": share(learnt),
        "accuracy_held_out": share(unseen),
        "accuracy_training": share(~held_out),
        "images": {"learnt": int(learnt.sum()), "held_out": int(unseen.sum())},
    }


if __name__ == "__main__":
    typer.run(main)
