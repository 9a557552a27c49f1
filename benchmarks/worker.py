"""The far side of `benchmarks.timing.Worker`: ``python -m benchmarks.worker MODULE:FUNCTION ARGUMENTS``.

Calls the function with arguments given as JSON, and answers with what it returned, or with null if that is a
step to run. Then each line read is a number of steps, each answer a list of their seconds.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable


def main() -> None:
    # A library that prints must not spoil the answers: standard output becomes standard error for all others.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    module, _, function = sys.argv[1].partition(":")
    built = getattr(importlib.import_module(module), function)(**json.loads(sys.argv[2]))
    print(json.dumps(None if callable(built) else built), file=answers)
    for line in sys.stdin:
        print(json.dumps(run(built, int(line))), file=answers)


def run(step: Callable[[], object], steps: int) -> list[float]:
    """Return the seconds of each of so many steps."""
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
