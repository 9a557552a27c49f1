"""The results as pictures.

Matplotlib's object interface throughout, never pyplot: no window, no state shared between threads. An inch
takes 100 CSS pixels on the page, so that text of 10 points reads like the page's own.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fer_demo.report.content import SYNTHETIC_TITLE
from fer_demo.report.faces import draw_faces, draw_mistakes
from fer_demo.report.results import Results
from tinycnn.files import replace_file

#: Colours that remain apart for the colour-blind (Okabe and Ito, 2008, "Color universal design").
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")

_TRAINING, _HELD_OUT = PALETTE[0], PALETTE[5]
_QUIET = "#555555"
_WARNING = "#F0E442"


def save_figures(
    results: Results,
    dataset_images: np.ndarray,
    dataset_labels: np.ndarray,
    out_dir: Path,
    probabilities: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Path]:
    """Draw everything and save it as PNG.

    Args:
        results: as `fer_demo.report.results` describes them; models and folds may be missing.
        dataset_images: uint8, (N, 48, 48, 1).
        dataset_labels: integers, (N,), indices into `EMOTIONS`.
        out_dir: an existing folder.
        probabilities: per model, float, (N, 7): what it gave each image while that was held out, NaN for
            images of folds that did not finish. Without it there is no picture of mistakes.

    Returns:
        Figure's name -> file: `class_distribution`, `samples`, `f1_comparison`, and for every model
        `curves_<model>`, `confusion_<model>` and, if it has probabilities, `mistakes_<model>`.
    """
    synthetic, models = results["data"]["synthetic"], results["models"]
    figures = {
        "class_distribution": class_distribution(results["data"]["class_counts"], synthetic),
        "samples": sample_faces(dataset_images, dataset_labels, synthetic),
    }
    if models:
        figures["f1_comparison"] = f1_comparison(models, synthetic)
    for name, model in models.items():
        figures[f"curves_{name}"] = training_curves(name, model["history"], synthetic)
        figures[f"confusion_{name}"] = confusion(
            name, model["confusion"], list(model["per_class"]), synthetic
        )
    for name, given in (probabilities or {}).items():
        figures[f"mistakes_{name}"] = mistakes(name, dataset_images, dataset_labels, given, synthetic)
    paths = {name: out_dir / f"{name}.png" for name in figures}
    for name, figure in figures.items():
        png = io.BytesIO()
        figure.savefig(png, format="png")
        replace_file(paths[name], png.getvalue())
    return paths


def class_distribution(class_counts: Mapping[str, int], synthetic: bool) -> Figure:
    """Bars: how many images each emotion has."""
    total = sum(class_counts.values())
    figure = _new_figure(f"Images per emotion, {total:,} in all", 7.2, 3.0, synthetic)
    axes = figure.subplots()
    bars = axes.barh(list(class_counts), list(class_counts.values()), color=PALETTE[0], height=0.7)
    texts = [f"{count:,}  ({count / max(total, 1):.1%})" for count in class_counts.values()]
    axes.bar_label(bars, labels=texts, padding=5, color=_QUIET)
    axes.invert_yaxis()  # the first emotion on top
    axes.margins(x=0.18)  # room for the longest bar's text
    axes.xaxis.set_visible(False)
    axes.tick_params(left=False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    return figure


def training_curves(model: str, history: Sequence[Mapping[str, Any]], synthetic: bool) -> Figure:
    """Loss and accuracy after each epoch: every fold thin, their mean thick, held-out dashed.

    Args:
        model: its name, for the title.
        history: one entry per fold: `loss`, `accuracy`, `val_loss`, `val_accuracy`, each a number per epoch.
        synthetic: whether the faces were drawn by a program.
    """
    figure = _new_figure(f"{model}: loss and accuracy during training", 7.2, 3.6, synthetic)
    axes_of_both = figure.subplots(1, 2)
    for axes, measure in zip(axes_of_both, ("loss", "accuracy"), strict=True):
        _draw_curves(
            axes, [fold[measure] for fold in history], _TRAINING, "-", "training part, as it was trained"
        )
        _draw_curves(axes, [fold[f"val_{measure}"] for fold in history], _HELD_OUT, "--", "held-out part")
        axes.set_xlabel("epoch")
        axes.set_title(measure, fontsize=10, loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _tidy(axes)
    axes_of_both[1].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes_of_both[0].legend(
        title="thin: a fold, thick: mean", frameon=False, handlelength=3.5, fontsize=9, title_fontsize=9
    )
    return figure


def confusion(
    model: str, counts: Sequence[Sequence[int]], emotions: Sequence[str], synthetic: bool
) -> Figure:
    """Confusion matrix: in each row, where the faces of one true emotion went.

    Args:
        model: its name, for the title.
        counts: (K, K), rows true, columns predicted; colour shows the share of the row.
        emotions: K names.
        synthetic: whether the faces were drawn by a program.
    """
    table = np.asarray(counts)
    totals = table.sum(axis=1, keepdims=True)
    shares = np.divide(table, totals, out=np.zeros(table.shape), where=totals > 0)
    figure = _new_figure(f"{model}: what each emotion was taken for, all folds", 7.2, 6.8, synthetic)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.65 else "black"
        weight = "bold" if row == column else "normal"
        axes.annotate(f"{share:.0%}", (column, row), ha="center", va="bottom", color=colour, weight=weight)
        axes.annotate(
            f"\n{table[row, column]:,}", (column, row), ha="center", va="center", color=colour, fontsize=8
        )
    axes.set_xticks(range(len(emotions)), emotions)
    axes.set_yticks(range(len(emotions)), emotions)
    axes.set_xlabel("predicted (share of the row, and count)")
    axes.set_ylabel("true")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def f1_comparison(models: Mapping[str, Any], synthetic: bool) -> Figure:
    """Grouped bars: every model's F-score on each emotion; no bar where it is unknown."""
    figure = _new_figure("F-score per emotion, mean over the folds", 7.2, 3.4, synthetic)
    axes = figure.subplots()
    width = 0.8 / len(models)
    for number, (name, model) in enumerate(models.items()):
        scores = np.array([scores["f1"] for scores in model["per_class"].values()], float)
        centres = np.arange(len(scores)) + (number - (len(models) - 1) / 2) * width
        axes.bar(centres, scores, 0.92 * width, label=name, color=PALETTE[number % len(PALETTE)])
        axes.set_xticks(range(len(scores)), list(model["per_class"]))
    axes.set_ylim(0, 1)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(models), frameon=False)
    axes.tick_params(axis="x", length=0)
    _tidy(axes)
    return figure


def sample_faces(images: np.ndarray, labels: np.ndarray, synthetic: bool) -> Figure:
    """Some faces of each emotion; `images` is uint8, (N, 48, 48, 1), and `labels` integers, (N,)."""
    figure = _new_figure("Sample faces of each emotion", 7.2, 4.6, synthetic)
    draw_faces(figure.subplots(), images, labels)
    return figure


def mistakes(
    model: str, images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, synthetic: bool
) -> Figure:
    """The mistakes that a model was surest of; arrays as in `save_figures`."""
    figure = _new_figure(f"{model}: most confident mistakes", 7.2, 3.8, synthetic)
    draw_mistakes(figure, images, labels, probabilities)
    return figure


def _new_figure(title: str, width: float, height: float, synthetic: bool) -> Figure:
    """An empty white figure, inches wide and high, with a title, and a loud notice on synthetic faces."""
    figure = Figure(
        figsize=(width, height),
        dpi=200,
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08),
        facecolor="white",
    )
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, weight="bold")
    if synthetic:
        figure.supxlabel(f" {SYNTHETIC_TITLE} ", fontsize=10, weight="bold", backgroundcolor=_WARNING)
    return figure


def _draw_curves(
    axes: Axes, folds: Sequence[Sequence[float | None]], colour: str, style: str, label: str
) -> None:
    """Draw a measure of every fold, and its mean over the epochs that all reached; None leaves a gap."""
    curves = [np.array(fold, float) for fold in folds]
    for curve in curves:
        axes.plot(np.arange(1, len(curve) + 1), curve, style, color=colour, linewidth=0.7, alpha=0.45)
    shared = min(map(len, curves), default=0)
    mean = np.mean([curve[:shared] for curve in curves], axis=0)
    axes.plot(
        np.arange(1, shared + 1),
        mean,
        style,
        color=colour,
        linewidth=2.2,
        marker="o",
        markersize=4,
        label=label,
    )


def _tidy(axes: Axes) -> None:
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
