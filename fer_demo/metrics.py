"""What a classifier got right: per emotion in one fold of cross-validation, and summarised over the folds."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_demo.data.dataset import EMOTIONS
from fer_demo.errors import DataError


@dataclass(frozen=True, eq=False)
class FoldMetrics:
    """How K classes fared in one fold.

    A class without a sample in the fold has no score: its precision, recall and F-score are NaN, because a 0
    would blame the classifier for the split. A class that has samples but is never predicted has precision 0
    (by convention, for the quotient is 0/0), and so F-score 0.

    Attributes:
        accuracy: share of the fold's samples predicted correctly, 0 to 1.
        macro_f1: unweighted mean of the F-scores of the classes that have samples.
        precision: float64, (K,), of the samples predicted as the class, the share that belong to it.
        recall: float64, (K,), of the samples that belong to the class, the share predicted as it.
        f1: float64, (K,), harmonic mean of precision and recall.
        support: int64, (K,), samples of each class.
        confusion: int64, (K, K), counts; rows are the true classes, columns the predicted ones.
    """

    accuracy: float
    macro_f1: float
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray
    confusion: np.ndarray


def fold_metrics(labels: np.ndarray, predicted: np.ndarray, classes: int = len(EMOTIONS)) -> FoldMetrics:
    """Score one fold's predictions.

    Args:
        labels: integers, (N,), true classes from 0 to `classes` - 1; N at least 1.
        predicted: integers, (N,), predicted classes in the same range.
        classes: K, how many classes there are.

    Raises:
        DataError: the two differ in shape, are empty, are not integers or leave the range.
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    if labels.shape != predicted.shape or labels.ndim != 1 or not len(labels):
        raise DataError(
            f"labels have shape {labels.shape} and predictions {predicted.shape}: both must be (N,) with the "
            "same N of at least 1; pass one predicted class per held-out image"
        )
    _check_classes("labels", labels, classes)
    _check_classes("predictions", predicted, classes)
    # Scikit-learn takes two seconds to load, which the start of a training shall not wait for.
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    every_class = np.arange(classes)
    *scores, support = precision_recall_fscore_support(labels, predicted, labels=every_class, zero_division=0)
    precision, recall, f1 = (np.where(support > 0, score, np.nan) for score in scores)
    return FoldMetrics(
        accuracy=float(np.mean(labels == predicted)),
        macro_f1=float(np.nanmean(f1)),
        precision=precision,
        recall=recall,
        f1=f1,
        support=support,
        confusion=confusion_matrix(labels, predicted, labels=every_class),
    )


def wilson_interval(right: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, such as an accuracy (Wilson 1927): where the true one may well be.

    It tells how far the number of samples can be trusted, and nothing of samples of another kind.

    Args:
        right: how many samples were predicted correctly.
        of: how many there were, at least 1.
    """
    from scipy.stats import binomtest  # not at the top: as in fold_metrics

    low, high = binomtest(right, of).proportion_ci(0.95, method="wilson")
    return float(low), float(high)


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """One number per seed, with its mean and spread.

    Returns:
        `mean`; `std`, the sample standard deviation, 0.0 for one seed; `interval`, the 95 % interval of the
        mean over all seeds there might be, [low, high] by Student's t, None for one seed; `seeds`, the
        values themselves.

    Raises:
        DataError: there is no value.
    """
    spread = over_folds(values)
    mean, std, seeds = spread["mean"], spread["std"], spread["folds"]
    interval = None
    if len(seeds) > 1:
        from scipy.stats import t  # not at the top: as in fold_metrics

        reach = float(t.ppf(0.975, len(seeds) - 1)) * std / math.sqrt(len(seeds))
        interval = [mean - reach, mean + reach]
    return {"mean": mean, "std": std, "interval": interval, "seeds": seeds}


def summarise_folds(folds: Sequence[FoldMetrics], class_names: Sequence[str] = EMOTIONS) -> dict[str, Any]:
    """Summarise a model's folds as `results.json` keeps them.

    Args:
        folds: one entry per finished fold, at least one.
        class_names: K names, in the order of the labels.

    Returns:
        `accuracy` and `macro_f1` as `over_folds` gives them; `per_class`, name -> `precision`, `recall`, `f1`
        averaged over the folds that have samples of the class (None where no fold has) and `support` averaged
        over all folds; `confusion`, K lists of K counts summed over the folds.

    Raises:
        DataError: there is no fold.
    """
    return {
        "accuracy": over_folds([fold.accuracy for fold in folds]),
        "macro_f1": over_folds([fold.macro_f1 for fold in folds]),
        "per_class": {
            name: {
                "precision": _mean_of_known(fold.precision[index] for fold in folds),
                "recall": _mean_of_known(fold.recall[index] for fold in folds),
                "f1": _mean_of_known(fold.f1[index] for fold in folds),
                "support": _mean_of_known(fold.support[index] for fold in folds),
            }
            for index, name in enumerate(class_names)
        },
        "confusion": np.sum([fold.confusion for fold in folds], axis=0).tolist(),
    }


def over_folds(values: Sequence[float]) -> dict[str, Any]:
    """One number per fold, with its mean and spread.

    Returns:
        `mean`; `std`, the sample standard deviation (divisor: folds - 1), or 0.0 for one fold, so that a
        reader always finds a number; `folds`, the values themselves.

    Raises:
        DataError: there is no value.
    """
    values = [float(value) for value in values]
    if not values:
        raise DataError("no fold to summarise: finish at least one fold first")
    return {
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values) if len(values) > 1 else 0.0,
        "folds": values,
    }


def _check_classes(what: str, values: np.ndarray, classes: int) -> None:
    if values.dtype.kind not in "iu":
        raise DataError(
            f"{what} are {values.dtype}: expected integers from 0 to {classes - 1}, not probabilities"
        )
    outside = np.flatnonzero((values < 0) | (values >= classes))
    if len(outside):
        row = outside[0]
        raise DataError(
            f"{what}[{row}] is {values[row]}: expected a class from 0 to {classes - 1}; "
            "check the labels' source or pass the right number of classes"
        )


def _mean_of_known(values: Iterable[float]) -> float | None:
    known = [float(value) for value in values if not math.isnan(value)]
    return statistics.fmean(known) if known else None
