"""A network made ready for inference: batch norm folded into weights, and as few passes as possible.

Layers are walked as `forward` would, but what comes out is a list of steps (`tinycnn.kernels.steps`), which a
backend then runs: reference kernels one after another, or all of them in one compiled call. Layers know
nothing of this. A model with a layer that has no rule here is run layer by layer.
"""

import copy
import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from tinycnn.checks import refuse
from tinycnn.errors import TinyCNNError
from tinycnn.finite import all_finite
from tinycnn.kernels import active, backend_name, one_thread_pool
from tinycnn.kernels.padding import NO_PAD
from tinycnn.kernels.steps import Step
from tinycnn.layers import (
    AvgPool2D,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Layer,
    MaxPool2D,
    ReLU,
    Residual,
    SeparableConv2D,
    Sequential,
    Softmax,
)
from tinycnn.layers.base import Shape, behaves_as, is_patched

#: What runs a model's inference on a batch.
Plan = Callable[[Layer, np.ndarray], np.ndarray]
#: By backend, and an image's shape and dtype.
Plans = dict[tuple[str, Shape, np.dtype], Plan]
#: For more sizes than this the plan of the oldest is given up: each may hold all weights in another order.
MOST_PLANS = 8


class Prepared:
    """A network for inference alone, made by `compile_for_inference`: call it with a batch.

    It may be called from several threads at once.

    Args:
        model: is not copied, but weights are read when the first batch of a size comes.
        plans: made by an earlier one for the same model with the same weights.

    >>> prepared = compile_for_inference(tc.Sequential([tc.ReLU()]))
    >>> prepared(np.array([[-1.0, 2.0]]))
    array([[0., 2.]])
    """

    def __init__(self, model: Layer, plans: Plans | None = None) -> None:
        self._model = model
        self._plans: Plans = {} if plans is None else plans

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_plans": {}}  # compiled ones cannot be pickled

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the network's output for a batch: (N, K) for a classifier, a new array each time.

        Args:
            x: (N, H, W, C) or (N, features), float32 or float64 like the parameters. Any N, and any size that
                the layers can take; the first call with a size takes longer.

        Raises:
            ShapeError, DTypeError: x does not fit the model, as in `forward`.
        """
        plan = None
        if isinstance(x, np.ndarray) and x.ndim and len(x) and not isinstance(x, np.ma.MaskedArray):
            plan = self._plans.get((backend_name(), x.shape[1:], x.dtype))
        return (plan or self._new_plan(x))(self._model, x)

    def _new_plan(self, x: np.ndarray) -> Plan:
        plan: Plan
        try:
            plan = _Plan(Walk(self._model, x), x)
        except NoRuleError:
            plan = _layer_by_layer
        if isinstance(x, np.ndarray):
            self._plans[backend_name(), x.shape[1:], x.dtype] = plan
        for oldest in [*self._plans][:-MOST_PLANS]:
            self._plans.pop(oldest, None)
        return plan


def _layer_by_layer(model: Layer, x: np.ndarray) -> np.ndarray:
    with one_thread_pool():
        y = model.forward(x)
    return y.copy() if np.may_share_memory(x, y) else y


def compile_for_inference(model: Layer) -> Prepared:
    """Return a copy of a model that can do nothing but inference, and does it faster: ``prepared(x)``.

    Batch norm becomes part of the weights before it, dropout is gone, and with numba the whole network is one
    compiled call. Outputs are those of ``model.forward(x)`` up to rounding, if nothing overflows on the way;
    with numba they do not depend on the number of threads, nor, in networks of up to a million numbers, on an
    image's company in the batch: larger ones treat batches of 16 and more otherwise. Later training does not
    change the copy.

    A layer that it has no rule for, such as one of your own or an `AvgPool2D` with padding, has the model run
    layer by layer instead, which may round otherwise in other company.

    Args:
        model: any layer, usually a `Sequential`.

    Raises:
        ConfigError: it is none.

    >>> import tinycnn as tc
    >>> model = tc.Sequential([tc.Conv2D(1, 4, 3, rng=0), tc.BatchNorm(4), tc.ReLU(), tc.GlobalAvgPool2D()])
    >>> tc.compile_for_inference(model)(np.zeros((2, 8, 8, 1), np.float32)).shape
    (2, 4)
    """
    if not isinstance(model, Layer):
        refuse("model", model, "a layer, usually a Sequential")
    twin = copy.deepcopy(model)
    twin.forget()  # a training batch's activations may hang on the model
    for _, layer in twin.walk():
        if not layer.children():
            layer.grads = {}
    return Prepared(twin)


class NoRuleError(Exception):
    """No rule is known for a layer, which is the argument, or for the input, and there is none."""


class _Value(NamedTuple):
    """A step's result while layers are walked: its number, and its shape and dtype as layers see it."""

    number: int
    like: np.ndarray  # (1, ...), of any contents

    @property
    def map_shape(self) -> Shape:
        return as_map(self.like.shape[1:])


def as_map(shape: Shape) -> Shape:
    """Return a shape without the batch axis as (H, W, C)."""
    if not shape:
        raise NoRuleError
    return shape if len(shape) == 3 else (1, math.prod(shape[:-1]), shape[-1])


class Walk:
    """A walk through a model that notes down the steps.

    Attributes:
        steps: what to do.
        result: the model's output.

    Raises:
        NoRuleError: there is no rule for a layer, or this very object has a forward pass of its own.
    """

    def __init__(self, model: Layer, x: np.ndarray) -> None:
        for _, layer in model.walk():
            if is_patched(layer, "forward", "_forward"):
                raise NoRuleError(layer)
        self.steps: list[Step] = []
        self._shared: set[int] = set()  # values that two paths start from: no step that makes one may change
        self.result = self._run(model, _Value(0, x))

    def _run(self, layer: Layer, x: _Value) -> _Value:
        kind: Any = type(layer)
        return _rule(kind)(self, layer, x)

    def _step(self, layer: Any, x: _Value, kind: Any, **details: Any) -> _Value:
        """Check x as the layer does, and note a new step."""
        array = layer._checked_input(x.like)
        shape = layer.output_shape(array.shape[1:])
        if hasattr(layer, "stride"):
            window = (layer.kernel_size, layer.stride, layer._pad(array.shape[1:]))
            details |= dict(zip(("window", "stride", "pad"), window, strict=True))
        self.steps.append(Step(kind, x.number, as_map(shape), **details))
        return _Value(len(self.steps), np.empty((1, *shape), array.dtype))

    def _open(self, x: _Value, *kinds: str) -> Step | None:
        """Return the last step if it makes x, for nobody else, and more can be done in it."""
        if x.number == 0 or x.number != len(self.steps) or x.number in self._shared:
            return None
        step = self.steps[-1]
        return step if step.kind in kinds and not step.relu and step.extra is None else None

    def _sequential(self, layer: Sequential, x: _Value) -> _Value:
        for name, child in layer.children().items():
            try:
                x = self._run(child, x)
            except TinyCNNError as error:
                error.add_note(f"in layer {name!r}")
                raise
        return x

    def _residual(self, layer: Residual, x: _Value) -> _Value:
        array = layer._checked_input(x.like)
        self._shared.add(x.number)
        detour = x if layer.shortcut is None else self._run(layer.shortcut, x)
        self._shared.add(detour.number)
        main = self._run(layer.main, x)
        step = self._open(main, "pool", "same")
        if step is None:
            shape = as_map(layer.output_shape(array.shape[1:]))
            self.steps.append(Step("same", main.number, shape, extra=detour.number))
            return _Value(len(self.steps), main.like)
        self.steps[-1] = step._replace(extra=detour.number)
        return main

    def _concat(self, layer: Concat, x: _Value) -> _Value:
        array = layer._checked_input(x.like)
        self._shared.add(x.number)
        first, *others = [self._run(branch, x).number for branch in layer.children().values()]
        shape = layer.output_shape(array.shape[1:])
        self.steps.append(Step("concat", first, as_map(shape), others=tuple(others)))
        return _Value(len(self.steps), np.empty((1, *shape), array.dtype))

    def _conv2d(self, layer: Conv2D, x: _Value) -> _Value:
        return self._step(layer, x, "window", kernel=layer.params["kernel"], bias=layer.params.get("bias"))

    def _depthwise(self, layer: DepthwiseConv2D, x: _Value) -> _Value:
        return self._step(layer, x, "window", taps=layer.params["kernel"], bias=layer.params.get("bias"))

    def _separable(self, layer: SeparableConv2D, x: _Value) -> _Value:
        between = self._depthwise(layer.depthwise, x)
        layer.pointwise._checked_input(between.like)
        shape = layer.pointwise.output_shape(between.like.shape[1:])
        kernel, bias = layer.pointwise.params["kernel"], layer.pointwise.params.get("bias")
        self.steps[-1] = self.steps[-1]._replace(kernel=kernel, bias=bias, shape=shape)
        return _Value(between.number, np.empty((1, *shape), between.like.dtype))

    def _dense(self, layer: Dense, x: _Value) -> _Value:
        kernel = layer.params["kernel"][np.newaxis, np.newaxis]
        return self._step(layer, x, "window", kernel=kernel, bias=layer.params.get("bias"))

    def _batch_norm(self, layer: BatchNorm, x: _Value) -> _Value:
        array = layer._checked_input(x.like)
        mean, var = layer.state["running_mean"], layer.state["running_var"]
        scale = layer.params["gamma"] / np.sqrt(var + array.dtype.type(layer.eps))
        shift = layer.params["beta"] - mean * scale
        step = self._open(x, "window")
        folded = None if step is None else _folded(step, scale, shift)
        if folded is None:
            return self._step(layer, x, "window", taps=scale[np.newaxis, np.newaxis], bias=shift)
        self.steps[-1] = folded
        return x

    def _relu(self, layer: ReLU, x: _Value) -> _Value:
        step = self.steps[-1] if x.number == len(self.steps) and x.number not in self._shared | {0} else None
        if step is None or step.kind not in ("window", "pool", "same", "concat"):
            return self._step(layer, x, "same", relu=True)
        self.steps[-1] = step._replace(relu=True)
        return x

    def _max_pool(self, layer: MaxPool2D, x: _Value) -> _Value:
        return self._step(layer, x, "pool")

    def _avg_pool(self, layer: AvgPool2D, x: _Value) -> _Value:
        shape = layer._checked_input(x.like).shape[1:]
        if layer._pad(shape) != NO_PAD:
            raise NoRuleError(layer)  # windows at the edge have fewer pixels, so no kernel is theirs
        share = x.like.dtype.type(1 / math.prod(layer.kernel_size))
        # A view of one number: a file may claim any size, and shall fill no memory by that.
        taps = np.broadcast_to(share, (*layer.kernel_size, shape[-1]))
        return self._step(layer, x, "window", taps=taps)

    def _mean(self, layer: GlobalAvgPool2D, x: _Value) -> _Value:
        return self._step(layer, x, "mean")

    def _flatten(self, layer: Flatten, x: _Value) -> _Value:
        return self._step(layer, x, "same")

    def _softmax(self, layer: Softmax, x: _Value) -> _Value:
        return self._step(layer, x, "softmax")

    def _dropout(self, layer: Dropout, x: _Value) -> _Value:
        layer._checked_input(x.like)
        return x


def _folded(step: Step, scale: np.ndarray, shift: np.ndarray) -> Step | None:
    """Return a "window" with its results scaled and shifted, by (O,); None if its weights would overflow."""
    weights = "taps" if step.kernel is None else "kernel"
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = getattr(step, weights) * scale
        bias = shift if step.bias is None else shift + step.bias * scale
    finite = all_finite(scaled) and all_finite(bias)
    return step._replace(bias=bias, **{weights: scaled}) if finite else None


_RULES: dict[type[Layer], Callable[[Walk, Any, _Value], _Value]] = {
    Sequential: Walk._sequential,
    Residual: Walk._residual,
    Concat: Walk._concat,
    Conv2D: Walk._conv2d,
    DepthwiseConv2D: Walk._depthwise,
    SeparableConv2D: Walk._separable,
    Dense: Walk._dense,
    BatchNorm: Walk._batch_norm,
    ReLU: Walk._relu,
    MaxPool2D: Walk._max_pool,
    AvgPool2D: Walk._avg_pool,
    GlobalAvgPool2D: Walk._mean,
    Flatten: Walk._flatten,
    Softmax: Walk._softmax,
    Dropout: Walk._dropout,
}


@cache
def _rule(kind: Any) -> Callable[[Walk, Any, _Value], _Value]:
    """Return the rule for a kind of layer, which may be a subclass that leaves the forward pass as it is."""
    return next(
        (r for known, r in _RULES.items() if behaves_as(kind, known, "forward", "_forward")), _no_rule
    )


def _no_rule(walk: Walk, layer: Layer, x: _Value) -> _Value:
    raise NoRuleError(layer)


class _Plan:
    """What a backend makes of the steps, for inputs of one shape and dtype."""

    def __init__(self, walk: Walk, x: np.ndarray) -> None:
        self._in, self._out = as_map(x.shape[1:]), walk.result.like.shape[1:]
        self._run = active().prepare_steps(walk.steps, self._in, x.dtype)

    def __call__(self, model: Layer, x: np.ndarray) -> np.ndarray:
        return self._run(np.ascontiguousarray(x).reshape(len(x), *self._in)).reshape(len(x), *self._out)
