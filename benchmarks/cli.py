"""What the scripts share around their measurements: options, tables, and the last line.

The modules behind this one import little: see `benchmarks/memory.py`.
"""

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.machine import environment, others_busy


class Model(StrEnum):
    """What ``--model`` takes."""

    mini_xception = "mini_xception"
    alexnet = "alexnet"
    alexnet_bn = "alexnet_bn"
    compact = "compact"
    vggnet = "vggnet"
    inception = "inception"
    resnet = "resnet"
    all = "all"


class Backend(StrEnum):
    """What ``--backend`` takes."""

    numpy = "numpy"
    numba = "numba"


class TrainingPeerName(StrEnum):
    """What ``--peer`` takes where ONNX Runtime cannot take part, since it does not train."""

    torch = "torch"
    none = "none"


Models = Annotated[
    list[Model], typer.Option("--model", help="May be repeated; all: the two that peers have too.")
]
Batches = Annotated[list[int], typer.Option("--batch", min=1, help="Images at once; may be repeated.")]
TrainingPeer = Annotated[TrainingPeerName, typer.Option("--peer", help="Whom to compare with.")]
Threads = Annotated[int, typer.Option(min=1, help="For both sides.")]
OurBackend = Annotated[Backend | None, typer.Option("--backend", help="Ours; numba where installed.")]
RoundCount = Annotated[int, typer.Option("--rounds", min=1, help="Turns of each contender.")]
Turn = Annotated[float, typer.Option(min=0, help="Seconds of a turn.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Save the last line to this file, too.")]

#: Share of the processor that other programs may use before the figures are called into question.
TOO_BUSY = 0.05
#: One thing to measure.
Case = dict[str, Any]
MODELS = [Model.mini_xception]
#: What peers have too.
WITH_PEERS = [Model.mini_xception, Model.alexnet]
BATCHES = [64]
#: Packages that a peer needs: ONNX Runtime and OpenCV run what PyTorch exports.
NEEDS = {
    "torch": ("torch",),
    "onnxruntime": ("onnxruntime", "onnx", "torch"),
    "opencv": ("cv2", "onnx", "torch"),
}


def cases(models: Iterable[Model], batches: Iterable[int]) -> list[Case]:
    """Return every model asked for with every batch size, as arguments of a contender."""
    return [{"model": model, "batch": batch} for model in chosen(models) for batch in batches]


def chosen(models: Iterable[Model]) -> list[str]:
    """Return the names of the models asked for, each once."""
    wanted = {one for model in models for one in (WITH_PEERS if model == Model.all else [model])}
    return [str(model) for model in Model if model in wanted]


def installed(peers: Iterable[str], models: Iterable[Model] = ()) -> list[str]:
    """Return those of the peers that are installed and have all models; say in a line each which are not."""
    found, ours_alone = [], [name for name in chosen(models) if name not in WITH_PEERS]
    for peer in peers:
        missing = [package for package in NEEDS.get(peer, ()) if find_spec(package) is None]
        if missing:
            print(f"{peer} is left out: {', '.join(missing)} not installed, see benchmarks/README.md")
        elif peer in NEEDS and ours_alone:
            print(f"{peer} is left out: {', '.join(ours_alone)} are ours alone")
        elif peer in NEEDS:
            found.append(str(peer))
    return found


def show(title: str, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Print a table; `columns` maps its headings to the rows' keys."""
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for heading in columns:
        words = heading in ("model", "layer", "peer")
        table.add_column(heading, justify="left" if words else "right", no_wrap=words)
    for row in rows:
        table.add_row(*(text(row[key]) for key in columns.values()))
    Console().print(table)


def text(value: Any) -> str:
    """Write a cell: a float with three digits or all before the point, nothing as a dash."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"
    return str(value)


def finish(
    benchmark: str,
    rows: list[dict[str, Any]],
    threads: int,
    backend: str | None,
    save: Path | None,
    **more: Any,
) -> None:
    """Print the last line, one JSON object: the first row's entries, all rows, more, and the environment."""
    result = {
        "benchmark": benchmark,
        **rows[0],
        "rows": rows,
        **more,
        "environment": environment(threads, backend),
    }
    line = json.dumps(result)
    if (busy := others_busy() or 0.0) > TOO_BUSY:
        print(f"Do not trust these figures: other programs kept {busy:.0%} of the processor busy")
    if save is not None:
        save.write_text(f"{line}\n")
    print(line)
