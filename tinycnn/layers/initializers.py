"""First values of kernels: random, and scaled so that activations keep their size from layer to layer."""

from collections.abc import Callable

import numpy as np

from tinycnn.errors import ConfigError

#: A seed, a generator to draw from, or None for a different start every time.
Seed = int | np.random.Generator | None


def he(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """Normal with variance 2 / fan_in, for layers followed by ReLU, which halves the variance.

    He et al. 2015, "Delving deep into rectifiers", equation 10.
    """
    return rng.standard_normal(shape) * np.sqrt(2 / fan_in)


def glorot(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)), a compromise between forward and backward pass.

    Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks",
    equation 16.
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
        ConfigError: unknown name.
    """
    if name not in INITIALIZERS:
        raise ConfigError(f"init={name!r}: expected one of {', '.join(map(repr, INITIALIZERS))}")
    return INITIALIZERS[name](np.random.default_rng(rng), shape, fan_in, fan_out).astype(np.float32)
