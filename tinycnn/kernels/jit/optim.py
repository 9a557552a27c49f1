"""Optimiser steps in one pass over memory.

Memory is what they wait for, and one thread nearly exhausts it: a second one gained a sixth of the time at
five million parameters and lost at one million. So the work stays in the calling thread.
"""

import math
from functools import lru_cache

import numpy as np

from tinycnn.kernels.jit.compile import compiled


def sgd_step(
    param: np.ndarray,
    grad: np.ndarray,
    velocity: np.ndarray,
    lr: float,
    momentum: float,
    nesterov: bool,
    decay: float,
) -> None:
    """Change `velocity` and `param`, see `tinycnn.kernels.reference.optim.sgd_step`."""
    kernel = _nesterov if nesterov else _sgd
    scalars = _scalars(param.dtype, lr, momentum, 1 - lr * decay)
    kernel(param.reshape(-1), grad.reshape(-1), velocity.reshape(-1), *scalars)


def adam_step(
    param: np.ndarray,
    grad: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    decay: float,
    step: int,
) -> None:
    """Change `m`, `v` and `param`, see `tinycnn.kernels.reference.optim.adam_step`."""
    scalars = _adam_scalars(param.dtype, lr, beta1, beta2, eps, decay, step)
    _adam(param.reshape(-1), grad.reshape(-1), m.reshape(-1), v.reshape(-1), *scalars)


@lru_cache(maxsize=4)  # the same for all parameters of a step
def _adam_scalars(
    dtype: np.dtype, lr: float, beta1: float, beta2: float, eps: float, decay: float, step: int
) -> tuple[np.floating, ...]:
    rate, root = lr / (1 - beta1**step), 1 / math.sqrt(1 - beta2**step)
    return _scalars(dtype, beta1, 1 - beta1, beta2, 1 - beta2, rate, root, eps, 1 - lr * decay)


def _scalars(dtype: np.dtype, *numbers: float) -> tuple[np.floating, ...]:
    """Give numbers the arrays' dtype, so that float32 stays float32."""
    return tuple(map(dtype.type, numbers))


@compiled
def _sgd(param, grad, velocity, lr, momentum, keep):
    for i in range(param.size):
        velocity[i] = momentum * velocity[i] + grad[i]
        param[i] = keep * param[i] - lr * velocity[i]


@compiled
def _nesterov(param, grad, velocity, lr, momentum, keep):
    for i in range(param.size):
        velocity[i] = momentum * velocity[i] + grad[i]
        param[i] = keep * param[i] - lr * (grad[i] + momentum * velocity[i])


@compiled
def _adam(param, grad, m, v, beta1, rest1, beta2, rest2, rate, root, eps, keep):
    for i in range(param.size):
        m[i] = beta1 * m[i] + rest1 * grad[i]
        v[i] = beta2 * v[i] + rest2 * (grad[i] * grad[i])
        param[i] = keep * param[i] - rate * m[i] / (np.sqrt(v[i]) * root + eps)
