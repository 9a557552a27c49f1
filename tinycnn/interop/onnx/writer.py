"""From a model to an ONNX graph: an operator or two for each layer."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinycnn import layers
from tinycnn._version import __version__
from tinycnn.checks import check_shape
from tinycnn.errors import ConfigError
from tinycnn.files import replace_file
from tinycnn.interop.nchw import flattened_maps, to_nchw
from tinycnn.layers.base import Layer, Shape, behaves_as, is_patched, joined
from tinycnn.layers.conv import Window
from tinycnn.model import Sequential
from tinycnn.optional import optional
from tinycnn.save import check_weights, checked_labels

#: The oldest set of operators in which Softmax means what it does here: old programs can read it.
OPSET, IR_VERSION = 13, 7


def export(model: Sequential, path: str | os.PathLike, **metadata: Any) -> None:
    """Write a model as ONNX, for ONNX Runtime, OpenCV and whatever else runs it.

    The network's input, called "input", is (N, C, H, W) for any N: ``x.transpose(0, 3, 1, 2)`` of what
    `predict` takes, the same bytes where C is 1. H and W are those of the model's `input_shape`. The output
    has the name of the last layer; if that makes maps, they are (N, K, H, W) as well.

    Args:
        model: of tinycnn's own layers, in float32, with an `input_shape`. Dropout is left out.
        path: usually ending in ``.onnx``.
        metadata: what the user of the file must know, such as ``labels=[...]``,
            ``preprocessing={"mean": 129.5, "std": 65.1}`` and ``calibration={"temperature": 1.4}``. Each is
            written as JSON under its name into the file's metadata.

    Raises:
        ConfigError: the model has no `input_shape` or one of two axes, a layer that there is no operator for,
            or weights that are not finite or not float32; there are not K labels, or metadata are not what
            JSON can hold.
        MissingPackageError: onnx is not installed.
        OSError: the file cannot be written.

    >>> model = tc.Sequential([tc.Conv2D(1, 4, 3, rng=0), tc.ReLU()], input_shape=(8, 8, 1))
    >>> tc.export_onnx(model, "model.onnx", preprocessing={"mean": 129.5, "std": 65.1})
    >>> tc.import_onnx("model.onnx").output_shape((8, 8, 1))
    (6, 6, 4)
    """
    onnx = optional("onnx", "interop")
    if not isinstance(model, Sequential):
        raise ConfigError(f"model is a {type(model).__name__}: expected a tinycnn.Sequential")
    if model.input_shape is None:
        raise ConfigError("the input's shape is unknown: use tinycnn.Sequential(layers, input_shape=...)")
    if len(model.input_shape) not in (1, 3):
        raise ConfigError(
            f"input_shape is {model.input_shape}: only (H, W, C) and (features,) can be exported"
        )
    written = _Writer(onnx, model).finished()
    if "labels" in metadata:
        metadata["labels"] = checked_labels(metadata["labels"], model)
    try:
        texts = {name: json.dumps(value, allow_nan=False) for name, value in metadata.items()}
    except (TypeError, ValueError) as error:
        raise ConfigError(f"metadata must be what JSON can hold: {error}") from error
    onnx.helper.set_model_props(written, texts)
    onnx.checker.check_model(written, full_check=True)
    replace_file(Path(path), written.SerializeToString(deterministic=True))


class _Operator(NamedTuple):
    """An operator; its output and its name are one."""

    kind: str
    name: str
    inputs: list[str]
    attributes: dict[str, Any]


class _Writer:
    """Walks through a model and notes down operators and weights."""

    def __init__(self, onnx: Any, model: Sequential) -> None:
        self._onnx, self._helper = onnx, onnx.helper
        self._operators: list[_Operator] = []
        self._weights: dict[str, np.ndarray] = {}
        self._shared: set[str] = set()  # outputs that two paths start from
        self._maps = flattened_maps(model)
        if "" in self._maps:
            raise ConfigError("the model ends with flattened maps, which ONNX lays otherwise: add a Dense")
        self._shape: Shape = check_shape(model.input_shape, "input_shape")
        self._output_shape = model.output_shape(self._shape)
        self._result = self._layer(model, "", "input", self._shape)

    def finished(self) -> Any:
        """Return the model as ONNX has it."""
        if not self._operators:
            self._result = self._add("Identity", "identity", [self._result])
        make_node, from_array = self._helper.make_node, self._onnx.numpy_helper.from_array
        graph = self._helper.make_graph(
            [
                make_node(one.kind, one.inputs, [one.name], one.name, **one.attributes)
                for one in self._operators
            ],
            "tinycnn",
            [self._value("input", self._shape)],
            [self._value(self._result, self._output_shape)],
            [from_array(np.ascontiguousarray(array), name) for name, array in self._weights.items()],
        )
        return self._helper.make_model(
            graph,
            opset_imports=[self._helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="tinycnn",
            producer_version=__version__,
        )

    def _value(self, name: str, shape: Shape) -> Any:
        size = (shape[-1], *shape[:-1])
        return self._helper.make_tensor_value_info(name, self._onnx.TensorProto.FLOAT, ["N", *size])

    def _layer(self, layer: Layer, path: str, x: str, shape: Shape) -> str:
        """Note down a layer that gets `x`, of `shape` (H, W, C); return the name of its output."""
        if is_patched(layer, "forward", "_forward"):
            raise ConfigError(f"{path!r} has a forward pass of its own: ONNX has nothing for it")
        for kind, write in _RULES.items():
            if behaves_as(type(layer), kind, "forward", "_forward"):
                return write(self, layer, path, x, shape)
        raise ConfigError(f"{path!r} is a {type(layer).__name__}, which there is no rule for: leave it out")

    def _add(self, kind: str, name: str, inputs: list[str], **attributes: Any) -> str:
        if name == "input":
            raise ConfigError("a layer is called 'input', as the network's input is in ONNX: rename it")
        self._operators.append(_Operator(kind, name, inputs, attributes))
        return name

    def _arrays(self, layer: Any, path: str, *keys: str) -> list[str]:
        """Put a layer's arrays into the file, in ONNX's order; return their names there."""
        names = []
        for key in keys:
            array = {**layer.params, **layer.state}.get(key)
            if array is None:
                continue
            name = f"{path}.{key}"
            if array.dtype != np.float32:
                raise ConfigError(f"{name} is {array.dtype}: use model.astype(np.float32)")
            check_weights(name, array)
            self._weights[name] = to_nchw(layer, key, array, self._maps.get(path))
            names.append(name)
        return names

    def _chain(self, layer: layers.Sequential, path: str, x: str, shape: Shape) -> str:
        for name, child in layer.children().items():
            x = self._layer(child, joined(path, name), x, shape)
            shape = child.output_shape(shape)
        return x

    def _residual(self, layer: layers.Residual, path: str, x: str, shape: Shape) -> str:
        self._shared.add(x)
        paths = [self._layer(child, f"{path}.{name}", x, shape) for name, child in layer.children().items()]
        return self._add("Add", path, paths if len(paths) == 2 else [*paths, x])

    def _concat(self, layer: layers.Concat, path: str, x: str, shape: Shape) -> str:
        self._shared.add(x)
        paths = [self._layer(child, f"{path}.{name}", x, shape) for name, child in layer.children().items()]
        return self._add("Concat", path, paths, axis=1)

    def _conv(self, layer: Any, path: str, x: str, shape: Shape) -> str:
        arrays = self._arrays(layer, path, "kernel", "bias")
        group = layer.channels if isinstance(layer, layers.DepthwiseConv2D) else 1
        return self._add("Conv", path, [x, *arrays], group=group, **_window(layer, shape))

    def _max_pool(self, layer: Any, path: str, x: str, shape: Shape) -> str:
        return self._add("MaxPool", path, [x], **_window(layer, shape))

    def _avg_pool(self, layer: Any, path: str, x: str, shape: Shape) -> str:
        return self._add("AveragePool", path, [x], count_include_pad=0, **_window(layer, shape))

    def _mean(self, layer: Any, path: str, x: str, shape: Shape) -> str:
        maps = self._add("GlobalAveragePool", f"{path}.mean", [x])  # (N, C, 1, 1)
        return self._add("Flatten", path, [maps], axis=1)

    def _batch_norm(self, layer: Any, path: str, x: str, shape: Shape) -> str:
        """Write batch norm into the weights before it, if nobody else reads what they make.

        Not for speed, which ONNX Runtime would see to: OpenCV (4.14) does so itself, and in some networks
        once more whenever N changes.
        """
        last = self._operators[-1] if self._operators else None
        names = self._arrays(layer, path, "gamma", "beta", "running_mean", "running_var")
        if last is None or last.name != x or last.kind not in ("Conv", "Gemm") or x in self._shared:
            options = {"epsilon": layer.eps, "momentum": layer.momentum}
            return self._add("BatchNormalization", path, [x, *names], **options)
        gamma, beta, mean, var = (self._weights.pop(name).astype(np.float64) for name in names)
        scale = gamma / np.sqrt(var + layer.eps)
        kernel, bias = last.inputs[1], f"{x}.bias"
        per_output = scale.reshape(-1, *[1] * (self._weights[kernel].ndim - 1))
        shift = beta + (self._weights.get(bias, 0) - mean) * scale
        for name, folded in ((kernel, self._weights[kernel] * per_output), (bias, shift)):
            with np.errstate(over="ignore"):  # what becomes infinite is refused
                self._weights[name] = folded.astype(np.float32)
            check_weights(f"{path!r}, in the weights before it,", self._weights[name])
        last.inputs[2:] = [bias]
        return x

    def _dense(self, layer: Any, path: str, x: str, shape: Shape) -> str:
        return self._add("Gemm", path, [x, *self._arrays(layer, path, "kernel", "bias")], transB=1)

    def _relu(self, layer: Any, path: str, x: str, shape: Shape) -> str:
        return self._add("Relu", path, [x])

    def _flatten(self, layer: Any, path: str, x: str, shape: Shape) -> str:
        return self._add("Flatten", path, [x], axis=1)

    def _softmax(self, layer: Any, path: str, x: str, shape: Shape) -> str:
        return self._add("Softmax", path, [x], axis=1)

    def _dropout(self, layer: Any, path: str, x: str, shape: Shape) -> str:
        return x


_RULES: dict[type[Layer], Callable[[_Writer, Any, str, str, Shape], str]] = {
    layers.Sequential: _Writer._chain,
    layers.SeparableConv2D: _Writer._chain,
    layers.Residual: _Writer._residual,
    layers.Concat: _Writer._concat,
    layers.Conv2D: _Writer._conv,
    layers.DepthwiseConv2D: _Writer._conv,
    layers.MaxPool2D: _Writer._max_pool,
    layers.AvgPool2D: _Writer._avg_pool,
    layers.GlobalAvgPool2D: _Writer._mean,
    layers.BatchNorm: _Writer._batch_norm,
    layers.Dense: _Writer._dense,
    layers.ReLU: _Writer._relu,
    layers.Flatten: _Writer._flatten,
    layers.Softmax: _Writer._softmax,
    layers.Dropout: _Writer._dropout,
}


def _window(layer: Window, shape: Shape) -> dict[str, Any]:
    """Return a window's attributes; "same" becomes numbers, of which there are no two opinions."""
    (top, bottom), (left, right) = layer._pad(shape)
    return {
        "kernel_shape": layer.kernel_size,
        "strides": layer.stride,
        "pads": (top, left, bottom, right),
    }
