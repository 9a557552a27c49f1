"""Inference: milliseconds of one call, ours in two ways, beside ONNX Runtime, OpenCV and PyTorch.

Ours are `compile_for_inference(model)(x)` and the plain `model.predict(x)`. Run as ``python -m
benchmarks.inference``. The last line is one JSON object; `benchmarks/README.md` explains its keys.
"""

from enum import StrEnum
from typing import Annotated, Any

import typer

from benchmarks import cli, roofline
from benchmarks.timing import Contender, Rounds, against, measure, median_seconds, speed

BATCHES = [1, 64]
COLUMNS = {
    "model": "model",
    "batch": "batch",
    "ours": "ms_median",
    "predict": "predict_ms_median",
    "torch": "torch_ms_median",
    "onnx\nruntime": "onnxruntime_ms_median",
    "opencv": "opencv_ms_median",
    "ratio": "ratio",
    "predict\nratio": "predict_ratio",
    "of\nsgemm": "share_of_sgemm",
}


class Peer(StrEnum):
    """What ``--peer`` takes."""

    torch = "torch"
    onnxruntime = "onnxruntime"
    opencv = "opencv"
    none = "none"


PEERS = [Peer.torch, Peer.onnxruntime, Peer.opencv]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    models: cli.Models = cli.MODELS,
    batches: cli.Batches = BATCHES,
    peers: Annotated[
        list[Peer], typer.Option("--peer", help="Whom to compare with; may be repeated.")
    ] = PEERS,
    threads: cli.Threads = 2,
    backend: cli.OurBackend = None,
    rounds: cli.RoundCount = 7,
    turn: cli.Turn = 0.5,
    save: cli.JsonFile = None,
) -> None:
    """Compare the speed of inference with PyTorch's, ONNX Runtime's and OpenCV's."""
    found = cli.installed(peers, models)
    rows = []
    for case in cli.cases(models, batches):
        contenders = {
            way: Contender(f"benchmarks.ours:{way}", {**case, "backend": backend}, threads)
            for way in ("prepared", "predict")
        }
        contenders |= {peer: Contender(f"benchmarks.peers:{peer}_inference", case, threads) for peer in found}
        contenders["sgemm"] = roofline.contender("sgemm", threads)
        times = measure(contenders, rounds, turn)
        rows.append(case | figures(case, times))
    cli.show(f"Inference, milliseconds a call, {threads} threads", rows, COLUMNS)
    cli.finish("inference", rows, threads, backend, save)


def figures(case: cli.Case, times: dict[str, Rounds]) -> dict[str, Any]:
    """Return a row of the results, given the times of one case's contenders."""
    prepared, predict, sgemm = (times.pop(name) for name in ("prepared", "predict", "sgemm"))
    peers = {
        f"{peer}_ms_median": 1e3 * median_seconds(times[peer]) if peer in times else None for peer in PEERS
    }
    return {
        **speed(case["batch"], prepared),
        **against(prepared, times),
        "predict_ms_median": 1e3 * median_seconds(predict),
        "predict_ratio": against(predict, times)["ratio"],
        **peers,
        **roofline.sgemm_share(case["model"], case["batch"], prepared, sgemm),
    }


if __name__ == "__main__":
    app()
