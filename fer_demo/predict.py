"""`python -m fer_demo.predict`: what emotions strangers would read in photos and videos."""

import csv as csv_module
import json
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_demo import cli
from fer_demo.data.dataset import display_name
from fer_demo.output import open_output

if TYPE_CHECKING:
    from rich.console import Console

    from fer_demo.results import Result

#: Photos are searched at this size: groups of people have small faces.
SEARCHED = 1024
#: So many lines are shown on the screen.
MAX_SHOWN = 50

EXAMPLES = """
Examples:

  python -m fer_demo.predict photo.jpg

  python -m fer_demo.predict holidays --csv faces.csv --annotate labelled

  python -m fer_demo.predict talk.mp4 --json-lines talk.jsonl

Exit code 1: some files not read or copied; 2: a wrong command; 130: stopped
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=EXAMPLES)
def main(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Photos, videos, and folders of them.")
    ],
    json_lines: Annotated[
        Path | None, typer.Option(help="Write a line of JSON for each photo or frame.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write a row for each face.")] = None,
    annotate: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write copies with boxes and labels into it.")
    ] = None,
    weights: cli.Weights = "mini_xception",
    faces: cli.Faces = "haar",
    unsure: cli.Unsure = 0.4,
) -> None:
    """Find faces in photos and videos, and tell what emotions strangers would read in them.

    Labels say how strangers read a picture, not what a person feels: see docs/responsible_use.md.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # files are complete then, too
    from rich.console import Console
    from rich.progress import Progress

    from fer_demo.classifier import weights_path
    from fer_demo.detection.choose import detector_file, face_detector
    from fer_demo.detector import EmotionDetector
    from fer_demo.errors import DataError, DeviceError
    from fer_demo.live.annotate import Annotator
    from fer_demo.media import analyse, find_media

    console = Console(soft_wrap=True, markup=False, highlight=False, emoji=False)
    files, summaries, faults = find_media(paths), list[Summary](), list[str]()
    cli.check_outputs(
        {"--json-lines": json_lines, "--csv": csv}, [*files, weights_path(weights), detector_file(faces)]
    )
    cli.check_outputs({"--annotate": annotate}, paths)  # whose folders the next run would find it in
    detector = EmotionDetector(weights, face_detector(faces, SEARCHED), unsure)
    annotator, interrupted = Annotator(annotate, paths, files), True  # until all is done
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        notes = [stack.enter_context(_json_to(json_lines))] if json_lines else []
        notes += [stack.enter_context(_csv_to(csv))] if csv else []
        bar = stack.enter_context(Progress(console=console, transient=True, disable=not console.is_terminal))
        task = bar.add_task("", total=len(files))
        for path in files:
            summaries.append(Summary(display_name(str(path))))
            bar.update(task, description=summaries[-1].name)
            try:
                with closing(annotator):
                    results = analyse(detector, path, partial(annotator.add, path=path))
                    _take_down(results, summaries[-1], notes, partial(bar.update, task))
            except (DataError, DeviceError) as error:
                faults.append(str(error))
            bar.advance(task)
        interrupted = False
    summaries = [summary for summary in summaries if summary.pictures]
    _print_table(summaries, console)
    _report(summaries, faults, len(files))
    if interrupted:
        print("Interrupted.", file=sys.stderr)
        raise typer.Exit(130)
    if faults:
        raise typer.Exit(1)


@dataclass
class Summary:
    """What there is to say of a file in a line.

    Attributes:
        name: the file's, for people.
        pictures: 1, or a video's frames.
        faces: in all of them together.
        labels: how many faces have each; of a single picture in words, with the probability.
    """

    name: str
    pictures: int = 0
    faces: int = 0
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, result: "Result") -> None:
        """Count a picture or a frame."""
        self.pictures += 1
        self.faces += len(result.faces)
        photo = result.frame is None
        self.labels.update(
            f"{face.label} {face.confidence:.0%}" if photo else face.label for face in result.faces
        )
        self._photo = photo

    def cells(self) -> tuple[str, str, str]:
        """Return the file's row of the table."""
        if self._photo:
            return self.name, str(self.faces), ", ".join(self.labels.elements()) or "no face found"
        shares = [f"{label} {count / self.faces:.0%}" for label, count in self.labels.most_common()]
        return self.name, f"{self.faces} in {self.pictures} frames", ", ".join(shares) or "no face found"


Note = Callable[["Result"], object]


def _take_down(
    results: Iterable["Result"], summary: Summary, notes: Iterable[Note], show: Callable[..., object]
) -> None:
    """Write a file's results where they belong, as they come."""
    for result in results:
        summary.add(result)
        for note in notes:
            note(result)
        if result.frame:
            show(description=f"{summary.name}, {result.frame:,} frames")


@contextmanager
def _json_to(path: Path) -> Iterator[Note]:
    with open_output(path) as file:
        yield lambda result: file.write(json.dumps(result.as_dict(), ensure_ascii=False) + "\n")


@contextmanager
def _csv_to(path: Path) -> Iterator[Note]:
    from fer_demo.results import COLUMNS

    with open_output(path) as file:
        writer = csv_module.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        yield lambda result: writer.writerows(result.rows())


def _print_table(summaries: list[Summary], console: "Console") -> None:
    from rich.table import Table

    table = Table("file", "faces", "labels")
    for summary in summaries[:MAX_SHOWN]:
        table.add_row(*summary.cells())
    if summaries:
        console.print(table)
    if len(summaries) > MAX_SHOWN:
        console.print(f"and {len(summaries) - MAX_SHOWN} more files; --csv FILE writes all of them")


def _report(summaries: list[Summary], faults: list[str], files: int) -> None:
    """Say on standard error what gave nothing."""
    without = [summary.name for summary in summaries if not summary.faces]
    if without:
        print(f"No face found in {len(without)} of {files} files:", file=sys.stderr)
        _print_some(without)
    if faults:
        what = "damaged, no pictures or videos, or could not be copied"
        print(f"{len(faults)} of {files} files are {what}:", file=sys.stderr)
        _print_some(faults)


def _print_some(lines: list[str]) -> None:
    for line in lines[:MAX_SHOWN]:
        print(f"  {line}", file=sys.stderr)
    if len(lines) > MAX_SHOWN:
        print(f"  and {len(lines) - MAX_SHOWN} more", file=sys.stderr)


if __name__ == "__main__":
    cli.run(app)
