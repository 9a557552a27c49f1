"""`results.json`: what one run of cross-validation found, as plain dicts, lists, strings and numbers.

Scores lie between 0 and 1, durations are in seconds, and None stands for what is unknown. SPREAD is
{"mean", "std", "folds": [one per fold]}, as `fer_demo.metrics.over_folds` makes it::

    protocol     folds, epochs, seed, batch_size, recipe, keep_copies_together, faces_moved (into the folds
                 of their copies), teacher: {sha256: [one per file], share, temperature} (None where nobody
                 taught), learning_rate (one per model), details (of the recipe), normalisation, backend,
                 threads (of one training; None on a cluster), workers (trainings at once, or the address of a
                 cluster)
    data         name, sha256, images, synthetic, class_counts: {emotion: count}
    extra        the same of the faces that were only trained on, None where there were none
    environment  python, numpy, numba, tinycnn, opencv, platform, cpu, cores, commit
    models       {name: {
                     parameters, multiply_adds (of one image's forward pass), seconds,
                     images_per_second (in training),
                     accuracy, train_accuracy, gap (training minus held-out accuracy), macro_f1: SPREAD,
                     per_class: {emotion: {precision, recall, f1, support}},
                     extra_left_out: one per fold, extra faces that are copies of held-out ones,
                     confusion: counts summed over folds, rows true, columns predicted,
                     history: one per fold, {loss, accuracy, val_loss, val_accuracy: [one per epoch]}}}
    seconds      wall time of the whole run
    finished     whether all folds are there, and pictures and page are written

An interrupted run holds the models and folds that were finished.
"""

import json
import math
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from fer_demo.errors import DataError
from tinycnn._version import __version__
from tinycnn.errors import ConfigError, FileFormatError
from tinycnn.files import replace_file

Results = dict[str, Any]

_OPENCV_DISTRIBUTIONS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)


def environment() -> dict[str, Any]:
    """What the run ran on: versions, machine, and the commit of the code if it is a git checkout."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": _installed_version("numba"),
        "tinycnn": __version__,
        "opencv": _installed_version(*_OPENCV_DISTRIBUTIONS),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "commit": _commit(Path(__file__).parents[2]),
    }


def write_results(results: Results, path: Path) -> None:
    """Write `results` as JSON; a number that JSON cannot hold (NaN, infinity) becomes null."""
    text = json.dumps(_plain(results), indent=2, ensure_ascii=False, allow_nan=False)
    replace_file(path, f"{text}\n".encode())


def read_results(
    path: Path, module: str = "fer_demo.cv", parts: tuple[str, ...] = ("protocol", "models")
) -> Results:
    """Read what `write_results` wrote.

    Args:
        path: the file.
        module: the command that writes such files.
        parts: objects that it must hold, besides data and environment.

    Raises:
        DataError: there is no such file.
        FileFormatError: the file is not JSON, or lacks a part of the results.
    """
    remedy = f"expected a file as `python -m {module}` writes it: run that again"
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; {remedy}") from error
    except ValueError as error:  # not UTF-8, or not JSON; the message gives the place
        raise FileFormatError(f"{path}: {error}; {remedy}") from error
    for part in (*parts, "data", "environment"):
        if not isinstance(results, dict) or not isinstance(results.get(part), dict):
            raise FileFormatError(f"{path}: no object named {part!r} at the top level; {remedy}")
    return results


def read_finished(folder: Path) -> Results:
    """Read the results of a cross-validation, which must be finished.

    Raises:
        ConfigError: it is not.
        DataError, FileFormatError: see `read_results`.
    """
    results = read_results(folder / "results.json")
    if not results.get("finished"):
        raise ConfigError(f"{folder}: this cross-validation is not finished; end it with --resume")
    return results


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _installed_version(*distributions: str) -> str | None:
    """Version of the first of several interchangeable distributions that is installed."""
    for distribution in distributions:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")  # Linux only; elsewhere Python knows as much as the system tells
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit(folder: Path) -> str | None:
    """The commit checked out in `folder`, None if that is not the top of a git work tree."""
    command = ["git", "rev-parse", "--show-prefix", "HEAD"]
    try:
        answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):  # no git, no repository, no commit yet
        return None
    prefix, commit = answer.splitlines()
    # A prefix means that the package merely lies inside somebody else's repository.
    return None if prefix else commit
