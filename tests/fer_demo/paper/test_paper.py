"""The reproduction as its user runs it, with tiny models and without pictures."""

import json
from functools import partial
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import tinycnn as tc
from fer_demo import cv
from fer_demo.data.dataset import EMOTIONS
from fer_demo.models import MODELS, alexnet, mini_xception
from fer_demo.paper import __main__ as paper
from fer_demo.paper.sections import SECTIONS
from fer_demo.report.paper import ABSTRACT, STAND_IN, paper_sections
from fer_demo.report.paper_figures import paper_figures
from fer_demo.trial_files import own_folder

SMALL = ["--data", "faces.csv", "--backend", "numpy"]
PAPER = [*SMALL, "--epochs", "1", "--full-epochs", "2", "--seeds", "1", "--out", "out"]
FOLDS = 10


def write_faces(name, n, usage, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 48 * 48))
    rows = [f"{i % 7},{' '.join(map(str, face))},{usage(i)}" for i, face in enumerate(pixels)]
    Path(name).write_text("\n".join(["emotion,pixels,Usage", *rows]) + "\n")


@pytest.fixture
def call(run_command, count_trainings, monkeypatch):
    """Call the command with 49 faces, 14 of them PublicTest; `call.trained` has the size of each training."""
    backend = tc.backend_name()
    monkeypatch.setitem(MODELS, "mini_xception", partial(mini_xception, widths=(2, 2, 2, 2, 2)))
    monkeypatch.setitem(MODELS, "alexnet", partial(alexnet, widths=(2, 2, 2, 2, 2), features=3))
    monkeypatch.setattr("fer_demo.report.write_all", lambda results, images, labels, out, _: out)
    monkeypatch.setattr("fer_demo.report.paper_figures.paper_figures", lambda *_: {})
    write_faces("faces.csv", 49, lambda i: "PublicTest" if i < 14 else "Training")
    write_faces("photos.csv", 21, lambda i: "Training", seed=1)

    def call(*arguments, module=paper):
        return run_command(module, *arguments)

    yield count_trainings(call)
    tc.backend(backend)


def saved():
    return json.loads(Path("out/paper.json").read_text())


def test_interrupted_in_a_section_it_goes_on_there_and_gives_all_of_them(call):
    call.interrupt_at = FOLDS + 2  # the second of the long trainings
    code, output, error = call(*PAPER)
    assert code == 130
    assert "2  Five folds, epochs: 1" in output
    assert "Not run: --sections full." in output
    assert "python -m fer_demo.paper" in error
    assert call(*PAPER)[0] == 2  # an unfinished run is not taken over without --resume
    code, output, error = call(*PAPER, "--resume")
    assert code == 0, error
    assert call.trained[FOLDS:] == [35, 35, 35, 35, 35, 35]
    results = saved()
    assert results["finished"] is True
    assert list(results["sections"]) == list(SECTIONS)
    text, page = " ".join(output.split()), unescape(Path("out/paper.html").read_text())
    for expected in ("0.5882", "0.6224", "0.6761", "0.6903", ABSTRACT, STAND_IN, "PublicTest of faces.csv"):
        assert expected in text
        assert expected in page
    assert results["sections"]["full"]["scored_on"]["images"] == 14
    for model in results["sections"]["full"]["models"].values():
        assert np.trace(model["confusion"]) / 14 == pytest.approx(model["accuracy"])
        assert len(model["history"]["loss"]) == 2


def test_sections_may_be_run_one_by_one_with_the_same_options(call):
    assert call(*PAPER, "--sections", "data")[0] == 0
    assert call(*SMALL, "--full-epochs", "1", "--sections", "full", "--out", "out")[0] == 0
    assert list(saved()["sections"]) == ["data", "full"]
    assert call.trained == [35, 35]
    code, _, error = call(*PAPER, "--sections", "full")
    assert code == 2
    assert "full_epochs was 1, is 2" in error


def test_folds_of_a_cross_validation_are_not_trained_again(call):
    options = ["--model", "paper", "--recipe", "paper", "--epochs", "1", "--out", "folds"]
    assert call(*SMALL, *options, module=cv)[0] == 0
    assert len(call.trained) == FOLDS
    before = Path("folds/results.json").read_bytes()
    assert call(*PAPER, "--sections", "folds", "--cv", "folds")[0] == 0
    assert len(call.trained) == FOLDS
    assert Path("folds/results.json").read_bytes() == before
    models = saved()["sections"]["folds"]["models"]
    assert models == json.loads(Path("folds/results.json").read_text())["models"]
    with own_folder(Path("folds")):  # fer_demo.cv is at work there
        code, _, error = call(*PAPER, "--sections", "folds", "--cv", "folds", "--out", "third")
    assert code == 2
    assert "folds: another run is at work there" in error
    code, _, error = call(*PAPER, "--sections", "folds", "--cv", "folds", "--epochs", "2", "--out", "other")
    assert code == 2
    assert "results.json belongs to another run: epochs was 1, is 2" in error


def test_a_cross_validation_that_is_none_or_not_finished_is_refused(call):
    code, _, error = call(*PAPER, "--sections", "folds", "--cv", "typo")
    assert (code, Path("typo").exists()) == (2, False)
    assert "typo/results.json: no such file" in error
    call.interrupt_at = 2
    options = ["--model", "paper", "--recipe", "paper", "--epochs", "1", "--out", "folds"]
    assert call(*SMALL, *options, module=cv)[0] == 130
    code, _, error = call(*PAPER, "--sections", "folds", "--cv", "folds")
    assert (code, len(call.trained)) == (2, 2)
    assert "folds: this cross-validation is not finished; end it with --resume" in error


def test_new_photographs_are_scored_in_place_of_the_held_out_part(call):
    code, output, _ = call(*PAPER, "--sections", "full", "--photos", "photos.csv")
    assert code == 0
    assert "scored on 21: the photographs in photos.csv" in output
    assert STAND_IN not in " ".join(output.split())
    assert "near-copies" not in output
    assert call(*PAPER, "--sections", "full")[0] == 0  # with others, the trainings are the same
    assert len(call.trained) == 2


@pytest.mark.parametrize(("option", "user"), [("--photos", "full"), ("--extra", "augmentation")])
def test_what_no_section_would_use_is_refused(call, option, user):
    code, _, error = call(*PAPER, "--sections", "data", option, "photos.csv")
    assert code == 2
    assert f"{option}: only the section {user} uses it; add --sections {user}" in error


def test_photographs_that_are_copies_of_training_faces_are_counted(call):
    known = Path("faces.csv").read_text().splitlines()[-3:]
    with open("photos.csv", "a") as photos:
        photos.write("\n".join(known))
    code, output, _ = call(*PAPER, "--sections", "full", "--photos", "photos.csv")
    assert code == 0
    assert saved()["sections"]["full"]["scored_on"]["copies"] == 3
    assert "3 of these faces are near-copies of faces trained on" in " ".join(output.split())


def test_too_few_faces_for_the_folds_leave_no_run_to_be_resumed(call):
    write_faces("few.csv", 21, lambda i: "Training")
    code, _, error = call(*PAPER[2:], "--data", "few.csv")
    assert (code, Path("out/paper.json").exists()) == (2, False)
    assert "few.csv: found 3 of angry" in error
    assert call(*PAPER[2:], "--data", "few.csv", "--sections", "data")[0] == 0


def results_with_everything():
    scores = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 10}
    model = {
        "accuracy": 0.5,
        "interval": [0.4, 0.6],
        "macro_f1": 0.5,
        "per_class": dict.fromkeys(EMOTIONS, scores),
        "confusion": np.eye(7, dtype=int).tolist(),
        "train_accuracy": 0.6,
        "history": {name: [1.0, 0.5] for name in ("loss", "accuracy", "val_loss", "val_accuracy")},
        "seconds": 100.0,
    }
    spread = {"mean": 0.5, "std": 0.1, "folds": [0.4, 0.6]}
    folded = {**model, "accuracy": spread, "macro_f1": spread}
    over_seeds = {"mean": 0.5, "std": 0.1, "interval": [0.3, 0.7], "seeds": [0.4, 0.6]}
    entry = dict.fromkeys(("accuracy", "macro_f1", "disgust_recall"), over_seeds)
    variant = {"says": "recipe paper", **entry, "difference": entry}
    face = {
        "index": 1,
        "emotion": "disgust",
        "probabilities": {"baseline": [1 / 7] * 7, "extra": [1 / 7] * 7},
    }
    return {
        "protocol": {"epochs": 8, "full_epochs": 100},
        "data": {"name": "faces", "sha256": "9f", "images": 3, "synthetic": False},
        "sections": {
            "data": {"class_counts": dict.fromkeys(EMOTIONS, 10)},
            "folds": {"folds": 5, "models": {"mini_xception": folded, "alexnet": folded}},
            "full": {
                "trained_on": 10,
                "scored_on": {"name": "photos", "part": "all", "images": 10, "new": True, "left_out": 3},
                "models": {"mini_xception": model, "alexnet": model},
            },
            "augmentation": {
                "protocol": {"model": "mini_xception", "epochs": 8, "seeds": 2, "validation": "PublicTest"},
                "variants": {"baseline": variant, "extra": {**variant, "says": "with extra faces"}},
                "faces": [face, face],
            },
        },
    }


def test_every_picture_that_a_section_names_is_drawn_and_no_other():
    results = results_with_everything()
    figures = paper_figures(results, np.zeros((3, 48, 48, 1), np.uint8))
    named = {name for section in paper_sections(results) for name, _ in section.pictures}
    assert set(figures) == named
    assert all(isinstance(figure, Figure) for figure in figures.values())


def test_models_are_compared_and_ties_belong_to_nobody():
    results = results_with_everything()
    models = results["sections"]["full"]["models"]
    per_class = dict(models["alexnet"]["per_class"])
    for emotion, f1 in (("fear", 0.9), ("happy", None)):
        per_class[emotion] = {**per_class[emotion], "f1": f1}
    models["alexnet"] = {**models["alexnet"], "per_class": per_class}
    comparison = paper_sections(results)[3]
    assert comparison.title == "4  The two models compared"
    assert comparison.text[1].endswith("mini_xception on 1 and alexnet on 1 of the emotions.")


def test_the_command_line_knows_every_section():
    assert [str(name) for name in paper.SectionName] == list(SECTIONS)
