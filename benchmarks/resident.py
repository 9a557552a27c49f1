"""Whether a program that runs for hours needs more and more memory, or leaves files open."""

import os
import time
from pathlib import Path

import numpy as np

#: Standard errors to each side of a 95 % interval.
_SIDE = 1.96


class Watch:
    """Notes what this process holds, on Linux, where the system tells."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, float]] = []
        self._files: list[int] = []

    def note(self) -> None:
        """Note memory and open files as they are now."""
        if Path("/proc/self/statm").exists():
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self._samples.append((time.monotonic(), pages * os.sysconf("SC_PAGE_SIZE") / 2**20))
            self._files.append(len(os.listdir("/proc/self/fd")))

    def figures(self) -> dict[str, float | list[float] | None]:
        """Return MB an hour with its interval, and files; of the later half, when all has been used once."""
        later = slice(len(self._samples) // 2, None)
        samples, files = self._samples[later], self._files[later]
        if len(samples) < 3:
            return {"mb_per_hour": None, "mb_per_hour_interval": None, "files_grown": None}
        slope, error = trend(*np.transpose(samples))
        low, high = slope - _SIDE * error, slope + _SIDE * error
        return {
            "mb_per_hour": 3600 * slope,
            "mb_per_hour_interval": [3600 * low, 3600 * high],
            "files_grown": files[-1] - files[0],
        }


def trend(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return the slope of the line that fits best, and its standard error; both (N,), N at least 3."""
    x, y = x - x.mean(), y - y.mean()
    slope = float(x @ y / (x @ x))
    rest = y - slope * x
    return slope, float(np.sqrt(rest @ rest / (len(x) - 2) / (x @ x)))
