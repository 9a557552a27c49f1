"""What the commands share: options, and how they end when they are stopped or given what they cannot use."""

import io
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import tinycnn as tc
from fer_demo.errors import WorkerWarning

if TYPE_CHECKING:
    from fer_demo.data.held_out import HeldOut

#: How many damaged files, or the like, are shown.
MAX_SHOWN = 10


class Backend(StrEnum):
    """What ``--backend`` takes."""

    numpy = "numpy"
    numba = "numba"


class RecipeName(StrEnum):
    """What ``--recipe`` takes."""

    default = "default"
    brief = "brief"
    paper = "paper"
    modern = "modern"
    small = "small"
    large = "large"
    strong = "strong"


class ModelName(StrEnum):
    """What ``--model`` takes where it is one model."""

    mini_xception = "mini_xception"
    alexnet = "alexnet"
    alexnet_bn = "alexnet_bn"
    compact = "compact"
    vggnet = "vggnet"
    inception = "inception"
    resnet = "resnet"


class Part(StrEnum):
    """What ``--part`` takes: `USAGES`, or all."""

    training = "Training"
    public_test = "PublicTest"
    private_test = "PrivateTest"
    all = "all"


Source = Annotated[
    Path | None,
    typer.Option("--data", help="FER2013's CSV or folder."),
]
Photos = Annotated[Path, typer.Option("--data", help="FER2013 as .csv, or a folder of photos by emotion.")]
Validation = Annotated[
    str | None,
    typer.Option(metavar="PART", help="To score on: a share, or PublicTest, the default where it is."),
]
Detect = Annotated[
    bool | None,
    typer.Option(
        "--detect/--no-detect",
        help="Of photos: find the largest face in all of them, or take the square in the middle. Default: "
        "find it in all but those of 48x48 pixels, which are faces already.",
    ),
]
RecipeOption = Annotated[
    RecipeName, typer.Option("--recipe", metavar="NAME", help=f"{', '.join(RecipeName)}.")
]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, metavar="N", help="Of all that is random.")]
BatchSize = Annotated[int | None, typer.Option(min=1, metavar="N", help="Images a step.")]
BackendOption = Annotated[Backend | None, typer.Option(help="Default: numba if there.")]
Extra = Annotated[
    list[Path] | None,
    typer.Option("--extra", metavar="FILE", help="More faces to train on."),
]
KeepCopiesTogether = Annotated[bool, typer.Option("--keep-copies-together", help="Of a face, in one part.")]
TeacherShare = Annotated[float, typer.Option(min=0, max=1, metavar="S", help="Its share of a target.")]
TeacherTemperature = Annotated[
    float,
    typer.Option(min=0.01, max=100, metavar="T", help="Evens it out; default 1.", show_default=False),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with --out.")]
CheckpointEvery = Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Between checkpoints.")]
Weights = Annotated[str, typer.Option(metavar="NAME|FILE", help="mini_xception, compact, or a file.")]
WeightsArgument = Annotated[
    str, typer.Argument(metavar="WEIGHTS", help="A file of train, or the name of shipped weights.")
]
Faces = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE",
        help="Find faces by haar, haar_alt, profile, lbp, lbp_profile, a cascade's .xml, or YuNet's .onnx.",
    ),
]
Unsure = Annotated[
    float, typer.Option(min=0, max=1, metavar="P", help='Label below this probability "unsure".')
]


def resuming(module: str) -> str:
    """Return the command that resumes the present run of a module."""
    options = [option for option in sys.argv[1:] if option != "--resume"]
    return shlex.join(["python", "-m", module, *options, "--resume"])


def resumable(module: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command end with exit code 130, and the command that resumes it, on Ctrl-C and SIGTERM."""

    def decorate(main: Callable[..., None]) -> Callable[..., None]:
        @wraps(main)
        def main_or_130(*args: Any, **options: Any) -> None:
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            try:
                main(*args, **options)
            except KeyboardInterrupt:
                print(f"Interrupted. To go on: {resuming(module)}", file=sys.stderr)
                raise typer.Exit(130) from None

        return main_or_130

    return decorate


def check_outputs(outputs: Mapping[str, Path | None], inputs: Iterable[str | Path | None]) -> None:
    """Make sure that nothing that is read is replaced, and that no two outputs go into one file.

    Nor may anything be written into a folder that is read: the next run would find it there.

    Args:
        outputs: files or folders to write, by option; None where it is not given.
        inputs: what is read: files, folders, or names that are neither; None where it is not given.

    Raises:
        ConfigError: an output is one of them or lies in one; the message says which.
    """
    read = {os.path.realpath(path): path for path in inputs if path is not None}
    folders = {place: path for place, path in read.items() if os.path.isdir(place)}
    taken = dict.fromkeys(read, "is read")
    for option, path in outputs.items():
        if path is None:
            continue
        place = os.path.realpath(path)
        if around := [name for folder, name in folders.items() if Path(folder) in Path(place).parents]:
            raise tc.ConfigError(f"{option} {path} lies in {around[0]}, which is read: name a place outside")
        if use := taken.get(place):
            kind = "folder" if place in folders else "file"
            raise tc.ConfigError(f"{option} {path}: this {kind} {use}; choose another name")
        taken[place] = f"is for {option}"


def warn_of(what: str, lines: Sequence[str], rest: str) -> None:
    """Print a warning of so many things on standard error, and the first `MAX_SHOWN` lines about them.

    Args:
        what: goes before the colon, after their number.
        lines: one for each; nothing is printed if there is none.
        rest: where all of them are to be read, if there are more.
    """
    if lines:
        print(f"Warning: {len(lines)} {what}:", *lines[:MAX_SHOWN], sep="\n  ", file=sys.stderr)
    if len(lines) > MAX_SHOWN:
        print(f"  and {len(lines) - MAX_SHOWN} more; {rest}", file=sys.stderr)


def warn_of_unused(
    held_out: "HeldOut", rest: str = "python -m fer_demo.evaluate --json FILE lists them all"
) -> None:
    """Say on standard error which photographs did not become a face, and where to read of all of them."""
    from fer_demo.data.dataset import display_name

    for reason, places in held_out.left_out.items():
        warn_of(f"not used, {reason}", list(map(display_name, places)), rest)
    lines = [display_name(f"{place}: {reason}") for place, reason in held_out.faults]
    warn_of("damaged or missing, skipped", lines, rest)


def run(app: typer.Typer) -> None:
    """Run a command; turn errors that a user can mend into one message and exit code 2."""
    warnings.showwarning = show_warning  # type: ignore[assignment]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a ? for what a terminal's encoding lacks
    try:
        app()
    except (tc.TinyCNNError, OSError) as error:
        print("Error:", "\n".join([str(error), *getattr(error, "__notes__", [])]), file=sys.stderr)
        sys.exit(2)


def show_warning(message: Warning | str, category: type[Warning], *place: Any) -> None:
    """Say in one line what a user shall know; the place in the code matters for other warnings alone."""
    if issubclass(category, tc.CheckpointWarning | WorkerWarning):
        print(f"Warning: {message}", file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, *place[:2]), end="", file=sys.stderr)
