"""A network's steps, one operation each, with names: what is quantised, and what arrays belong to."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tinycnn.errors import ConfigError
from tinycnn.inference import NoRuleError, Walk
from tinycnn.kernels.steps import Step
from tinycnn.layers import Layer, Sequential
from tinycnn.layers.base import Shape, is_patched


class Named(NamedTuple):
    """A step, and the path of the layer that it comes from."""

    name: str
    step: Step


def outline(model: Sequential, input_shape: Shape) -> list[Named]:
    """Return a model's steps for images of a shape, batch norm folded into weights.

    A separable convolution is two steps here, and nothing but a convolution still has its ReLU in the same
    step: another operation's ReLU, and an addition, are steps of the kind "same".

    Raises:
        ConfigError: a layer has no form in whole numbers; the message names it.
        ShapeError: the model cannot take such images.
    """
    walk = _NamedWalk(model, np.zeros((1, *input_shape), np.float32))
    found: list[Named] = []
    numbers = {0: 0}  # of a value: in the walk, and here
    for index, (path, step) in enumerate(zip(walk.paths, walk.steps, strict=True), 1):
        if step.kind == "concat":
            raise _without_form(path, "Concat")
        extra = None if step.extra is None else numbers[step.extra]
        source = numbers[step.source]
        for name, part in _parts(path, step._replace(extra=extra)):
            found.append(Named(name, part._replace(source=source)))
            source = len(found)
        numbers[index] = source
    if all(step.kind == "softmax" for _, step in found):
        raise ConfigError("the model has nothing to quantise: expected layers that compute")
    for name, step in found[:-1]:
        if step.kind == "softmax":
            raise ConfigError(f"layer {name!r} is a Softmax before the end: expected one at the end, or none")
    return found


class _NamedWalk(Walk):
    """A walk that also notes where each step comes from.

    Attributes:
        paths: a layer's for each step.
    """

    def __init__(self, model: Layer, x: np.ndarray) -> None:
        self.paths: list[str] = []
        self._layers = {id(layer): path for path, layer in model.walk()}
        try:
            super().__init__(model, x)
        except NoRuleError as error:
            (layer,) = error.args
            own = " with a forward pass of its own" if is_patched(layer, "forward", "_forward") else ""
            raise _without_form(self._layers[id(layer)], f"{type(layer).__name__}{own}") from None

    def _run(self, layer: Layer, x: Any) -> Any:
        result = super()._run(layer, x)
        self.paths += [self._layers[id(layer)]] * (len(self.steps) - len(self.paths))
        return result


def _without_form(path: str, kind: str) -> ConfigError:
    return ConfigError(
        f"layer {path!r} is of the kind {kind}, which has no form in whole numbers: replace it, or stay with "
        "float32 and tinycnn.compile_for_inference"
    )


def _parts(path: str, step: Step) -> Iterator[tuple[str, Step]]:
    """Yield a step's single operations, each of which reads what the one before has made."""
    if step.taps is not None and step.kernel is not None:
        between = (*step.shape[:2], step.taps.shape[-1])
        yield f"{path}.depthwise", step._replace(shape=between, kernel=None, bias=None, relu=False)
        yield f"{path}.pointwise", Step("window", 0, step.shape, None, step.kernel, step.bias, relu=step.relu)
    elif step.kind == "pool" and (step.relu or step.extra is not None):
        yield path, step._replace(extra=None, relu=False)
        yield path, Step("same", 0, step.shape, extra=step.extra, relu=step.relu)
    else:
        yield path, step
