"""Nothing is lost: whatever stops a command, it goes on, and ends with the same numbers and files."""

import json
import multiprocessing
import os
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import tinycnn as tc
from fer_demo import cv, report, train
from fer_demo.crossval import Protocol, run_fold
from fer_demo.data.faces import synthetic_faces
from fer_demo.models import PAPERS
from fer_demo.recipes import RECIPES
from fer_demo.trial_files import TrialFiles
from tests.fer_demo.conftest import commands_without_pictures, content, exit_code, lasting, models

ROOT = str(Path(__file__).parents[2])
COMMANDS = {"cv": cv, "train": train}
DATA = ["--data", "faces.csv", "--model", "mini_xception", "--backend", "numpy", "--batch-size", "8"]
CV = ["cv", *DATA, "--folds", "2", "--epochs", "2"]
TRAIN = ["train", *DATA, "--epochs", "2", "--validation", "0.25"]
KILLS = 20
PATIENCE = 300  # seconds, for machines that do much else


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder with a data set, in which the commands run."""
    prepare(tmp_path, monkeypatch)


def prepare(folder, monkeypatch):
    monkeypatch.setenv("TINYCNN_CACHE", str(folder / "cache"))
    monkeypatch.setenv("PYTHONPATH", ROOT)
    monkeypatch.chdir(folder)
    pixels = np.random.default_rng(0).integers(0, 256, (42, 48 * 48))
    rows = [f"{i % 7},{' '.join(map(str, face))},Training" for i, face in enumerate(pixels)]
    Path("faces.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]) + "\n")


@pytest.fixture
def call(in_process):
    """Call a command in this process, without pictures; return exit code, standard output and error."""
    with commands_without_pictures():
        yield lambda name, *arguments: in_process(COMMANDS[name], *arguments)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder of a run that nobody disturbed, by its number of epochs; each is made once, to be copied."""

    @cache
    def whole(epochs=2):
        folder = tmp_path_factory.mktemp("whole")
        with pytest.MonkeyPatch.context() as patch, commands_without_pictures():
            prepare(folder, patch)
            assert exit_code(cv, *CV[1:-1], epochs, "--out", "out") == 0
        return folder / "out"

    return whole


def start(name, *arguments):
    command = [sys.executable, "-m", f"fer_demo.{name}", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def numbers(out):
    """What lasts of results.json."""
    return lasting(json.loads(Path(out, "results.json").read_text()))


def interrupt_after(monkeypatch, batches, error=KeyboardInterrupt):
    """Interrupt the training of this process in the batch after so many."""
    step, calls = tc.train_step, iter(range(batches))

    def step_or_stop(*args):
        if next(calls, None) is None:
            raise error
        return step(*args)

    monkeypatch.setattr("tinycnn.train.train_step", step_or_stop)


@pytest.fixture(scope="module")
def forks():
    """Where processes to be killed come from: one that has imported almost everything is forked each time."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system has no fork")
    context = multiprocessing.get_context("forkserver")
    own = [f"fer_demo.{name}" for name in ("distillation", "jobs", "record")]
    context.set_forkserver_preload([*own, "scipy.stats", "sklearn.metrics"])  # which commands import late
    return context


def kill_at_random(forks, name, arguments, rng):
    """Start a command, kill it soon or after a few checkpoints, and return its exit code."""
    module = f"fer_demo.{name}"
    process = forks.Process(target=runpy.run_module, args=(module, None, "__main__"))
    with pytest.MonkeyPatch.context() as patch:
        options = [*arguments, "--checkpoint-every", 0, "--resume"]
        patch.setattr(sys, "argv", [module, *map(str, options)])  # which the new process gets as its own
        process.start()
    if rng.random() < 0.2:
        time.sleep(rng.uniform(0, 0.2))
    else:
        seen, enough = set(), rng.integers(2, 5)
        while process.is_alive() and len(seen) < enough:
            with suppress(FileNotFoundError):  # between two renamings
                seen |= {(file.name, file.stat().st_mtime_ns) for file in Path().glob("**/*.checkpoint")}
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.02))
    process.kill()
    process.join()
    return process.exitcode


def test_killed_at_20_random_moments_the_end_is_the_same(call, forks, whole):
    """One run, killed again and again, in a process of its own each time."""
    arguments = [*CV[1:-1], 10, "--out", "parts"]
    rng = np.random.default_rng(0)
    codes = [kill_at_random(forks, "cv", arguments, rng) for _ in range(KILLS)]
    assert codes == [-signal.SIGKILL] * KILLS  # none had come to its end before
    code, _, error = call("cv", *arguments, "--resume")
    assert code == 0, error
    assert numbers("parts") == numbers(whole(10))
    assert models("parts") == models(whole(10))
    left = {file.name for file in Path("parts", "folds").iterdir()}
    assert left == {f"mini_xception-{fold}.{kind}" for fold in (1, 2) for kind in ("safetensors", "result")}


def test_training_killed_at_random_moments_ends_with_the_same_file(call, forks):
    arguments = [*TRAIN[1:], "--epochs", 8, "--out"]
    assert call("train", *arguments, "whole.safetensors")[0] == 0
    rng = np.random.default_rng(1)
    for _ in range(3):
        assert kill_at_random(forks, "train", [*arguments, "parts.safetensors"], rng) == -signal.SIGKILL
    assert call("train", *arguments, "parts.safetensors", "--resume")[0] == 0
    assert content("parts.safetensors") == content("whole.safetensors")
    assert not list(Path().glob("*checkpoint*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_shows_and_says_how_to_go_on(call, whole, number):
    arguments = [*CV[1:-1], 3, "--out"]
    process = start("cv", *arguments, "parts")
    while not Path("parts/folds/mini_xception-2.checkpoint").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(number)
    output, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in error
    assert "mini_xception, 1 of 2 folds of faces.csv" in output
    saved = json.loads(Path("parts/results.json").read_text())
    assert saved["finished"] is False
    assert len(saved["models"]["mini_xception"]["accuracy"]["folds"]) == 1
    command = shlex.split(error.split("To go on: ")[1])
    assert command == ["python", "-m", "fer_demo.cv", *map(str, arguments), "parts", "--resume"]
    code, output, _ = call("cv", *command[3:])
    assert code == 0
    assert "fold 1/2" in output
    assert numbers("parts") == numbers(whole(3))
    assert models("parts") == models(whole(3))


def test_ctrl_c_before_the_training_has_begun(call, monkeypatch):
    def interrupted(source):
        raise KeyboardInterrupt

    monkeypatch.setattr("fer_demo.data.load", interrupted)
    for name in COMMANDS:
        code, _, error = call(name, "--data", "a b.csv")
        assert code == 130
        assert error == f"Interrupted. To go on: python -m fer_demo.{name} --data 'a b.csv' --resume\n"


def test_an_unfinished_run_is_not_overwritten(call, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        assert call(*CV, "--out", "out")[0] == 130
        assert call(*TRAIN, "--out", "out.safetensors")[0] == 130
    before = Path("out/folds/mini_xception-1.checkpoint").read_bytes()
    code, _, error = call(*CV, "--out", "out")
    assert code == 2
    assert "out holds an unfinished run. To go on with it: python -m fer_demo.cv" in error
    assert "To start over, delete the folder" in error
    assert Path("out/folds/mini_xception-1.checkpoint").read_bytes() == before
    code, _, error = call(*TRAIN, "--out", "out.safetensors")
    assert code == 2
    assert "out.safetensors.checkpoint holds an unfinished training" in error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--seed", 1], "seed was 0, is 1"),
        (["--epochs", 3], "epochs was 2, is 3"),
        (["--folds", 3], "folds was 2, is 3"),
        (["--data", "other.csv"], "data was '"),
        (
            ["--model", "all"],
            "learning_rate was {'mini_xception': 0.01}, is {'mini_xception': 0.01, 'alexnet'",
        ),
    ],
)
def test_cv_with_other_options_is_refused(call, monkeypatch, change, message):
    Path("other.csv").write_text(Path("faces.csv").read_text().replace(" 7 ", " 8 ", 1))
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        assert call(*CV, "--out", "out")[0] == 130
    code, _, error = call(*CV, "--out", "out", "--resume", *change)
    assert code == 2
    assert "results.json belongs to another run" in error
    assert message in error


def test_train_with_other_options_is_refused(call, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        assert call(*TRAIN, "--out", "out")[0] == 130
    code, _, error = call(*TRAIN, "--out", "out", "--resume", "--seed", 1)
    assert code == 2
    assert "out.checkpoint belongs to another run" in error
    assert call(*TRAIN, "--out", "out", "--resume")[0] == 0
    code, output, _ = call(*TRAIN, "--out", "out", "--resume")
    assert (code, output) == (0, "out is finished: nothing is left to go on with.\n")
    code, _, error = call(*TRAIN, "--out", "out", "--resume", "--epochs", 1)
    assert code == 2
    assert "epochs was 2, is 1" in error


def test_a_finished_run_on_a_data_set_is_not_lost_to_the_next_one(call, whole):
    shutil.copytree(whole(), "out")
    first = numbers("out")
    code, _, error = call("cv", "--folds", 2, "--out", "out")
    assert (code, numbers("out")) == (2, first)
    assert "out holds a finished run on faces.csv. To keep it, choose another folder with --out" in error


def test_a_finished_run_is_given_back_as_it_is(call, whole):
    shutil.copytree(whole(), "out")
    shutil.rmtree("out/folds")
    before = Path("out/results.json").read_bytes()
    code, output, _ = call(*CV, "--out", "out", "--resume")
    assert (code, Path("out/results.json").read_bytes()) == (0, before)
    assert "out is finished: nothing is left to go on with." in output
    accuracy = json.loads(before)["models"]["mini_xception"]["accuracy"]["mean"]
    assert f"{accuracy:.3f}" in output


def test_a_new_run_takes_the_place_of_a_finished_one_on_drawn_faces(call, whole):
    shutil.copytree(whole(), "out")
    path = Path("out/results.json")
    results = json.loads(path.read_text())
    results["data"]["synthetic"] = True
    path.write_text(json.dumps(results))
    Path("out/folds/mini_xception-9.result").touch()
    Path("out/folds/my notes.txt").touch()
    first = models("out")
    assert call(*CV, "--out", "out", "--seed", 1)[0] == 0
    assert models("out").keys() == first.keys()
    assert models("out") != first
    assert not Path("out/folds/mini_xception-9.result").exists()
    assert Path("out/folds/my notes.txt").exists()


def test_a_damaged_record_is_named_and_its_folds_are_not_lost(call, monkeypatch, whole):
    shutil.copytree(whole(), "out")
    path = Path("out/results.json")
    path.write_bytes(path.read_bytes()[:-20])
    code, _, error = call(*CV, "--out", "out", "--resume")
    assert code == 2
    assert "Delete that file and add --resume" in error
    path.unlink()
    interrupt_after(monkeypatch, 0, AssertionError("a finished fold was trained again"))
    assert call(*CV, "--out", "out", "--resume")[0] == 0
    assert numbers("out") == numbers(whole())


@pytest.mark.filterwarnings("default::tinycnn.CheckpointWarning")
def test_a_damaged_fold_is_named_and_trained_again(call, whole):
    shutil.copytree(whole(), "out")
    path = Path("out/results.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "finished": False}))
    result = Path("out/folds/mini_xception-2.result")
    result.write_bytes(result.read_bytes()[:-1])
    code, _, error = call(*CV, "--out", "out", "--resume")
    assert code == 0
    assert "mini_xception-2.result is damaged" in error
    assert "training this one again" in error
    assert numbers("out") == numbers(whole())


@pytest.mark.filterwarnings("default::tinycnn.CheckpointWarning")
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(call, monkeypatch, whole):
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        assert call(*CV, "--checkpoint-every", 0, "--out", "out")[0] == 130
    checkpoint = Path("out/folds/mini_xception-1.checkpoint")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    code, _, error = call(*CV, "--out", "out", "--resume")
    assert code == 0
    assert error.startswith("Warning: ")
    assert "mini_xception-1.checkpoint is damaged" in error
    assert models("out") == models(whole())


def test_a_run_that_cannot_write_its_results_says_so_and_goes_on_later(call, monkeypatch, whole):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(TrialFiles, "write", full)
        code, _, error = call(*CV, "--out", "out")
    assert code == 2
    assert "No space left on device" in error
    assert call(*CV, "--out", "out", "--resume")[0] == 0
    assert numbers("out") == numbers(whole())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # from NumPy in threads
def test_numbers_that_are_none_end_the_run_with_the_layer(call, monkeypatch):
    hot = replace(RECIPES["default"], learning_rates={"mini_xception": 1e38})
    monkeypatch.setitem(RECIPES, "default", hot)
    code, _, error = call(*TRAIN, "--out", "out")
    assert code == 2
    assert error.startswith("Error: step ")
    assert "learning rate" in error
    assert "is kept in out.checkpoint" in error
    assert "Traceback" not in error


def test_a_model_has_all_that_is_needed_to_use_it(call):
    assert call(*TRAIN, "--out", "new/model.safetensors", "--log", "logs/log.jsonl")[0] == 0
    logged = [json.loads(line) for line in Path("logs/log.jsonl").read_text().splitlines()]
    info = tc.load_info("new/model.safetensors")
    assert info["labels"][3] == "happy"
    assert info["preprocessing"].keys() == {"mean", "std"}
    scores = {"accuracy", "macro_f1", "flip_accuracy"}
    assert info["metrics"].keys() == {"train_accuracy", *(f"validation_{score}" for score in scores)}
    assert info["data"]["name"] == "faces.csv"
    assert len(info["data"]["sha256"]) == 64
    assert info["training"]["seed"] == 0
    assert [epoch["loss"] for epoch in logged] == info["history"]["loss"]
    assert info["environment"].keys() >= {"python", "numpy", "numba", "commit"}
    assert tc.load("new/model.safetensors").predict(np.zeros((1, 48, 48, 1), np.float32)).shape == (1, 7)


def test_cv_keeps_a_model_for_every_fold_and_says_what_it_came_from(whole):
    results = report.read_results(whole() / "results.json")
    info = tc.load_info(whole() / "folds/mini_xception-2.safetensors")
    assert info["metrics"]["accuracy"] == results["models"]["mini_xception"]["accuracy"]["folds"][1]
    assert results["finished"] is True
    assert results["protocol"]["seed"] == 0
    assert info["data"] == results["data"]
    assert info["environment"] == results["environment"]
    assert {"python", "numpy", "numba", "tinycnn", "commit"} <= results["environment"].keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nothing.csv"], "nothing.csv: no such file or folder"),
        (["--model", "all"], "--model"),
        (["--validation", "1"], "validation"),
        (["--validation", "PublicTest"], "found 0 faces marked Training"),
        (["--checkpoint-every", "-1"], "--checkpoint-every"),
        (["--out", "."], "--out"),
    ],
)
def test_mistakes_get_one_message_and_exit_code_2(call, arguments, message):
    code, _, error = call("train", *arguments)
    assert code == 2
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize("name", PAPERS)
def test_same_bits_whatever_the_threads(backend, name, tmp_path):
    faces, protocol = synthetic_faces(18), Protocol(folds=2, epochs=1, batch_size=7)
    indices = np.arange(12), np.arange(12, 18)
    before, contents = tc.get_threads(), []
    try:
        for threads in (1, 2, 3):
            tc.set_threads(threads)
            files = TrialFiles(tmp_path / str(threads), name, 0)
            result = run_fold(faces, name, 0, indices, protocol, files=files)
            contents.append((content(files.model), result.probabilities.tobytes()))
    finally:
        tc.set_threads(before)
    assert contents[0] == contents[1] == contents[2]


BLAS = """
import hashlib, sys, numpy as np, tinycnn as tc
from fer_demo.models import alexnet
x, labels = np.random.default_rng(0).standard_normal((14, 48, 48, 1)).astype(np.float32), np.arange(14) % 7
model = alexnet()
model.fit(x, labels, epochs=1, batch_size=7, progress=False)
arrays = [*model.params.values(), model.predict(x)]
print(hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest())
"""


def test_same_bits_whatever_the_threads_of_blas():
    digests = set()
    for threads in "12":
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "TINYCNN_BACKEND": "numpy"}
        command = [sys.executable, "-c", BLAS]
        run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        digests.add(run.stdout)
    assert len(digests) == 1
