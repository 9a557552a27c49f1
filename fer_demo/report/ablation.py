"""What an ablation shows: what each change of a recipe does, over several seeds.

The results are plain dicts, lists, strings and numbers, see `fer_demo.ablation.plan.summarise`; OVER_SEEDS is
{"mean", "std", "interval": [low, high] or None, "seeds": [one per seed]}, as `fer_demo.metrics.over_seeds`
makes it::

    variants  {name: {
                  says (what is changed), recipe (every choice), seconds, extra_left_out (faces),
                  accuracy, macro_f1, disgust_recall (None if no such face was held out): OVER_SEEDS,
                  difference: {the same three: OVER_SEEDS, each seed minus the same seed's baseline}}}
    faces     [{index (row of the data set, from 0), emotion, probabilities: {variant: [one per emotion,
                  mean over seeds]}}]
"""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from fer_demo.ablation.variants import BASELINE
from fer_demo.data.dataset import EMOTIONS
from fer_demo.report.content import RESPONSIBLE_USE, UNKNOWN, TableContent
from fer_demo.report.results import Results
from fer_demo.report.tables import print_notice, print_parts, rich_table

#: What tells `ablation.json` from other files of results; see `fer_demo.report.read_results`.
KIND: dict[str, Any] = {"module": "fer_demo.ablation", "parts": ("protocol", "variants")}

INTERVAL_SENTENCE = (
    "Each seed of a variant is compared with the same seed of the baseline. The 95 % interval, by Student's "
    "t, tells what other seeds might have given; where it contains 0, the change may have done nothing."
)
_SCORES = {"accuracy": "Accuracy", "macro_f1": "Macro F1", "disgust_recall": "Disgust recall"}


def score_table(variants: Mapping[str, Any]) -> TableContent:
    """A row per variant: mean ± sd of its scores over the seeds."""
    return TableContent(
        caption="Held-out scores, mean ± sd over the seeds",
        columns=("Variant", *_SCORES.values()),
        rows=[
            (entry["says"], *(_mean_and_sd(entry[score]) for score in _SCORES)) for entry in variants.values()
        ],
    )


def difference_table(variants: Mapping[str, Any]) -> TableContent:
    """A row per variant but the baseline: by how much each score differs, with its interval."""
    return TableContent(
        caption="Difference from the baseline, with its 95 % interval",
        columns=("Variant", *_SCORES.values()),
        rows=[
            (entry["says"], *(_with_interval(entry["difference"][score]) for score in _SCORES))
            for name, entry in variants.items()
            if name != BASELINE
        ],
    )


def face_table(face: Mapping[str, Any], variants: Mapping[str, Any]) -> TableContent:
    """A row per variant: the probability that it gives each emotion in one held-out face."""
    return TableContent(
        caption=f"Probabilities for face {face['index']} of the data, labelled {face['emotion']}",
        columns=("Variant", *EMOTIONS),
        rows=[
            (variants[name]["says"], *(f"{value:.2f}" for value in given))
            for name, given in face["probabilities"].items()
        ],
    )


def ablation_tables(results: Results) -> list[TableContent]:
    """All tables, given `variants` and `faces`."""
    variants = results["variants"]
    compared = [difference_table(variants)] if len(variants) > 1 else []
    return [score_table(variants), *compared, *(face_table(face, variants) for face in results["faces"])]


def print_ablation(results: Results, console: Console) -> None:
    """Print the tables; all fits 80 columns and reads without colour."""
    print_notice(results["data"]["synthetic"], console)
    if results["variants"]:
        print_parts(console, *map(rich_table, ablation_tables(results)), Text(INTERVAL_SENTENCE, style="dim"))
    print_parts(console, Text(RESPONSIBLE_USE, style="dim"))


def _mean_and_sd(spread: Mapping[str, Any] | None) -> str:
    if spread is None:
        return UNKNOWN
    mean = f"{spread['mean']:.3f}"
    return mean if spread["interval"] is None else f"{mean} ± {spread['std']:.3f}"


def _with_interval(spread: Mapping[str, Any] | None) -> str:
    if spread is None:
        return UNKNOWN
    mean = f"{spread['mean']:+.3f}"
    if spread["interval"] is None:
        return mean
    low, high = spread["interval"]
    return f"{mean} [{low:+.3f}, {high:+.3f}]"
