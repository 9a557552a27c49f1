"""Extra faces are trained on and never scored on, copies stay on one side, and a run knows both of itself."""

import gzip
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tinycnn as tc
from fer_demo import cv, data, train
from fer_demo.models import MODELS, mini_xception
from fer_demo.training import was_trained_on

COMMANDS = {"cv": cv, "train": train}
PIXELS = np.random.default_rng(0).integers(0, 256, (60, 48 * 48))
TRAIN = ["train", "--validation", "0.25", "--extra", "more.csv", "--keep-copies-together", "--out", "weights"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with 42 faces, the last 7 copies of the first 7, and 4 extra ones, two of them copies."""
    monkeypatch.setenv("TINYCNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write("faces.csv", [*range(35), *range(7)], ["Training"] * 35 + ["PublicTest"] * 7)
    write("more.csv", [0, 50, 20, 51], ["Training"] * 4)


def write(name, faces, usage):
    rows = [
        f"{i % 7},{' '.join(map(str, PIXELS[face]))},{used}"
        for i, (face, used) in enumerate(zip(faces, usage, strict=True))
    ]
    Path(name).write_text("\n".join(["emotion,pixels,Usage", *rows]) + "\n")


@pytest.fixture
def call(in_process, monkeypatch):
    """Call a command in this process, with a tiny model; return exit code, standard output and error."""
    backend = tc.backend_name()
    monkeypatch.setitem(MODELS, "mini_xception", partial(mini_xception, widths=(2, 2, 2, 2, 2)))
    monkeypatch.setattr("fer_demo.report.write_all", lambda results, images, labels, out, _: out)

    def call(name, *arguments):
        common = ["--data", "faces.csv", "--model", "mini_xception", "--epochs", "1", "--backend", "numpy"]
        return in_process(COMMANDS[name], *common, *arguments)

    yield call
    tc.backend(backend)


def test_each_of_several_extra_files_is_known(call):
    write("none.csv", [52] * 7, ["Training"] * 7)
    assert call("train", "--extra", "more.csv", "--extra", "none.csv", "--out", "weights")[0] == 0
    info = tc.load_info("weights")
    for name in ("faces.csv", "more.csv", "none.csv"):
        assert was_trained_on(info, data.load(name))
    Path("packed.csv.gz").write_bytes(gzip.compress(Path("more.csv").read_bytes()))
    assert was_trained_on(info, data.load("packed.csv.gz"))
    write("other.csv", [53], ["Training"])
    assert not was_trained_on(info, data.load("other.csv"))


def test_cross_validation_with_extra_faces_and_copies_together(call):
    write("none.csv", [52], ["Training"])
    cv_options = ["--folds", "2", "--extra", "more.csv", "--extra", "none.csv", "--keep-copies-together"]
    code, output, error = call("cv", *cv_options, "--out", "out")
    assert code == 0, error
    results = json.loads(Path("out/results.json").read_text())
    model = results["models"]["mini_xception"]
    assert np.sum(model["confusion"]) == 42  # extra faces are not scored
    assert sum(model["extra_left_out"]) == 2  # each copy, in the one fold that holds its original out
    assert results["extra"]["images"] == 5
    moved = results["protocol"]["faces_moved"]
    assert 0 < moved <= 7
    assert f"{moved} faces moved into the folds of their copies" in output
    for changed, difference in (
        (cv_options[:2], "keep_copies_together was True, is False"),
        ([*cv_options[:4], "--keep-copies-together"], "extra was '"),
    ):
        code, _, error = call("cv", *changed, "--out", "out", "--resume")
        assert code == 2
        assert difference in error
    assert call("cv", *cv_options, "--out", "out", "--resume")[0] == 0


def test_training_with_extra_faces_and_copies_together(call):
    code, output, error = call(*TRAIN)
    assert code == 0, error
    assert "faces moved to where their copies are" in output
    assert "of 4 extra faces left out: copies of held-out ones" in output
    options = tc.load_info("weights")["training"]
    assert len(options["extra"]) == 64
    assert options["keep_copies_together"] is True
    code, _, error = call(*TRAIN[:3], *TRAIN[5:], "--resume")
    assert code == 2
    assert "extra was '" in error
    assert call(*TRAIN, "--resume")[0] == 0


def test_all_extra_faces_are_trained_on_where_none_is_held_out(call):
    code, output, _ = call("train", "--extra", "more.csv", "--out", "weights")
    assert code == 0
    assert "0 of 4 extra faces left out" in output


def test_the_files_own_parts_cannot_be_changed(call):
    code, _, error = call(*TRAIN, "--validation", "PublicTest")
    assert code == 2
    assert "--keep-copies-together cannot move faces into or out of PublicTest: hold out a share" in error


def test_extra_faces_that_are_not_there_are_named(call):
    code, _, error = call("cv", "--extra", "nowhere.csv")
    assert code == 2
    assert "nowhere.csv: no such file or folder" in error
