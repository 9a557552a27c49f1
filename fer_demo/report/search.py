"""What a search shows: its trials, the best first, and a picture.

The results are plain dicts, lists, strings and numbers::

    trials  {number: {
                number, state ("complete", "pruned" if it was given up or has diverged, or "running"),
                choice: {recipe, rate, batch_size, depth, width}, see `fer_demo.search.space.Choice`,
                diverged (the error's message, or None), accuracy: [held out, one per epoch];
                and of those that have ended without diverging: learning_rate, widths, blocks, parameters,
                multiply_adds (of one image's forward pass), seconds}}
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from fer_demo.report.content import RESPONSIBLE_USE, UNKNOWN, TableContent
from fer_demo.report.results import Results
from fer_demo.report.tables import print_notice, print_parts, rich_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: What tells `search.json` from other files of results; see `fer_demo.report.read_results`.
KIND: dict[str, Any] = {"module": "fer_demo.search", "parts": ("protocol", "trials")}

Trial = dict[str, Any]
#: So many trials are printed.
_SHOWN = 15
#: An axis with more values than this shows only its ends' texts.
_ALL_SHOWN = 5
LUCK_SENTENCE = (
    "The best of many has had some luck on the faces that chose it: score it once on faces that chose "
    "nothing, such as PrivateTest."
)


def finished_trials(results: Results) -> list[Trial]:
    """Return the trials that were trained to the end, the most accurate first."""
    whole = [trial for trial in results["trials"].values() if trial["state"] == "complete"]
    return sorted(whole, key=lambda trial: -trial["accuracy"][-1])


def trial_table(results: Results) -> TableContent:
    """A row per trial: those trained to the end, the best first, then those given up."""
    given_up = [trial for trial in results["trials"].values() if trial["state"] == "pruned"]
    found = [*finished_trials(results), *given_up]
    hidden = f", {_SHOWN} of {len(found)}" if len(found) > _SHOWN else ""
    return TableContent(
        caption=f"Trials of {results['protocol']['model']}{hidden}",
        columns=("Trial", "Recipe", "Rate", "Batch", "Depth", "Width", "Numbers", "Epochs", "Accuracy"),
        rows=[_row(trial) for trial in found[:_SHOWN]],
    )


def _row(trial: Trial) -> tuple[str, ...]:
    choice, size, rate = trial["choice"], trial.get("parameters"), trial.get("learning_rate")
    return (
        str(trial["number"]),
        choice["recipe"],
        UNKNOWN if rate is None else f"{rate:.3g}",
        str(choice["batch_size"]),
        f"{choice['depth']:+d}",
        f"×{choice['width']:g}",
        UNKNOWN if size is None else f"{size / 1e6:.2f} M",
        str(len(trial["accuracy"])),
        "diverged" if trial["diverged"] else f"{trial['accuracy'][-1]:.4f}",
    )


def print_search(results: Results, console: Console) -> None:
    """Print the trials; all fits 80 columns and reads without colour."""
    print_notice(results["data"]["synthetic"], console)
    print_parts(console, rich_table(trial_table(results)))
    if best := next(iter(finished_trials(results)), None):
        network = ", ".join(f"{name} {tuple(best[name])}" for name in ("widths", "blocks"))
        print_parts(console, Text(f"Best: trial {best['number']}, {network}", style="bold"))
    print_parts(console, Text(LUCK_SENTENCE, style="dim"), Text(RESPONSIBLE_USE, style="dim"))


def save_picture(results: Results, out_dir: Path) -> Path:
    """Draw the search as `search.png`, and return its path."""
    from fer_demo.report.figures import save_all

    return save_all({"search": draw_search(results)}, out_dir)["search"]


def draw_search(results: Results) -> "Figure":
    """Return how the best accuracy grew with the trials and, below, what each trial had chosen.

    A line of the lower picture is a trial that was trained to the end: it goes through its choices, from
    least to greatest, and to its accuracy.
    """
    from fer_demo.report.figures import labelled
    from tinycnn.plot.figures import new_figure, tidy

    title = f"Search over {results['protocol']['model']}: accuracy on held-out faces"
    figure = labelled(new_figure(7.2, 6.2), title, results["data"]["synthetic"])
    upper, lower = figure.subplots(2, 1)
    _draw_history(upper, [*results["trials"].values()])
    _draw_choices(lower, finished_trials(results))
    for axes in (upper, lower):
        tidy(axes)
    return figure


def _draw_history(axes: "Axes", trials: Sequence[Trial]) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    from tinycnn.plot.figures import PALETTE

    styles: dict[str, dict[str, Any]] = {
        "complete": {"color": PALETTE[0], "label": "trained to the end"},
        "pruned": {"facecolors": "none", "edgecolors": PALETTE[1], "label": "given up early"},
    }
    for state, style in styles.items():
        some = [trial for trial in trials if trial["state"] == state and trial["accuracy"]]
        if some:
            axes.scatter([t["number"] for t in some], [t["accuracy"][-1] for t in some], **style)
    best, steps = -math.inf, []
    for trial in trials:
        if trial["state"] == "complete":
            best = max(best, trial["accuracy"][-1])
            steps.append((trial["number"], best))
    if steps:
        axes.step(*zip(*steps, strict=True), where="post", color=PALETTE[5], label="best so far")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False, fontsize=9)
    axes.set_xlabel("trial")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


#: The axes of the lower picture: what a trial's place on it is, and the text there.
_AXES: dict[str, tuple[Callable[[Trial], Any], Callable[[Trial], str]]] = {
    "recipe": (lambda trial: trial["choice"]["recipe"], lambda trial: trial["choice"]["recipe"]),
    "learning rate": (
        lambda trial: math.log(trial["choice"]["rate"]),
        lambda trial: f"×{trial['choice']['rate']:.2g}",
    ),
    "batch": (
        lambda trial: math.log(trial["choice"]["batch_size"]),
        lambda trial: str(trial["choice"]["batch_size"]),
    ),
    "depth": (lambda trial: trial["choice"]["depth"], lambda trial: f"{trial['choice']['depth']:+d}"),
    "width": (lambda trial: trial["choice"]["width"], lambda trial: f"×{trial['choice']['width']:g}"),
    "accuracy": (lambda trial: trial["accuracy"][-1], lambda trial: f"{trial['accuracy'][-1]:.1%}"),
}


def _draw_choices(axes: "Axes", best_first: Sequence[Trial]) -> None:
    """Parallel coordinates: the best trial's line thick, the others' thin."""
    from tinycnn.plot.figures import PALETTE

    heights = []
    for place, (value, text) in enumerate(_AXES.values()):
        values = [value(trial) for trial in best_first]
        heights.append(_scaled(values))
        texts = dict(zip(heights[-1], map(text, best_first), strict=True))
        for height in texts if len(texts) <= _ALL_SHOWN else (min(texts), max(texts)):
            axes.annotate(texts[height], (place, height), (4, 2), textcoords="offset points", fontsize=8)
    for rank, line in reversed([*enumerate(zip(*heights, strict=True))]):
        look: dict[str, Any] = (
            {"color": PALETTE[5], "linewidth": 2.5} if rank == 0 else {"color": PALETTE[0], "alpha": 0.3}
        )
        axes.plot(line, **look)
    axes.set_xticks(range(len(_AXES)), list(_AXES))
    axes.set_xlim(-0.1, len(_AXES) - 0.4)
    axes.set_ylim(-0.1, 1.1)
    axes.yaxis.set_visible(False)
    axes.grid(visible=True, axis="x", color="#dddddd")


def _scaled(values: Sequence[Any]) -> list[float]:
    """Return numbers from 0, the least value, to 1, the greatest; words have equal distances."""
    if any(isinstance(value, str) for value in values):
        words = sorted(set(values))
        values = [words.index(value) for value in values]
    low, high = min(values, default=0), max(values, default=0)
    return [0.5 if low == high else (value - low) / (high - low) for value in values]
