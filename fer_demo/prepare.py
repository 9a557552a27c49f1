"""`python -m fer_demo.prepare`: turn another data set into more faces to train on."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from fer_demo import cli
from fer_demo.data.affectnet import list_affectnet
from fer_demo.data.convert import NO_FACE, Choice, Converted, convert, write_csv
from fer_demo.data.dataset import EMOTIONS, display_name
from fer_demo.data.sources import Fault, list_ckplus, list_folders, list_rafdb
from fer_demo.errors import DataError
from fer_demo.output import check_writable


class Layout(StrEnum):
    """What ``--layout`` takes."""

    affectnet = "affectnet"
    folders = "folders"
    rafdb = "rafdb"
    ckplus = "ckplus"


class Emotion(StrEnum):
    """What ``--only`` takes: `EMOTIONS`."""

    angry = "angry"
    disgust = "disgust"
    fear = "fear"
    happy = "happy"
    sad = "sad"
    surprise = "surprise"
    neutral = "neutral"


_LIST = {
    Layout.affectnet: list_affectnet,
    Layout.folders: list_folders,
    Layout.rafdb: list_rafdb,
    Layout.ckplus: list_ckplus,
}

EPILOG = """
Layouts:

  affectnet  training.csv and photographs; or folders images and annotations

  folders    a folder of photographs for each emotion: angry, disgust, fear ...

  rafdb      EmoLabel/list_patition_label.txt and Image/aligned

  ckplus     a folder of faces for each emotion; or a CSV file of pixels

Examples:

  python -m fer_demo.prepare AffectNet --layout affectnet --only disgust --out more.csv.gz

  python -m fer_demo.prepare photos --layout folders --limit 500 --out photos.csv
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=EPILOG)
def main(
    source: Annotated[Path, typer.Argument(help="The data set: a folder, or its CSV file.")],
    layout: Annotated[Layout, typer.Option(help="How the data set is laid out, see below.")],
    out: Annotated[Path, typer.Option(help="The file to write: .csv, or .csv.gz to compress it.")],
    only: Annotated[
        list[Emotion] | None, typer.Option(help="Keep this emotion alone; may be repeated.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many of each emotion.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the choice for --limit.")] = 0,
    min_size: Annotated[int, typer.Option(min=1, help="Leave out faces of fewer pixels a side.")] = 20,
    detect: Annotated[
        bool | None,
        typer.Option(
            "--detect/--no-detect",
            help="Where the data set gives no face box, cut out the largest face that OpenCV finds, or "
            "take the square in the middle. Default: in folders, find it in all pictures but those of 48x48 "
            "pixels; the others hold faces already.",
        ),
    ] = None,
) -> None:
    """Turn images of any size into a file of grey 48x48 faces in FER2013's format.

    What FER2013 does not know, such as contempt, is left out and counted.

    Damaged files are skipped and listed. Every row of the file is for training.
    """
    console = Console(soft_wrap=True, markup=False, highlight=False, emoji=False)
    if not source.exists():
        raise DataError(f"{display_name(str(source))}: no such file or folder; expected the data set")
    cli.check_outputs({"--out": out, "the list of damaged files": _list_of_damaged(out)}, [source])
    _check_output(out)
    choice = Choice(
        only=tuple(only or EMOTIONS),
        limit=limit,
        seed=seed,
        detect=detect if layout is Layout.folders else bool(detect),
        min_size=min_size,
    )
    with console.status(f"looking through {display_name(str(source))}"):
        pictures, faults = _LIST[layout](source)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=len(pictures))
        converted = convert(pictures, choice, lambda: progress.advance(task))
    faults += converted.faults
    _print_counts(converted, console)
    if len(converted.labels):
        write_csv(out, converted.images, converted.labels)
    _report_faults(faults, out)
    if not len(converted.labels):
        raise DataError(f"{display_name(str(source))}: no usable face is left, so nothing was written")
    console.print(f"Wrote {len(converted.labels)} faces: {display_name(str(out))}")


def _check_output(out: Path) -> None:
    """Fail now, not after the work."""
    if not out.name.lower().endswith((".csv", ".csv.gz")):
        raise DataError(f"{display_name(str(out))}: expected a name that ends in .csv or .csv.gz for --out")
    if out.is_dir():
        raise DataError(f"{display_name(str(out))}: this is a folder; name a file for --out")
    check_writable(out)


def _print_counts(converted: Converted, console: Console) -> None:
    counts = np.bincount(converted.labels, minlength=len(EMOTIONS))
    table = Table("emotion", Column("faces", justify="right"))
    for emotion, count in zip(EMOTIONS, counts, strict=True):
        table.add_row(emotion, f"{count:,}")
    console.print(table)
    if converted.left_out:
        table = Table("left out", Column("pictures", justify="right"))
        for reason, places in converted.left_out.items():
            table.add_row(reason, f"{len(places):,}")
        console.print(table)
    if NO_FACE in converted.left_out:
        console.print("Where images are faces already, cut close, --no-detect takes them as they are.")


def _report_faults(faults: list[Fault], out: Path) -> None:
    """Warn on standard error; if those are too many to show, list all of them in a file beside `out`."""
    lines = [display_name(f"{place}: {reason}") for place, reason in faults]
    path = _list_of_damaged(out)
    cli.warn_of("damaged or missing, skipped", lines, f"all of them: {path}")
    path.unlink(missing_ok=True)  # an earlier run's
    if len(lines) > cli.MAX_SHOWN:
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _list_of_damaged(out: Path) -> Path:
    return out.with_name(f"{out.name}.damaged.txt")


if __name__ == "__main__":
    cli.run(app)
