"""The pictures of the reproduction, and faces with what variants of a training say of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fer_demo.data.dataset import EMOTIONS
from fer_demo.report.faces import show_face
from fer_demo.report.figures import (
    class_distribution,
    confusion,
    f1_comparison,
    labelled,
    training_curves,
)
from fer_demo.report.results import Results
from tinycnn.plot.figures import PALETTE, new_figure, tidy


def paper_figures(results: Results, images: np.ndarray) -> dict[str, Figure]:
    """Return the figures that the sections name, of those sections that are there.

    Args:
        results: as `fer_demo.report.paper` describes them.
        images: uint8, (N, 48, 48, 1), the data set.
    """
    found, synthetic = results["sections"], results["data"]["synthetic"]
    figures = {}
    if "data" in found:
        figures["class_distribution"] = class_distribution(found["data"]["class_counts"], synthetic)
    if "folds" in found:
        figures["f1_folds"] = f1_comparison(found["folds"]["models"], synthetic)
    if "full" in found:
        models = found["full"]["models"]
        title = "F-score per emotion, after the long training"
        figures["f1_full"] = f1_comparison(models, synthetic, title)
        for name, model in models.items():
            taken_for = f"{name}: what each emotion was taken for"
            emotions = list(model["per_class"])
            figures[f"confusion_{name}"] = confusion(taken_for, model["confusion"], emotions, synthetic)
            figures[f"curves_{name}"] = training_curves(name, [model["history"]], synthetic)
    if found.get("augmentation", {}).get("faces"):
        section = found["augmentation"]
        figures["disgust"] = faces_and_bars(section["faces"], section["variants"], images, synthetic)
    return figures


def faces_and_bars(
    faces: Sequence[Mapping[str, Any]], variants: Mapping[str, Any], images: np.ndarray, synthetic: bool
) -> Figure:
    """Each face, and beside it the probability that every variant gives each emotion.

    Args:
        faces: as `fer_demo.report.ablation` describes them, at least one.
        variants: likewise.
        images: uint8, (N, 48, 48, 1), the data set.
        synthetic: whether the faces were drawn by a program.
    """
    height = 0.9 + 2.0 * len(faces)
    title = f"Faces of {faces[0]['emotion']}, and what the variants say"
    figure = labelled(new_figure(7.2, height), title, synthetic)
    grid = figure.subplots(len(faces), 2, squeeze=False, width_ratios=(1, 3))
    width = 0.8 / len(variants)
    for (picture, bars), face in zip(grid, faces, strict=True):
        show_face(picture, images[face["index"]])
        for number, (name, given) in enumerate(face["probabilities"].items()):
            places = np.arange(len(EMOTIONS)) + (number - (len(variants) - 1) / 2) * width
            colour = PALETTE[number % len(PALETTE)]
            bars.bar(places, given, 0.92 * width, label=variants[name]["says"], color=colour)
        bars.set_xticks(range(len(EMOTIONS)), EMOTIONS)
        bars.set_ylim(0, 1)
        bars.tick_params(axis="x", length=0)
        tidy(bars)
    grid[0, 1].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=8)
    return figure
