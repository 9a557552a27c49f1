"""Average the weights of many steps: often a better model than the last step's."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from tinycnn.checks import check, number
from tinycnn.errors import ConfigError, DTypeError
from tinycnn.kernels.memory import scratch
from tinycnn.optimizers import Arrays, check_alike


class ExponentialMovingAverage:
    """A running average in which older weights count exponentially less.

    The first update copies. One that follows t others makes average = d * average + (1 - d) * array with
    d = min(decay, (1 + t) / (10 + t)), so that the first, poor weights are soon forgotten
    (TensorFlow's `ExponentialMovingAverage` with `num_updates`).

    >>> weights = {"head.kernel": np.array([0.0])}
    >>> ema = ExponentialMovingAverage(decay=0.999)
    >>> ema.update(weights)
    >>> weights["head.kernel"] += 11
    >>> ema.update(weights)
    >>> ema.averages["head.kernel"]
    array([9.])
    >>> with ema.swapped(weights):  # evaluate here
    ...     print(weights["head.kernel"])
    [9.]
    >>> weights["head.kernel"]
    array([11.])

    Args:
        decay: largest share of the average that is kept at an update, 0 to less than 1.

    Attributes:
        averages: the averaged arrays by name, empty before the first update.
        updates: number of updates so far.

    Raises:
        ConfigError: `decay` is out of range.
    """

    def __init__(self, decay: float = 0.999) -> None:
        check(0 <= number(decay) < 1, "decay", decay, "at least 0, less than 1, such as 0.999")
        self.decay = float(decay)
        self.updates = 0
        self.averages: dict[str, np.ndarray] = {}

    def update(self, arrays: Arrays) -> None:
        """Take the present values into the average.

        Args:
            arrays: float arrays by name; the same names, shapes and dtypes at every call.

        Raises:
            ConfigError, ShapeError, DTypeError: they differ from the first call's, or are no float arrays.
        """
        if not self.averages:
            for name, array in arrays.items():
                if not np.issubdtype(array.dtype, np.floating):
                    raise DTypeError(f"{name!r} is {array.dtype}: expected float32 or float64 to average")
            self.averages = {name: array.copy() for name, array in arrays.items()}
        check_alike(arrays, "arrays", self.averages, "the averages (from earlier updates)")
        rest = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, average in self.averages.items():
            change = _scratch_like(average)
            np.subtract(arrays[name], average, out=change)
            change *= rest
            average += change
        self.updates += 1

    def swap(self, arrays: Arrays) -> None:
        """Exchange the values of `arrays` and averages in place; a second call exchanges them back.

        Between the two calls `averages` holds the raw values: neither update nor save it.

        Raises:
            ConfigError: nothing has been averaged yet, or names differ.
            ShapeError, DTypeError: shapes or dtypes differ.
        """
        if not self.averages:
            raise ConfigError("nothing has been averaged yet: call update(arrays) before swap(arrays)")
        check_alike(arrays, "arrays", self.averages, "the averages")
        swapped = set()
        for name, average in self.averages.items():
            if id(arrays[name]) in swapped:  # two layers share it, and so its average
                continue
            swapped.add(id(arrays[name]))
            raw = _scratch_like(average)
            raw[...] = arrays[name]
            arrays[name][...] = average
            average[...] = raw

    @contextmanager
    def swapped(self, arrays: Arrays) -> Iterator[None]:
        """Let `arrays` hold the averages within the block, for evaluation; see `swap`."""
        self.swap(arrays)
        try:
            yield
        finally:
            self.swap(arrays)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all that a resumed run needs: "updates" and "averages/<name>"."""
        averages = {f"averages/{name}": average.copy() for name, average in self.averages.items()}
        return {"updates": np.array(self.updates), **averages}

    def load_state_dict(self, state: Arrays) -> None:
        """Go on from where `state_dict` was taken.

        Raises:
            ConfigError: the state is no moving average's.
        """
        averages = {name: array for name, array in state.items() if name != "updates"}
        ours = len(averages) < len(state) and all(name.startswith("averages/") for name in averages)
        check(ours, "moving average's state", sorted(state), "entries 'updates' and 'averages/<name>'")
        self.averages = {name.removeprefix("averages/"): np.array(array) for name, array in averages.items()}
        self.updates = int(state["updates"])


def _scratch_like(array: np.ndarray) -> np.ndarray:
    return scratch(array.size, array.dtype).reshape(array.shape)
