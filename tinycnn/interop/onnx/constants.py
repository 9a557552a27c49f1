"""What an ONNX graph knows before an image comes: weights, and small numbers worked out from one another."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinycnn.errors import ConfigError

#: Numbers in an array that is worked out: shapes and margins have a handful.
MAX_FOLDED = 64
#: TensorProto.INT64
_INT64 = 7


class Constants:
    """The arrays of a graph, by name.

    Args:
        onnx: the module.
        graph: its initialisers are weights.
    """

    def __init__(self, onnx: Any, graph: Any) -> None:
        self._onnx = onnx
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._arrays: dict[str, np.ndarray] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._tensors or name in self._arrays

    def __getitem__(self, name: str) -> np.ndarray:
        """Return an array.

        Raises:
            ConfigError: it is none, or lies in another file.
        """
        if name in self._arrays:
            return self._arrays[name]
        if name not in self._tensors:
            raise ConfigError(f"{name!r} depends on the image: expected a constant")
        return self._arrays.setdefault(name, self._array(self._tensors[name]))

    def _array(self, tensor: Any) -> np.ndarray:
        if tensor.data_location == self._onnx.TensorProto.EXTERNAL:
            raise ConfigError(
                f"{tensor.name!r} lies in another file: expected all in one; use "
                "torch.onnx.export(..., external_data=False) or onnx.save(model, path)"
            )
        return self._onnx.numpy_helper.to_array(tensor)

    def attributes(self, node: Any) -> dict[str, Any]:
        """Return an operator's attributes: numbers, lists of them, text, arrays."""
        found = {one.name: self._onnx.helper.get_attribute_value(one) for one in node.attribute}
        for name, value in found.items():
            if isinstance(value, bytes):
                found[name] = value.decode()
            elif isinstance(value, self._onnx.TensorProto):
                found[name] = self._array(value)
        return found

    def fold(self, node: Any) -> bool:
        """Work out what an operator on constants gives; return whether it is one.

        Raises:
            ConfigError: the result would be large, or cannot be worked out.
        """
        inputs = [name for name in node.input if name]
        if not all(name in self for name in inputs) or (node.op_type != "Constant" and not inputs):
            return False
        arrays = [self[name] for name in inputs]
        if node.op_type in ("Constant", "Identity"):
            (result,) = arrays or [self.attributes(node)["value"]]
        elif node.op_type not in _FOLDS or any(one.size > MAX_FOLDED for one in arrays):
            raise ConfigError(
                "works on constants alone: expected them worked out, except for up to "
                f"{MAX_FOLDED} numbers by {', '.join(_FOLDS)}"
            )
        else:
            result = _FOLDS[node.op_type](self.attributes(node), *arrays)
        self._arrays[node.output[0]] = result
        return True


def _constant_of_shape(attributes: Mapping[str, Any], shape: np.ndarray) -> np.ndarray:
    sizes = shape.ravel().tolist()
    if math.prod(sizes) > MAX_FOLDED:
        raise ConfigError(f"makes an array of {tuple(sizes)}: expected at most {MAX_FOLDED} numbers")
    value = attributes.get("value", np.zeros(1, np.float32))
    return np.full(sizes, value.item(), value.dtype)


def _cast(attributes: Mapping[str, Any], data: np.ndarray) -> np.ndarray:
    if attributes["to"] != _INT64:
        raise ConfigError(f"to={attributes['to']}: expected {_INT64}, whole numbers of 64 bits")
    return data.astype(np.int64)


def _slice(
    attributes: Mapping[str, Any],
    data: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    axes: np.ndarray | None = None,
    steps: np.ndarray | None = None,
) -> np.ndarray:
    places = [slice(None)] * data.ndim
    numbers = range(len(starts)) if axes is None else axes.tolist()
    strides = [1] * len(starts) if steps is None else steps.tolist()
    for axis, start, end, step in zip(numbers, starts.tolist(), ends.tolist(), strides, strict=True):
        to_the_first = step < 0 and end < -data.shape[axis]
        places[axis] = slice(start, None if to_the_first else end, step)
    return data[tuple(places)]


#: How to work out an operator, given its attributes and inputs: those with which PyTorch writes margins.
_FOLDS: dict[str, Callable[..., np.ndarray]] = {
    "ConstantOfShape": _constant_of_shape,
    "Concat": lambda attributes, *arrays: np.concatenate(arrays, attributes["axis"]),
    "Reshape": lambda attributes, data, shape: data.reshape(shape.tolist()),
    "Slice": _slice,
    "Transpose": lambda attributes, data: data.transpose(attributes.get("perm")),
    "Cast": _cast,
}
