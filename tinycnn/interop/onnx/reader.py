"""From an ONNX graph to a model."""

import os
from pathlib import Path
from typing import Any

from tinycnn.checks import check_shape
from tinycnn.errors import ConfigError, FileFormatError, TinyCNNError
from tinycnn.interop.graph import Node, sequential
from tinycnn.interop.onnx.constants import Constants
from tinycnn.interop.onnx.operators import RULES, Operator, Value
from tinycnn.kernels.padding import NO_PAD
from tinycnn.layers.base import Shape
from tinycnn.model import Sequential
from tinycnn.optional import optional

#: Names of the standard set of operators.
_STANDARD = ("", "ai.onnx")
#: Operators may share weights, where each layer here has its own. How many bytes all may take: so many, and
#: so many times the file's.
SHARED_BYTES, SHARED_TIMES = 1 << 20, 4
#: What reading a message with wrong or missing parts may raise.
_BROKEN = (KeyError, IndexError, ValueError, TypeError, AttributeError, OverflowError)


def load(path: str | os.PathLike) -> Sequential:
    """Return the model in an ONNX file, with its weights.

    Read is what `export` writes, and what ``torch.onnx.export(module.eval(), (x,), path,
    external_data=False)`` writes for chains, residual additions and branches of layers that tinycnn has.
    Weights are turned, so that the model takes images (N, H, W, C) as all models here.

    Args:
        path: of the file. All its weights are in it; its input is (N, C, H, W) or (N, features), of fixed
            sizes except for N.

    Raises:
        FileFormatError: the file is damaged, or has something that tinycnn has not, which the message names.
        MissingPackageError: onnx is not installed.
        OSError: the file cannot be read.

    >>> model = tc.Sequential([tc.Dense(4, 2, rng=0)], input_shape=(4,))
    >>> tc.export_onnx(model, "model.onnx")
    >>> x = np.ones((1, 4), np.float32)
    >>> np.allclose(tc.import_onnx("model.onnx").predict(x), model.predict(x))
    True
    """
    onnx, path = optional("onnx", "interop"), Path(path)
    data, damaged = path.read_bytes(), optional("google.protobuf.message", "interop").DecodeError
    try:
        return _Reader(onnx, onnx.load_model_from_string(data), len(data)).model()
    except TinyCNNError as error:
        raise FileFormatError(f"{path}: {error}") from error
    except (damaged, *_BROKEN) as error:
        raise FileFormatError(
            f"{path}: not a whole ONNX file ({type(error).__name__}: {error}): save or download it again"
        ) from error


class _Reader:
    def __init__(self, onnx: Any, model: Any, size: int) -> None:
        self._graph, self._constants = model.graph, Constants(onnx, model.graph)
        self._opset = max((one.version for one in model.opset_import if one.domain in _STANDARD), default=1)
        self._left = SHARED_BYTES + SHARED_TIMES * size
        self._nodes: list[Node] = []
        self._values: dict[str, Value] = {}

    def model(self) -> Sequential:
        """Return the model that the graph describes."""
        inputs = [one for one in self._graph.input if one.name not in self._constants]
        if len(inputs) != 1 or len(self._graph.output) != 1:
            found = f"{len(inputs)} inputs and {len(self._graph.output)} outputs"
            raise ConfigError(f"it has {found}: expected an ONNX model with one of each")
        source, input_shape = inputs[0].name, _image_shape(inputs[0])
        self._values[source] = Value(source, input_shape, batch=_batch(inputs[0]))
        for node in self._graph.node:
            name = node.name or next(iter(node.output), "")
            try:
                self._read(node, name)
            except (TinyCNNError, *_BROKEN) as error:
                reason = f"{error} is missing" if isinstance(error, KeyError) else error
                raise ConfigError(f"operator {name!r} ({node.op_type}): {reason}") from error
        result = self._values.get(self._graph.output[0].name)
        if result is None or result.map_shape or result.pad != NO_PAD or result.in_a_row:
            raise ConfigError("its output is not a layer's, or a flattened map: expected a Dense at the end")
        return sequential(self._nodes, source, result.node, input_shape)

    def _read(self, node: Any, name: str) -> None:
        """Note down what an operator does."""
        standard = node.domain in _STANDARD
        if standard and self._constants.fold(node):
            return
        kind = node.op_type if standard else f"{node.domain}.{node.op_type}"
        if kind not in RULES:
            raise ConfigError(
                f"tinycnn has nothing for it: expected {', '.join(RULES)}; torch.onnx.export writes simpler "
                "graphs of a module in eval mode, and without dynamic_shapes"
            )
        given = [self._values[one] for one in node.input if one in self._values]
        constants = [self._constants[one] for one in node.input if one and one not in self._values]
        self._left -= sum(one.nbytes for one in constants)
        if self._left < 0:
            raise ConfigError(
                f"operators share weights that would take more than {SHARED_TIMES} times the file's bytes: "
                "expected weights for each"
            )
        expected = {"Add": 2, "Concat": len(node.input)}.get(kind, 1)
        if node.input[0] not in self._values or len(given) != expected:
            raise ConfigError(
                f"{len(given)} of its {len(node.input)} inputs depend on the image: expected the first; "
                "of Add and Concat, all"
            )
        if kind not in ("Conv", "MaxPool") and any(value.pad != NO_PAD for value in given):
            raise ConfigError("gets what a Pad makes: expected a Pad before Conv and MaxPool alone")
        if kind != "Gather" and any(value.in_a_row for value in given):
            raise ConfigError("gets all images in one row: expected a row for each")
        output, attributes = node.output[0], self._constants.attributes(node)
        new, self._values[output] = RULES[kind](
            Operator(name, output, attributes, given, constants, self._opset)
        )
        self._nodes += new


def _batch(value: Any) -> int:
    """Return how many images a graph's input has, 0 for any number."""
    return next((one.dim_value for one in value.type.tensor_type.shape.dim), 0)


def _image_shape(value: Any) -> Shape:
    """Return the shape of one image, channels last, of a graph's input."""
    sizes = [one.dim_value or one.dim_param or "?" for one in value.type.tensor_type.shape.dim]
    if len(sizes) not in (2, 4) or not all(isinstance(size, int) for size in sizes[1:]):
        found = ", ".join(map(str, sizes))
        raise ConfigError(f"its input is ({found}): expected (N, C, H, W) of fixed C, H and W")
    channels, *places = sizes[1:]
    return check_shape([*places, channels], "input_shape")
