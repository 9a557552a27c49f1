"""The ablation as its user runs it, with a tiny model."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tinycnn as tc
from fer_demo.ablation import __main__ as ablation
from fer_demo.data.convert import write_csv
from fer_demo.metrics import over_seeds
from fer_demo.models import MODELS, mini_xception

SMALL = ["--data", "faces.csv", "--backend", "numpy", "--epochs", "1", "--seeds", "2", "--batch-size", "16"]
SMALL += ["--only", "no_flip", "--only", "extra", "--extra", "more.csv", "--validation", "0.3"]


@pytest.fixture
def call(run_command, count_trainings, monkeypatch):
    """Call the command with a tiny model and 42 faces; trained numbers are kept in `call.trained`."""
    backend, rng = tc.backend_name(), np.random.default_rng(0)
    monkeypatch.setitem(MODELS, "mini_xception", partial(mini_xception, widths=(2, 2, 2, 2, 2)))
    write_csv(Path("faces.csv"), rng.integers(0, 256, (42, 48, 48, 1), np.uint8), np.arange(42) % 7)
    write_csv(Path("more.csv"), rng.integers(0, 256, (3, 48, 48, 1), np.uint8), np.ones(3, int))

    def call(*arguments):
        return run_command(ablation, *SMALL, *arguments)

    yield count_trainings(call)
    tc.backend(backend)


def test_interrupted_it_goes_on_and_compares_the_same_seeds(call):
    call.interrupt_at = 4
    code, output, error = call("--out", "out")
    assert code == 130
    assert "Difference from the baseline" in output
    assert "--resume" in error
    assert json.loads(Path("out/ablation.json").read_text())["finished"] is False
    code, _, error = call("--out", "out")
    assert code == 2
    assert "out holds an unfinished run" in error
    code, output, error = call("--out", "out", "--resume")
    assert code == 0, error
    held_out = 14
    assert call.trained == [28, 28, 31, 28, 28, 28, 31]  # the fourth was cut off and began anew
    results = json.loads(Path("out/ablation.json").read_text())
    assert results["finished"] is True
    names = ["baseline", "no_flip", "extra"]
    assert list(results["variants"]) == names
    for name in names:
        entry, baseline = results["variants"][name], results["variants"]["baseline"]
        assert len(entry["accuracy"]["seeds"]) == 2
        for score in ("accuracy", "macro_f1", "disgust_recall"):
            pairs = zip(entry[score]["seeds"], baseline[score]["seeds"], strict=True)
            assert entry["difference"][score] == over_seeds([after - before for after, before in pairs])
        assert all(round(accuracy * held_out, 6).is_integer() for accuracy in entry["accuracy"]["seeds"])
    faces = results["faces"]
    assert [face["index"] % 7 for face in faces] == [1, 1]  # disgust, in the order of the data
    assert sorted(face["index"] for face in faces) == [face["index"] for face in faces]
    assert all(np.isclose(np.sum(face["probabilities"][name]), 1) for face in faces for name in names)


def test_kept_trainings_are_not_repeated_and_others_not_overwritten(call):
    assert call("--out", "out")[0] == 0
    assert len(call.trained) == 6
    code, output, _ = call("--out", "out", "--seeds", "3")
    assert code == 0
    assert len(call.trained) == 9
    assert "with extra faces  seed 2  accuracy" in output
    code, _, error = call("--out", "out", "--epochs", "2")
    assert code == 2
    assert "mini_xception-baseline-1.result belongs to another run: epochs was 1, is 2" in error


def test_what_is_known_stays_while_a_run_goes_on(call):
    assert call("--out", "out")[0] == 0
    before = json.loads(Path("out/ablation.json").read_text())
    call.interrupt_at = 7
    assert call("--out", "out", "--seeds", "3")[0] == 130
    after = json.loads(Path("out/ablation.json").read_text())
    assert (after["finished"], after["variants"]) == (False, before["variants"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--validation", "0"], "validation='0': expected some faces to score on"),
        (["--only", "nothing"], "--only"),
        (["--seeds", "0"], "--seeds"),
    ],
)
def test_mistakes_get_one_message_and_exit_code_2(call, arguments, message):
    code, _, error = call(*arguments)
    assert code == 2
    assert message in error
    assert call.trained == []


def test_extra_faces_must_be_given(run_command):
    code, _, error = run_command(ablation, "--only", "extra")
    assert code == 2
    assert "--only extra: expected --extra FILE too" in error


def test_extra_faces_must_be_of_use(run_command):
    code, _, error = run_command(ablation, "--only", "no_flip", "--extra", "more.csv")
    assert code == 2
    assert "--extra: no training would see these faces; add --only extra" in error


def test_a_refused_run_leaves_the_results_as_they_were(call):
    assert call("--out", "out", "--seeds", "1")[0] == 0
    before = Path("out/ablation.json").read_bytes()
    code, _, error = call("--out", "out", "--seeds", "1", "--epochs", "2")
    assert code == 2
    assert "epochs was 1, is 2" in error
    assert Path("out/ablation.json").read_bytes() == before
