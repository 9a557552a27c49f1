"""k-fold cross-validation: train on all folds but one, score on that one, for each in turn."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np

import tinycnn as tc
from fer_demo.data import EMOTIONS, Dataset
from fer_demo.errors import DataError
from fer_demo.metrics import FoldMetrics, fold_metrics, over_folds, summarise_folds
from fer_demo.models import FACE, MODELS
from fer_demo.preprocess import Normalisation, horizontal_flip
from tinycnn.summary import rows

#: Peak of the one-cycle schedule for Adam.
LEARNING_RATES = {"mini_xception": 5e-3, "alexnet": 1e-3}


@dataclass(frozen=True)
class Protocol:
    """How a cross-validation is run.

    Attributes:
        folds: parts that the data are cut into, each with the same mix of emotions.
        epochs: passes over the training part.
        seed: of folds, first weights, order of images, flips and dropout.
        batch_size: images a step.
    """

    folds: int = 5
    epochs: int = 8
    seed: int = 0
    batch_size: int = 32


@dataclass(frozen=True)
class FoldResult:
    """One trained model and its scores.

    Attributes:
        metrics: on the held-out fold.
        probabilities: (M, 7), of the M held-out faces.
        train_accuracy: on the training part, after the last epoch and without augmentation, 0 to 1.
        history: one number per epoch; `val_*` are the held-out fold's.
        seconds: wall time of the training alone.
    """

    metrics: FoldMetrics
    probabilities: np.ndarray
    train_accuracy: float
    history: tc.History
    seconds: float


def split(dataset: Dataset, protocol: Protocol) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (training indices, held-out indices) for each fold; the emotions are shared out evenly.

    Raises:
        DataError: an emotion that occurs has fewer images than there are folds.
    """
    scarce = {name: n for name, n in dataset.class_counts().items() if 0 < n < protocol.folds}
    if scarce or len(dataset) < protocol.folds:
        found = ", ".join(f"{n} of {name}" for name, n in scarce.items()) or f"{len(dataset)} images"
        raise DataError(
            f"{dataset.name}: found {found}, expected at least {protocol.folds} of each emotion that occurs, "
            "one per fold: use more data or fewer --folds"
        )
    held_out_in = _deal(dataset.labels, protocol.folds, protocol.seed)
    return [
        (np.flatnonzero(held_out_in != fold), np.flatnonzero(held_out_in == fold))
        for fold in range(protocol.folds)
    ]


def _deal(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return the fold that each image of labels (N,) is held out in, (N,).

    Folds are dealt out in turn like cards, to one label after the other, so that their sizes differ by one at
    most, within each label too; which image of a label gets which card is random. These are the very folds of
    scikit-learn's ``StratifiedKFold(folds, shuffle=True, random_state=seed)``, but without its two seconds of
    imports.
    """
    # Not a Generator: NumPy promises the same numbers in all its versions for RandomState alone (its NEP 19).
    rng, cards, fold = np.random.RandomState(seed), cycle(range(folds)), np.empty(len(labels), np.int64)
    for label in dict.fromkeys(labels.tolist()):  # in the order of their first images
        members = np.flatnonzero(labels == label)
        hand = np.sort(list(islice(cards, len(members))))
        rng.shuffle(hand)
        fold[members] = hand
    return fold


def run_fold(
    dataset: Dataset,
    name: str,
    fold: int,
    indices: tuple[np.ndarray, np.ndarray],
    protocol: Protocol,
    progress: tc.Progress | bool = False,
) -> FoldResult:
    """Train the model called `name` from scratch on one fold's training part, and score it.

    Nothing is chosen on the held-out fold: the normalisation is fitted on the training part, and the weights
    scored are those after the last epoch.
    """
    training, held_out = indices
    x, labels = dataset.images[training], dataset.labels[training]
    normalise = Normalisation.fit(x)
    model = MODELS[name](seed=protocol.seed * 1000 + fold)
    steps = protocol.epochs * -(-len(x) // protocol.batch_size)
    began = time.perf_counter()
    history = model.fit(
        x,
        labels,
        epochs=protocol.epochs,
        batch_size=protocol.batch_size,
        optimizer=tc.Adam(tc.OneCycle(LEARNING_RATES[name], steps)),
        validation=(dataset.images[held_out], dataset.labels[held_out]),
        prepare=normalise,
        augment=horizontal_flip,
        keep_best=False,
        seed=protocol.seed * 1000 + fold,
        progress=progress,
    )
    seconds = time.perf_counter() - began
    probabilities = model.predict(dataset.images[held_out], prepare=normalise)
    return FoldResult(
        metrics=fold_metrics(dataset.labels[held_out], probabilities.argmax(axis=1)),
        probabilities=probabilities,
        train_accuracy=model.evaluate(x, labels, prepare=normalise).accuracy,
        history=history,
        seconds=seconds,
    )


def cross_validate(
    dataset: Dataset,
    name: str,
    protocol: Protocol,
    progress: tc.Progress | bool = False,
    on_fold: Callable[[int, FoldResult], None] = lambda fold, result: None,
) -> tuple[dict[str, Any], np.ndarray]:
    """Run all folds of one model.

    Args:
        dataset: N faces.
        name: of the model, a key of `MODELS`.
        protocol: how to run.
        progress: hears of every training in turn.
        on_fold: called after each fold with its number from 0 and its result.

    Returns:
        The model's entry of results.json (see `fer_demo.report.results`), and (N, 7) probabilities of all
        faces, each by the model that had not seen it.

    Raises:
        DataError: too few images for so many folds.
    """
    results, probabilities = [], np.empty((len(dataset), len(EMOTIONS)), np.float32)
    for fold, indices in enumerate(split(dataset, protocol)):
        result = run_fold(dataset, name, fold, indices, protocol, progress)
        probabilities[indices[1]] = result.probabilities
        results.append(result)
        on_fold(fold, result)
    return summarise(dataset, name, results), probabilities


def summarise(dataset: Dataset, name: str, results: list[FoldResult]) -> dict[str, Any]:
    """Return a model's entry of results.json, given the results of its folds."""
    model = MODELS[name]()
    seconds = sum(result.seconds for result in results)
    trained = sum(
        (len(dataset) - result.metrics.support.sum()) * len(result.history.loss) for result in results
    )
    return {
        "parameters": sum(array.size for array in model.params.values()),
        "multiply_adds": sum(row.multiply_adds for row in rows(model, FACE)),
        **summarise_folds([result.metrics for result in results]),
        "train_accuracy": over_folds([result.train_accuracy for result in results]),
        "gap": over_folds([result.train_accuracy - result.metrics.accuracy for result in results]),
        "history": [asdict(result.history) for result in results],
        "seconds": seconds,
        "images_per_second": trained / seconds,
    }
