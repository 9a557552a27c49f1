"""First values of kernels: random, and scaled so that activations keep their size from layer to layer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from tinycnn.checks import refuse
from tinycnn.errors import ConfigError

#: A seed, a generator to draw from, or None for a different start every time.
Seed = int | np.random.Generator | None


def he(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """Normal with variance 2 / fan_in, for layers followed by ReLU, which halves the mean square.

    He et al. 2015, "Delving deep into rectifiers", equation 10.

    Args:
        rng: draws the numbers.
        shape: of the kernel, such as (KH, KW, C, O) or (I, O).
        fan_in: how many inputs one output sums over, such as KH * KW * C.
        fan_out: how many outputs one input reaches.

    >>> kernel = he(np.random.default_rng(0), (200, 50), fan_in=200, fan_out=50)
    >>> round(float(kernel.std()), 2), round((2 / 200) ** 0.5, 2)
    (0.1, 0.1)
    """
    return rng.standard_normal(shape) * np.sqrt(2 / fan_in)


def glorot(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)), a compromise between forward and backward pass.

    Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks",
    equation 16.

    Args:
        rng: draws the numbers.
        shape: of the kernel, such as (KH, KW, C, O) or (I, O).
        fan_in: how many inputs one output sums over, such as KH * KW * C.
        fan_out: how many outputs one input reaches.

    >>> kernel = glorot(np.random.default_rng(0), (960, 7), fan_in=960, fan_out=7)
    >>> round(float(abs(kernel).max()), 3), round((6 / 967) ** 0.5, 3)
    (0.079, 0.079)
    """
    limit = np.sqrt(6 / (fan_in + fan_out))
    return rng.uniform(-limit, limit, shape)


INITIALIZERS: dict[str, Callable[..., np.ndarray]] = {"he": he, "glorot": glorot}


def initial_kernel(name: str, rng: Seed, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """Return a float32 kernel of `shape` by the initialiser called `name`.

    Args:
        name: "he" or "glorot".
        rng: a seed, a generator, or None.
        shape: the kernel's.
        fan_in: how many inputs one output sums over.
        fan_out: how many outputs one input reaches.

    Raises:
        ConfigError: the name is unknown, or `rng` is something else.
    """
    if not isinstance(name, str) or name not in INITIALIZERS:
        refuse("init", name, f"one of {', '.join(map(repr, INITIALIZERS))}")
    rng = generator(rng)
    if _placeholders.get():
        return np.broadcast_to(np.float32(0), shape)
    return INITIALIZERS[name](rng, shape, fan_in, fan_out).astype(np.float32)


def constant(value: float, length: int) -> np.ndarray:
    """Return the first values of a bias or of batch norm: float32, (length,), all of them `value`."""
    if _placeholders.get():
        return np.broadcast_to(np.float32(value), length)
    return np.full(length, value, np.float32)


def generator(rng: Seed) -> np.random.Generator:
    """Return a generator from a seed, or the generator itself.

    Raises:
        ConfigError: neither a seed nor a generator nor None.
    """
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"rng={rng!r}: expected a whole number of at least 0, a numpy.random.Generator or None"
        ) from error


_placeholders: ContextVar[bool] = ContextVar("placeholders", default=False)


@contextmanager
def placeholders() -> Iterator[None]:
    """Build layers whose arrays take no memory, since a file's will replace them."""
    token = _placeholders.set(True)
    try:
        yield
    finally:
        _placeholders.reset(token)
