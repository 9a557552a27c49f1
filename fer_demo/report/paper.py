"""What the reproduction of the paper shows: its sections, each beside what the paper prints.

`paper.json` holds plain dicts, lists, strings and numbers::

    protocol     recipe, details, epochs, full_epochs, batch_size, seed, backend
    data, environment  as in `fer_demo.report.results`
    sections     {name: what the function of that name in `fer_demo.paper.sections.SECTIONS` returns}
    finished     whether all sections that were asked for are there, and the page is written
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from fer_demo.report.ablation import INTERVAL_SENTENCE, ablation_tables
from fer_demo.report.content import (
    PRINTED,
    RESPONSIBLE_USE,
    UNKNOWN,
    TableContent,
    confusion_table,
    duration,
    emotion_table,
    mean_and_sd,
    score,
)
from fer_demo.report.results import Results
from fer_demo.report.tables import print_notice, print_parts, rich_table

#: What tells `paper.json` from other files of results; see `fer_demo.report.read_results`.
KIND: dict[str, Any] = {"module": "fer_demo.paper", "parts": ("protocol", "sections")}

ABSTRACT = (
    "The paper's abstract claims 75.7 %. None of its tables contains that number, so there is nothing to "
    "compare it with."
)
STAND_IN = (
    "There is no set of new photographs (--photos), so the data's own held-out part stands in: it is like "
    "the training faces, and its score is not comparable with the paper's."
)
NOTHING = "Not run: --sections {}."


@dataclass(frozen=True)
class Section:
    """One section, before it has a look.

    Attributes:
        title: its heading.
        text: paragraphs.
        tables: what follows them.
        pictures: (name, what it shows in words) of those that follow the tables on the page.
    """

    title: str
    text: list[str]
    tables: list[TableContent] = field(default_factory=list)
    pictures: list[tuple[str, str]] = field(default_factory=list)


def paper_sections(results: Results) -> list[Section]:
    """Return all sections in the paper's order; those that were not run say so."""
    found = results["sections"]
    builders = {"data": _data, "folds": _folds, "full": _full, "augmentation": _augmentation}
    sections = {
        name: build(found[name], results) if name in found else _not_run(name)
        for name, build in builders.items()
    }
    order = (sections["data"], sections["folds"], sections["full"], _comparison(found))
    return [*order, sections["augmentation"]]


def print_paper(results: Results, console: Console) -> None:
    """Print all sections; all fits 80 columns and reads without colour."""
    print_notice(results["data"]["synthetic"], console)
    for section in paper_sections(results):
        print_parts(console, Text(section.title, style="bold"), *map(Text, section.text))
        print_parts(console, *map(rich_table, section.tables))
    print_parts(console, Text(ABSTRACT), Text(RESPONSIBLE_USE, style="dim"))


def write_paper(results: Results, images: np.ndarray, out_dir: Path) -> Path:
    """Draw the pictures and write `paper.html`; return its path.

    Args:
        results: as above.
        images: uint8, (N, 48, 48, 1), the data set.
        out_dir: an existing folder.
    """
    # Matplotlib and Jinja2 take a second to load, for which those who are interrupted shall not wait.
    from fer_demo.report.figures import save_all
    from fer_demo.report.html import write_page
    from fer_demo.report.paper_figures import paper_figures

    figures = save_all(paper_figures(results, images), out_dir)
    more = {"sections": paper_sections(results), "abstract": ABSTRACT}
    return write_page("paper.html.j2", results, figures, out_dir / "paper.html", **more)


_TITLES = {
    "data": "1  The data",
    "folds": "2  Five folds, epochs: {epochs}",
    "full": "3  The full training set, epochs: {full_epochs}",
    "augmentation": "5  Augmentation, and more faces of disgust",
}


def _not_run(name: str) -> Section:
    title = _TITLES[name].split(",")[0]
    return Section(title, [NOTHING.format(name)])


def _data(section: Mapping[str, Any], results: Results) -> Section:
    counts = section["class_counts"]
    total = sum(counts.values())
    rows = [(name, f"{count:,}", f"{count / total:.1%}") for name, count in counts.items()]
    table = TableContent(
        "Images per emotion", ("Emotion", "Images", "Share"), rows, ("all", f"{total:,}", "")
    )
    text = f"{results['data']['name']}, SHA-256 {results['data']['sha256']}."
    return Section(
        _TITLES["data"], [text], [table], [("class_distribution", "Bar chart: images per emotion.")]
    )


def _folds(section: Mapping[str, Any], results: Results) -> Section:
    models, printed = section["models"], PRINTED["folds"]
    rows = [
        (name, mean_and_sd(model["accuracy"]), _printed(printed.get(name)), _minutes(model))
        for name, model in models.items()
    ]
    table = TableContent(
        "Accuracy, mean ± sd over the folds", ("Model", "Here", "In the paper", "Wall time"), rows
    )
    per_emotion = [
        emotion_table(model["per_class"], model["macro_f1"]["mean"], f"{name}, mean over the folds")
        for name, model in models.items()
    ]
    title = _TITLES["folds"].format(**results["protocol"])
    return Section(title, [], [table, *per_emotion], [("f1_folds", _F1_ALT)])


def _full(section: Mapping[str, Any], results: Results) -> Section:
    scored, models, printed = section["scored_on"], section["models"], PRINTED["photos"]
    text = [f"Trained on {section['trained_on']:,} faces, scored on {scored['images']:,}: {_where(scored)}."]
    text += [] if scored["new"] else [STAND_IN]
    if scored.get("copies"):  # which earlier runs did not count
        text.append(
            f"{scored['copies']:,} of these faces are near-copies of faces trained on, which makes the "
            "scores a little too good."
        )
    if scored["left_out"]:
        text.append(
            f"{scored['left_out']:,} photographs were left out: damaged, of none of the emotions, or without "
            "a face that was found."
        )
    rows = [
        (
            name,
            f"{model['accuracy']:.3f}",
            "{:.3f} to {:.3f}".format(*model["interval"]),
            _printed(printed.get(name)),
            f"{model['train_accuracy']:.3f}",
            _minutes(model),
        )
        for name, model in models.items()
    ]
    columns = ("Model", "Accuracy", "95 % interval", "In the paper", "Training", "Wall time")
    tables = [TableContent("Accuracy on faces not trained on", columns, rows)]
    pictures = []
    for name, model in models.items():
        per_class = model["per_class"]
        tables += [emotion_table(per_class, model["macro_f1"], f"{name}, per emotion")]
        tables += [confusion_table(model["confusion"], list(per_class))]
        pictures += [
            (
                f"confusion_{name}",
                f"Confusion matrix of {name}: for each true emotion, share and count of each.",
            ),
            (f"curves_{name}", f"Line charts: loss and accuracy of {name} after each epoch."),
        ]
    return Section(_TITLES["full"].format(**results["protocol"]), text, tables, pictures)


def _comparison(found: Mapping[str, Any]) -> Section:
    """Both models' F-scores, of the two sections before."""
    title, known = "4  The two models compared", [name for name in ("folds", "full") if name in found]
    if not known:
        return Section(title, [NOTHING.format("folds, or --sections full")])
    tables = [_f1_table(found[name]["models"], caption) for name, caption in _F1.items() if name in known]
    text = [_better(found[name]["models"], where) for name, where in _WHERE.items() if name in known]
    return Section(title, text, tables, [("f1_full", _F1_ALT)] if "full" in known else [])


_F1 = {"folds": "F-score, mean over the folds", "full": "F-score after the long training"}
_F1_ALT = "Grouped bar chart: F-score of each model on each emotion, as in the table."
_WHERE = {"folds": "in cross-validation", "full": "after the long training"}


def _f1_table(models: Mapping[str, Any], caption: str) -> TableContent:
    emotions = next(iter(models.values()))["per_class"]
    rows = [
        (emotion, *(score(model["per_class"][emotion]["f1"]) for model in models.values()))
        for emotion in emotions
    ]
    return TableContent(caption, ("Emotion", *models), rows)


def _better(models: Mapping[str, Any], where: str) -> str:
    """Which model has the higher F-score on how many emotions."""
    ahead = dict.fromkeys(models, 0)
    for emotion in next(iter(models.values()))["per_class"]:
        scores = {name: model["per_class"][emotion]["f1"] for name, model in models.items()}
        known = {name: score for name, score in scores.items() if score is not None}
        best = [name for name, score in known.items() if score == max(known.values())]
        if len(best) == 1:
            ahead[best[0]] += 1
    told = " and ".join(f"{name} on {count}" for name, count in ahead.items())
    return f"The higher F-score {where}: {told} of the emotions."


def _augmentation(section: Mapping[str, Any], results: Results) -> Section:
    protocol = section["protocol"]
    text = [
        f"{protocol['model']}; epochs: {protocol['epochs']}, seeds: {protocol['seeds']}, held out: "
        f"{protocol['validation']}. {INTERVAL_SENTENCE}"
    ]
    if "extra" not in section["variants"]:
        text.append(
            "There are no extra faces of disgust (--extra), so that part of the experiment is missing."
        )
    pictures = (
        [("disgust", "The faces of the tables, with bars of the probabilities.")] if section["faces"] else []
    )
    return Section(_TITLES["augmentation"], text, ablation_tables(dict(section)), pictures)


def _where(scored: Mapping[str, Any]) -> str:
    if scored["new"]:
        return f"the photographs in {scored['name']}"
    part = scored["part"]
    return f"{part} of {scored['name']}" if part[0].isalpha() else f"a share of {part} of {scored['name']}"


def _printed(accuracy: float | None) -> str:
    return UNKNOWN if accuracy is None else f"{accuracy:.4f}"


def _minutes(model: Mapping[str, Any]) -> str:
    return duration(model["seconds"])
