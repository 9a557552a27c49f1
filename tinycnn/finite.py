"""Numbers that are none any more: noticed at the very step, and traced to the layer they come from."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinycnn.errors import NonFiniteError
from tinycnn.layers import Layer, Sequential
from tinycnn.losses import SoftmaxCrossEntropy
from tinycnn.optimizers import Optimizer


def all_finite(array: np.ndarray) -> bool:
    """Whether an array of any shape holds neither NaN nor infinity.

    The sum of squares says so in one quick pass; only where it overflows must every number be looked at.
    """
    return math.isfinite(np.vdot(array, array)) or bool(np.isfinite(array).all())


def generators(model: Layer) -> dict[str, np.random.Generator]:
    """Return the random generators inside a model's layers, such as dropout's, by the paths of both."""
    return {
        f"{path}.{name}": value
        for path, layer in model.walk()
        for name, value in vars(layer).items()
        if isinstance(value, np.random.Generator)
    }


class Undo:
    """A copy of what a forward pass in training changes: running statistics and random generators."""

    def __init__(self, model: Layer) -> None:
        layers = [layer for _, layer in model.walk() if not layer.children()]
        self._arrays = [
            (layer.state, name, array, array.copy())
            for layer in layers
            for name, array in layer.state.items()
        ]
        self._states = [(rng, rng.bit_generator.state) for rng in generators(model).values()]

    def __call__(self) -> None:
        """Bring them back to where they were."""
        for arrays, name, array, copy in self._arrays:
            array[...] = copy
            arrays[name] = array  # a layer of one's own may have put another in its place
        for rng, state in self._states:
            rng.bit_generator.state = state


def diagnosis(
    model: Sequential, x: np.ndarray, labels: np.ndarray, loss: SoftmaxCrossEntropy, optimizer: Optimizer
) -> NonFiniteError:
    """Return the error for a training step that failed, with the layer where it went wrong.

    Runs the step once more, layer by layer, and without moving a weight.

    Args:
        model: its layers up to the logits, in the state before the step.
        x: (N, ...), the batch.
        labels: (N,) of integers, or (N, K) of probabilities.
        loss: gives the loss and its gradient.
        optimizer: knows the step and the learning rate.
    """
    undo = Undo(model)
    with np.errstate(all="ignore"):  # what it would warn of is what is looked for
        place, remedy = _place(model, x, labels, loss)
    undo()
    return NonFiniteError(
        f"step {optimizer.steps + 1}, learning rate {optimizer.current_learning_rate:g}: {place}. "
        f"The step was not taken: {remedy}"
    )


def _place(
    model: Sequential, x: np.ndarray, labels: np.ndarray, loss: SoftmaxCrossEntropy
) -> tuple[str, str]:
    """Return what is not finite first, and what to do about it."""
    if not all_finite(x):
        bad = np.argwhere(~np.isfinite(x))
        where = f"[{', '.join(map(str, bad[0]))}]"
        return (
            f"the input holds {len(bad)} non-finite numbers, the first at {where} of the batch {x.shape}",
            "check the data and what `prepare` makes of them",
        )
    for name, array in {**model.params, **model.state}.items():
        if not all_finite(array):
            return f"{name!r} is not finite", "start anew from finite weights, with a lower learning rate"
    remedy = "try a lower learning rate, or a schedule that begins with one"
    try:
        with _layers_checked(model):
            value, dlogits = loss(model.forward(x, train=True), labels)
            if not math.isfinite(value + model.penalty()) or not all_finite(dlogits):
                return "the loss is not finite, though the logits are", remedy
            model.backward(dlogits)
    except NonFiniteError as found:
        return str(found), remedy
    # Layer by layer the rounding is another than on the quick way, which came just beyond the limit.
    return "a gradient is not finite, though barely", remedy


@contextmanager
def _layers_checked(model: Layer) -> Iterator[None]:
    """Within the block, the first layer to put out something non-finite, forward or backward, raises."""

    def checked(path: str, layer: Layer, what: str, compute: Callable[..., Any]) -> Callable[..., Any]:
        def compute_and_check(*args: Any) -> Any:
            result, rest = compute(*args)
            found = [result, *rest.values()] if what == "gradient" else [result]
            if not all(map(all_finite, found)):
                raise NonFiniteError(f"the {what} of layer {path!r} ({type(layer).__name__}) is not finite")
            return result, rest

        return compute_and_check

    leaves = [(path, layer) for path, layer in model.walk() if not layer.children()]
    for path, layer in leaves:
        # An attribute of the one object hides the method of its class until it is deleted.
        vars(layer)["_forward"] = checked(path, layer, "output", layer._forward)
        vars(layer)["_backward"] = checked(path, layer, "gradient", layer._backward)
    try:
        yield
    finally:
        for _, layer in leaves:
            del vars(layer)["_forward"], vars(layer)["_backward"]
