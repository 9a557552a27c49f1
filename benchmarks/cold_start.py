"""Cold start: seconds from a command to the end of the first training step, timed from the outside.

Run as ``python -m benchmarks.cold_start``. Cold is the first run on a machine, which compiles; warm is any
later one. The last line is one JSON object; `benchmarks/README.md` explains its keys.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Annotated, Any

import typer

from benchmarks import cli
from benchmarks.machine import pause
from benchmarks.timing import ROOT, Contender, Worker, thread_variables

#: The cross-validation ends when it reports its first batch, with a code that tells this end from others.
FIRST_STEP = 77
UNTIL_FIRST_STEP = f"""
import os, sys, tempfile
from fer_demo import cli, cv, display
display.Display.batch = lambda *_: os._exit({FIRST_STEP})
sys.argv += ["--out", tempfile.mkdtemp(dir=os.environ["TINYCNN_CACHE"])]
cli.run(cv.app)
"""
#: Of the libraries alone; the command chooses its own.
BATCH = 64
COLUMNS = {
    "model": "model",
    "cold s": "cold_s",
    "warm s": "warm_s",
    "import tinycnn": "import_s",
    "import numpy": "numpy_import_s",
    "library": "library_s",
    "torch": "peer_library_s",
    "ratio": "ratio",
}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    models: cli.Models = cli.MODELS,
    peer: cli.TrainingPeer = cli.TrainingPeerName.torch,
    threads: cli.Threads = 2,
    backend: cli.OurBackend = None,
    rounds: Annotated[int, typer.Option(min=1, help="Warm runs; their median counts.")] = 7,
    save: cli.JsonFile = None,
) -> None:
    """Measure how long a user waits for the first training step."""
    os.environ.update(thread_variables(threads))
    peers = cli.installed([peer], models)
    imports = medians({name: partial(run, f"import {name}") for name in ("tinycnn", "numpy")}, rounds)
    rows = []
    for model in cli.chosen(models):
        with tempfile.TemporaryDirectory() as folder:
            os.environ.update(NUMBA_CACHE_DIR=f"{folder}/numba", TINYCNN_CACHE=folder)
            waits = measure_model(model, bool(peers), threads, backend, rounds)
        rows.append({**waits, "import_s": imports["tinycnn"], "numpy_import_s": imports["numpy"]})
    cli.show(f"Seconds to the first training step, {threads} threads", rows, COLUMNS)
    cli.finish("cold_start", rows, threads, backend, save)


def measure_model(
    model: str, with_torch: bool, threads: int, backend: str | None, rounds: int
) -> dict[str, Any]:
    """Return a row of the results, but for the imports; all caches are empty."""
    case = {"model": model, "batch": BATCH}
    ours = Contender("benchmarks.ours:training_step", {**case, "backend": backend}, threads)
    torch = Contender(
        "benchmarks.peers:training_step", {**case, "layout": "channels_last", "compiled": False}, threads
    )
    options = ["--model", model] + (["--backend", backend] if backend else [])
    command = partial(run, UNTIL_FIRST_STEP, *options, expected=FIRST_STEP)
    libraries = {"ours": partial(first_step, ours)}
    if with_torch:
        libraries["torch"] = partial(first_step, torch)
    cold = seconds(command)
    warm = medians({"command": command, **libraries}, rounds)
    return {
        "model": model,
        "ms_median": 1e3 * warm["command"],
        "cold_s": cold,
        "warm_s": warm["command"],
        "library_s": warm["ours"],
        "peer_library_s": warm.get("torch"),
        "ratio": warm["torch"] / warm["ours"] if with_torch else None,
    }


def medians(calls: Mapping[str, Callable[[], None]], runs: int) -> dict[str, float]:
    """Return the median seconds of each call; they take turns."""
    times = []
    for _ in range(runs):
        pause()
        times.append({name: seconds(call) for name, call in calls.items()})
    return {name: median(turn[name] for turn in times) for name in calls}


def seconds(call: Callable[[], None]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def run(code: str, *arguments: str, expected: int = 0) -> None:
    """Run Python code in a fresh process.

    Raises:
        RuntimeError: it ended with another exit code than expected.
    """
    command = [sys.executable, "-c", code, *arguments]
    found = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode
    if found != expected:
        raise RuntimeError(f"exit code {found} of {command}: expected {expected}; its message stands above")


def first_step(contender: Contender) -> None:
    """Import a library, build the network and do one training step, in a process that then ends."""
    with Worker(contender) as worker:
        worker(1)


if __name__ == "__main__":
    app()
