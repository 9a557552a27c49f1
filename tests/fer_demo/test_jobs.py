"""Folds in several processes and on a cluster give the numbers and files of a run in one, whoever dies."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from glob import glob
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

import tinycnn as tc
from fer_demo import cv
from fer_demo.jobs import Workers
from tests.fer_demo.conftest import commands_without_pictures, exit_code, lasting, models

ROOT = str(Path(__file__).parents[2])
PATIENCE = 300  # seconds, for machines that do much else
FOLDS = 4
CV = ["--data", "faces.csv", "--model", "mini_xception", "--backend", "numpy", "--batch-size", 8]
CV += ["--folds", FOLDS, "--epochs", 4, "--extra", "more.csv", "--keep-copies-together"]
TAUGHT = [*CV, "--teacher", "teachers"]


def write_faces():
    """42 faces, the last a copy of the first, and 3 more, one of them a copy too."""
    pixels = np.random.default_rng(0).integers(0, 256, (44, 48 * 48))
    for name, chosen in (("faces", [*range(41), 0]), ("more", [5, 42, 43])):
        rows = [f"{i % 7},{' '.join(map(str, pixels[face]))},Training" for i, face in enumerate(chosen)]
        Path(f"{name}.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]) + "\n")


def start(command, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, *command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


#: Pictures take long, and have tests of their own.
PLAIN = """
from fer_demo import cli, cv, report
report.write_all = lambda results, images, labels, out, _: out
cli.run(cv.app)
"""


def start_cv(*arguments):
    return start(["-c", PLAIN], *TAUGHT, *arguments)


def end_of(process):
    """Exit code, standard output and standard error."""
    output, error = process.communicate(timeout=PATIENCE)
    return process.returncode, output, error


def wait_for(condition, *processes):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        for process in processes:
            assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def numbers(out):
    """What lasts of results.json, but for the number of workers; as text, so that order counts."""
    return json.dumps(lasting(json.loads(Path(out, "results.json").read_text()), "threads", "workers"))


def assert_equal(out, whole):
    assert numbers(out) == numbers(whole)
    assert models(out) == models(whole)
    assert len(models(out)) == FOLDS
    kinds = {path.suffix for path in Path(out, "folds").iterdir()}
    assert kinds == {".safetensors", ".result"}


def children(process):
    """Ids of the processes that train, by their names the ones that joblib started."""
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    found = [int(pid) for task in tasks for pid in task.read_text().split()]
    return [pid for pid in found if b"popen_loky" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def checkpoints(out):
    return sorted(Path(out, "folds").glob("*.checkpoint"))


def one_is_recorded(out):
    """Whether a fold stands in the results, and not only in a file of its own."""
    path = Path(out, "results.json")
    return path.exists() and json.loads(path.read_text())["models"] != {}


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Folder of a short run, whose folds teach those of the other runs."""
    return run_here(tmp_path_factory.mktemp("teachers"), *CV, "--epochs", 1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, teachers):
    """Folder of a run that nobody disturbed, one fold after another."""
    folder = tmp_path_factory.mktemp("whole")
    copytree(teachers, folder / "teachers")
    return run_here(folder, *TAUGHT)


def run_here(folder, *options):
    """Cross-validate in this folder, and return that of the results."""
    with pytest.MonkeyPatch.context() as patch:
        prepare(folder, patch)
        with commands_without_pictures():
            assert exit_code(cv, *options, "--out", "out") == 0
    return folder / "out"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, teachers):
    """A folder with a data set and teachers, in which the commands run."""
    prepare(tmp_path, monkeypatch)
    copytree(teachers, tmp_path / "teachers")


def prepare(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", ROOT)
    monkeypatch.setenv("TINYCNN_CACHE", str(folder / "cache"))
    write_faces()


@pytest.fixture
def call(in_process):
    """Call the command in this process; return exit code, standard output and error."""
    with commands_without_pictures():
        yield lambda *arguments: in_process(cv, *TAUGHT, *arguments)


def test_two_jobs_equal_one(whole):
    code, output, error = end_of(start_cv("--out", "out", "--jobs", 2))
    assert (code, error) == (0, "")
    assert output.count("accuracy 0.") >= FOLDS
    assert_equal("out", whole)
    results = json.loads(Path("out", "results.json").read_text())
    assert sum(results["models"]["mini_xception"]["extra_left_out"]) == 1
    assert results["protocol"]["faces_moved"] == 1


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")


@needs_proc
def test_a_killed_process_is_replaced_and_its_fold_goes_on(whole):
    process = start_cv("--out", "out", "--jobs", 2, "--checkpoint-every", 0)
    wait_for(lambda: len(checkpoints("out")) == 2, process)
    os.kill(children(process)[0], signal.SIGKILL)
    code, _, error = end_of(process)
    assert code == 0, error
    assert error.startswith("Warning: a process that trained a fold was killed")
    assert_equal("out", whole)


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopped_in_mid_fold_it_goes_on_with_fewer_jobs(whole, call, number):
    process = start_cv("--out", "out", "--jobs", 2, "--checkpoint-every", 0)
    wait_for(lambda: any(file.stem[-1] in "34" for file in checkpoints("out")), process)
    trainers = children(process)
    for pid in trainers:  # one has handed its first fold over, and waits until that is recorded
        os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: one_is_recorded("out"), process)
    process.send_signal(number)
    for pid in trainers:
        with suppress(ProcessLookupError):  # has been ended already
            os.kill(pid, signal.SIGCONT)
    code, output, error = end_of(process)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in trainers))
    if number != signal.SIGKILL:
        assert code == 130
        assert "Traceback" not in error
        assert f"of {FOLDS} folds of faces.csv" in output
        assert shlex.split(error.split("To go on: ")[1])[-1] == "--resume"
    assert len(models("out")) < FOLDS
    assert call("--out", "out", "--resume")[0] == 0
    assert_equal("out", whole)


def test_threads_are_shared_out():
    before = tc.get_threads()
    try:
        tc.set_threads(5)
        assert [Workers(jobs).threads for jobs in (1, 2, 3, 5, 6)] == [5, 2, 1, 1, 1]
    finally:
        tc.set_threads(before)


def test_jobs_and_scheduler_exclude_one_another(call):
    code, _, error = call("--jobs", 2, "--scheduler", "tcp://127.0.0.1:1")
    assert code == 2
    assert "--jobs 2 and --scheduler tcp://127.0.0.1:1: expected one of the two" in error


def test_without_dask_the_error_says_what_to_install(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "fer_demo.cluster", raising=False)
    code, _, error = call("--scheduler", "tcp://127.0.0.1:1")
    assert code == 2
    assert "--scheduler needs distributed, which is not installed: pip install 'tinycnn[cluster]'" in error


@contextmanager
def cluster(workers, **environment):
    """A scheduler and workers on this machine; give the address, and the workers' processes and folders."""
    pytest.importorskip("distributed", reason="the cluster needs dask[distributed]")
    processes = []
    try:
        processes.append(
            start(
                ["-m", "distributed.cli.dask_scheduler"],
                *("--host", "127.0.0.1", "--port", 0, "--no-dashboard", "--scheduler-file", "address.json"),
                **environment,
            )
        )
        wait_for(written_address, *processes)
        address = written_address()
        for index in range(workers):
            options = ("--no-nanny", "--no-dashboard", "--nthreads", 1, "--host", "127.0.0.1")
            options += ("--local-directory", f"worker{index}")
            processes.append(start(["-m", "distributed.cli.dask_worker"], address, *options, **environment))
        yield address, processes[1:]
    finally:
        for process in reversed(processes):
            process.kill()
            process.communicate()


def written_address():
    """Where the scheduler listens, once it has written that down to the end."""
    with suppress(FileNotFoundError, json.JSONDecodeError):
        return json.loads(Path("address.json").read_text())["address"]


def training(index):
    """Whether a worker of the cluster is in mid-fold."""
    return bool(glob(f"worker{index}/**/*.checkpoint", recursive=True))


def test_a_killed_worker_s_fold_is_trained_by_another(whole):
    with cluster(2) as (address, workers):
        process = start_cv("--out", "out", "--scheduler", address)
        wait_for(lambda: training(0) and training(1), process, *workers)
        workers[0].kill()
        code, output, error = end_of(process)
        assert code == 0, error
        assert output.count("accuracy 0.") >= FOLDS
        assert workers[1].poll() is None
    assert_equal("out", whole)


def test_a_fold_that_dask_gives_up_is_an_error_and_the_rest_goes_on_here(whole, call):
    with cluster(1, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as (address, workers):
        process = start_cv("--out", "out", "--scheduler", address)
        wait_for(lambda: training(0), process, *workers)
        workers[0].kill()
        code, _, error = end_of(process)
    assert code == 2
    assert "Traceback" not in error
    assert "What is finished is kept: add --resume to go on" in error
    assert call("--out", "out", "--resume")[0] == 0
    assert_equal("out", whole)
