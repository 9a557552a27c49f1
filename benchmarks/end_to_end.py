"""End to end: `python -m fer_demo.cv` as a user runs it, beside PyTorch's training steps alone.

Run as ``python -m benchmarks.end_to_end --data fer2013.csv``. Ours is the wall time of the whole command: it
starts, reads the file, mirrors faces, trains every fold, scores it after each epoch and writes the report.
PyTorch's is what its fastest mode would take for the training steps of as many images, and nothing else;
they are timed before the command and after it. The last line is one JSON object; `benchmarks/README.md`
explains its keys.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import cli
from benchmarks.cold_start import run, seconds
from benchmarks.machine import pause
from benchmarks.timing import measure, median_seconds, thread_variables
from benchmarks.train_step import Modes, torch_modes
from fer_demo.data import load
from fer_demo.recipes import RECIPES
from fer_demo.training import default_batch_size

FOLDS = 5
CROSS_VALIDATION = "from fer_demo import cli, cv; cli.run(cv.app)"
COLUMNS = {
    "model": "model",
    "batch": "batch",
    "cv s": "command_s",
    "images/s": "images_per_s_median",
    "peer": "peer",
    "peer s": "peer_s",
    "ratio": "ratio",
}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    source: Annotated[Path | None, typer.Option("--data", help="FER2013 as .csv; else drawn faces.")] = None,
    models: cli.Models = cli.MODELS,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over each fold's training part.")] = 8,
    peer: cli.TrainingPeer = cli.TrainingPeerName.torch,
    modes: Annotated[Modes, typer.Option(help="Of PyTorch; all includes torch.compile.")] = Modes.eager,
    threads: cli.Threads = 2,
    backend: cli.OurBackend = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of PyTorch, before the command and after.")] = 3,
    turn: cli.Turn = 2.0,
    keep: Annotated[Path | None, typer.Option(help="Folder for what the command wrote.")] = None,
    save: cli.JsonFile = None,
) -> None:
    """Time a whole cross-validation, and compare it with PyTorch's steps for as many images."""
    os.environ.update(thread_variables(threads))
    peers = cli.installed([peer], models)
    rows, batch = [], default_batch_size(RECIPES["default"], len(load(source)))
    for model in cli.chosen(models):
        case = {"model": model, "batch": batch}
        contenders = torch_modes(case, modes, threads) if peers else {}
        before = measure(contenders, rounds, turn) if peers else {}
        pause()
        with tempfile.TemporaryDirectory() as folder:
            out = keep / model if keep else Path(folder)
            found = cross_validate(model, source, epochs, backend, out)
        after = measure(contenders, rounds, turn) if peers else {}
        steps = found["images_trained"] / batch
        times = {mode: steps * median_seconds(before[mode] + after[mode]) for mode in contenders}
        rows.append({**case, "epochs": epochs, **found, **beside(found["command_s"], times)})
    cli.show(f"Cross-validation, {FOLDS} folds, epochs: {epochs}, {threads} threads", rows, COLUMNS)
    cli.finish("end_to_end", rows, threads, backend, save)


def cross_validate(
    model: str, source: Path | None, epochs: int, backend: str | None, out: Path
) -> dict[str, Any]:
    """Run the command, and return how long it took and how many images it trained on."""
    options = ["--model", model, "--epochs", str(epochs), "--folds", str(FOLDS), "--out", str(out.resolve())]
    options += ["--data", str(source.resolve())] if source else []
    options += ["--backend", backend] if backend else []
    took = seconds(partial(run, CROSS_VALIDATION, *options))
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    trained = epochs * (FOLDS - 1) * results["data"]["images"]  # every face is held out once
    return {
        "command_s": took,
        "images_trained": trained,
        "images_per_s_median": trained / took,  # of one run
        "ms_median": 1e3 * took,
    }


def beside(ours: float, times: Mapping[str, float]) -> dict[str, Any]:
    """Compare our seconds with those of PyTorch's fastest mode; every figure is None without it."""
    if not times:
        return {"peer": None, "peer_s": None, "ratio": None}
    name = min(times, key=lambda mode: times[mode])
    return {"peer": name, "peer_s": times[name], "ratio": times[name] / ours}


if __name__ == "__main__":
    app()
