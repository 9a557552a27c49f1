"""One training and what comes of it: scored on faces that were held out from it, and kept in files."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import tinycnn as tc
from fer_demo.data import Dataset
from fer_demo.data.extra import with_extra
from fer_demo.distillation import Teaching
from fer_demo.metrics import FoldMetrics, fold_metrics
from fer_demo.recipes import Recipe
from fer_demo.training import save_model, train_model
from fer_demo.trial_files import TrialFiles


@dataclass(frozen=True)
class Trial:
    """How one model is trained.

    Attributes:
        model: a key of `MODELS`.
        recipe: how to train.
        epochs: passes over the training part.
        batch_size: images a step.
        seed: of first weights, order of images, augmentation, oversampling and dropout.
    """

    model: str
    recipe: Recipe
    epochs: int
    batch_size: int
    seed: int = 0

    def describe(self) -> dict[str, Any]:
        """Return all that is decided, as JSON can hold it."""
        return {**asdict(self), "recipe": repr(self.recipe)}


@dataclass(frozen=True)
class TrialResult:
    """One trained model and its scores.

    Attributes:
        metrics: on the held-out faces.
        probabilities: (M, 7), of the M held-out faces.
        train_accuracy: on the faces trained on, after the last epoch and without augmentation, 0 to 1.
        history: one number per epoch; `val_*` are the held-out faces'.
        shown: images that an epoch showed: training part, extra faces, repetitions of rare emotions.
        left_out: extra faces that were not trained on, being copies of held-out ones.
    """

    metrics: FoldMetrics
    probabilities: np.ndarray
    train_accuracy: float
    history: tc.History
    shown: int
    left_out: int = 0

    @property
    def seconds(self) -> float:
        """Wall time of the epochs, with the scoring after each."""
        return sum(self.history.seconds)


def run_trial(
    trial: Trial,
    dataset: Dataset,
    indices: tuple[np.ndarray, np.ndarray],
    belongs_to: dict[str, Any],
    files: TrialFiles | None = None,
    extra: Dataset | None = None,
    progress: tc.Progress | bool = False,
    teaching: Teaching | None = None,
) -> TrialResult:
    """Train a model from scratch, and score it.

    Nothing is chosen on the held-out faces: the normalisation is fitted on those trained on, and the weights
    scored are those after the last epoch.

    Args:
        trial: how to train.
        dataset: N faces.
        indices: of the training part and of the held-out one, at least one face in each.
        belongs_to: what must be equal for the files to be of use, as JSON can hold it.
        files: where the model and its scores are kept. If they are there, they are read and not trained
            again; if the training was cut short, it goes on from there, and ends with the same bits.
        extra: more faces to train on.
        progress: hears of the training.
        teaching: who teaches, having never seen the held-out faces.

    Raises:
        ConfigError: the files are of something else.
        OSError: they cannot be written.
        Besides, what `Teaching.targets` raises.
    """
    kept = kept_trial(dataset, indices, files, belongs_to) if files else None
    if kept:
        return kept
    training, held_out = indices
    x, labels = dataset.images[training], dataset.labels[training]
    if extra is not None:
        x, labels = with_extra(dataset, training, held_out, extra)
    held_out_x, held_out_labels = dataset.images[held_out], dataset.labels[held_out]
    model, normalise, history = train_model(
        trial.model,
        x,
        labels,
        recipe=trial.recipe,
        epochs=trial.epochs,
        batch_size=trial.batch_size,
        seed=trial.seed,
        targets=teaching.targets(x, labels) if teaching else None,
        validation=(held_out_x, held_out_labels),
        checkpoint=files.checkpoint if files else None,
        progress=progress,
    )
    probabilities = model.predict(held_out_x, prepare=normalise)
    metrics = fold_metrics(held_out_labels, probabilities.argmax(axis=1))
    info = {
        "train_accuracy": model.evaluate(x, labels, prepare=normalise).accuracy,
        "history": asdict(history),
        "shown": len(trial.recipe.shown(labels, trial.seed)),
        "left_out": len(training) + len(() if extra is None else extra.labels) - len(labels),
    }
    if files:
        scores = {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1}
        save_model(model, files.model, normalise, dataset, scores, belongs_to, history, extra)
        files.write(probabilities, info, belongs_to)
    return _result(metrics, probabilities, info)


def kept_trial(
    dataset: Dataset, indices: tuple[np.ndarray, np.ndarray], files: TrialFiles, belongs_to: dict[str, Any]
) -> TrialResult | None:
    """Return what `run_trial` has kept, None if it must be trained.

    Warns and raises as `TrialFiles.read` does.
    """
    kept = files.read(belongs_to)
    if kept is None:
        return None
    probabilities, info = kept
    metrics = fold_metrics(dataset.labels[indices[1]], probabilities.argmax(axis=1))
    return _result(metrics, probabilities, info)


def _result(metrics: FoldMetrics, probabilities: np.ndarray, info: dict[str, Any]) -> TrialResult:
    return TrialResult(
        metrics,
        probabilities,
        info["train_accuracy"],
        tc.History(**info["history"]),
        info["shown"],
        info["left_out"],
    )
