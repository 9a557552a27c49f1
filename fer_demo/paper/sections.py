"""What the paper's sections are made of: trainings, each kept as soon as it is finished."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

import tinycnn as tc
from fer_demo import cv, report
from fer_demo.ablation.plan import Plan, run
from fer_demo.classifier import EmotionClassifier
from fer_demo.crossval import Protocol
from fer_demo.data import Dataset
from fer_demo.data.duplicates import near
from fer_demo.data.held_out import HeldOut
from fer_demo.display import Display
from fer_demo.evaluate import evaluation
from fer_demo.jobs import Workers
from fer_demo.models import PAPERS
from fer_demo.recipes import RECIPES
from fer_demo.record import Record
from fer_demo.training import default_batch_size, hold_out, part_to_score
from fer_demo.trial import Trial, run_trial
from fer_demo.trial_files import TrialFiles, own_folder

#: What is kept of an evaluation.
SCORES = ("accuracy", "interval", "macro_f1", "per_class", "confusion")
#: Changes of the recipe in the augmentation experiment.
CHANGES = ("no_flip", "every_augmentation", "extra")


@dataclass(frozen=True)
class Reproduction:
    """All that decides about the numbers, and where they are kept.

    Attributes:
        dataset: N faces.
        extra: more faces, for the augmentation experiment; None for none.
        photos: a new set to score the long trainings on; None for the data set's own held-out part.
        recipe: a key of `RECIPES`.
        epochs: of cross-validation and of the augmentation experiment.
        full_epochs: of the trainings on the full training set.
        seeds: of the augmentation experiment.
        out: an existing folder.
        folds: folder of the cross-validation, perhaps one that `fer_demo.cv` has finished.
        checkpoint_every: seconds.
    """

    dataset: Dataset
    extra: Dataset | None
    photos: HeldOut | None
    recipe: str
    epochs: int
    full_epochs: int
    seeds: int
    out: Path
    folds: Path
    checkpoint_every: float

    @property
    def batch_size(self) -> int:
        """Images a step."""
        return default_batch_size(RECIPES[self.recipe], len(self.dataset))

    @property
    def protocol(self) -> Protocol:
        """Of the cross-validation."""
        return Protocol(5, self.epochs, 0, self.batch_size, self.recipe)

    def describe(self) -> dict[str, Any]:
        """Return what decides about the numbers, as JSON can hold it."""
        return {
            "recipe": self.recipe,
            "details": repr(RECIPES[self.recipe]),
            "epochs": self.epochs,
            "full_epochs": self.full_epochs,
            "batch_size": self.batch_size,
            "seed": 0,
            "backend": tc.backend_name(),
        }


def class_distribution(work: Reproduction, console: Console) -> report.Results:
    """How many images each emotion has."""
    return {"class_counts": work.dataset.class_counts()}


def cross_validation(work: Reproduction, console: Console) -> report.Results:
    """5 folds of both models: `models` as in `results.json`, see `fer_demo.report.results`."""
    protocol, workers = work.protocol, Workers()
    described = cv.describe(work.dataset, protocol, list(PAPERS), workers)
    with own_folder(work.folds):
        record = Record(work.folds, work.dataset, list(PAPERS), described)
        if not record.begin(resume=True, command=""):
            cv.train(work.dataset, list(PAPERS), protocol, record, work.checkpoint_every, workers, console)
            record.finish()
    return {"folds": protocol.folds, "models": record.results["models"]}


def full_training(work: Reproduction, console: Console) -> report.Results:
    """Both models, trained long on all faces that are for training, and scored on others.

    Returns:
        `trained_on` faces; `scored_on`: {name, part, images, new (whether it is another set of photographs),
        copies (how many of the faces are near-copies of faces trained on), left_out (photographs that are
        damaged, of none of the emotions, or without a face that was found)}; `models`: {name: {accuracy,
        interval, macro_f1, per_class, confusion, train_accuracy, history, seconds}}.
    """
    part = part_to_score(work.dataset, "PrivateTest", "PublicTest")
    indices = hold_out(work.dataset, part, seed=0)
    scored, models = work.photos or HeldOut(work.dataset.subset(indices[1]), part, {}, []), {}
    with Display(console, len(PAPERS), work.full_epochs * len(indices[0])) as display:
        for name in PAPERS:
            files = TrialFiles(work.out / "full", name, 0, work.checkpoint_every)
            trial = Trial(name, RECIPES[work.recipe], work.full_epochs, work.batch_size)
            belongs_to = {
                **trial.describe(),
                "held_out": part,
                "data": work.dataset.sha256,
                "backend": tc.backend_name(),
            }
            result = run_trial(trial, work.dataset, indices, belongs_to, files, None, display.watch(name))
            classifier = EmotionClassifier(files.model)
            found = evaluation(classifier, scored, classifier(scored.dataset.images))
            models[name] = {
                **{score: found[score] for score in SCORES},
                "train_accuracy": result.train_accuracy,
                "history": vars(result.history),
                "seconds": result.seconds,
            }
            display.finished(f"{name}  accuracy {models[name]['accuracy']:.4f}  {result.seconds:.1f} s")
    return {
        "trained_on": len(indices[0]),
        "scored_on": {
            "name": scored.dataset.name,
            "part": scored.part,
            "images": len(scored.dataset),
            "new": work.photos is not None,
            "copies": int(near(work.dataset.images[indices[0]], scored.dataset.images).sum()),
            "left_out": sum(map(len, scored.left_out.values())) + len(scored.faults),
        },
        "models": models,
    }


def augmentation(work: Reproduction, console: Console) -> report.Results:
    """What augmentation, and extra faces if there are any, do to disgust; see `fer_demo.report.ablation`."""
    folder = work.out / "augmentation"
    folder.mkdir(exist_ok=True)
    plan = Plan(
        PAPERS[0],
        RECIPES[work.recipe],
        CHANGES,
        work.epochs,
        work.batch_size,
        work.seeds,
        part_to_score(work.dataset, "PublicTest"),
    )
    found = run(work.dataset, plan, folder, console, work.extra, work.checkpoint_every)
    return {name: found[name] for name in ("protocol", "extra", "variants", "faces")}


#: The sections that have numbers of their own, in the paper's order.
SECTIONS: dict[str, Callable[[Reproduction, Console], report.Results]] = {
    "data": class_distribution,
    "folds": cross_validation,
    "full": full_training,
    "augmentation": augmentation,
}
