"""The command as its user runs it."""

import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tinycnn as tc
from fer_demo import cv as command
from fer_demo.trial_files import own_folder

ROOT = str(Path(__file__).parents[2])
SMALL = ["--folds", "2", "--epochs", "1", "--model", "mini_xception", "--backend", "numpy"]


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYCNN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def cv(in_process, tmp_path, monkeypatch):
    """Call the command in this process and folder; return exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    before = tc.backend_name()
    yield partial(in_process, command)
    tc.backend(before)


def write_csv(path, n=28, spoil=None):
    rng = np.random.default_rng(0)
    rows = [f"{i % 7},{' '.join(map(str, rng.integers(0, 256, 48 * 48)))},Training" for i in range(n)]
    if spoil is not None:
        rows[spoil] = rows[spoil].replace(" ", " 300 ", 1)
    path.write_text("\n".join(["emotion,pixels,Usage", *rows]) + "\n")
    return path


def test_a_small_run_in_a_process_of_its_own_writes_everything(tmp_path):
    arguments = ["--data", write_csv(tmp_path / "faces.csv"), *SMALL, "--out", "out"]
    run = subprocess.run(
        [sys.executable, "-m", "fer_demo.cv", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ROOT},
    )
    assert run.returncode == 0, run.stderr
    assert "mini_xception  fold 2/2  accuracy" in run.stdout
    assert "\x1b" not in run.stdout  # no control characters in a log
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["data"]["name"] == "faces.csv"
    assert results["data"]["images"] == 28
    assert results["data"]["synthetic"] is False
    assert results["protocol"]["folds"] == 2
    assert results["protocol"]["backend"] == "numpy"
    assert len(results["models"]["mini_xception"]["accuracy"]["folds"]) == 2
    page = (tmp_path / "out" / "report.html").read_text()
    assert "mini_xception" in page
    assert not re.search(r"(src|href)=.(?!data:|#)", page)  # nothing is fetched from elsewhere
    assert list((tmp_path / "out").glob("*.png"))


def test_a_broken_row_is_named(cv, tmp_path):
    code, _, error = cv("--data", write_csv(tmp_path / "faces.csv", spoil=3), *SMALL)
    assert code == 2
    assert "faces.csv" in error
    assert "line 5" in error


def test_too_few_faces_leave_no_run_behind(cv, tmp_path):
    code, _, error = cv("--data", write_csv(tmp_path / "few.csv", n=7), *SMALL, "--out", "out")
    assert (code, "expected at least 2 of each emotion" in error) == (2, True)
    assert not (tmp_path / "out").exists()


def test_help_fits_a_screen(cv):
    code, output, _ = cv("--help")
    assert code == 0
    assert "Examples:" in output
    assert len(output.splitlines()) <= 50


FAST_START = """
import sys
import fer_demo  # looks at once whether all is installed
for name in ("jinja2", "matplotlib", "numba", "pandas", "scipy", "sklearn"):
    sys.modules[name] = None  # as if it were not installed
from fer_demo import cli, cv, display
display.Display.batch = lambda *_: sys.exit("stopped after the first step")
cli.run(cv.app)
"""


@pytest.mark.parametrize(
    ("arguments", "ending"),
    [(["--help"], ""), ([*SMALL, "--data", "faces.csv"], "stopped after the first step")],
)
def test_neither_help_nor_the_first_step_waits_for_a_library_of_later(tmp_path, arguments, ending):
    write_csv(tmp_path / "faces.csv")
    run = subprocess.run(
        [sys.executable, "-c", FAST_START, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ROOT},
    )
    assert run.stderr.strip() == ending
    assert run.returncode == bool(ending)


@pytest.mark.parametrize(
    "options",
    [
        ["--data", "nothing.csv"],
        ["--data", "text"],
        ["--data", "empty"],
        ["--data", "x" * 5000],
        ["--data", "a\0b"],
        ["--data", "text/below"],
        ["--out", "text"],
        ["--out", "text/below"],
        ["--folds", "1"],
        ["--folds", "many"],
        ["--epochs", "0"],
        ["--batch-size", "0"],
        ["--seed", "-1"],
        ["--seed", "4294967296"],
        ["--model", "lenet"],
        ["--backend", "cuda"],
        ["--nonsense"],
        ["superfluous"],
    ],
    ids=lambda options: " ".join(options)[:30].replace("\0", "0"),
)
def test_bad_options_give_one_message_and_exit_code_2(cv, options, tmp_path, monkeypatch):
    (tmp_path / "text").write_text("no table")
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(command, "train_folds", None)  # nothing gets so far
    code, output, error = cv(*options)
    assert code == 2
    assert "Error" in error
    assert options[0] in error or options[-1][:30] in error  # it says what is wrong
    assert "Traceback" not in error + output


def test_two_runs_in_one_folder_are_refused(cv, tmp_path):
    write_csv(tmp_path / "faces.csv")
    with own_folder(tmp_path / "out"):
        code, output, error = cv("--data", "faces.csv", "--out", "out", *SMALL)
    assert code == 2
    assert "out: another run is at work there; wait for its end, or choose another --out" in error
    assert "fold" not in output
    with own_folder(tmp_path / "out"):
        pass


@pytest.mark.parametrize("out", ["text", "text/below"])
def test_a_file_in_the_place_of_the_folder_is_named_with_a_remedy(cv, tmp_path, out):
    (tmp_path / "text").touch()
    code, _, error = cv("--out", out)
    assert code == 2
    assert f"{out}: a file is in the way; choose another --out" in error


def test_a_folder_that_cannot_be_written_is_noticed_before_training(cv, tmp_path, monkeypatch):
    def denied(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    write_csv(tmp_path / "faces.csv")
    monkeypatch.setattr("fer_demo.report.results.replace_file", denied)
    monkeypatch.setattr(command, "train_folds", None)  # nothing gets so far
    code, _, error = cv("--data", "faces.csv", "--out", "out", *SMALL)
    assert code == 2
    assert "Permission denied: 'out/results.json'" in error


def test_square_brackets_in_a_folder_s_name_are_shown(cv, tmp_path, monkeypatch):
    monkeypatch.setattr("fer_demo.report.write_all", lambda results, images, labels, out, _: out / "x.html")
    write_csv(tmp_path / "faces[1].csv")
    code, output, _ = cv("--data", "faces[1].csv", "--out", "my [bold] run", *SMALL)
    assert code == 0
    assert "Report: my [bold] run/x.html" in output
    assert "faces[1].csv" in output
