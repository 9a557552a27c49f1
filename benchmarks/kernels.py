"""Kernels: every layer of a network at its real shape, forward and backward, beside this machine's limits.

Run as ``python -m benchmarks.kernels``; `benchmarks/layers.py` does the measuring. There is no peer but the
machine. The last line is one JSON object; `benchmarks/README.md` explains its keys.
"""

from typing import Annotated, Any

import typer

from benchmarks import cli
from benchmarks.roofline import Machine, contender
from benchmarks.timing import Contender, Worker, measure

COLUMNS = {
    "layer": "layer",
    "pass": "pass",
    "ms": "ms_median",
    "GFLOP/s": "gflops",
    "GB/s": "gb_per_s",
    "roofline": "share_of_roofline",
}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    models: cli.Models = cli.MODELS,
    batches: cli.Batches = cli.BATCHES,
    threads: cli.Threads = 2,
    backend: cli.OurBackend = None,
    rounds: cli.RoundCount = 15,
    turn: Annotated[float, typer.Option(min=0, help="Seconds of a turn of sgemm, and of copy.")] = 0.2,
    save: cli.JsonFile = None,
) -> None:
    """Measure each layer alone, and hold it against the machine's limits."""
    limits = {name: contender(name, threads) for name in ("sgemm", "copy")}
    machine = Machine.from_times(measure(limits, rounds, turn))
    rows, layers = [], []
    for case in cli.cases(models, batches):
        arguments = {**case, "backend": backend, "rounds": rounds}
        with Worker(Contender("benchmarks.layers:layer_times", arguments, threads)) as worker:
            found = [case | rated(layer, machine) for layer in worker.built]
        cli.show(f"{case['model']}, batch {case['batch']}, {threads} threads", found, COLUMNS)
        rows.append({**case, **total(found), **machine.described()})
        layers += found
    print(
        f"{threads} threads: sgemm {machine.flops / 1e9:.0f} GFLOP/s, copy {machine.bandwidth / 1e9:.1f} GB/s"
    )
    cli.finish("kernels", rows, threads, backend, save, layers=layers)


def rated(layer: dict[str, Any], machine: Machine) -> dict[str, Any]:
    """Add rates to a row of `benchmarks.layers.layer_times`; GFLOP/s only where there are multiply-adds."""
    seconds = layer["ms_median"] / 1e3
    fewest = machine.fewest_seconds(layer["flops"], layer["bytes"])
    return {
        **layer,
        "gflops": layer["flops"] / seconds / 1e9 or None,
        "gb_per_s": layer["bytes"] / seconds / 1e9,
        "roofline_ms": 1e3 * fewest,
        "share_of_roofline": fewest / seconds,
    }


def total(layers: list[dict[str, Any]]) -> dict[str, Any]:
    """Add the layers up."""
    taken, fewest = (sum(layer[key] for layer in layers) for key in ("ms_median", "roofline_ms"))
    return {"ms_median": taken, "ratio": None, "roofline_ms": fewest, "share_of_roofline": fewest / taken}


if __name__ == "__main__":
    app()
