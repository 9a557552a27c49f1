"""The benchmarks run, print what their README promises, and measure fairly; no test asks how fast."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cli, mirror_leak, resident, timing
from benchmarks.layers import leaves
from benchmarks.tables import load
from fer_demo.data.dataset import Dataset
from fer_demo.models import FACE, MODELS, PAPERS
from tinycnn.summary import rows

ROOT = Path(__file__).parents[2]
README = (ROOT / "benchmarks" / "README.md").read_text()
OURS_ALONE = ["--peer", "none", "--backend", "numpy"]
SHORT = ["--batch", "1", "--rounds", "1", "--turn", "0"]
COMMANDS = {
    "train_step": [*OURS_ALONE, *SHORT],
    "inference": [*OURS_ALONE, *SHORT],
    "kernels": ["--backend", "numpy", *SHORT],
    "cold_start": [*OURS_ALONE, "--rounds", "1"],
    "end_to_end": [*OURS_ALONE, "--epochs", "1"],
    "memory": [*OURS_ALONE, "--batch", "1", "--batch", "2", "--steps", "1"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_last_line_holds_what_the_readme_explains(name, tmp_path):
    file = tmp_path / "result.json"
    command = [sys.executable, "-m", f"benchmarks.{name}", *COMMANDS[name], "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    line = done.stdout.splitlines()[-1]
    assert file.read_text() == f"{line}\n"
    result = json.loads(line)
    assert result["ms_median"] > 0
    assert result["ratio"] is None
    assert len(result["rows"]) == (2 if name == "memory" else 1)
    assert result["rows"][0].items() <= result.items()
    assert {"cpu", "cores", "python", "numpy", "numba", "torch", "onnxruntime"} <= set(result["environment"])
    assert (result["environment"]["threads"], result["environment"]["backend"]) == (2, "numpy")
    assert set(result) - set(re.findall(r"`(\w+)`", README)) == set()


@pytest.mark.parametrize("name", ["webcam", "webcam_hour", "web"])
def test_the_readme_explains_what_was_saved(name):
    assert set(load(name)) - set(re.findall(r"`(\w+)`", README)) == set()


def test_growth_is_a_slope_with_its_error():
    hours = np.arange(100.0)
    assert resident.trend(hours, 5 - 3 * hours) == pytest.approx((-3, 0), abs=1e-12)
    noise = np.random.default_rng(0).standard_normal(100)
    slope, error = resident.trend(hours, 2 * hours + noise)
    assert abs(slope - 2) < 4 * error
    assert error == pytest.approx(1 / np.sqrt(((hours - hours.mean()) ** 2).sum()), rel=0.2)
    assert resident.Watch().figures()["mb_per_hour"] is None


def test_contenders_take_turns_after_a_warm_up(monkeypatch):
    monkeypatch.setattr(timing, "pause", lambda: None)
    calls = []

    def contender(name, seconds):
        def run(steps):
            calls.append((name, steps))
            return [9.0] + [seconds] * (steps - 1)

        return run

    contenders = {"slow": contender("slow", 1.0), "quick": contender("quick", 0.1)}
    times = timing.take_turns(contenders, rounds=2, turn=0.5)
    warm_up = [("slow", timing.WARM_UP), ("quick", timing.WARM_UP)]
    # As many steps as half a second takes, but two at least; and one before them that does not count.
    assert calls == [*warm_up, *[("slow", 3), ("quick", 6)] * 2]
    assert times == {"slow": [[1.0] * 2] * 2, "quick": [[0.1] * 5] * 2}


def test_the_fastest_peer_counts_and_a_ratio_above_one_says_ours_is_faster():
    found = timing.against([[1.0, 2.0], [2.0, 9.0]], {"a": [[8.0], [8.0]], "b": [[3.0], [11.0]]})
    assert found["peer"] == "b"
    assert found["peer_ms_median"] == 7000
    assert found["ratio"] == 3.5
    assert found["ratio_rounds"] == [2.0, 2.0]


def test_cases_are_every_model_with_every_batch():
    pairs = [(case["model"], case["batch"]) for case in cli.cases([cli.Model.all], [1, 64])]
    assert pairs == [("mini_xception", 1), ("mini_xception", 64), ("alexnet", 1), ("alexnet", 64)]
    assert cli.chosen([cli.Model.alexnet, cli.Model.alexnet]) == ["alexnet"]
    assert [*cli.Model] == [*MODELS, "all"]


def test_a_worker_times_each_step_and_tells_its_peak():
    arguments = {"model": "mini_xception", "batch": 1, "backend": "numpy"}
    with timing.Worker(timing.Contender("benchmarks.ours:training_step", arguments, threads=1)) as worker:
        assert worker.built is None
        seconds = worker(3)
    assert len(seconds) == 3
    assert min(seconds) > 0
    assert 10e6 < worker.peak_bytes < 10e9


def test_a_contender_that_fails_is_an_error(capfd):
    with pytest.raises(RuntimeError, match="no_such_function"):
        timing.Worker(timing.Contender("benchmarks.ours:no_such_function", {}, threads=1))
    assert "AttributeError" in capfd.readouterr().err


def test_a_missing_peer_is_named_and_left_out(monkeypatch, capsys):
    monkeypatch.setattr(cli, "find_spec", lambda package: None if package == "onnx" else object())
    assert cli.installed(["torch", "onnxruntime", "none"]) == ["torch"]
    assert capsys.readouterr().out.startswith("onnxruntime is left out: onnx not installed")
    assert cli.installed(["torch"], [cli.Model.all]) == ["torch"]
    assert cli.installed(["torch"], [cli.Model.all, cli.Model.resnet]) == []
    assert capsys.readouterr().out == "torch is left out: resnet are ours alone\n"


@pytest.mark.parametrize(("busy", "warned"), [(0.5, True), (0.01, False), (None, False)])
def test_figures_of_a_busy_machine_are_called_into_question(monkeypatch, capsys, busy, warned):
    monkeypatch.setattr(cli, "others_busy", lambda: busy)
    cli.finish("train_step", [{"ratio": None}], 2, "numpy", None)
    assert ("Do not trust" in capsys.readouterr().out) == warned


@pytest.mark.parametrize("name", MODELS)
def test_kernels_visit_every_layer_at_its_real_shape(name):
    model = MODELS[name]()
    visited = [(path, layer.output_shape(shape)) for path, layer, shape in leaves(model, FACE)]
    expected = [
        (row.path, row.output_shape) for row in rows(model, FACE) if row.kind not in ("Residual", "Concat")
    ]
    assert visited == expected


@pytest.mark.parametrize("name", PAPERS)
def test_peers_are_as_large_as_ours(name):
    pytest.importorskip("torch", reason="compares with PyTorch, an optional peer")
    from benchmarks import peers

    ours = sum(array.size for array in MODELS[name]().params.values())
    assert sum(parameter.numel() for parameter in peers.network(name).parameters()) == ours
    assert peers.network(name)(peers.faces(2)).shape == (2, 7)


def test_mirror_images_are_told_apart_by_whether_their_twin_was_learnt(monkeypatch):
    class Parrot:
        """Knows the faces that it was trained on, and recognises them in a mirror; all others it calls 1."""

        def __init__(self, name, x, labels, **_):
            self._known = {face.tobytes() for seen in (x, x[:, :, ::-1]) for face in seen}

        def predict(self, faces, prepare):
            return np.array([[face.tobytes() in self._known, 0.5] for face in faces])

    monkeypatch.setattr(
        mirror_leak, "train_model", lambda *given, **named: (Parrot(*given, **named), None, 0)
    )
    faces = np.random.default_rng(0).integers(0, 256, (100, 4, 4, 1), np.uint8)
    dataset = Dataset(faces, np.zeros(100, np.int64), name="noise", sha256="")
    found = mirror_leak.measure("a parrot", dataset, "default", epochs=1, seed=0)
    assert (found["accuracy_learnt"], found["accuracy_held_out"], found["accuracy_training"]) == (1, 0, 1)
    learnt, held_out = found["images"]["learnt"], found["images"]["held_out"]
    assert (learnt + held_out, held_out % 2) == (40, 0)
    assert found["accuracy"] == pytest.approx(learnt / 40)
