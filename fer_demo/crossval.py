"""k-fold cross-validation: train on all folds but one, score on that one, for each in turn."""

from dataclasses import asdict, dataclass, replace
from itertools import cycle, islice
from typing import Any

import numpy as np

import tinycnn as tc
from fer_demo.data import Dataset
from fer_demo.data.duplicates import keep_together
from fer_demo.distillation import Teaching
from fer_demo.errors import DataError
from fer_demo.metrics import over_folds, summarise_folds
from fer_demo.models import FACE, MODELS
from fer_demo.recipes import RECIPES
from fer_demo.trial import Trial, TrialResult, kept_trial, run_trial
from fer_demo.trial_files import TrialFiles
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
        keep_copies_together: in one fold, lest a model that has trained on one copy be tested by another; see
            `fer_demo.data.duplicates`.
        teachings: who teaches in each fold, see `fer_demo.distillation.fold_teachings`; none if nobody does.
    """

    folds: int = 5
    epochs: int = 8
    seed: int = 0
    batch_size: int = 32
    recipe: str = "default"
    keep_copies_together: bool = False
    teachings: tuple[Teaching, ...] = ()

    def describe(self) -> dict[str, Any]:
        """Return all that is decided, as JSON can hold it; of a teacher, the digests of all folds' files.

        Raises:
            ConfigError: a teacher's file is not there.
            OSError: it cannot be read.
        """
        described = {name: value for name, value in vars(self).items() if name != "teachings"}
        taught = [teaching.describe() for teaching in self.teachings]
        digests = {"sha256": [digest for one in taught for digest in one["sha256"]]}
        return {**described, "teacher": taught[0] | digests if taught else None}


def split(dataset: Dataset, protocol: Protocol) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (training indices, held-out indices) for each fold; the emotions are shared out evenly.

    Raises:
        DataError: an emotion that occurs has fewer images than there are folds, or a fold has no face left.
    """
    scarce = {name: n for name, n in dataset.class_counts().items() if 0 < n < protocol.folds}
    if scarce or len(dataset) < protocol.folds:
        found = ", ".join(f"{n} of {name}" for name, n in scarce.items()) or f"{len(dataset)} images"
        raise DataError(
            f"{dataset.name}: found {found}, expected at least {protocol.folds} of each emotion that occurs, "
            "one per fold: use more data or fewer folds"
        )
    held_out_in = _deal(dataset.labels, protocol.folds, protocol.seed)
    if protocol.keep_copies_together:
        held_out_in = keep_together(held_out_in, dataset.groups)
    return [
        (np.flatnonzero(held_out_in != fold), np.flatnonzero(held_out_in == fold))
        for fold in range(protocol.folds)
    ]


def moved(dataset: Dataset, protocol: Protocol) -> int:
    """Return how many faces are held out in another fold than they would be if they had no copies."""
    if not protocol.keep_copies_together:
        return 0
    dealt = _deal(dataset.labels, protocol.folds, protocol.seed)
    return int((keep_together(dealt, dataset.groups) != dealt).sum())


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
    files: TrialFiles | None = None,
    extra: Dataset | None = None,
) -> TrialResult:
    """Train the model called `name` from scratch on one fold's training part, and score it.

    Args:
        dataset: N faces.
        name: of the model, a key of `MODELS`.
        fold: its number from 0.
        indices: of the training part and of the held-out one.
        protocol: how to run.
        progress: hears of the training.
        files: where the fold is kept; see `run_trial`.
        extra: more faces to train on, never to score on.

    Raises:
        ConfigError: the files are of another protocol, model or data set.
        OSError: they cannot be written.
    """
    trial = Trial(
        name,
        RECIPES[protocol.recipe],
        protocol.epochs,
        protocol.batch_size,
        seed=protocol.seed * 1000 + fold,
    )
    belongs_to = _identity(dataset, name, fold, protocol, extra)
    teaching = protocol.teachings[fold] if protocol.teachings else None
    return run_trial(trial, dataset, indices, belongs_to, files, extra, progress, teaching)


def kept_fold(
    dataset: Dataset,
    indices: tuple[np.ndarray, np.ndarray],
    protocol: Protocol,
    files: TrialFiles,
    extra: Dataset | None = None,
) -> TrialResult | None:
    """Return what `run_fold` has kept of a fold, None if it must be trained.

    Warns and raises as `TrialFiles.read` does.
    """
    return kept_trial(dataset, indices, files, _identity(dataset, files.name, files.number, protocol, extra))


def _identity(
    dataset: Dataset, name: str, fold: int, protocol: Protocol, extra: Dataset | None
) -> dict[str, Any]:
    """Return what must be equal for a fold's files to be of use."""
    return {
        "model": name,
        "fold": fold,
        **replace(protocol, teachings=protocol.teachings[fold : fold + 1]).describe(),
        "data": dataset.sha256,
        "extra": extra and extra.sha256,
        "backend": tc.backend_name(),
    }


def summarise(name: str, results: list[TrialResult]) -> dict[str, Any]:
    """Return a model's entry of results.json, given the results of its folds."""
    model = MODELS[name]()
    seconds = sum(result.seconds for result in results)
    trained = sum(result.shown * len(result.history.loss) for result in results)
    return {
        "parameters": sum(array.size for array in model.params.values()),
        "multiply_adds": sum(row.multiply_adds for row in rows(model, FACE)),
        **summarise_folds([result.metrics for result in results]),
        "train_accuracy": over_folds([result.train_accuracy for result in results]),
        "gap": over_folds([result.train_accuracy - result.metrics.accuracy for result in results]),
        "extra_left_out": [result.left_out for result in results],
        "history": [asdict(result.history) for result in results],
        "seconds": seconds,
        "images_per_second": trained / seconds,
    }
