import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from fer_demo.report import print_results
from fer_demo.report.content import RESPONSIBLE_USE, SYNTHETIC_TITLE, confusion_table, duration

ROOT = Path(__file__).parents[3]


def printed(results, **options) -> str:
    file = io.StringIO()
    print_results(results, Console(file=file, width=80, **options))
    return file.getvalue()


def test_fits_80_columns_without_control_characters(run):
    run.results["data"]["synthetic"] = True
    text = printed(run.results)
    assert max(map(len, text.splitlines())) <= 80
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "…" not in text  # nothing is cut


def test_shows_every_score(run):
    lines = [" ".join(line.split()) for line in printed(run.results).splitlines()]
    model = run.results["models"]["alexnet"]
    for emotion, scores in model["per_class"].items():
        precision, recall, f1, support = scores.values()
        assert f"{emotion} {precision:.3f} {recall:.3f} {f1:.3f} {support:.1f}" in lines
    for index in range(5):
        accuracy, train, gap, macro_f1 = (
            model[measure]["folds"][index] for measure in ("accuracy", "train_accuracy", "gap", "macro_f1")
        )
        assert f"{index + 1} {accuracy:.3f} {train:.3f} {gap:+.3f} {macro_f1:.3f}" in lines
    accuracy = f"{model['accuracy']['mean']:.3f} ± {model['accuracy']['std']:.3f}"
    assert f"Best: alexnet, accuracy {accuracy} on held-out faces" in lines
    assert (
        f"alexnet 8,412,103 {accuracy} {model['macro_f1']['mean']:.3f} {model['gap']['mean']:+.3f} 3,120 443"
        in lines
    )


@pytest.mark.parametrize("synthetic", [True, False])
def test_synthetic_data_is_announced_first_and_only_then(run, synthetic):
    run.results["data"]["synthetic"] = synthetic
    assert (SYNTHETIC_TITLE in printed(run.results).splitlines()[0]) is synthetic


def test_synthetic_notice_is_yellow_in_a_terminal(run):
    run.results["data"]["synthetic"] = True
    assert "\x1b[1;30;43m" in printed(run.results, force_terminal=True, color_system="standard")


def test_names_are_no_markup(run):
    run.results["data"]["name"] = "[bold]faces[/bold].csv"
    run.results["models"] = {"[red]net": run.results["models"]["alexnet"]}
    text = printed(run.results)
    assert "[red]net, 5 folds of [bold]faces[/bold].csv" in text
    assert "[red]net  " in text  # in the comparison


def test_interrupted_run_shows_what_is_there(run):
    models = run.results["models"]
    del models["alexnet"]
    for measure in ("accuracy", "train_accuracy", "gap", "macro_f1"):
        models["mini_xception"][measure] |= {
            "folds": models["mini_xception"][measure]["folds"][:1],
            "std": 0.0,
        }
    text = printed(run.results)
    assert "mini_xception, 1 of 5 folds of fer2013.csv" in text
    assert "Best: mini_xception" in text
    assert "± 0.000" not in text  # one fold has no spread


def test_run_without_a_finished_fold_says_so(run):
    run.results["models"] = {}
    assert "No model has finished a fold." in printed(run.results)


@pytest.mark.parametrize("finished", [True, False])
def test_the_last_word_is_how_to_use_it(run, finished):
    if not finished:
        run.results["models"] = {}
    text = printed(run.results)
    assert " ".join(text.split()).endswith(RESPONSIBLE_USE)


def test_the_page_that_every_report_names_is_there():
    (page,) = re.findall(r"docs/\w+\.md", RESPONSIBLE_USE)
    assert (ROOT / page).exists()


def test_confusion_in_percent_of_the_row():
    table = confusion_table([[3, 1], [0, 0]], ["angry", "sad"])
    assert table.columns == ("True", "angry", "sad")
    assert table.rows == [("angry", "75%", "25%"), ("sad", "–", "–")]


def test_unknown_score_is_a_dash(run):
    scores = {"precision": None, "recall": None, "f1": None, "support": 0.0}
    run.results["models"]["alexnet"]["per_class"]["disgust"] = scores
    assert "disgust – – – 0.0" in " ".join(printed(run.results).split())


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.7, "1 min 00 s"), (750, "12 min 30 s"), (11_100, "3 h 05 min")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text
