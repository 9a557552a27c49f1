"""Checks of arguments: every error names the argument, what was found and what was expected."""

import math
import reprlib
import sys
from numbers import Real
from typing import Any, NoReturn, TypeGuard

import numpy as np

from tinycnn.errors import ConfigError

#: No array of parameters holds more numbers (1 GB of float32): a slip of the keyboard, or a file that lies,
#: is refused before any memory is asked for.
MAX_NUMBERS = 2**28


def refuse(name: str, value: object, expected: str) -> NoReturn:
    """Raise a ConfigError that says what was found, cut short, and what was expected."""
    # Files keep arguments as JSON, which knows Python's numbers alone.
    remedy = f": use {value.item()!r}, not NumPy's" if isinstance(value, np.number) else ""
    raise ConfigError(f"{name}={reprlib.repr(value)}: expected {expected}{remedy}")


def check(condition: bool, name: str, value: object, expected: str) -> None:
    """Raise a ConfigError with what was found, cut short, and what was expected, unless `condition` holds."""
    if not condition:
        raise ConfigError(f"{name}={reprlib.repr(value)}: expected {expected}")


def number(value: Any) -> float:
    """Return a real number, NumPy's too, as a float, and NaN, which no range contains, for anything else."""
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan


def check_positive(**values: int) -> None:
    """Raise a ConfigError unless every value is a whole number of at least 1, and not absurdly large."""
    for name, value in values.items():
        if type(value) is not int or not 1 <= value <= MAX_NUMBERS:
            refuse(name, value, f"a whole number of at least 1 and at most {MAX_NUMBERS}")


def check_flag(**values: bool) -> None:
    """Raise a ConfigError unless every value is True or False."""
    for name, value in values.items():
        if not isinstance(value, bool):
            refuse(name, value, "True or False")


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a real number, neither infinite nor NaN; True and False are none."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) <= sys.float_info.max  # type: ignore[arg-type]


def check_size(shape: tuple[int, ...], names: str) -> None:
    """Raise a ConfigError if the arguments called `names` make an absurdly large array."""
    if math.prod(shape) > MAX_NUMBERS:
        sizes = ", ".join(map(reprlib.repr, shape))
        raise ConfigError(f"{names}: expected an array of at most {MAX_NUMBERS} numbers, found ({sizes})")


def check_shape(shape: Any, name: str) -> tuple[int, ...]:
    """Return the shape of one image as a tuple.

    Raises:
        ConfigError: it is not a list or tuple of whole numbers of at least 1.
    """
    if not isinstance(shape, list | tuple) or not all(type(n) is int and n >= 1 for n in shape) or not shape:
        refuse(name, shape, "whole numbers of at least 1, such as (48, 48, 1)")
    return tuple(shape)
