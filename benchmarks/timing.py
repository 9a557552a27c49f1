"""The one timing helper: contenders in processes of their own, which take turns.

A process each, since thread pools of different libraries that wait by spinning disturb one another. Turns, so
that a machine's slower minutes fall on all contenders. Each process times its own steps.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any, Self

from benchmarks.machine import pause

ROOT = Path(__file__).parents[1]
#: Runs before the first turn: compilation, first allocations, and an estimate of a step's time.
WARM_UP = 3
#: Fewest timed steps in a turn, however long they take.
FEWEST_STEPS = 2

#: Seconds of each timed step, a list for each round.
Rounds = list[list[float]]


@dataclass(frozen=True)
class Contender:
    """What a process of its own is to build and run.

    Attributes:
        target: "module:function"; it returns the step to time, or anything else that JSON can hold.
        arguments: of the function, as JSON can hold them.
        threads: for every library in the process.
    """

    target: str
    arguments: Mapping[str, Any]
    threads: int


class Worker:
    """A process that has built a contender, and runs it when called: `worker(steps)` gives their seconds.

    Attributes:
        built: what the contender's function returned, unless it is a step to run.
        peak_bytes: the most memory that the process held resident; known after `close`.

    Raises:
        RuntimeError: the process failed; what it had to say went to standard error.
    """

    def __init__(self, contender: Contender) -> None:
        arguments = json.dumps(dict(contender.arguments))
        self._contender = contender
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", contender.target, arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | thread_variables(contender.threads),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._commands, self._answers = self._process.stdin, self._process.stdout
        self.built = self._answer()

    def __call__(self, steps: int) -> list[float]:
        """Return the seconds of each of so many steps."""
        self._commands.write(f"{steps}\n")
        self._commands.flush()
        return self._answer()

    def _answer(self) -> Any:
        line = self._answers.readline()
        if not line:
            self.close()
            raise RuntimeError(f"{self._contender} failed: its own message stands above")
        return json.loads(line)

    def close(self) -> None:
        """Let the process end."""
        if self._process.returncode is None:
            self._commands.close()
            self._answers.close()
            _, status, usage = os.wait4(self._process.pid, 0)
            self._process.returncode = os.waitstatus_to_exitcode(status)
            self.peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def thread_variables(threads: int) -> dict[str, str]:
    """Return the environment variables that set the number of threads of every library here."""
    names = ("TINYCNN_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


def measure(contenders: Mapping[str, Contender], rounds: int, turn: float) -> dict[str, Rounds]:
    """Start every contender, let them take turns (see `take_turns`), and end them."""
    with ExitStack() as stack:
        with ThreadPoolExecutor(len(contenders)) as pool:  # at once: most of a start is imports
            started = dict(zip(contenders, pool.map(Worker, contenders.values()), strict=True))
        workers = {name: stack.enter_context(worker) for name, worker in started.items()}
        return take_turns(workers, rounds, turn)


def take_turns(
    contenders: Mapping[str, Callable[[int], list[float]]], rounds: int, turn: float
) -> dict[str, Rounds]:
    """Run each contender for about `turn` seconds, one after another, in each of so many rounds.

    Args:
        contenders: by name; each takes a number of steps and returns the seconds of each.
        rounds: how often each has its turn.
        turn: seconds; sets the number of steps, by the median of the warm-up's.
    """
    steps = {name: max(FEWEST_STEPS, round(turn / median(run(WARM_UP)))) for name, run in contenders.items()}
    times: dict[str, Rounds] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            pause()
            # One more, not counted: it finds the processor's caches full of the others' data.
            times[name].append(run(steps[name] + 1)[1:])
    return times


def median_seconds(rounds: Rounds) -> float:
    """Return the median over all steps of all rounds."""
    return median(chain.from_iterable(rounds))


def speed(batch: int, rounds: Rounds) -> dict[str, float]:
    """Return the median as milliseconds a step and as images a second."""
    seconds = median_seconds(rounds)
    return {"images_per_s_median": batch / seconds, "ms_median": 1e3 * seconds}


def against(ours: Rounds, peers: Mapping[str, Rounds]) -> dict[str, Any]:
    """Compare with the fastest peer; every figure is None where there is none.

    `ratio` is the ratio of the two medians, peer's seconds by ours: above 1, we are faster. `ratio_rounds` is
    the lowest and the highest ratio of one round's medians, which tells how quiet the machine was.
    """
    if not peers:
        return {"peer": None, "peer_ms_median": None, "ratio": None, "ratio_rounds": None}
    name, theirs = min(peers.items(), key=lambda peer: median_seconds(peer[1]))
    ratios = [median(b) / median(a) for a, b in zip(ours, theirs, strict=True)]
    return {
        "peer": name,
        "peer_ms_median": 1e3 * median_seconds(theirs),
        "ratio": median_seconds(theirs) / median_seconds(ours),
        "ratio_rounds": [min(ratios), max(ratios)],
    }
