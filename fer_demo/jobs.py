"""Where folds are trained: one after another, several at once in processes, or on a Dask cluster.

A fold depends on no other, and its random numbers on its own seed alone: wherever and in whatever order folds
are trained, they end with the same bits.
"""

import os
import threading
import time
import warnings
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cache

import tinycnn as tc
from fer_demo.crossval import Protocol, run_fold, split
from fer_demo.data import Dataset
from fer_demo.display import Display
from fer_demo.errors import WorkerError, WorkerWarning
from fer_demo.trial import TrialResult
from fer_demo.trial_files import TrialFiles

#: How many times the processes are started. A fold that needs too much memory kills them each time.
STARTS = 4

#: Folds as they are finished, in any order.
Finished = Generator[tuple[TrialFiles, TrialResult], None, None]


@dataclass(frozen=True)
class Workers:
    """Who trains the folds.

    Attributes:
        jobs: how many folds to train at once on this machine.
        scheduler: address of a Dask scheduler, whose workers train them instead.

    Raises:
        ConfigError: both are given.
    """

    jobs: int = 1
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if self.scheduler and self.jobs > 1:
            raise tc.ConfigError(
                f"--jobs {self.jobs} and --scheduler {self.scheduler}: expected one of the two; how many "
                "folds a cluster trains at once is up to its workers"
            )

    @property
    def threads(self) -> int | None:
        """Threads of one training; None on a cluster. All trainings together take no more than one alone."""
        return None if self.scheduler else max(1, tc.get_threads() // self.jobs)

    def __str__(self) -> str:
        if self.scheduler:
            return f"on {self.scheduler}"
        return f"{self.jobs} folds at once" if self.jobs > 1 else ""


def train_folds(
    dataset: Dataset,
    protocol: Protocol,
    todo: Sequence[TrialFiles],
    workers: Workers,
    display: Display,
    extra: Dataset | None = None,
) -> Finished:
    """Train folds, and give each one's files and result as soon as it is finished; close to stop early.

    Args:
        dataset: N faces.
        protocol: how to run.
        todo: the folds; their files say which. Those that are there already are read.
        workers: who trains.
        display: shows the training, if there is one at a time.
        extra: more faces to train every fold on, never to score on.

    Warns:
        WorkerWarning: a process was killed, and its fold goes on in another.

    Raises:
        WorkerError: processes were killed again and again, or the cluster cannot be reached.
        ConfigError: Dask is not installed, or a machine of the cluster has other versions.
        Besides, what `split` and `run_fold` raise.
    """
    if workers.scheduler:
        from fer_demo.cluster import train_on_cluster  # Dask takes a second to load

        yield from train_on_cluster(dataset, protocol, todo, workers.scheduler, extra)
    elif workers.threads and workers.jobs > 1:
        yield from _train_in_processes(dataset, protocol, todo, workers.jobs, workers.threads, extra)
    else:
        for files in todo:
            yield files, train(dataset, protocol, files, display.watch(files.title(protocol.folds)), extra)


def train(
    dataset: Dataset, protocol: Protocol, files: TrialFiles, progress: tc.Progress, extra: Dataset | None
) -> TrialResult:
    """Train the fold that the files are for."""
    indices = split(dataset, protocol)[files.number]
    return run_fold(dataset, files.name, files.number, indices, protocol, progress, files, extra)


def _train_in_processes(
    dataset: Dataset,
    protocol: Protocol,
    todo: Sequence[TrialFiles],
    jobs: int,
    threads: int,
    extra: Dataset | None,
) -> Finished:
    """Train on this machine. Large arrays lie in memory once, where all processes see them."""
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    call, backend, left = delayed(_train_in_process), tc.backend_name(), list(todo)
    for start in range(1, STARTS + 1):
        parallel = Parallel(
            jobs,
            "loky",
            return_as="generator_unordered",
            batch_size=1,
            pre_dispatch="all",
            inner_max_num_threads=threads,
        )
        try:
            calls = (call(dataset, protocol, files, backend, threads, extra) for files in left)
            for files, result in parallel(calls):
                left.remove(files)
                yield files, result
            return
        except TerminatedWorkerError as error:
            if start == STARTS:
                raise WorkerError(
                    f"processes that train were killed {STARTS} times, perhaps for lack of memory: try fewer "
                    "--jobs. What is finished is kept: add --resume"
                ) from error
            warnings.warn(
                "a process that trained a fold was killed, perhaps for lack of memory: the folds go on in "
                "new processes",
                WorkerWarning,
                stacklevel=2,
            )


def _train_in_process(
    dataset: Dataset,
    protocol: Protocol,
    files: TrialFiles,
    backend: str,
    threads: int,
    extra: Dataset | None,
) -> tuple[TrialFiles, TrialResult]:
    """Train in a process of its own, which writes the files and checkpoints itself."""
    from fer_demo.cli import show_warning

    warnings.showwarning = show_warning  # type: ignore[assignment]
    tc.backend(backend)
    tc.set_threads(threads)
    _end_with_parent()
    return files, train(dataset, protocol, files, tc.Progress(), extra)


@cache
def _end_with_parent() -> None:
    """Let this process end when the one that started it is killed, and would never fetch the results."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
