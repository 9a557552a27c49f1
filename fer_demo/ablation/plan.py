"""Which trainings an ablation consists of, and what comes of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import tinycnn as tc
from fer_demo import report
from fer_demo.ablation.variants import BASELINE, Variant, variants
from fer_demo.data import EMOTIONS, Dataset
from fer_demo.display import Display
from fer_demo.metrics import over_seeds
from fer_demo.recipes import Recipe
from fer_demo.training import describe_data, hold_out_some
from fer_demo.trial import Trial, TrialResult, kept_trial, run_trial
from fer_demo.trial_files import TrialFiles

#: How many faces of disgust are shown: the first ones that are held out, whatever their probabilities.
FACES = 3
_DISGUST = EMOTIONS.index("disgust")


#: The results of each variant by its name, by seed.
Finished = dict[str, dict[int, TrialResult]]


@dataclass(frozen=True)
class Plan:
    """What an ablation runs.

    Attributes:
        model: a key of `MODELS`.
        recipe: the baseline.
        changes: keys of `CHANGES`; "extra" is left out where there are no extra faces.
        epochs: passes over the training part.
        batch_size: images a step.
        seeds: how many, from 0.
        validation: what is held out and scored on; see `hold_out`. A share is always that of seed 0.
    """

    model: str
    recipe: Recipe
    changes: tuple[str, ...]
    epochs: int
    batch_size: int
    seeds: int
    validation: str

    def describe(self) -> dict[str, Any]:
        """Return the plan as JSON can hold it."""
        return {**vars(self), "recipe": self.recipe.name, "details": repr(self.recipe)}


def run(
    dataset: Dataset,
    plan: Plan,
    out: Path,
    console: Console,
    extra: Dataset | None = None,
    checkpoint_every: float = 60,
) -> report.Results:
    """Train all that is not kept yet; write `ablation.json` as it grows, and return it.

    Args:
        dataset: N faces.
        plan: what to run.
        out: an existing folder.
        console: where to show progress.
        extra: more faces, for the variant of that name.
        checkpoint_every: seconds.

    Raises:
        ConfigError: nothing would be held out, or a training in the folder is one of other options.
    """
    indices = hold_out_some(dataset, plan.validation)
    chosen = variants(plan.recipe, plan.changes, extra is not None)
    results: report.Results = {
        "finished": False,
        "protocol": {**plan.describe(), "backend": tc.backend_name(), "threads": tc.get_threads()},
        "data": describe_data(dataset),
        "extra": extra and describe_data(extra),
        "environment": report.environment(),
    }
    finished: Finished = {variant.name: {} for variant in chosen}

    def write() -> None:
        results.update(summarise(dataset.labels, indices[1], chosen, finished))
        report.write_results(results, out / "ablation.json")

    parts = list(_trainings(dataset, plan, chosen, out / "runs", extra, checkpoint_every))
    # All are read before anything is written: what is refused must not cost an earlier run's results.
    kept = [kept_trial(dataset, indices, files, belongs_to) for *_, belongs_to, files, _ in parts]
    for (variant, trial, *_), result in zip(parts, kept, strict=True):
        if result is None:
            break  # later ones have nothing to be compared with
        finished[variant.name][trial.seed] = result
    write()
    trainings = plan.seeds * len(chosen)
    with Display(console, trainings, plan.epochs * len(indices[0])) as display:
        for (variant, trial, belongs_to, files, more), known in zip(parts, kept, strict=True):
            seed, progress = trial.seed, display.watch(f"{variant.says}  seed {trial.seed}")
            result = known or run_trial(trial, dataset, indices, belongs_to, files, more, progress)
            recall = float(result.metrics.recall[_DISGUST])
            shown = "unknown, no such face is held out" if np.isnan(recall) else f"{recall:.3f}"
            finished[variant.name][seed] = result
            write()
            display.finished(
                f"{variant.says}  seed {seed}  accuracy {result.metrics.accuracy:.4f}  "
                f"disgust recall {shown}  {result.seconds:.1f} s"
            )
    results["finished"] = True
    write()
    return results


def _trainings(
    dataset: Dataset,
    plan: Plan,
    chosen: list[Variant],
    folder: Path,
    extra: Dataset | None,
    checkpoint_every: float,
) -> Iterator[tuple[Variant, Trial, dict[str, Any], TrialFiles, Dataset | None]]:
    """Give every training, seed after seed, so that a run cut short has whole comparisons."""
    for seed in range(plan.seeds):
        for variant in chosen:
            trial = Trial(plan.model, variant.recipe, plan.epochs, plan.batch_size, seed)
            more = extra if variant.extra else None
            belongs_to = {
                **trial.describe(),
                "held_out": plan.validation,
                "data": dataset.sha256,
                "extra": more and more.sha256,
                "backend": tc.backend_name(),
            }
            files = TrialFiles(folder, f"{plan.model}-{variant.name}", seed, checkpoint_every)
            yield variant, trial, belongs_to, files, more


def summarise(
    labels: np.ndarray, held_out: np.ndarray, chosen: list[Variant], finished: Finished
) -> report.Results:
    """Return `variants` and `faces` as `fer_demo.report.ablation` describes them.

    Args:
        labels: (N,), of all faces.
        held_out: indices of those scored on, (M,).
        chosen: the variants, the baseline first.
        finished: what there is of each.
    """
    entries = {}
    for variant in chosen:
        found = finished[variant.name]
        if not found:
            continue
        scores, before = _scores(found), _scores(finished[BASELINE])
        entries[variant.name] = {
            "says": variant.says,
            "recipe": repr(variant.recipe),
            "seconds": sum(result.seconds for result in found.values()),
            "extra_left_out": next(iter(found.values())).left_out,
            **{name: _over_seeds(by_seed) for name, by_seed in scores.items()},
            "difference": {
                name: _over_seeds({seed: score - before[name][seed] for seed, score in by_seed.items()})
                for name, by_seed in scores.items()
            },
        }
    shown = np.flatnonzero(labels[held_out] == _DISGUST)[:FACES]
    means = {name: np.mean([r.probabilities for r in finished[name].values()], axis=0) for name in entries}
    faces = [
        {
            "index": int(held_out[place]),
            "emotion": EMOTIONS[_DISGUST],
            "probabilities": {name: mean[place].tolist() for name, mean in means.items()},
        }
        for place in shown
    ]
    return {"variants": entries, "faces": faces}


def _scores(found: dict[int, TrialResult]) -> dict[str, dict[int, float]]:
    """Each score by seed."""
    return {
        "accuracy": {seed: result.metrics.accuracy for seed, result in found.items()},
        "macro_f1": {seed: result.metrics.macro_f1 for seed, result in found.items()},
        "disgust_recall": {seed: float(result.metrics.recall[_DISGUST]) for seed, result in found.items()},
    }


def _over_seeds(by_seed: dict[int, float]) -> dict[str, Any] | None:
    """Mean and spread; None where a score is unknown, since no such face was held out."""
    values = list(by_seed.values())
    return None if np.isnan(values).any() else over_seeds(values)
