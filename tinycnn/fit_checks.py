"""What is wrong with data and options of a training is said before it begins, not hours later."""

from collections.abc import Iterable
from contextlib import suppress
from numbers import Integral
from typing import Any

import numpy as np

from tinycnn.averaging import ExponentialMovingAverage
from tinycnn.checkpoint import Checkpoint
from tinycnn.checks import check_flag, refuse
from tinycnn.errors import DTypeError, ShapeError, TinyCNNError
from tinycnn.layers import Sequential
from tinycnn.losses import SoftmaxCrossEntropy, check_labels
from tinycnn.optimizers import Optimizer


def check_data(x: np.ndarray, labels: np.ndarray) -> None:
    """Raise a DTypeError or ShapeError unless there are images x (N, ...) and N labels, (N,) or (N, K)."""
    if not isinstance(x, np.ndarray) or not isinstance(labels, np.ndarray):
        found = f"{type(x).__name__} and {type(labels).__name__}"
        raise DTypeError(f"images and labels: expected NumPy arrays, found {found}: use np.asarray")
    if x.ndim == 0 or labels.ndim not in (1, 2) or labels.shape[:1] != x.shape[:1] or len(x) == 0:
        raise ShapeError(
            f"expected N >= 1 images and as many labels, found shapes {x.shape} and {labels.shape}"
        )


def check_validation(model: Sequential, x: np.ndarray, labels: np.ndarray) -> None:
    """Find out now what would otherwise end the training after its first epoch."""
    try:
        check_data(x, labels)
        check_learnable(model, x, labels)
    except TinyCNNError as error:
        error.add_note("in the validation data")
        raise


def check_learnable(model: Sequential, x: np.ndarray, labels: np.ndarray) -> None:
    """Find out now which label would otherwise end the training when its batch comes."""
    classes = None
    with suppress(ShapeError):  # of images that only `prepare` brings into the model's shape
        *_, classes = model.output_shape(getattr(model, "input_shape", None) or x.shape[1:])
    if classes is not None:
        check_labels(labels, classes)


def check_options(
    optimizer: object,
    loss: object,
    validation: object,
    prepare: object,
    augment: object,
    ema: object,
    keep_best: bool,
    checkpoint: object,
    seed: object,
) -> None:
    """Raise a ConfigError unless all are of a kind that `fit` can use; see its arguments."""
    for name, value, kind in (
        ("optimizer", optimizer, Optimizer),
        ("loss", loss, SoftmaxCrossEntropy),
        ("ema", ema, ExponentialMovingAverage),
        ("checkpoint", checkpoint, Checkpoint),
    ):
        if not isinstance(value, kind | None):
            refuse(name, value, f"an object of type {kind.__name__}, or None")
    for name, function in (("prepare", prepare), ("augment", augment)):
        if function is not None and not callable(function):
            refuse(name, function, "a function, or None")
    if validation is not None and not (isinstance(validation, tuple | list) and len(validation) == 2):
        refuse("validation", validation, "a pair (images, labels), or None")
    if not isinstance(seed, Integral) or isinstance(seed, bool) or seed < 0:
        refuse("seed", seed, "a whole number of at least 0")
    check_flag(keep_best=keep_best)


def checked_callbacks(callbacks: object) -> list[Any]:
    """Return them as a list, or raise a ConfigError if one cannot be called."""
    found: list[Any] = list(callbacks) if isinstance(callbacks, Iterable) else [None]
    if not all(map(callable, found)):
        refuse("callbacks", callbacks, "a list of functions, each called as callback(model, history)")
    return found


def as_many(name: str, made: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return what a function of the user's made of images, or raise a ShapeError if some are missing."""
    if np.shape(made)[:1] != images.shape[:1]:
        raise ShapeError(
            f"{name} made {type(made).__name__} of shape {np.shape(made)} of a batch of shape "
            f"{images.shape}: expected an array of as many images"
        )
    return made


def check_gradient(loss: SoftmaxCrossEntropy, dlogits: Any, logits: np.ndarray) -> None:
    """Make sure that a loss of one's own returns what the last layer can take."""
    found = getattr(dlogits, "dtype", type(dlogits).__name__), np.shape(dlogits)
    if found != (logits.dtype, logits.shape):
        raise DTypeError(
            f"{type(loss).__name__}: its gradient is {found[0]} of shape {found[1]}: expected "
            f"{logits.dtype} of shape {logits.shape}, as the logits are"
        )
