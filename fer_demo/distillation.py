"""Targets that a trained network helps to set: it knows which faces are hard, and what else they could be.

G. Hinton, O. Vinyals and J. Dean, "Distilling the Knowledge in a Neural Network", 2015. They divide the
student's scores by the temperature as well; here only the teacher's probabilities feel it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tinycnn as tc
from fer_demo.calibration import TEMPERATURES, temper
from fer_demo.classifier import EmotionClassifier, existing_weights, weights_path
from fer_demo.data import Dataset
from fer_demo.report.results import read_finished
from fer_demo.training import options_of, was_trained_on
from fer_demo.trial_files import TrialFiles
from tinycnn.checks import is_number, refuse


@dataclass(frozen=True)
class Teaching:
    """Who teaches, and how much of a target is theirs.

    Args:
        teachers: weights, as `EmotionClassifier` takes them; of several, the mean counts.
        share: of each target that is the teachers'; the rest is the label's. 0 to 1.
        temperature: above 1 the teachers' probabilities are evened out, below 1 sharpened: p becomes
            p^(1 / temperature), scaled to the sum 1. 0.01 to 100.

    Raises:
        ConfigError: share or temperature are out of range.
    """

    teachers: tuple[str, ...]
    share: float = 0.5
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not (is_number(self.share) and 0 <= self.share <= 1):
            refuse("share", self.share, "a number from 0 to 1")
        low, high = TEMPERATURES
        if not (is_number(self.temperature) and low <= self.temperature <= high):
            refuse("temperature", self.temperature, f"a number from {low:g} to {high:g}")

    def describe(self) -> dict[str, Any]:
        """Return what identifies the teaching, as JSON can hold it.

        Raises:
            ConfigError: there is no such file of weights.
            OSError: one cannot be read.
        """
        digests = [
            hashlib.sha256(existing_weights(weights).read_bytes()).hexdigest() for weights in self.teachers
        ]
        return {"sha256": digests, "share": self.share, "temperature": self.temperature}

    def check_unseen(self, training: dict[str, Any], held_out: Dataset) -> None:
        """Make sure that no teacher has learnt from the faces that the student will be scored on.

        Args:
            training: the student's options, as `python -m fer_demo.train` writes them into a file.
            held_out: what it will be scored on.

        Raises:
            ConfigError: a teacher has trained on some of it, as far as its file says.
        """
        split = ("data", "validation", "seed", "keep_copies_together")
        for weights in self.teachers:
            info = tc.load_info(weights_path(weights))
            then = options_of(info)
            same = "fold" not in then and all(then.get(key, False) == training[key] for key in split)
            if was_trained_on(info, held_out) and not same:
                raise tc.ConfigError(
                    f"{weights} has trained on faces that are held out here, as far as the files tell, and "
                    "would tell the student about them: use a teacher that was trained with --validation "
                    f"{training['validation']} too, in the same way"
                )

    def targets(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return what to train on in place of labels.

        The teachers look at each face as it is and at its mirror image.

        Args:
            images: uint8, (N, 48, 48, 1).
            labels: integers, (N,).

        Returns:
            float32, (N, 7), probabilities.

        Raises:
            ConfigError, FileFormatError, OSError: weights cannot be used.
        """
        said = np.mean([EmotionClassifier(name, flip_average=True)(images) for name in self.teachers], axis=0)
        targets = np.float32(self.share) * temper(said, self.temperature)
        targets[np.arange(len(labels)), labels] += np.float32(1 - self.share)
        return targets


def fold_teachings(
    folders: Iterable[Path], split: Mapping[str, Any], share: float, temperature: float
) -> tuple[Teaching, ...]:
    """Return who teaches in each fold: what an earlier cross-validation trained in the same one.

    Such a network has never seen the faces that its student will be scored on.

    Args:
        folders: results of `python -m fer_demo.cv`, of all models in them; of several, the mean counts.
        split: what decides who is in which fold: data (SHA-256), folds, seed, keep_copies_together.
        share: of each target that is the teachers', see `Teaching`.
        temperature: see `Teaching`.

    Returns:
        one for each fold; none if there are no folders.

    Raises:
        ConfigError: there is no such folder, a cross-validation is not finished, lacks a network or was split
            otherwise, or share or temperature are out of range.
        DataError: there are no results in a folder.
        FileFormatError, OSError: a file of them cannot be read.
    """
    teachers: list[list[str]] = [[] for _ in range(split["folds"])]
    for folder in folders:
        if not folder.is_dir():
            refuse("teacher", str(folder), "the folder of an earlier cross-validation's results")
        for name in read_finished(folder)["models"]:
            for fold, weights in enumerate(teachers):
                path = TrialFiles(folder / "folds", name, fold).model
                _check_split(path, {**split, "fold": fold})
                weights.append(str(path))
    return tuple(Teaching(tuple(weights), share, temperature) for weights in teachers if weights)


def _check_split(path: Path, now: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise tc.ConfigError(f"{path}: no such file: a network of this cross-validation is missing")
    then = options_of(tc.load_info(path))
    for key, value in now.items():
        if then.get(key) != value:
            raise tc.ConfigError(
                f"{path} may have learnt faces that are held out here: its {key} was {then.get(key)!r}, here "
                f"it is {value!r}; let a cross-validation teach that had the same --data, --folds, --seed "
                "and --keep-copies-together"
            )
