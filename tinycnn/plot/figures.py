"""Curves of a training, and confusion matrices."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from tinycnn.checks import check_flag, refuse
from tinycnn.errors import ConfigError, ShapeError
from tinycnn.optional import optional
from tinycnn.run import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours that remain apart for the colour-blind (Okabe and Ito, 2008, "Color universal design").
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")

_TRAINING, _VALIDATION = PALETTE[0], PALETTE[5]


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty white figure, inches wide and high, that lays itself out.

    Raises:
        MissingPackageError: Matplotlib is not installed.
    """
    engine = optional("matplotlib.layout_engine", "plot").ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    figure_class = optional("matplotlib.figure", "plot").Figure
    return figure_class(figsize=(width, height), layout=engine, facecolor="white")


def curves(
    history: History | Mapping[str, Any] | Sequence[History | Mapping[str, Any]],
    labels: tuple[str, str] = ("training", "validation"),
) -> "Figure":
    """Draw loss (nats) and accuracy after each epoch; the validation's dashed, if there are any.

    Args:
        history: what `fit` returned; or a mapping with the lists `loss` and `accuracy`, and perhaps
            `val_loss` and `val_accuracy`, where None leaves a gap; or a list of either, such as one per fold:
            each is drawn thin then, and their mean over the epochs that all reached is drawn thick.
        labels: of the two kinds of curves.

    Raises:
        ConfigError: there is no history, or something else.
        MissingPackageError: Matplotlib is not installed.

    >>> history = tc.History(loss=[0.9, 0.4], accuracy=[0.5, 0.8])
    >>> curves(history).savefig("curves.png")
    """
    runs = [_measures(run) for run in (history if isinstance(history, Sequence) else [history])]
    if not runs:
        raise ConfigError("curves: expected at least one history, found none")
    figure = new_figure(7.2, 3.6)
    axes_of_both = figure.subplots(1, 2)
    for axes, measure in zip(axes_of_both, ("loss", "accuracy"), strict=True):
        _draw(axes, [run[measure] for run in runs], _TRAINING, "-", labels[0])
        held_out = [run.get(f"val_{measure}", []) for run in runs]
        if any(values is not None and len(values) for values in held_out):
            _draw(axes, held_out, _VALIDATION, "--", labels[1])
        axes.set_xlabel("epoch")
        axes.set_title(measure, fontsize=10, loc="left")
        axes.xaxis.set_major_locator(optional("matplotlib.ticker", "plot").MaxNLocator(integer=True))
        tidy(axes)
    percent = optional("matplotlib.ticker", "plot").PercentFormatter(1, decimals=0)
    axes_of_both[1].yaxis.set_major_formatter(percent)
    title = "thin: one run, thick: mean" if len(runs) > 1 else None
    axes_of_both[0].legend(title=title, frameon=False, handlelength=3.5, fontsize=9, title_fontsize=9)
    return figure


def _measures(run: History | Mapping[str, Any]) -> Mapping[str, Any]:
    found = asdict(run) if isinstance(run, History) else run
    if not isinstance(found, Mapping) or not {"loss", "accuracy"} <= found.keys():
        refuse("history", run, "what fit returned, or a mapping with the lists loss and accuracy")
    return found


def _draw(axes: "Axes", runs: Sequence[Sequence[float | None]], colour: str, style: str, label: str) -> None:
    """Draw a measure of every run, and its mean over the epochs that all reached; None leaves a gap."""
    lines = [np.array(run, float) for run in runs]
    if len(lines) > 1:
        for line in lines:
            axes.plot(np.arange(1, len(line) + 1), line, style, color=colour, linewidth=0.7, alpha=0.45)
    shared = min(map(len, lines))
    mean = np.mean([line[:shared] for line in lines], axis=0)
    epochs = np.arange(1, shared + 1)
    axes.plot(epochs, mean, style, color=colour, linewidth=2.2, marker="o", markersize=4, label=label)


def tidy(axes: "Axes") -> None:
    """Leave of the frame only what helps to read values."""
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def confusion_matrix(
    counts: np.ndarray | Sequence[Sequence[int]], labels: Sequence[str], normalise: bool = True
) -> "Figure":
    """Draw a confusion matrix: in each row, where the samples of one true class went.

    Args:
        counts: (K, K), at least 0; rows are true classes, columns predicted ones.
        labels: K names.
        normalise: show each number as the share of its row, with the count below it; or the counts alone.

    Raises:
        ShapeError: counts are not (K, K), or there are not K names.
        ConfigError: a count is no whole number, or negative.
        MissingPackageError: Matplotlib is not installed.

    >>> figure = confusion_matrix([[8, 2], [1, 9]], labels=["cat", "dog"])
    >>> figure.savefig("confusion.png")
    """
    check_flag(normalise=normalise)
    table = np.asarray(counts)
    if table.ndim != 2 or table.shape != (len(labels), len(labels)):
        raise ShapeError(
            f"confusion_matrix: expected counts (K, K) and K names, found {table.shape} and {len(labels)}"
        )
    if table.dtype.kind not in "iu" or np.any(table < 0):
        raise ConfigError(f"confusion_matrix: found {table.tolist()}: expected counts of at least 0")
    totals = table.sum(axis=1, keepdims=True) if normalise else table.max(initial=1)
    shades = np.divide(table, totals, out=np.zeros(table.shape), where=totals > 0)
    figure = new_figure(1.4 + 0.83 * len(labels), 1.0 + 0.83 * len(labels))
    axes = figure.subplots()
    axes.imshow(shades, cmap="Blues", vmin=0, vmax=1)
    for place, shade in np.ndenumerate(shades):
        _write(axes, place, int(table[place]), shade, normalise)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels)
    for text in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        text.set_parse_math(False)  # a name may have a $
    axes.set_xlabel("predicted (share of the row, and count)" if normalise else "predicted")
    axes.set_ylabel("true")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _write(axes: "Axes", place: tuple[int, ...], count: int, shade: float, normalise: bool) -> None:
    """Write a cell's share and count, or its count alone."""
    row, column = place
    colour = "white" if shade > 0.65 else "black"
    weight = "bold" if row == column else "normal"
    if not normalise:
        axes.annotate(f"{count:,}", (column, row), ha="center", va="center", color=colour, weight=weight)
        return
    axes.annotate(f"{shade:.0%}", (column, row), ha="center", va="bottom", color=colour, weight=weight)
    axes.annotate(f"\n{count:,}", (column, row), ha="center", va="center", color=colour, fontsize=8)
