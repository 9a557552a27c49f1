"""What the terminal and the page both say: the tables before they have a look, and the sentences."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fer_demo.report.results import Results

SYNTHETIC_TITLE = "SYNTHETIC FACES, NOT PEOPLE"
SYNTHETIC_NOTICE = (
    "A program drew every face in this data set. These results show that the software works; "
    "they say nothing about how well it recognises the emotions of real people."
)
GAP_SENTENCE = (
    "The gap is training accuracy minus held-out accuracy: near zero, the network does as well on faces that "
    "it has never seen; a large gap means that it has learnt its training faces by heart: overfitting."
)
#: Every report ends with this.
RESPONSIBLE_USE = (
    "A label says how strangers read a picture, not what a person felt: do not decide about people by it, "
    "and read docs/responsible_use.md before you point this at anyone."
)
UNKNOWN = "–"
#: Accuracies that the paper prints on FER2013: of 5 folds of 8 epochs, and of 565 new photographs after 100.
PRINTED = {
    "folds": {"mini_xception": 0.588154, "alexnet": 0.62241},
    "photos": {"mini_xception": 0.67612, "alexnet": 0.6902655},
}


@dataclass(frozen=True)
class TableContent:
    """A table as text.

    Attributes:
        caption: what the table tells.
        columns: headings; the first column names the rows, the others hold numbers.
        rows: as many cells each as there are columns.
        summary: one more row, set apart; empty if there is none.
    """

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    summary: tuple[str, ...] = ()


def emotion_table(
    per_class: Mapping[str, Any], macro_f1: float, caption: str = "Per emotion, mean over the folds"
) -> TableContent:
    """The paper's table: precision, recall, F-score and support of each emotion, and their average.

    Args:
        per_class: emotion -> `precision`, `recall`, `f1`, each None where unknown, and `support`: a whole
            number, or a mean over folds.
        macro_f1: the last row's F-score: averaged over emotions (in each fold, then over folds).
        caption: what the table tells.
    """

    def row(name: str, scores: Mapping[str, Any]) -> tuple[str, ...]:
        decimals = 0 if isinstance(scores["support"], int) else 1
        return (
            name,
            *(score(scores[key]) for key in ("precision", "recall", "f1")),
            f"{scores['support']:,.{decimals}f}",
        )

    macro = {
        "precision": _mean_of_known(per_class, "precision"),
        "recall": _mean_of_known(per_class, "recall"),
        "f1": macro_f1,
        "support": sum(scores["support"] for scores in per_class.values()),
    }
    return TableContent(
        caption=caption,
        columns=("Emotion", "Precision", "Recall", "F-score", "Support"),
        rows=[row(emotion, scores) for emotion, scores in per_class.items()],
        summary=row("macro average", macro),
    )


def confusion_table(counts: Sequence[Sequence[int]], emotions: Sequence[str]) -> TableContent:
    """In each row, the percentages of one true emotion's faces that were taken for each emotion.

    Args:
        counts: (K, K), rows true, columns predicted; a row without a face has no percentages.
        emotions: K names.
    """

    def row(name: str, own: Sequence[int]) -> tuple[str, ...]:
        total = sum(own)
        return name, *(f"{count / total:.0%}" if total else UNKNOWN for count in own)

    return TableContent(
        caption="What each emotion was taken for",
        columns=("True", *emotions),
        rows=[row(*pair) for pair in zip(emotions, counts, strict=True)],
    )


def fold_table(model: Mapping[str, Any]) -> TableContent:
    """Accuracy on held-out and training faces, their gap, and macro F1: a row per fold, then mean ± sd."""
    accuracy, train_accuracy, gap, macro_f1 = (
        model[key] for key in ("accuracy", "train_accuracy", "gap", "macro_f1")
    )
    folds = zip(accuracy["folds"], train_accuracy["folds"], gap["folds"], macro_f1["folds"], strict=True)
    return TableContent(
        caption="Accuracy per fold",
        columns=("Fold", "Held-out", "Training", "Gap", "Macro F1"),
        rows=[
            (str(number), f"{held_out:.3f}", f"{train:.3f}", f"{difference:+.3f}", f"{f1:.3f}")
            for number, (held_out, train, difference, f1) in enumerate(folds, start=1)
        ],
        summary=(
            "mean ± sd",
            mean_and_sd(accuracy),
            mean_and_sd(train_accuracy),
            mean_and_sd(gap, "+"),
            mean_and_sd(macro_f1),
        ),
    )


def comparison_table(models: Mapping[str, Any]) -> TableContent:
    """A row per model: size, scores and speed."""
    return TableContent(
        caption="The models compared",
        columns=("Model", "Parameters", "Accuracy", "Macro F1", "Gap", "Seconds", "Images/s"),
        rows=[
            (
                name,
                f"{model['parameters']:,}",
                mean_and_sd(model["accuracy"]),
                f"{model['macro_f1']['mean']:.3f}",
                f"{model['gap']['mean']:+.3f}",
                f"{model['seconds']:,.0f}",
                f"{model['images_per_second']:,.0f}",
            )
            for name, model in models.items()
        ],
    )


def best_model(models: Mapping[str, Any]) -> str | None:
    """Name of the model with the highest mean held-out accuracy; None if no model finished a fold."""
    return max(models, key=lambda name: models[name]["accuracy"]["mean"], default=None)


def finished_folds(results: Results, name: str) -> str:
    """How far a model got: "5 folds", or "3 of 5 folds" after an interruption."""
    finished, planned = len(results["models"][name]["accuracy"]["folds"]), results["protocol"]["folds"]
    return f"{planned} folds" if finished == planned else f"{finished} of {planned} folds"


def mean_and_sd(spread: Mapping[str, Any], sign: str = "") -> str:
    """`0.588 ± 0.011`; the mean alone for a single fold, which has no spread; `sign` "+" shows both signs."""
    mean = f"{spread['mean']:{sign}.3f}"
    return f"{mean} ± {spread['std']:.3f}" if len(spread["folds"]) > 1 else mean


def duration(seconds: float) -> str:
    """`48 s`, `12 min 30 s` or `3 h 05 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def score(value: float | None) -> str:
    """0.123, or a sign for what is unknown."""
    return UNKNOWN if value is None else f"{value:.3f}"


def _mean_of_known(per_class: Mapping[str, Any], key: str) -> float | None:
    known = [scores[key] for scores in per_class.values() if scores[key] is not None]
    return statistics.fmean(known) if known else None
