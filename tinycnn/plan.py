"""The training step's way through the layers: the results of layer by layer, in fewer passes over memory.

`run` walks a model as `forward` and `backward` would. Where a convolution is followed by batch norm, ReLU,
pooling or an addition, these are not carried out but handed on as `Deferred`: whoever comes next applies
them while it loads the array. Layers know nothing of this; a layer that has no rule here simply runs.

Every rule returns the layer's output and a function that runs its backward pass and sets its gradients.
"""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate, pairwise
from typing import Any, Protocol

import numpy as np

from tinycnn.errors import DTypeError, ShapeError, TinyCNNError
from tinycnn.kernels import active
from tinycnn.kernels.deferred import Deferred, Gradient, Input, NormGradient, raw
from tinycnn.layers import BatchNorm, Concat, Conv2D, MaxPool2D, ReLU, Residual, SeparableConv2D, Sequential
from tinycnn.layers.base import Layer, behaves_as, is_patched
from tinycnn.layers.containers import check_sum

#: What a subclass must leave as it is for its parent's rule to hold.
PASSES = ("forward", "backward", "_forward", "_backward")


class Backward(Protocol):
    """Set the gradients of a layer's parameters, and return that of its input.

    Args:
        dy: the output's gradient: a `Gradient` where the output was deferred.
        extra: a gradient of the finished input from elsewhere, to be added.
        partial: return the gradient of the finished input, for someone else's `extra`.
        need_dx: False where nobody uses the result.
    """

    def __call__(  # noqa: D102 - the class says it
        self, dy: Any, *, extra: np.ndarray | None = None, partial: bool = False, need_dx: bool = True
    ) -> Any: ...


def run(layer: Layer, x: Input) -> tuple[Input, Backward]:
    """Return the layer's output in training for x, finished or deferred, and its backward pass."""
    kind: Any = type(layer)
    rule = _plain if is_patched(layer, *PASSES) else _rule(kind)
    return rule(layer, x)


@cache
def _rule(kind: Any) -> Any:
    return next((rule for known, rule in RULES.items() if behaves_as(kind, known, *PASSES)), _plain)


def _is(layer: Layer, known: type[Layer]) -> bool:
    """Whether a layer is of a known kind, or of a subclass, and has both passes as they are."""
    return behaves_as(type(layer), known, *PASSES) and not is_patched(layer, *PASSES)


def run_model(model: Sequential, x: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], None]]:
    """Return a model's output in training, and a function of its gradient that sets all parameters'."""
    y, back = run(model, x)
    output = _finished(y)

    def backward(dy: np.ndarray) -> None:
        back(_gradient(y, dy), need_dx=False)

    return output, backward


def _finished(x: Input) -> np.ndarray:
    return active().finished(x) if isinstance(x, Deferred) else x


def _plain(layer: Layer, x: Input) -> tuple[Input, Backward]:
    if isinstance(x, Deferred):
        return _on_finished(_plain, layer, x)
    y = layer.forward(x, train=True)

    def back(dy: Any, *, extra: Any = None, partial: bool = False, need_dx: bool = True) -> Any:
        dx = layer.backward(dy)
        return dx if extra is None else active().add(dx, extra)

    return y, back


def _on_finished(rule: Callable[[Any, Input], Any], layer: Layer, x: Deferred) -> tuple[Input, Backward]:
    """Apply a rule to what a deferred array stands for."""
    y, inner = rule(layer, active().finished(x))

    def back(dy: Any, *, extra: Any = None, partial: bool = False, need_dx: bool = True) -> Any:
        dx = inner(dy, extra=extra)
        return dx if partial else _gradient(x, dx)

    return y, back


def _relu(layer: Layer, x: Input) -> tuple[Input, Backward]:
    if not isinstance(x, Deferred):
        return _plain(layer, x)
    layer.forget()
    return x._replace(relu=True), _passed_on  # the mask is part of any gradient of the deferred array


def _passed_on(dy: Any, *, extra: Any = None, partial: bool = False, need_dx: bool = True) -> Any:
    return dy


def _max_pool(layer: MaxPool2D, x: Input) -> tuple[Input, Backward]:
    if not isinstance(x, Deferred) or np.prod(layer.kernel_size) > 256:  # one byte holds the winner's place
        return _plain(layer, x)
    layer._checked_input(x.z)
    layer.forget()
    geometry = (layer.kernel_size, layer.stride, layer._pad(x.z.shape[1:]))
    y, pooled = active().deferred_max_pool2d(x, *geometry)

    def back(dy: Gradient, **_: Any) -> Gradient:
        if dy.pooled is not None:  # two pools in a row: the second's way back is gone first
            dense = active().max_pool2d_backward(dy.g, dy.pooled.winner, y.z.shape, *dy.pooled[1:])
            dy = dy._replace(g=dense)
        return dy._replace(pooled=pooled)

    return y, back


def _residual(layer: Residual, x: Input) -> tuple[Input, Backward]:
    if isinstance(x, Deferred) and _needs_finished(layer):
        return _on_finished(_residual, layer, x)
    layer._checked_input(raw(x))
    detour, detour_back = (x, None) if layer.shortcut is None else run(layer.shortcut, x)
    main, main_back = run(layer.main, x)
    check_sum(layer, raw(main), raw(detour))
    if isinstance(main, Deferred):
        y = active().finished(main, detour)
    elif isinstance(detour, Deferred):
        y = active().finished(detour, main)
    else:
        y = active().add(main, detour)

    def back(dy: Any, *, extra: Any = None, partial: bool = False, need_dx: bool = True) -> Any:
        if detour_back is not None:
            extra = detour_back(_gradient(detour, dy), extra=extra, partial=True)
        else:
            extra = dy if extra is None else active().add(dy, extra)
        return main_back(_gradient(main, dy), extra=extra, partial=partial, need_dx=need_dx)

    return y, back


def _needs_finished(layer: Layer) -> bool:
    """Whether a path begins with a layer that has no gradient of a finished input to give, or to add to."""
    firsts = [_first(path) for path in layer.children().values()]
    return any(_is(first, kind) for first in firsts for kind in (ReLU, MaxPool2D))


def _concat(layer: Concat, x: Input) -> tuple[Input, Backward]:
    if isinstance(x, Deferred) and _needs_finished(layer):
        return _on_finished(_concat, layer, x)
    layer._checked_input(raw(x))
    outputs, backs = zip(*[run(branch, x) for branch in layer.children().values()], strict=True)
    y, split = _side_by_side(outputs)

    def back(dy: Any, *, extra: Any = None, partial: bool = False, need_dx: bool = True) -> Any:
        *parts, last = split(dy)
        for branch_back, part in zip(backs, parts, strict=False):
            extra = branch_back(part, extra=extra, partial=True)
        return backs[-1](last, extra=extra, partial=partial, need_dx=need_dx)

    return y, back


def _side_by_side(arrays: Sequence[Any]) -> tuple[Input, Callable[[Any], list[Any]]]:
    """Return branches' outputs as one, and a function that cuts its gradient up into theirs.

    Per channel a map is a map, whichever branch it comes from: what is deferred stays so, if ReLU goes for
    all or for none.
    """
    channels = [raw(array).shape[-1] for array in arrays]
    deferred = all(isinstance(array, Deferred) and array.relu == arrays[0].relu for array in arrays)
    if not deferred:
        y = active().concat([_finished(array) for array in arrays])
        return y, lambda dy: [*map(_gradient, arrays, active().split(dy, channels))]
    z = active().concat([array.z for array in arrays])
    mean, scale, shift = map(np.concatenate, zip(*[array[1:4] for array in arrays], strict=True))

    def split(dy: Gradient) -> list[Gradient]:
        borders = pairwise([0, *accumulate(channels)])
        sums = [(dy.sum_g[low:high], dy.sum_gz[low:high]) for low, high in borders]
        pooled: list[Any] = [None] * len(channels)
        if dy.pooled is not None:
            pooled = [dy.pooled._replace(winner=w) for w in active().split(dy.pooled.winner, channels)]
        pieces = zip(active().split(dy.g, channels), sums, pooled, strict=True)
        return [Gradient(g, *own_sums, own_pooled) for g, own_sums, own_pooled in pieces]

    return Deferred(z, mean, scale, shift, arrays[0].relu), split


def _first(layer: Layer) -> Layer:
    """The first layer that a path's input meets."""
    while isinstance(layer, Sequential):
        layer = next(iter(layer.children().values()))
    return layer


def _gradient(y: Input, dy: np.ndarray) -> Any:
    """Return the gradient of a layer's output, given that of the finished one."""
    if not isinstance(y, Deferred):
        return dy
    if dy.shape != y.z.shape:
        raise ShapeError(f"backward got a gradient of shape {dy.shape}, the output was {y.z.shape}")
    if dy.dtype != y.z.dtype:
        raise DTypeError(f"backward got a gradient of {dy.dtype}, the output was {y.z.dtype}")
    return active().gradient_of(y, dy)


def _sequential(layer: Sequential, x: Input) -> tuple[Input, Backward]:
    backs: list[Backward] = []
    children: list[Any] = list(layer.children().items())
    while children:
        name, child = children.pop(0)
        try:
            if children and _is(children[0][1], BatchNorm) and _fits(child, raw(x)):
                array = _window_and_last(child)[0]._checked_input(raw(x))
                name, norm = children.pop(0)
                norm.output_shape(child.output_shape(array.shape[1:]))
                x, back = _convolution_and_norm(child, norm, x)
            else:
                x, back = run(child, x)
        except TinyCNNError as error:
            error.add_note(f"in layer {name!r}")
            raise
        backs.append(back)

    def chain(dy: Any, *, extra: Any = None, partial: bool = False, need_dx: bool = True) -> Any:
        for back in reversed(backs[1:]):
            dy = back(dy)
        return backs[0](dy, extra=extra, partial=partial, need_dx=need_dx)

    return x, chain


def _fits(layer: Any, x: np.ndarray) -> bool:
    """Whether a layer is a convolution that a fused kernel can do for x (N, H, W, C), and well."""
    if not (_is(layer, SeparableConv2D) or _is(layer, Conv2D)):
        return False
    window, last = _window_and_last(layer)
    if "bias" in last.params:
        return False
    # Kernels with a stride know windows of one pixel only, and none knows a window that lies in padding.
    stride_fits = window.stride == (1, 1) or (window is last and window.kernel_size == (1, 1))
    pads = [(0, 0)] if isinstance(window.padding, str) else window.padding
    if not stride_fits or any(max(pad) >= size for pad, size in zip(pads, window.kernel_size, strict=False)):
        return False
    return window is not last or active().fuses_conv2d(x, last.params["kernel"])


def _window_and_last(conv: Any) -> tuple[Any, Any]:
    """The layer whose window slides over the input, and the one that makes the output; often the same."""
    return (conv.depthwise, conv.pointwise) if isinstance(conv, SeparableConv2D) else (conv, conv)


def _convolution_and_norm(conv: Any, norm: BatchNorm, x: Input) -> tuple[Input, Backward]:
    window, last = _window_and_last(conv)
    if last is not window:  # whose own are checked with its input
        last.check_arrays(raw(x).dtype)
    shape = raw(x).shape
    taps = None if window is last else window.params["kernel"]
    kernels = (taps, last.params["kernel"], window.stride, window._pad(shape[1:]))
    z, mean, var = active().conv_moments(x, *kernels)
    norm._checked_input(z)
    for layer in (window, last, norm):
        layer.forget()
    norm.observe(mean, var)
    inv_std = 1 / np.sqrt(var + z.dtype.type(norm.eps))
    scale = norm.params["gamma"] * inv_std
    y = Deferred(z, mean, scale, norm.params["beta"] - mean * scale)

    def back(dy: Gradient, *, extra: Any = None, partial: bool = False, need_dx: bool = True) -> Any:
        # Batch norm's backward pass (see the reference) with x_hat = (z - mean) * inv_std put in.
        real, count = z.dtype.type, z.size // z.shape[3]
        slope = -scale * inv_std**2 * (dy.sum_gz / count)
        offset = -slope * mean - scale * (dy.sum_g / count)
        dz = NormGradient(dy, z, scale, slope.astype(real), offset.astype(real))
        norm.grads = {"gamma": (dy.sum_gz * inv_std).astype(real), "beta": dy.sum_g.astype(real)}
        dx, dtaps, dkernel = active().conv_moments_backward(dz, x, *kernels, extra, need_dx, partial)
        last.grads = last._grads(dkernel, z)  # a bias would need dz, and there is none
        if dtaps is not None:
            window.grads = window._grads(dtaps, z)
        return dx if isinstance(x, Deferred) and not partial else dx.g

    return y, back


#: How each kind of layer runs; all others run by themselves.
RULES: dict[type[Layer], Callable[[Any, Input], tuple[Input, Backward]]] = {
    Sequential: _sequential,
    Residual: _residual,
    Concat: _concat,
    ReLU: _relu,
    MaxPool2D: _max_pool,
}
