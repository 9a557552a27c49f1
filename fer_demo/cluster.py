"""Folds on the machines of a Dask cluster, through joblib. Machines need not share a disk."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tinycnn as tc
from fer_demo.crossval import Protocol, kept_fold, split
from fer_demo.data import Dataset
from fer_demo.errors import WorkerError
from fer_demo.jobs import Finished, train
from fer_demo.report import environment
from fer_demo.trial import TrialResult
from fer_demo.trial_files import TrialFiles

try:
    from distributed import Client, KilledWorker, get_worker
    from joblib import Parallel, delayed
    from joblib._dask import DaskDistributedBackend
except ModuleNotFoundError as error:
    raise tc.ConfigError(
        f"--scheduler needs {error.name}, which is not installed: pip install 'tinycnn[cluster]'"
    ) from error

#: What decides about the last bits, beside the kind of processor.
VERSIONS = ("tinycnn", "numpy", "numba")

#: In seconds: a worker's disk may be gone together with the worker, so it writes no checkpoints in between.
NEVER = 1e9


def train_on_cluster(
    dataset: Dataset,
    protocol: Protocol,
    todo: Sequence[TrialFiles],
    scheduler: str,
    extra: Dataset | None = None,
) -> Finished:
    """Train folds; see `fer_demo.jobs.train_folds`.

    The data go to every worker once. If a worker dies, Dask gives its fold to another, as often as its
    setting ``distributed.scheduler.allowed-failures`` says.
    """
    folds, left = split(dataset, protocol), []
    for files in todo:
        kept = kept_fold(dataset, folds[files.number], protocol, files, extra)
        if kept is None:
            left.append(files)
        else:
            yield files, kept
    if not left:
        return
    settings = extra, tc.backend_name(), _versions()
    with _connected(scheduler) as client:
        try:
            backend = _Backend(client=client, scatter=[dataset] if extra is None else [dataset, extra])
            parallel = Parallel(
                backend=backend, return_as="generator_unordered", batch_size=1, pre_dispatch="all"
            )
            for files, result, contents in parallel(
                delayed(_train_far_away)(
                    dataset, files, protocol, _teachers(protocol, files.number), *settings
                )
                for files in left
            ):
                files.adopt(*contents)
                yield files, result
        except (KilledWorker, TimeoutError) as error:
            raise WorkerError(
                f"{scheduler}: {error}. What is finished is kept: add --resume to go on"
            ) from error


def _connected(scheduler: str) -> Client:
    try:
        return Client(scheduler, set_as_default=False, timeout=10)
    except (OSError, ValueError) as error:
        raise WorkerError(
            f"{scheduler}: no Dask scheduler answers there ({error}). Start one with `dask scheduler`, and "
            "workers with `dask worker` and its address"
        ) from error


class _Backend(DaskDistributedBackend):
    """joblib's, which would wait for ever for a task that Dask has given up, and spurn a lone worker."""

    def effective_n_jobs(self, n_jobs: int) -> int:
        """Return the workers' threads, but at least 2: for 1, joblib would work in this process instead."""
        return max(2, super().effective_n_jobs(n_jobs))

    def submit(self, func: Any, callback: Callable[[Any], None] | None = None) -> Future:
        """Send a task, and hear of its end even if that is an error of Dask's own."""
        future = super().submit(func, callback)
        if callback is not None:
            future.add_done_callback(lambda done: callback(done) if done.exception() else None)
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        """Return a task's result, or raise its error."""
        if isinstance(out, Future):
            return out.result()
        if isinstance(out, BaseException):
            raise WorkerError("the connection to the Dask scheduler was lost: add --resume to go on") from out
        return super().retrieve_result_callback(out)


def _train_far_away(
    dataset: Dataset,
    files: TrialFiles,
    protocol: Protocol,
    teachers: list[bytes],
    extra: Dataset | None,
    backend: str,
    versions: dict[str, Any],
) -> tuple[TrialFiles, TrialResult, tuple[bytes, bytes]]:
    """Train in a worker of the cluster, and return what it would have written where the run was started.

    A worker takes as many folds at once as it has threads, so each has one: TINYCNN_THREADS says otherwise.
    """
    worker = get_worker()
    if _versions() != versions:
        raise tc.ConfigError(
            f"{worker.address} has {_versions()}: expected {versions}, as where the run was started, or the "
            "bits would differ; install the same versions"
        )
    tc.backend(backend)
    if "TINYCNN_THREADS" not in os.environ:
        tc.set_threads(1)
    key, tasks = worker.get_current_task(), worker.state.tasks
    wanted = _While(lambda: key in tasks and tasks[key].state == "executing")
    with TemporaryDirectory(dir=worker.local_directory) as folder:
        own = replace(files, folder=Path(folder), every=NEVER)
        protocol = _taught_from(protocol, files.number, own.folder, teachers)
        return files, train(dataset, protocol, own, wanted, extra), own.contents()


def _teachers(protocol: Protocol, fold: int) -> list[bytes]:
    """The files of a fold's teachers, which a worker's machine may not have."""
    return [
        Path(weights).read_bytes()
        for teaching in protocol.teachings[fold : fold + 1]
        for weights in teaching.teachers
    ]


def _taught_from(protocol: Protocol, fold: int, folder: Path, teachers: list[bytes]) -> Protocol:
    """The protocol with the fold's teachers in files of this folder."""
    if not teachers:
        return protocol
    paths = [folder / f"teacher-{index}.safetensors" for index in range(len(teachers))]
    for path, content in zip(paths, teachers, strict=True):
        path.write_bytes(content)
    teachings = list(protocol.teachings)
    teachings[fold] = replace(teachings[fold], teachers=tuple(map(str, paths)))
    return replace(protocol, teachings=tuple(teachings))


class _While(tc.Progress):
    """Stops a training that nobody waits for any more, as after Ctrl-C.

    Args:
        wanted: is asked after every batch.
    """

    def __init__(self, wanted: Callable[[], bool]) -> None:
        self._wanted = wanted

    def batch(self, images: int, loss: float, accuracy: float) -> None:
        """Stop if it is time, by an error that nobody will see."""
        if not self._wanted():
            raise WorkerError("nobody waits for this training any more")


def _versions() -> dict[str, Any]:
    here = environment()
    return {name: here[name] for name in VERSIONS}
