"""Optimiser steps, element by element and in place.

Arrays are of any shape, C-contiguous, and of one dtype within a call. Weight decay is decoupled from the
gradient (Loshchilov & Hutter, "Decoupled weight decay regularization", 2019): the parameter shrinks by
lr * decay of itself, and neither momentum nor Adam's moments ever see it.
"""

import numpy as np


def sgd_step(
    param: np.ndarray,
    grad: np.ndarray,
    velocity: np.ndarray,
    lr: float,
    momentum: float,
    nesterov: bool,
    decay: float,
) -> None:
    """Change `velocity` and `param` by one step of gradient descent with momentum.

    velocity = momentum * velocity + grad
    param = param - lr * decay * param - lr * update

    where the update is the velocity, or with Nesterov's momentum grad + momentum * velocity: the velocity
    that a next step would have if its gradient were the same. Sutskever et al., "On the importance of
    initialization and momentum in deep learning", 2013, in PyTorch's form, where the learning rate stands
    outside the velocity, so that changing it acts at once.
    """
    velocity *= momentum
    velocity += grad
    update = grad + momentum * velocity if nesterov else velocity
    param *= 1 - lr * decay
    param -= lr * update


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
    """Change `m`, `v` and `param` by one step of Adam; `step` is 1 for the first.

    m = beta1 * m + (1 - beta1) * grad
    v = beta2 * v + (1 - beta2) * grad²
    m_hat = m / (1 - beta1^step)
    v_hat = v / (1 - beta2^step)
    param = param - lr * decay * param - lr * m_hat / (sqrt(v_hat) + eps)

    Kingma & Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1. The moments start at zero;
    m_hat and v_hat undo the bias that this gives them.
    """
    m *= beta1
    m += (1 - beta1) * grad
    v *= beta2
    v += (1 - beta2) * grad**2
    m_hat = m / (1 - beta1**step)
    v_hat = v / (1 - beta2**step)
    param *= 1 - lr * decay
    param -= lr * m_hat / (np.sqrt(v_hat) + eps)
