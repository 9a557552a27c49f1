"""Training: one step (forward, loss, backward, Adam) of ours and of PyTorch in its fastest mode.

Run as ``python -m benchmarks.train_step``; with ``--scaling`` it is ours alone, at growing batches, on one
thread and on all. The last line is one JSON object; `benchmarks/README.md` explains its keys.
"""

from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any

import typer

from benchmarks import cli, roofline
from benchmarks.timing import Contender, against, measure, median_seconds, speed

SCALING_BATCHES = [16, 32, 64, 128, 256, 512]
COLUMNS = {
    "model": "model",
    "batch": "batch",
    "images/s": "images_per_s_median",
    "peer": "peer",
    "ratio": "ratio",
    "GFLOP/s": "gflops",
    "of\nsgemm": "share_of_sgemm",
}
SCALING_COLUMNS = {
    "model": "model",
    "batch": "batch",
    "µs/image, 1 thread": "us_per_image_one_thread",
    "µs/image": "us_per_image",
    "speedup": "speedup",
}


class Modes(StrEnum):
    """What ``--modes`` takes."""

    all = "all"
    eager = "eager"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    models: cli.Models = cli.MODELS,
    batches: cli.Batches = cli.BATCHES,
    peer: cli.TrainingPeer = cli.TrainingPeerName.torch,
    modes: Annotated[Modes, typer.Option(help="Of PyTorch; all includes torch.compile.")] = Modes.all,
    scaling: Annotated[bool, typer.Option("--scaling", help="Ours alone, batches 16 to 512.")] = False,
    threads: cli.Threads = 2,
    backend: cli.OurBackend = None,
    rounds: cli.RoundCount = 7,
    turn: cli.Turn = 0.5,
    save: cli.JsonFile = None,
) -> None:
    """Compare the speed of training with PyTorch's."""
    peers = [] if scaling else cli.installed([peer], models)
    rows = []
    for case in cli.cases(models, SCALING_BATCHES if scaling else batches):
        ours = Contender("benchmarks.ours:training_step", {**case, "backend": backend}, threads)
        if scaling:
            found = measure_scaling(ours, rounds, turn)
        else:
            found = measure_step(ours, torch_modes(case, modes, threads) if peers else {}, rounds, turn)
        rows.append(case | found)
    cli.show(f"Training, {threads} threads", rows, SCALING_COLUMNS if scaling else COLUMNS)
    cli.finish("train_step", rows, threads, backend, save)


def torch_modes(case: cli.Case, modes: Modes, threads: int) -> dict[str, Contender]:
    """Return PyTorch in each of its modes: two memory layouts, as it is (eager) or compiled."""
    if modes == Modes.all:
        print("torch.compile is at work: about a minute for each of two layouts", flush=True)
    return {
        f"{layout} {'compile' if compiled else 'eager'}": Contender(
            "benchmarks.peers:training_step", {**case, "layout": layout, "compiled": compiled}, threads
        )
        for layout in ("contiguous", "channels_last")
        for compiled in ((False, True) if modes == Modes.all else (False,))
    }


def measure_step(ours: Contender, peers: dict[str, Contender], rounds: int, turn: float) -> dict[str, Any]:
    """Time one case beside its peers and this machine's matrix product."""
    sgemm = roofline.contender("sgemm", ours.threads)
    times = measure({"ours": ours, "sgemm": sgemm, **peers}, rounds, turn)
    mine, limit = times.pop("ours"), times.pop("sgemm")
    batch = ours.arguments["batch"]
    return {
        **speed(batch, mine),
        **against(mine, times),
        **roofline.sgemm_share(ours.arguments["model"], roofline.TRAINING * batch, mine, limit),
        "modes_ms_median": {mode: 1e3 * median_seconds(theirs) for mode, theirs in times.items()},
    }


def measure_scaling(ours: Contender, rounds: int, turn: float) -> dict[str, Any]:
    """Time one case on one thread and on all."""
    times = measure({"one": replace(ours, threads=1), "all": ours}, rounds, turn)
    one, every = median_seconds(times["one"]), median_seconds(times["all"])
    batch = ours.arguments["batch"]
    return {
        **speed(batch, times["all"]),
        "ratio": None,
        "us_per_image_one_thread": 1e6 * one / batch,
        "us_per_image": 1e6 * every / batch,
        "speedup": one / every,
    }


if __name__ == "__main__":
    app()
