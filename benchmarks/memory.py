"""Memory: the most that training holds resident, ours and PyTorch's, and what a later step still asks for.

Run as ``python -m benchmarks.memory``. PyTorch trains in the faster of its eager modes. The last line is one
JSON object; `benchmarks/README.md` explains its keys. Here a `ratio` below 1 means that ours takes less.
"""

import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import typer

# Nothing here imports NumPy at its top: on Linux the peak of a process starts at what its parent holds.
from benchmarks import cli
from benchmarks.machine import pause
from benchmarks.timing import WARM_UP, Contender, Rounds, Worker, median_seconds, speed

BATCHES = [64, 256]
COLUMNS = {
    "model": "model",
    "batch": "batch",
    "peak MB": "peak_mb",
    "peer": "peer",
    "peer's MB": "peer_peak_mb",
    "ratio": "ratio",
    "later step, kB": "later_step_kb",
}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    models: cli.Models = cli.MODELS,
    batches: cli.Batches = BATCHES,
    peer: cli.TrainingPeer = cli.TrainingPeerName.torch,
    steps: Annotated[int, typer.Option(min=1, help="Training steps after the warm-up.")] = 10,
    threads: cli.Threads = 2,
    backend: cli.OurBackend = None,
    save: cli.JsonFile = None,
) -> None:
    """Compare the memory that training takes with PyTorch's: a ratio below 1 means that ours takes less."""
    modes = ("contiguous", "channels_last") if cli.installed([peer], models) else ()
    rows = []
    for case in cli.cases(models, batches):
        ours = Contender("benchmarks.ours:training_step", {**case, "backend": backend}, threads)
        # First, since it also compiles: that memory is needed once on a machine, not in each run.
        with Worker(replace(ours, target="benchmarks.memory:later_step_bytes")) as worker:
            later = worker.built
        peers = {
            f"{layout} eager": Contender(
                "benchmarks.peers:training_step", {**case, "layout": layout, "compiled": False}, threads
            )
            for layout in modes
        }
        times, peak = train(ours, steps)
        figures = {"peak_mb": peak, **compare(peak, peers, steps), "later_step_kb": later / 1e3}
        rows.append(case | speed(case["batch"], times) | figures)
    cli.show("Training, peak of resident memory", rows, COLUMNS)
    cli.finish("memory", rows, threads, backend, save)


def train(contender: Contender, steps: int) -> tuple[Rounds, float]:
    """Return the times of so many steps, and the most megabytes that their process held."""
    pause()
    with Worker(contender) as worker:
        worker(WARM_UP)
        times = [worker(steps)]
    return times, worker.peak_bytes / 1e6


def compare(peak: float, peers: Mapping[str, Contender], steps: int) -> dict[str, Any]:
    """Compare a peak with that of the fastest peer; every figure is None where there is none."""
    if not peers:
        return {"peer": None, "peer_peak_mb": None, "ratio": None}
    trained = {name: train(contender, steps) for name, contender in peers.items()}
    fastest = min(trained, key=lambda name: median_seconds(trained[name][0]))
    theirs = trained[fastest][1]
    return {"peer": fastest, "peer_peak_mb": theirs, "ratio": peak / theirs}


def later_step_bytes(model: str, batch: int, backend: str | None) -> int:
    """Return what the fifth step adds, at its peak, to the bytes that Python and NumPy hold."""
    from benchmarks.ours import training_step

    step = training_step(model, batch, backend)
    for _ in range(WARM_UP):
        step()
    tracemalloc.start()
    step()
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    step()
    return tracemalloc.get_traced_memory()[1] - before


if __name__ == "__main__":
    app()
