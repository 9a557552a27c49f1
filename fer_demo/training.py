"""How one model is trained and kept: the same in cross-validation and on a whole data set."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import tinycnn as tc
from fer_demo.data import EMOTIONS, USAGES, Dataset
from fer_demo.data.duplicates import keep_together
from fer_demo.errors import DataError
from fer_demo.preprocess import Normalisation
from fer_demo.recipes import Recipe
from tinycnn.checks import refuse
from tinycnn.train import Callback

#: Small batches make more steps in a few epochs, and the fewer the images the more that counts; larger ones
#: take less time an image.
SMALL_BATCH, LARGE_BATCH, MANY_IMAGES = 24, 32, 5000


def describe_data(dataset: Dataset) -> dict[str, Any]:
    """Return what identifies a data set, as JSON can hold it."""
    return {
        "name": dataset.name,
        "sha256": dataset.sha256,
        "content": dataset.content,
        "images": len(dataset),
        "synthetic": dataset.synthetic,
        "class_counts": dataset.class_counts(),
    }


def default_batch_size(recipe: Recipe, images: int) -> int:
    """Return the images a step of a recipe, for a data set of so many."""
    return recipe.batch_size or (SMALL_BATCH if images < MANY_IMAGES else LARGE_BATCH)


def hold_out(
    dataset: Dataset, validation: str, seed: int, keep_copies_together: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return (training indices, held-out indices) of a data set, both in order.

    Args:
        dataset: N faces.
        validation: "PublicTest" or "PrivateTest": those faces are held out, and of the others only the ones
            that are marked "Training" are trained on. Or a share, "0" to "0.9": of each emotion the nearest
            whole number of faces to it, but never all of them.
        seed: says which faces make up a share.
        keep_copies_together: all of them held out, or none; see `fer_demo.data.duplicates`.

    Raises:
        ConfigError: `validation` is neither, or a share of no face, or copies cannot be kept together since
            it is a usage.
        DataError: the faces are not marked, or none is marked so.
    """
    if validation in USAGES[1:]:
        usage = np.zeros(0) if dataset.usage is None else dataset.usage
        parts = np.flatnonzero(usage == USAGES[0]), np.flatnonzero(usage == validation)
        if not all(map(len, parts)):
            raise DataError(
                f"{dataset.name}: found {len(parts[0])} faces marked {USAGES[0]} and {len(parts[1])} marked "
                f"{validation}, expected both: hold out a share instead, such as --validation 0.1"
            )
        if keep_copies_together:
            raise tc.ConfigError(
                f"--keep-copies-together cannot move faces into or out of {validation}: hold out a share "
                "instead, such as --validation 0.1"
            )
        return parts
    try:
        share = float(validation)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 0.9:
        refuse("validation", validation, f"a number from 0 to 0.9, or one of {', '.join(USAGES[1:])}")
    rng, held_out = np.random.default_rng(seed), np.zeros(len(dataset), bool)
    for label in np.unique(dataset.labels):
        members = np.flatnonzero(dataset.labels == label)
        count = min(round(share * len(members)), len(members) - 1)
        held_out[rng.permutation(members)[:count]] = True
    if share and not held_out.any():
        refuse("validation", validation, f"a share of these {len(dataset)} faces that is one face at least")
    if keep_copies_together and share:
        try:
            held_out = keep_together(held_out.astype(int), dataset.groups) == 1
        except DataError as error:
            raise DataError(
                f"{dataset.name}: a share of {validation} leaves nothing on one side when copies stay "
                "together: hold out another share, or leave out --keep-copies-together"
            ) from error
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def hold_out_some(dataset: Dataset, validation: str) -> tuple[np.ndarray, np.ndarray]:
    """Return what `hold_out` does with seed 0, for a run that is nothing without faces to score on.

    Raises:
        ConfigError: nothing would be held out, or as in `hold_out`.
        DataError: as in `hold_out`.
    """
    indices = hold_out(dataset, validation, seed=0)
    if not len(indices[1]):
        raise tc.ConfigError(f"validation={validation!r}: expected some faces to score on")
    return indices


def part_to_score(dataset: Dataset, *usages: str) -> str:
    """Return what `hold_out` shall hold out by default: the first of the usages that the data set has.

    A fifth of the faces, "0.2", if it has none of them.
    """
    marked = [] if dataset.usage is None else np.unique(dataset.usage).tolist()
    return next((usage for usage in usages if usage in marked), "0.2")


def options_of(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a model's training, as its file tells them; none if it tells none."""
    training = info.get("training")
    return training if isinstance(training, dict) else {}


def was_trained_on(info: Mapping[str, Any], faces: Dataset) -> bool:
    """Tell whether a model has learnt some of these faces, as far as its file and their marks say.

    FER2013 goes round in many files, packed and ordered in this way or that, whose digests differ. So a model
    that was trained on the rows marked Training counts as one that knows all rows marked so. Other faces are
    known by the digest of their file, or of what it holds.

    Args:
        info: what the model's file says beside its weights.
        faces: a data set or a part of one.
    """
    training = options_of(info)
    held_out = training.get("validation", training.get("held_out"))  # of `train`, of `ablation` and `paper`
    known = _digests(info, "extra")
    if faces.usage is not None and held_out in USAGES[1:]:
        if USAGES[0] in faces.usage:
            return True
    else:
        known |= _digests(info, "data")
    return not known.isdisjoint({faces.sha256, faces.content})


def _digests(info: Mapping[str, Any], kind: str) -> set[str]:
    """Return those of a model's "data" or "extra" faces: of their files, and of what these hold."""
    described = info.get(kind)
    content = described.get("content") if isinstance(described, dict) else None
    joined = [digests for digests in (options_of(info).get(kind), content) if isinstance(digests, str)]
    return {digest for digests in joined for digest in digests.split("+")} - {""}


def train_model(
    name: str,
    x: np.ndarray,
    labels: np.ndarray,
    *,
    recipe: Recipe,
    epochs: int,
    batch_size: int,
    seed: int,
    network: Mapping[str, Any] | None = None,
    targets: np.ndarray | None = None,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    checkpoint: tc.Checkpoint | None = None,
    progress: tc.Progress | bool = False,
    callbacks: Iterable[Callback] = (),
) -> tuple[tc.Sequential, Normalisation, tc.History]:
    """Train the model called `name` from scratch; return it, what prepares its input, and how it went.

    Nothing is chosen by the validation data: they are only watched, and the weights are the recipe's at the
    end.

    Args:
        name: a key of `MODELS`.
        x: uint8, (N, 48, 48, 1); the normalisation is fitted on it. The recipe may show some more often.
        labels: integers, (N,).
        recipe: how to train.
        epochs: passes over x.
        batch_size: images a step.
        seed: of first weights, order, augmentation and dropout.
        network: arguments for the function in `MODELS`, such as ``{"widths": (16, 32, 64, 96)}``.
        targets: float32, (N, 7), probabilities to train on in place of the labels, such as a teacher's.
        validation: (images, labels) to score after every epoch.
        checkpoint: where to go on from.
        progress: hears of the training.
        callbacks: called after every epoch, such as logs.
    """
    normalise, model = Normalisation.fit(x), recipe.network(name, seed, **network or {})
    shown = recipe.shown(labels, seed)
    history = model.fit(
        x[shown],
        (labels if targets is None else targets)[shown],
        validation=validation,
        prepare=normalise,
        keep_best=False,
        checkpoint=checkpoint,
        seed=seed,
        progress=progress,
        callbacks=callbacks,
        **recipe.fit_arguments(name, labels[shown], epochs, batch_size),
    )
    return model, normalise, history


def save_model(
    model: tc.Sequential,
    path: Path,
    normalise: Normalisation,
    dataset: Dataset,
    metrics: dict[str, float],
    training: dict[str, Any],
    history: tc.History,
    extra: Dataset | None = None,
) -> None:
    """Write a trained model with all that is needed to use it, and to train it again.

    Args:
        model: has been trained on `dataset` or a part of it.
        path: ends in ``.safetensors``; its folder exists.
        normalise: prepares the model's input.
        dataset: told by name and digest.
        metrics: the model's scores, 0 to 1.
        training: the options of the training.
        history: how it went.
        extra: more faces that it was trained on.
    """
    from fer_demo.report import environment

    tc.save(
        model,
        path,
        labels=EMOTIONS,
        metrics=metrics,
        preprocessing={"mean": normalise.mean, "std": normalise.std},
        data=describe_data(dataset),
        extra=extra and describe_data(extra),
        training=training,
        history=asdict(history),
        environment=environment(),
    )
