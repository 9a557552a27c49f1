"""The last half minute of one face's probabilities, in memory that does not grow."""

import numpy as np

from fer_demo.data.dataset import EMOTIONS

#: Seconds that it shows, and into how many columns it divides them.
SPAN, COLUMNS = 30.0, 300


class Timeline:
    """Means of probabilities over `SPAN` / `COLUMNS` seconds each, the newest at the right."""

    def __init__(self) -> None:
        self._sums = np.zeros((COLUMNS, len(EMOTIONS)), np.float32)
        self._counts = np.zeros(COLUMNS, np.int64)
        self._newest = 0  # number of the newest column, counted from the beginning of the video

    def add(self, seconds: float, probabilities: np.ndarray | None) -> None:
        """Note what a frame showed.

        Args:
            seconds: of the frame; never less than before.
            probabilities: (7,), or None if there was no face.
        """
        column = int(seconds * COLUMNS / SPAN)
        passed = min(column - self._newest, COLUMNS)
        if passed > 0:  # columns that were passed begin anew, with those on which the clock did not stop
            begun = (self._newest + 1 + np.arange(passed)) % COLUMNS if passed < COLUMNS else slice(None)
            self._sums[begun] = 0
            self._counts[begun] = 0
            self._newest = column
        if probabilities is not None:
            # A slow source leaves columns without a frame: up to a second of them show what comes next.
            filled = (self._newest - np.arange(max(1, min(passed, COLUMNS // int(SPAN))))) % COLUMNS
            self._sums[filled] += probabilities
            self._counts[filled] += 1

    def columns(self) -> np.ndarray:
        """Float32, (`COLUMNS`, 7), the oldest first; NaN where there was no face, or no time yet."""
        with np.errstate(invalid="ignore"):
            means = self._sums / self._counts[:, np.newaxis].astype(np.float32)
        oldest = (self._newest + 1) % COLUMNS
        return np.concatenate([means[oldest:], means[:oldest]])  # np.roll leaks 48 bytes a call in NumPy 2.4
