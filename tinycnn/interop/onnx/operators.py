"""ONNX's operators in terms of our layers: one rule for each."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinycnn import layers
from tinycnn.checks import refuse
from tinycnn.errors import ConfigError
from tinycnn.interop.graph import Node
from tinycnn.interop.nchw import from_nchw, map_of, nchw_shape
from tinycnn.kernels.padding import NO_PAD, Pad
from tinycnn.layers.base import Layer, Shape
from tinycnn.layers.initializers import placeholders
from tinycnn.save import check_weights, place


class Value(NamedTuple):
    """What an operator puts out.

    Attributes:
        node: its name in the graph of layers.
        shape: of one image, channels last.
        map_shape: (H, W, C) of what was flattened, if it is a flattened map.
        pad: margins around it, which the next window takes over.
        fill: what the margins are filled with.
        in_a_row: all images lie in one row, which only a Gather undoes.
        batch: how many images the graph is for; 0 for any number.
        spread: is (N, C, 1, 1) there, though (N, C) here.
    """

    node: str
    shape: Shape
    map_shape: Shape | None = None
    pad: Pad = NO_PAD
    fill: float = 0.0
    in_a_row: bool = False
    batch: int = 0
    spread: bool = False

    def is_channels(self, axis: int) -> bool:
        """Whether an axis of ONNX's is that of the channels."""
        return axis in (1, -3 if self.spread or len(self.shape) == 3 else -1)


class Operator(NamedTuple):
    """An operator, with what it is given.

    Attributes:
        name: becomes the layer's.
        output: name of what it puts out.
        attributes: by ONNX's names.
        inputs: what depends on the image: two for Add, several for Concat, otherwise one.
        constants: all other inputs, in their order.
        opset: version of the set of operators.
    """

    name: str
    output: str
    attributes: dict[str, Any]
    inputs: list[Value]
    constants: list[np.ndarray]
    opset: int

    @property
    def x(self) -> Value:
        """The first input."""
        return self.inputs[0]

    def only(self, **expected: Any) -> None:
        """Raise a ConfigError unless attributes have these values, where they are given at all."""
        for key, value in expected.items():
            if self.attributes.get(key, value) != value:
                refuse(key, self.attributes[key], f"{value!r}, which is all that tinycnn has")


#: New nodes for the graph of layers, and what the operator puts out.
Result = tuple[list[Node], Value]


def _layer(operator: Operator, layer: Layer, **arrays: np.ndarray) -> Result:
    """Return a layer as a node, with its arrays in ONNX's order."""
    x, own, turned = operator.x, {**layer.params, **layer.state}, {}
    for key, array in arrays.items():
        shape = nchw_shape(layer, key, own[key].shape)
        if array.dtype != np.float32 or array.shape != shape:
            raise ConfigError(f"its {key} is {array.dtype} {array.shape}, expected float32 {shape}")
        check_weights(key, array)
        # A copy: of the file's bytes, which cannot be written to, and which another array may share.
        turned[key] = np.array(from_nchw(layer, key, array, x.map_shape))
    place(layer, turned)
    map_shape = None if isinstance(layer, layers.Dense) else x.map_shape
    node = Node(operator.output, (x.node,), {operator.name: layer})
    spread = x.spread and not isinstance(layer, layers.Dense)
    shape = layer.output_shape(x.shape)
    return [node], Value(operator.output, shape, map_shape, batch=x.batch, spread=spread)


def _nothing(operator: Operator) -> Result:
    return [Node(operator.output, (operator.x.node,), {})], operator.x._replace(node=operator.output)


def _dropout(operator: Operator) -> Result:
    if any(array.dtype == bool and array.any() for array in operator.constants):
        refuse("training_mode", True, "False: inference, in which nothing is dropped")
    return _nothing(operator)


def _window(operator: Operator, size: Any, fill: float) -> dict[str, Any]:
    """Return a window's arguments; margins of a Pad before it must be filled with what counts for nothing."""
    operator.only(dilations=[1, 1], ceil_mode=0, storage_order=0)
    x, given = operator.x, operator.attributes
    window = {"kernel_size": tuple(size), "stride": tuple(given.get("strides", (1, 1)))}
    if x.pad != NO_PAD and x.fill != fill:
        refuse("Pad", x.fill, f"margins of {fill}")
    if given.get("auto_pad", "NOTSET") == "SAME_UPPER" and x.pad == NO_PAD:
        return window | {"padding": "same"}
    if given.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        refuse("auto_pad", given["auto_pad"], "'NOTSET', 'VALID', or 'SAME_UPPER' without a Pad")
    top, left, bottom, right = given.get("pads", (0, 0, 0, 0))
    rows, columns = x.pad
    return window | {"padding": ((top + rows[0], bottom + rows[1]), (left + columns[0], right + columns[1]))}


def _conv(operator: Operator) -> Result:
    kernel, *bias = operator.constants
    filters, channels, *size = kernel.shape
    group = operator.attributes.get("group", 1)
    arguments = {**_window(operator, size, 0.0), "bias": bool(bias)}
    if group not in (1, operator.x.shape[-1]) or (group > 1 and filters != group):
        refuse("group", group, "1, or as many as channels come in and go out")
    with placeholders():
        layer: Layer = (
            layers.Conv2D(channels, filters, **arguments)
            if group == 1
            else layers.DepthwiseConv2D(filters, **arguments)
        )
    return _layer(operator, layer, kernel=kernel, **({"bias": bias[0]} if bias else {}))


def _dense(operator: Operator) -> Result:
    operator.only(alpha=1.0, beta=1.0, transA=0)
    kernel, *bias = operator.constants
    kernel = kernel if operator.attributes.get("transB", 0) else kernel.T
    outputs, inputs = kernel.shape
    with placeholders():
        layer = layers.Dense(inputs, outputs, bias=bool(bias))
    # (1, K) is a row for all images, as (K,) is; (N, 1) would be a number for each.
    arrays = {"bias": bias[0][0] if bias[0].ndim == 2 and len(bias[0]) == 1 else bias[0]} if bias else {}
    return _layer(operator, layer, kernel=kernel, **arrays)


def _batch_norm(operator: Operator) -> Result:
    operator.only(training_mode=0)
    gamma, beta, mean, var = operator.constants
    given = operator.attributes
    with placeholders():
        layer = layers.BatchNorm(gamma.size, given.get("momentum", 0.9), given.get("epsilon", 1e-5))
    return _layer(operator, layer, gamma=gamma, beta=beta, running_mean=mean, running_var=var)


def _max_pool(operator: Operator) -> Result:
    window = _window(operator, operator.attributes["kernel_shape"], -np.inf)
    return _layer(operator, layers.MaxPool2D(**window))


def _avg_pool(operator: Operator) -> Result:
    window = _window(operator, operator.attributes["kernel_shape"], 0.0)
    if operator.attributes.get("count_include_pad", 0) and window["padding"] != NO_PAD:
        refuse("count_include_pad", 1, "0, which is all that tinycnn has")
    return _layer(operator, layers.AvgPool2D(**window))


def _mean(operator: Operator, keepdims: int = 1) -> Result:
    nodes, value = _layer(operator, layers.GlobalAvgPool2D())
    return nodes, value._replace(spread=bool(keepdims))


def _reduce_mean(operator: Operator) -> Result:
    axes = operator.attributes.get("axes", operator.constants[0] if operator.constants else ())
    if sorted(int(axis) % 4 for axis in axes) != [2, 3]:
        refuse("axes", axes, "[2, 3]: rows and columns")
    return _mean(operator, operator.attributes.get("keepdims", 1))


def _flatten(operator: Operator) -> Result:
    """Flatten, or Reshape to a row for each image; what GlobalAveragePool leaves is flat here already."""
    shape, size = operator.x.shape, math.prod(operator.x.shape)
    operator.only(axis=1)
    target = operator.constants[0].tolist() if operator.constants else [-1, size]
    if target == [-1] and len(shape) == 1:
        return [], operator.x._replace(in_a_row=True)
    images = {0, operator.x.batch or -1} | ({-1} if target[1:] == [size] else set())
    if len(target) != 2 or target[1] not in (size, -1) or target[0] not in images or target == [-1, -1]:
        refuse("shape", target, f"[-1, {size}]: all numbers of an image in a row")
    if len(shape) == 1:
        nodes, value = _nothing(operator)
        return nodes, value._replace(spread=False)
    nodes, value = _layer(operator, layers.Flatten())
    return nodes, value._replace(map_shape=map_of(shape))


def _gather(operator: Operator) -> Result:
    """Undo a Reshape of all images to one row: so PyTorch writes global average pooling."""
    (places,) = operator.constants
    operator.only(axis=0)
    in_order = np.array_equal(places.ravel(), np.arange(places.size))
    if not operator.x.in_a_row or not in_order or places[0].size != operator.x.shape[0]:
        raise ConfigError("expected all numbers of all images, in their order")
    return [], operator.x._replace(in_a_row=False, spread=False)


def _softmax(operator: Operator) -> Result:
    axis = operator.attributes.get("axis", -1 if operator.opset >= 13 else 1)
    if not operator.x.is_channels(axis):
        refuse("axis", axis, "1: the channels")
    if len(operator.x.shape) > 1 and operator.opset < 13:
        refuse("opset", operator.opset, "13 or later, where Softmax of maps is along the channels")
    return _layer(operator, layers.Softmax())


def _pad(operator: Operator) -> Result:
    operator.only(mode="constant")
    margins, *rest = operator.constants
    fill = float(rest[0].item()) if rest and rest[0].size else 0.0
    batch, channels, top, left, batch_end, channels_end, bottom, right = margins.tolist()
    if any((batch, channels, batch_end, channels_end)) or len(rest) > 1:
        refuse("pads", margins.tolist(), "margins for rows and columns alone")
    if min(margins) < 0:
        refuse("pads", margins.tolist(), "margins of at least 0: negative ones cut off")
    return [], operator.x._replace(pad=((top, bottom), (left, right)), fill=fill)


def _add(operator: Operator) -> Result:
    a, b = operator.inputs
    if (a.shape, a.map_shape) != (b.shape, b.map_shape):
        raise ConfigError(f"adds {a.shape} and {b.shape} (channels last): expected two alike")
    return [Node(operator.output, (a.node, b.node), layers.Residual)], a._replace(node=operator.output)


def _concat(operator: Operator) -> Result:
    first, *rest = operator.inputs
    if not first.is_channels(operator.attributes["axis"]):
        refuse("axis", operator.attributes["axis"], "1: the channels")
    if any(one.map_shape for one in operator.inputs) or any(
        one.shape[:-1] != first.shape[:-1] for one in rest
    ):
        found = " and ".join(str(one.shape) for one in operator.inputs)
        raise ConfigError(f"joins {found} (channels last): expected maps of one size, or features")
    shape = (*first.shape[:-1], sum(one.shape[-1] for one in operator.inputs))
    names = tuple(one.node for one in operator.inputs)
    return [Node(operator.output, names, layers.Concat)], first._replace(node=operator.output, shape=shape)


RULES: dict[str, Callable[[Operator], Result]] = {
    "Conv": _conv,
    "BatchNormalization": _batch_norm,
    "Relu": lambda operator: _layer(operator, layers.ReLU()),
    "MaxPool": _max_pool,
    "AveragePool": _avg_pool,
    "GlobalAveragePool": _mean,
    "ReduceMean": _reduce_mean,
    "Flatten": _flatten,
    "Reshape": _flatten,
    "Gather": _gather,
    "Gemm": _dense,
    "MatMul": _dense,
    "Softmax": _softmax,
    "Add": _add,
    "Concat": _concat,
    "Pad": _pad,
    "Dropout": _dropout,
    "Identity": _nothing,
}
