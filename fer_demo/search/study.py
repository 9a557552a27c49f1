"""The trials of a search, and where Optuna keeps what it knows of them: an SQLite file, nothing pickled."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import tinycnn as tc
from fer_demo import report
from fer_demo.data import Dataset
from fer_demo.display import Display
from fer_demo.recipes import RECIPES
from fer_demo.search.space import Choice, choose
from fer_demo.training import describe_data, save_model, train_model
from tinycnn.optional import optional
from tinycnn.sealed import check_belongs
from tinycnn.summary import rows

#: A trial is not given up before so many others have been trained to the end.
PATIENCE = 4
_NAME = "search"


@dataclass(frozen=True)
class Plan:
    """What a search runs.

    Attributes:
        model: one of `FAMILIES`.
        recipes: to choose from.
        trials: how many, with those given up.
        epochs: of a trial that is not given up.
        seed: of the choices, and of each training.
        validation: what is held out and scored on; see `hold_out`. A share is always that of seed 0.
    """

    model: str
    recipes: tuple[str, ...]
    trials: int
    epochs: int
    seed: int
    validation: str

    def describe(self) -> dict[str, Any]:
        """Return the plan as JSON can hold it."""
        return {**vars(self), "recipes": list(self.recipes)}


class Search:
    """A search in a folder of its own, which holds `study.db`, checkpoints and the best model so far.

    Args:
        plan: what to run.
        out: an existing folder.
        checkpoint_every: seconds.

    Attributes:
        best: file of the most accurate model so far.

    Raises:
        MissingPackageError: Optuna is not installed.
    """

    def __init__(self, plan: Plan, out: Path, checkpoint_every: float = 60) -> None:
        self._optuna = optional("optuna", "search")
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        self._plan, self._out, self._every = plan, out, checkpoint_every
        self._record, self.best = out / "study.db", out / "best.safetensors"

    def forget(self) -> None:
        """Delete what an earlier search has left in the folder."""
        self._record.unlink(missing_ok=True)
        self.best.unlink(missing_ok=True)
        for path in self._out.glob("trial-*.checkpoint*"):
            path.unlink()

    def run(
        self, dataset: Dataset, indices: tuple[np.ndarray, np.ndarray], console: Console
    ) -> report.Results:
        """Train all trials that are still missing; write `search.json` as it grows, and return it.

        Args:
            dataset: N faces.
            indices: those to train on, and those to score on.
            console: where to show progress.

        Raises:
            ConfigError: the folder's search is one of other options.
            FileFormatError: `study.db` is damaged.
        """
        plan = self._plan
        study = self._open(dataset)
        results: report.Results = {
            "finished": False,
            "protocol": {**plan.describe(), "backend": tc.backend_name(), "threads": tc.get_threads()},
            "data": describe_data(dataset),
            "environment": report.environment(),
        }

        def write() -> None:
            results["trials"] = {str(trial.number): _entry(trial) for trial in study.get_trials()}
            report.write_results(results, self._out / "search.json")

        write()
        with Display(console, plan.trials, plan.epochs * len(indices[0])) as display:
            for trial in self._trials(study):
                display.finished(self._train(study, trial, dataset, indices, display))
                write()
        results["finished"] = True
        write()
        return results

    def _open(self, dataset: Dataset) -> Any:
        """Return Optuna's study in the folder, a new one if there is none."""
        belongs_to = {
            **{name: value for name, value in self._plan.describe().items() if name != "trials"},
            "details": [repr(RECIPES[name]) for name in self._plan.recipes],
            "backend": tc.backend_name(),
            "data": dataset.sha256,
        }
        options = {"study_name": _NAME, "direction": "maximize", "load_if_exists": True}
        pruner = self._optuna.pruners.MedianPruner(n_startup_trials=PATIENCE)
        # Without a pool, which would keep connections, and with them the file, open until they are collected.
        unpooled = {"poolclass": optional("sqlalchemy.pool", "search").NullPool}
        try:
            url = optional("sqlalchemy.engine", "search").URL.create("sqlite", database=str(self._record))
            text = url.render_as_string(hide_password=False)  # a ? or % in the path is none of a URL's
            storage = self._optuna.storages.RDBStorage(text, engine_kwargs=unpooled)
            study = self._optuna.create_study(storage=storage, pruner=pruner, **options)
        except optional("sqlalchemy.exc", "search").DatabaseError as error:
            raise tc.FileFormatError(
                f"{self._record}: not a record of a search ({error.__cause__}): delete it to start anew"
            ) from error
        if not study.user_attrs:
            study.set_user_attr("belongs_to", belongs_to)
        check_belongs(self._record, study.user_attrs["belongs_to"], belongs_to)
        return study

    def _trials(self, study: Any) -> Iterator[Any]:
        """Give trials up to the planned number: first the one that was cut short."""
        kept = study.get_trials()
        for number, trial in enumerate([*kept, *[None] * (self._plan.trials - len(kept))]):
            if trial is not None and trial.state.is_finished():
                self._checkpoint(number).remove()  # if the run was killed just before it did so
                continue
            # A generator of its own for every trial: so a search that was cut short chooses the same.
            (seed,) = np.random.SeedSequence((self._plan.seed, number)).generate_state(1).tolist()
            study.sampler = self._optuna.samplers.TPESampler(seed=seed)
            yield study.ask() if trial is None else self._optuna.trial.Trial(study, trial._trial_id)

    def _train(
        self,
        study: Any,
        trial: Any,
        dataset: Dataset,
        indices: tuple[np.ndarray, np.ndarray],
        display: Display,
    ) -> str:
        """Train one trial, tell Optuna, and return a line about it."""
        plan, choice = self._plan, choose(trial, self._plan.model, self._plan.recipes)
        training, held_out = indices
        checkpoint, title = self._checkpoint(trial.number), f"trial {trial.number}  {choice.recipe}"
        states = self._optuna.trial.TrialState

        def watch(_: Any, history: tc.History) -> None:
            known = study.get_trials(deepcopy=False)[trial.number].intermediate_values
            for epoch, accuracy in enumerate(history.val_accuracy):
                if epoch not in known:
                    trial.report(accuracy, epoch)
            if len(history.val_accuracy) < plan.epochs and trial.should_prune():
                raise tc.StopTraining

        try:
            model, normalise, history = train_model(
                plan.model,
                dataset.images[training],
                dataset.labels[training],
                recipe=choice.changed(),
                epochs=plan.epochs,
                batch_size=choice.batch_size,
                seed=plan.seed,
                network=choice.network,
                validation=(dataset.images[held_out], dataset.labels[held_out]),
                checkpoint=checkpoint,
                progress=display.watch(title),
                callbacks=[watch],
            )
        except tc.NonFiniteError as error:
            trial.set_user_attr("diverged", str(error))
            study.tell(trial, state=states.PRUNED)
            checkpoint.remove()
            return f"{title}  diverged"
        accuracy, whole = history.val_accuracy[-1], len(history.val_accuracy) == plan.epochs
        trial.set_user_attr("found", _found(model, choice, history))
        if whole and accuracy > max([-1.0, *_accuracies(study)]):
            described = plan.describe()
            # Not `validation`: the split is always that of seed 0, and not of the seed that stands beside it.
            described["held_out"] = described.pop("validation")
            info = {**asdict(choice), **described, "data": dataset.sha256}
            scores = {"validation_accuracy": accuracy}
            save_model(model, self.best, normalise, dataset, scores, info, history)
        study.tell(trial, accuracy if whole else None, states.COMPLETE if whole else states.PRUNED)
        checkpoint.remove()
        epochs = "" if whole else f"given up after {len(history.val_accuracy)} of {plan.epochs} epochs  "
        return f"{title}  {epochs}accuracy {accuracy:.4f}  {sum(history.seconds):.1f} s"

    def _checkpoint(self, number: int) -> tc.Checkpoint:
        return tc.Checkpoint(self._out / f"trial-{number}.checkpoint", self._every)


def _entry(trial: Any) -> dict[str, Any]:
    """Return a trial as `fer_demo.report.search` describes it."""
    accuracy = [trial.intermediate_values[epoch] for epoch in sorted(trial.intermediate_values)]
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "choice": trial.params,
        "diverged": trial.user_attrs.get("diverged"),
        "accuracy": accuracy,
        **trial.user_attrs.get("found", {}),
    }


def _accuracies(study: Any) -> list[float]:
    """Those of trials that were trained to the end."""
    return [trial.value for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]


def _found(model: tc.Sequential, choice: Choice, history: tc.History) -> dict[str, Any]:
    """What a training tells beside its accuracies, as JSON can hold it."""
    table = rows(model, model.input_shape or ())
    return {
        "learning_rate": choice.learning_rate,
        **{name: list(value) for name, value in choice.network.items()},
        "parameters": sum(row.parameters for row in table),
        "multiply_adds": sum(row.multiply_adds for row in table),
        "seconds": sum(history.seconds),
    }
