"""k-fold cross-validation: train on all folds but one, score on that one, for each in turn."""

from dataclasses import asdict, dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np

import tinycnn as tc
from fer_demo.data import Dataset
from fer_demo.errors import DataError
from fer_demo.fold_files import FoldFiles
from fer_demo.metrics import FoldMetrics, fold_metrics, over_folds, summarise_folds
from fer_demo.models import FACE, MODELS
from fer_demo.recipes import RECIPES
from fer_demo.training import save_model, train_model
from tinycnn.summary import rows


@dataclass(frozen=True)
class Protocol:
    """How a cross-validation is run.

    Attributes:
        folds: parts that the data are cut into, each with the same mix of emotions.
        epochs: passes over the training part.
        seed: of folds, first weights, order of images, augmentation and dropout.
        batch_size: images a step.
        recipe: the rest, a key of `RECIPES`.
    """

    folds: int = 5
    epochs: int = 8
    seed: int = 0
    batch_size: int = 32
    recipe: str = "default"


@dataclass(frozen=True)
class FoldResult:
    """One trained model and its scores.

    Attributes:
        metrics: on the held-out fold.
        probabilities: (M, 7), of the M held-out faces.
        train_accuracy: on the training part, after the last epoch and without augmentation, 0 to 1.
        history: one number per epoch; `val_*` are the held-out fold's.
    """

    metrics: FoldMetrics
    probabilities: np.ndarray
    train_accuracy: float
    history: tc.History

    @property
    def seconds(self) -> float:
        """Wall time of the epochs, with the scoring after each."""
        return sum(self.history.seconds)


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
    files: FoldFiles | None = None,
) -> FoldResult:
    """Train the model called `name` from scratch on one fold's training part, and score it.

    Nothing is chosen on the held-out fold: the normalisation is fitted on the training part, and the weights
    scored are those after the last epoch.

    Args:
        dataset: N faces.
        name: of the model, a key of `MODELS`.
        fold: its number from 0.
        indices: of the training part and of the held-out one.
        protocol: how to run.
        progress: hears of the training.
        files: where the fold is kept. If it is there, it is read and not trained again; if it was cut short,
            it goes on from there, and ends with the same bits.

    Raises:
        ConfigError: the files are of another protocol, model or data set.
        OSError: they cannot be written.
    """
    kept = kept_fold(dataset, indices, protocol, files) if files else None
    if kept:
        return kept
    training, held_out = indices
    labels = dataset.labels[held_out]
    x, held_out_x = dataset.images[training], dataset.images[held_out]
    model, normalise, history = train_model(
        name,
        x,
        dataset.labels[training],
        recipe=RECIPES[protocol.recipe],
        epochs=protocol.epochs,
        batch_size=protocol.batch_size,
        seed=protocol.seed * 1000 + fold,
        validation=(held_out_x, labels),
        checkpoint=files.checkpoint if files else None,
        progress=progress,
    )
    probabilities = model.predict(held_out_x, prepare=normalise)
    metrics = fold_metrics(labels, probabilities.argmax(axis=1))
    train_accuracy = model.evaluate(x, dataset.labels[training], prepare=normalise).accuracy
    if files:
        belongs_to = _identity(dataset, protocol, files)
        scores = {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1}
        save_model(model, files.model, normalise, dataset, scores, belongs_to, history)
        files.write(probabilities, {"train_accuracy": train_accuracy, "history": asdict(history)}, belongs_to)
    return FoldResult(metrics, probabilities, train_accuracy, history)


def kept_fold(
    dataset: Dataset, indices: tuple[np.ndarray, np.ndarray], protocol: Protocol, files: FoldFiles
) -> FoldResult | None:
    """Return what `run_fold` has kept of a fold, None if it must be trained.

    Warns and raises as `FoldFiles.read` does.
    """
    kept = files.read(_identity(dataset, protocol, files))
    if kept is None:
        return None
    probabilities, info = kept
    metrics = fold_metrics(dataset.labels[indices[1]], probabilities.argmax(axis=1))
    return FoldResult(metrics, probabilities, info["train_accuracy"], tc.History(**info["history"]))


def _identity(dataset: Dataset, protocol: Protocol, files: FoldFiles) -> dict[str, Any]:
    """Return what must be equal for a fold's files to be of use."""
    return {
        "model": files.name,
        "fold": files.fold,
        **asdict(protocol),
        "data": dataset.sha256,
        "backend": tc.backend_name(),
    }


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
