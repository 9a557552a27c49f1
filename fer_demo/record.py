"""`results.json` as it grows: written when a run begins, after each fold, and at the end."""

import time
from pathlib import Path
from typing import Any

import numpy as np

import tinycnn as tc
from fer_demo import report
from fer_demo.crossval import summarise
from fer_demo.data import EMOTIONS, Dataset
from fer_demo.errors import DataError
from fer_demo.models import MODELS
from fer_demo.training import describe_data
from fer_demo.trial import TrialResult
from fer_demo.trial_files import remove_trials
from tinycnn.sealed import check_belongs


class Record:
    """What one run has found so far, in a folder of its own.

    Args:
        out: the folder; it exists.
        dataset: N faces.
        names: of the models.
        protocol: how they are run, as `results.json` has it.
        extra: more faces that they are trained on.

    Attributes:
        results: what `results.json` holds; see `fer_demo.report.results`.
        folds: folder of the folds' files.
    """

    def __init__(
        self,
        out: Path,
        dataset: Dataset,
        names: list[str],
        protocol: dict[str, Any],
        extra: Dataset | None = None,
    ) -> None:
        self._out, self._path, self._dataset = out, out / "results.json", dataset
        self.folds = out / "folds"
        self._finished: dict[str, dict[int, TrialResult]] = {name: {} for name in names}
        unknown = np.full((len(dataset), len(EMOTIONS)), np.nan, np.float32)
        self._probabilities = {name: unknown.copy() for name in names}
        self._began, self._seconds_before = time.perf_counter(), 0.0
        self.results: report.Results = {
            "finished": False,
            "protocol": protocol,
            "data": describe_data(dataset),
            "extra": None if extra is None else describe_data(extra),
            "environment": report.environment(),
            "models": {},
        }

    def begin(self, resume: bool, command: str) -> bool:
        """Take over the folder: go on with the run in it, or start a new one.

        Args:
            resume: whether to go on, if there is a run.
            command: what resumes that run, for the error's message.

        Returns:
            Whether the run is finished: then `results` are its own, and nothing is left to do or written.

        Raises:
            ConfigError: an unfinished run is in the folder and shall not be resumed, or cannot be, since its
                options or data are others; or a finished run is there, on other than drawn faces.
            OSError: the folder cannot be written.
        """
        earlier = take_over(self._path, resume, command)
        if earlier and resume:
            check_belongs(self._path, _identity(earlier), _identity(self.results))
            if earlier.get("finished"):
                self.results = earlier
                return True
            self._seconds_before = earlier.get("seconds") or 0.0
            return False  # what is there stays until the first fold is entered anew
        if not resume:
            if earlier:
                refuse_finished(self._out, earlier)
            remove_trials(self.folds, MODELS)
        self._write()
        return False

    def add(self, name: str, fold: int, indices: tuple[np.ndarray, np.ndarray], result: TrialResult) -> None:
        """Enter a finished fold, its number from 0 and its indices, of the model called `name`."""
        self._finished[name][fold] = result
        self._probabilities[name][indices[1]] = result.probabilities
        found = [result for _, result in sorted(self._finished[name].items())]
        models = self.results["models"] | {name: summarise(name, found)}
        # In the order of the names, whichever fold is finished first.
        self.results["models"] = {name: models[name] for name in self._finished if name in models}
        self._write()

    def finish(self) -> Path:
        """Write pictures and page; return the page's path."""
        images, labels = self._dataset.images, self._dataset.labels
        page = report.write_all(self.results, images, labels, self._out, self._probabilities)
        self.results["finished"] = True  # not before the page is there
        self._write()
        return page

    def _write(self) -> None:
        self.results["seconds"] = self._seconds_before + time.perf_counter() - self._began
        report.write_results(self.results, self._path)


def refuse_finished(out: Path, earlier: report.Results, more: str = "") -> None:
    """Raise a ConfigError, with more remedies at its end, unless the finished run is on drawn faces."""
    if not earlier["data"]["synthetic"]:  # drawn faces take minutes, others hours
        raise tc.ConfigError(
            f"{out} holds a finished run on {earlier['data']['name']}. To keep it, choose another folder "
            f"with --out; to replace it, delete it{more}"
        )


def take_over(path: Path, resume: bool, command: str, **kind: Any) -> report.Results | None:
    """Return the results that an earlier run has left, None if there are none.

    Args:
        path: where a run has its results.
        resume: whether an unfinished one shall be gone on with.
        command: what resumes that run, for the error's message.
        kind: of the results: `module` and `parts` of `read_results`.

    Raises:
        ConfigError: an unfinished run is there, and shall not be resumed.
        FileFormatError: the file is damaged.
    """
    try:
        earlier = report.read_results(path, **kind)
    except DataError:  # there is none
        return None
    except tc.FileFormatError as error:
        error.add_note("Delete that file and add --resume to go on: finished folds have files of their own.")
        raise
    if not resume and not earlier.get("finished", True):
        raise tc.ConfigError(
            f"{path.parent} holds an unfinished run. To go on with it: {command}. To start over, delete "
            "the folder or choose another one with --out"
        )
    return earlier


def _identity(results: report.Results) -> dict[str, Any]:
    """Return what must be equal for one run to go on with another's folds."""
    any_number = ("threads", "workers")
    protocol = {name: value for name, value in results["protocol"].items() if name not in any_number}
    extra = results.get("extra") or {}
    return {**protocol, "data": results["data"].get("sha256"), "extra": extra.get("sha256")}
