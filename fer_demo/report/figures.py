"""The results as pictures: what `tinycnn.plot` draws of any model, and what only faces have.

An inch takes 100 CSS pixels on the page, so that text of 10 points reads like the page's own.
"""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fer_demo.calibration import Reliability
from fer_demo.report.content import SYNTHETIC_TITLE
from fer_demo.report.faces import MISTAKES_GRID, draw_faces, draw_mistakes, surest_mistakes
from fer_demo.report.results import Results
from tinycnn import plot
from tinycnn.files import replace_file
from tinycnn.plot.figures import PALETTE, new_figure, tidy

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
            f"{name}: what each emotion was taken for, all folds",
            model["confusion"],
            list(model["per_class"]),
            synthetic,
        )
    for name, given in (probabilities or {}).items():
        figures[f"mistakes_{name}"] = mistakes(name, dataset_images, dataset_labels, given, synthetic)
    return save_all(figures, out_dir)


def save_all(figures: Mapping[str, Figure], out_dir: Path) -> dict[str, Path]:
    """Save figures by name as PNG into an existing folder; return their files by name."""
    paths = {name: out_dir / f"{name}.png" for name in figures}
    for name, figure in figures.items():
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=200)
        replace_file(paths[name], png.getvalue())
    return paths


def class_distribution(class_counts: Mapping[str, int], synthetic: bool) -> Figure:
    """Bars: how many images each emotion has."""
    total = sum(class_counts.values())
    figure = labelled(new_figure(7.2, 3.0), f"Images per emotion, {total:,} in all", synthetic)
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
    figure = plot.curves(history, labels=("training part, as it was trained", "held-out part"))
    return labelled(figure, f"{model}: loss and accuracy during training", synthetic)


def confusion(
    title: str, counts: Sequence[Sequence[int]], emotions: Sequence[str], synthetic: bool
) -> Figure:
    """Confusion matrix: in each row, where the faces of one true emotion went.

    Args:
        title: stands above it.
        counts: (K, K), rows true, columns predicted; colour shows the share of the row.
        emotions: K names.
        synthetic: whether the faces were drawn by a program.
    """
    return labelled(plot.confusion_matrix(counts, emotions), title, synthetic)


def reliability_diagram(title: str, found: Reliability, synthetic: bool) -> Figure:
    """How often a model was right, by how sure it was; a bar that ends on the diagonal is honest.

    Below, how many faces are in each bin: what a bar above stands on.
    """
    figure = labelled(new_figure(7.2, 5.6), title, synthetic)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    width = 1 / len(found.count)
    centres = (np.arange(len(found.count)) + 0.5) * width
    upper.bar(centres, found.accuracy, 0.92 * width, color=PALETTE[0], label="share that was right")
    upper.plot([0, 1], [0, 1], "--", color=PALETTE[5], linewidth=1.8, label="as sure as right")
    upper.set_ylabel("right")
    upper.set_ylim(0, 1)
    upper.legend(loc="upper left", frameon=False)
    lower.bar(centres, found.count, 0.92 * width, color=_QUIET)
    lower.set_ylabel("faces")
    lower.set_xlabel("probability of the predicted emotion")
    lower.set_xlim(0, 1)
    lower.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    upper.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    lower.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    for axes in (upper, lower):
        tidy(axes)
    return figure


def f1_comparison(
    models: Mapping[str, Any], synthetic: bool, title: str = "F-score per emotion, mean over the folds"
) -> Figure:
    """Grouped bars: every model's F-score on each emotion; no bar where it is unknown."""
    figure = labelled(new_figure(7.2, 3.4), title, synthetic)
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
    tidy(axes)
    return figure


def sample_faces(images: np.ndarray, labels: np.ndarray, synthetic: bool) -> Figure:
    """Some faces of each emotion; `images` is uint8, (N, 48, 48, 1), and `labels` integers, (N,)."""
    figure = labelled(new_figure(7.2, 4.6), "Sample faces of each emotion", synthetic)
    draw_faces(figure.subplots(), images, labels)
    return figure


def mistakes(
    model: str, images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, synthetic: bool
) -> Figure:
    """The mistakes that a model was surest of; arrays as in `save_figures`."""
    surest = surest_mistakes(labels, probabilities)
    height = 0.5 + 1.65 * max(1, math.ceil(len(surest) / MISTAKES_GRID[1]))
    figure = labelled(new_figure(7.2, height), f"{model}: most confident mistakes", synthetic)
    if len(surest):
        draw_mistakes(figure, images[surest], labels[surest], probabilities[surest])
    return figure


def labelled(figure: Figure, title: str, synthetic: bool) -> Figure:
    """Give a figure a title, and a loud notice on synthetic faces."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, weight="bold", parse_math=False)
    if synthetic:
        figure.supxlabel(f" {SYNTHETIC_TITLE} ", fontsize=10, weight="bold", backgroundcolor=_WARNING)
    return figure
