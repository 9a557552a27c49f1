"""Learning rates that change as training goes on.

A schedule is called with the number of steps already taken and returns the rate of the next one. Past its
last step it stays at its final value.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from tinycnn.checks import check, number


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _check_rate(name: str, value: float) -> None:
    check(0 < number(value) < math.inf, name, value, "a learning rate, a positive number such as 0.01")


def _check_steps(steps: int) -> None:
    check(_is_whole(steps) and steps > 0, "steps", steps, "a whole number of at least 1")


@dataclass
class Schedule:
    """Base of the schedules. Its methods suit a schedule whose rate depends on the step alone.

    >>> @dataclass
    ... class Halving(Schedule):
    ...     start: float
    ...
    ...     def __call__(self, step):
    ...         return self.start / 2**step
    >>> Halving(start=0.1)(step=1)
    0.05
    """

    def __call__(self, step: int) -> float:
        """Return the learning rate of the step that follows `step` others (0 for the first)."""
        raise NotImplementedError

    def observe(self, value: float) -> None:
        """Take note of a number that training should make fall, once an epoch. Most schedules ignore it."""

    def config(self) -> dict[str, Any]:
        """Return type and arguments, ready for JSON: all attributes whose names do not begin with "_"."""
        given = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        # A NumPy scalar is as good a number as any other, except to JSON.
        arguments = {k: v.item() if isinstance(v, np.generic) else v for k, v in given.items()}
        return {"type": type(self).__name__, **arguments}

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return what must be saved beside `config` to go on from here."""
        return {}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from where `state_dict` was taken.

        Raises:
            ConfigError: the state is another schedule's.
        """
        expected = sorted(self.state_dict())
        check(
            sorted(state) == expected,
            "schedule state",
            sorted(state),
            f"{expected}, as {type(self).__name__} saves",
        )


@dataclass
class Constant(Schedule):
    """The same rate for ever.

    >>> Constant(0.1)(step=1000)
    0.1

    Raises:
        ConfigError: `lr` is not a positive number.
    """

    lr: float

    def __post_init__(self) -> None:
        _check_rate("lr", self.lr)

    def __call__(self, step: int) -> float:
        """Return `lr`."""
        return self.lr


@dataclass
class Cosine(Schedule):
    """Half a cosine from `lr` down to `final`, reached after `steps` steps.

    Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, without the restarts.
    The first `warmup` steps climb to `lr` in equal parts, beginning with the first part, not with zero.

    >>> schedule = Cosine(lr=0.3, steps=10, warmup=2)
    >>> [round(schedule(step), 2) for step in (0, 1, 2, 6, 10)]
    [0.1, 0.2, 0.3, 0.15, 0.0]

    Raises:
        ConfigError: a rate, `steps` or `warmup` is out of range.
    """

    lr: float
    steps: int
    warmup: int = 0
    final: float = 0.0

    def __post_init__(self) -> None:
        _check_rate("lr", self.lr)
        _check_steps(self.steps)
        whole = _is_whole(self.warmup)
        check(whole and 0 <= self.warmup < self.steps, "warmup", self.warmup, f"0 to {self.steps - 1} steps")
        check(0 <= number(self.final) <= self.lr, "final", self.final, f"a rate from 0 to lr = {self.lr}")

    def __call__(self, step: int) -> float:
        """Return the rate of the step that follows `step` others."""
        if step < self.warmup:
            return self.lr * (step + 1) / (self.warmup + 1)
        return _anneal(self.lr, self.final, (step - self.warmup) / (self.steps - self.warmup))


@dataclass
class OneCycle(Schedule):
    """Up to a rate higher than training could begin with, then down to almost nothing, along half cosines.

    From max_lr / start_div to `max_lr` over the first `warmup_fraction` of the steps, then to
    max_lr / start_div / final_div at the last. Smith & Topin, "Super-convergence: very fast training of
    neural networks using large learning rates", 2018; the numbers are those of PyTorch's OneCycleLR.

    >>> schedule = OneCycle(max_lr=1.0, steps=10)
    >>> [round(schedule(step), 6) for step in (0, 2, 9)]
    [0.04, 1.0, 4e-06]

    Raises:
        ConfigError: an argument is out of range.
    """

    max_lr: float
    steps: int
    warmup_fraction: float = 0.3
    start_div: float = 25.0
    final_div: float = 1e4

    def __post_init__(self) -> None:
        _check_rate("max_lr", self.max_lr)
        _check_steps(self.steps)
        fraction = self.warmup_fraction
        check(0 <= number(fraction) < 1, "warmup_fraction", fraction, "at least 0, less than 1")
        check(1 <= number(self.start_div) < math.inf, "start_div", self.start_div, "a divisor of at least 1")
        check(1 <= number(self.final_div) < math.inf, "final_div", self.final_div, "a divisor of at least 1")

    def __call__(self, step: int) -> float:
        """Return the rate of the step that follows `step` others."""
        start = self.max_lr / self.start_div
        last = self.steps - 1
        peak = self.warmup_fraction * self.steps - 1  # may lie between two steps, as in PyTorch
        if step < peak:
            return _anneal(start, self.max_lr, step / peak)
        return _anneal(self.max_lr, start / self.final_div, (step - peak) / (last - peak))


def _anneal(start: float, end: float, fraction: float) -> float:
    """Return the point at `fraction` of half a cosine from `start` to `end`; past 1 it stays at `end`."""
    return end + (start - end) * (1 + math.cos(math.pi * min(fraction, 1.0))) / 2


@dataclass
class ReduceOnPlateau(Schedule):
    """Multiply the rate by `factor` when a value stops falling.

    It has stopped when more than `patience` observations in a row failed to get below the best so far by the
    fraction `threshold`. NaN never counts as better.

    >>> schedule = ReduceOnPlateau(lr=0.1, patience=1)
    >>> for validation_loss in (2.0, 1.5, 1.5, 1.6):
    ...     schedule.observe(validation_loss)
    >>> schedule(step=1000)
    0.05

    Raises:
        ConfigError: an argument is out of range.
    """

    lr: float
    factor: float = 0.5
    patience: int = 2
    min_lr: float = 0.0
    threshold: float = 1e-4

    def __post_init__(self) -> None:
        _check_rate("lr", self.lr)
        check(0 < number(self.factor) < 1, "factor", self.factor, "more than 0, less than 1")
        whole = _is_whole(self.patience)
        check(whole and self.patience >= 0, "patience", self.patience, "a whole number, 0 or more")
        check(0 <= number(self.min_lr) <= self.lr, "min_lr", self.min_lr, f"a rate from 0 to lr = {self.lr}")
        check(0 <= number(self.threshold) < 1, "threshold", self.threshold, "at least 0, less than 1")
        self._current = self.lr
        self._best = math.inf
        self._bad_epochs = 0

    def __call__(self, step: int) -> float:
        """Return the present rate, whatever the step."""
        return self._current

    def observe(self, value: float) -> None:
        """Take note of an epoch's value, such as the validation loss, and reduce the rate if it is time."""
        least = abs(self._best) * self.threshold if math.isfinite(self._best) else 0.0
        if value < self._best - least:
            self._best = value
            self._bad_epochs = 0
            return
        self._bad_epochs += 1
        if self._bad_epochs > self.patience:
            self._current = max(self._current * self.factor, self.min_lr)
            self._bad_epochs = 0

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the present rate, the best value and the number of epochs since, as arrays without axes."""
        state = {"lr": self._current, "best": self._best, "bad_epochs": self._bad_epochs}
        return {name: np.array(value) for name, value in state.items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from where `state_dict` was taken.

        Raises:
            ConfigError: the state is another schedule's.
        """
        super().load_state_dict(state)
        self._current = float(state["lr"])
        self._best = float(state["best"])
        self._bad_epochs = int(state["bad_epochs"])
