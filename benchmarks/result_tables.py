"""The tables of `docs/results.md`, from what `benchmarks.record` has collected in `docs/results/`."""

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from benchmarks.markdown import Row, table
from fer_demo.metrics import over_seeds
from fer_demo.report.ablation import ablation_tables
from fer_demo.report.content import PRINTED, TableContent
from fer_demo.report.paper import paper_sections

RESULTS = Path(__file__).parents[1] / "docs" / "results"
UNKNOWN = "–"


def _trainings(rows: list[Row]) -> str:
    """A row per recipe: its seeds belong together."""
    heads = ["no.", "model", "recipe", "scored on", "trained numbers", "epochs", "batch", "seeds"]
    heads += ["accuracy, mean ± sd", "95 % interval", "mirror image too", "macro F1", "training part"]
    heads += ["minutes"]
    lines, commands = [], ["```sh\n"]
    groups = defaultdict[str, list[Row]](list)
    for row in rows:
        groups[_without_seed(row)].append(row)
    for number, group in enumerate(groups.values(), 1):
        group.sort(key=lambda row: row["seed"])
        first = group[0]
        accuracy = over_seeds([row["accuracy"] for row in group])
        cells = [str(number), f"`{first['model']}`", _recipe(first), first["validation"]]
        cells += [f"{first['parameters']:,}", str(first["epochs"]), str(first["batch_size"])]
        cells += [", ".join(str(row["seed"]) for row in group), _spread(accuracy), _interval(accuracy)]
        cells += [_mean(group, score) for score in ("flip_accuracy", "macro_f1", "train_accuracy")]
        cells += [f"{sum(row['seconds'] for row in group) / len(group) / 60:,.0f}"]
        lines.append(cells)
        commands.append(_command(number, first))
    return "\n".join([table(heads, lines, words=4), "".join([*commands, "```\n"]), _sources(rows)])


def _folds(rows: list[Row]) -> str:
    """A row per cross-validation of a model."""
    heads = ["no.", "model", "recipe", "copies", "trained numbers", "epochs", "batch", "seed"]
    heads += ["accuracy, mean ± sd", "macro F1", "training part", "printed in the paper", "minutes"]
    lines, commands = [], ["```sh\n"]
    for number, row in enumerate(rows, 1):
        cells = [str(number), f"`{row['model']}`", _recipe(row)]
        cells += ["in one fold" if row["keep_copies_together"] else "anywhere", f"{row['parameters']:,}"]
        cells += [str(row["epochs"]), str(row["batch_size"]), str(row["seed"]), _spread(row["accuracy"])]
        cells += [_spread(row["macro_f1"]), _spread(row["train_accuracy"])]
        cells += [_share(PRINTED["folds"].get(row["model"])), f"{row['seconds'] / 60:,.0f}"]
        lines.append(cells)
        commands.append(_command(number, row))
    return "\n".join([table(heads, lines, words=4), "".join([*commands, "```\n"]), _sources(rows)])


def _search(rows: list[Row]) -> str:
    """A row per thing tried, the best of each model first and what failed last."""
    best_first = sorted(rows, key=lambda row: (row["model"], row["epochs"], -(row["accuracy"] or -math.inf)))
    heads = ["model", "recipe", "changed", "note", "scored on", "epochs", "batch", "accuracy"]
    heads += ["mirror image too", "training part", "minutes"]
    lines = []
    for row in best_first:
        cells = [f"`{row['model']}`", row["recipe"], row["changes"] or "", row["note"] or ""]
        cells += [row["scored_on"] or UNKNOWN, str(row["epochs"]), str(row["batch_size"] or UNKNOWN)]
        cells += ["failed" if row["accuracy"] is None else _share(row["accuracy"])]
        cells += [_share(row["flip_accuracy"]), _share(row["train_accuracy"])]
        cells += [UNKNOWN if row["seconds"] is None else f"{row['seconds'] / 60:,.0f}"]
        lines.append([cell.replace("|", r"\|") for cell in cells])
    return table(heads, lines, words=5)


def _ablation(rows: list[Row]) -> str:
    """For each ablation, scores and differences of its variants, and what its first faces were given."""
    parts = []
    for row in rows:
        seeds = "1 seed" if row["seeds"] == 1 else f"{row['seeds']} seeds"
        about = f"`{row['model']}`, recipe {row['recipe']}, epochs: {row['epochs']}, {seeds}, "
        parts.append(f"**{about}{row['data']['name']}, scored on {row['validation']}.**\n")
        parts += [_content(found) for found in ablation_tables(row)]
        parts.append(f"```sh\n{row['command']}```\n")
    return "\n".join([*parts, _sources(rows)])


def _paper(rows: list[Row]) -> str:
    """The sections of the reproduction that were run."""
    parts = []
    for row in rows:
        shown = {**row, "data": {**row["data"], "synthetic": False}}
        for section in paper_sections(shown):
            if section.tables:
                parts.append(f"### {section.title}\n")
                parts += [f"{paragraph}\n" for paragraph in section.text]
                parts += [_content(found) for found in section.tables]
    return "\n".join([*parts, _sources(rows)])


def _without_seed(row: Row) -> str:
    measured = ("seed", "accuracy", "macro_f1", "flip_accuracy", "train_accuracy", "seconds", "environment")
    left_out = (*measured, "command", "details")
    return json.dumps({name: value for name, value in row.items() if name not in left_out} | _own_recipe(row))


def _own_recipe(row: Row) -> Row:
    """What the recipe says of this model: whatever it says of others, trainings of it are alike."""

    def own(part: re.Match[str]) -> str:
        return part[0] if part[1] == "dropout" and f"'{row['model']}'" in part[0] else ""

    # Its own learning rate is a field of the row.
    return {"details": re.sub(r", (learning_rates|dropout)=\{[^}]*\}", own, row["details"] or "")}


def _command(number: int, row: Row) -> str:
    commit = row["environment"]["commit"]
    return f"# {number}{f', commit {commit[:10]}' if commit else ''}\n{row['command']}"


def _recipe(row: Row) -> str:
    teacher = row.get("teacher") or {}
    more = f", teacher {teacher['share']:g}" if teacher else ""
    if teacher.get("temperature", 1) != 1:  # older results do not say it: it was 1 always
        more += f" at temperature {teacher['temperature']:g}"
    return f"{row['recipe']}, rate {row['learning_rate']:.3g}{more}{', extra faces' if row['extra'] else ''}"


def _spread(spread: Row) -> str:
    values = spread.get("seeds") or spread["folds"]
    return f"{spread['mean']:.4f} ± {spread['std']:.4f}" if len(values) > 1 else f"{spread['mean']:.4f}"


def _interval(spread: Row) -> str:
    return UNKNOWN if spread["interval"] is None else "{:.4f} to {:.4f}".format(*spread["interval"])


def _mean(rows: list[Row], score: str) -> str:
    values = [row[score] for row in rows]
    return UNKNOWN if None in values else f"{sum(values) / len(values):.4f}"


def _share(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.4f}"


def _content(content: TableContent) -> str:
    """A table of a report, its caption above the first column."""
    rows = [*content.rows, *([content.summary] if content.summary else [])]
    return table([content.caption, *content.columns[1:]], rows)


def _sources(rows: list[Row]) -> str:
    """Which data and machines the rows are of."""
    data = sorted({(row["data"]["name"], row["data"]["sha256"]) for row in rows})
    machines = sorted({_machine(row["environment"]) for row in rows})
    files = "; ".join(f"{name}, SHA-256 `{sha256}`" for name, sha256 in data)
    return f"{files}. {'; '.join(machines)}.\n"


def _machine(environment: Row) -> str:
    return "{cpu}, {cores} cores, NumPy {numpy}, numba {numba}".format(**environment)


def _shown(make: Callable[[list[Row]], str]) -> Callable[[Row], str]:
    """Say so where nothing is recorded."""
    return lambda result: make(result["rows"]) if result["rows"] else "Nothing is recorded yet.\n"


#: How each file of `docs/results/` is shown.
TABLES: dict[str, Callable[[Row], str]] = {
    "trainings": _shown(_trainings),
    "folds": _shown(_folds),
    "search": _shown(_search),
    "ablation": _shown(_ablation),
    "paper": _shown(_paper),
}
