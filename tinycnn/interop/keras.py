"""Models from Keras: HDF5 files, old and new, and ``.keras`` files. Keras itself is not needed.

Formats: keras.io, "Save, serialize, and export models", and the files themselves.
"""

import io
import json
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn.errors import ConfigError, FileFormatError, MissingPackageError, TinyCNNError
from tinycnn.interop.graph import Node, sequential
from tinycnn.interop.hdf5 import ERRORS, HDF5
from tinycnn.interop.keras_layers import FLATTENING, KINDS, arrays_of, build, check_last
from tinycnn.layers import Concat, Residual
from tinycnn.layers.base import Layer
from tinycnn.layers.initializers import placeholders
from tinycnn.model import Sequential
from tinycnn.save import check_weights, place

__all__ = ["load_h5"]

#: Kinds of layers that are no operations on arrays: where images come in, and where paths meet.
_INPUT, _ADD, _CONCAT = "InputLayer", "Add", "Concatenate"
_NAMED = (
    "Conv2D, SeparableConv2D, DepthwiseConv2D, Dense, BatchNormalization, ReLU, Softmax, pooling, Add, "
    "Concatenate"
)
#: No description of a model is longer.
MAX_CONFIG = 1 << 24
#: Gives the paths of a layer's arrays in a file, by the layer's name and kind.
Paths = Callable[[str, str], list[str]]
_DAMAGED = (*ERRORS, IndexError, AttributeError, RecursionError, zipfile.BadZipFile, zlib.error)


def load_h5(path: str | os.PathLike) -> Sequential:
    """Return a model that Keras saved, with its weights, for use or further training here.

    Chains of layers and functional models with residual additions and concatenated branches are understood,
    of the kinds of layers that tinycnn has. Its layers keep their names, and an addition's name is that of
    the `Residual`. What only training knows is left behind: optimiser, regularisers, constraints,
    initialisers.

    Args:
        path: what ``model.save("model.h5")`` or ``model.save("model.keras")`` wrote. A file of weights alone
            does not say which layers they belong to.

    Raises:
        FileFormatError: the file is damaged or no Keras model, or the model has something that tinycnn has
            not, which the message names.
        MissingPackageError: h5py is not installed.
        OSError: the file cannot be read.

    >>> np.save("model.npy", np.zeros(3))
    >>> load_h5("model.npy")
    Traceback (most recent call last):
        ...
    tinycnn.errors.FileFormatError: model.npy: no whole HDF5 file...
    """
    path = Path(path)
    data = path.read_bytes()
    try:
        if data.startswith(b"PK"):
            return _from_archive(data)
        with HDF5(data) as file:
            return _from_hdf5(file)
    except MissingPackageError:
        raise
    except TinyCNNError as error:
        raise FileFormatError(f"{path}: {error}") from error
    except _DAMAGED as error:
        raise FileFormatError(
            f"{path}: not a whole Keras model ({type(error).__name__}: {error}): save or download it again"
        ) from error


def _from_archive(data: bytes) -> Sequential:
    """Return the model of a ``.keras`` file: a zip archive of a description in JSON and weights in HDF5."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        content = {}
        for name in ("config.json", "model.weights.h5"):
            if name not in archive.namelist():
                raise ConfigError(f"a zip archive without {name}: expected what Keras's model.save writes")
            if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
                raise ConfigError(f"{name} is packed: expected it stored as it is, as Keras does")
            content[name] = archive.read(name)
    with HDF5(content["model.weights.h5"]) as file:
        seen: Counter[str] = Counter()

        def arrays(name: str, kind: str) -> list[str]:
            # Groups are called after the kind of layer and counted: conv2d, conv2d_1, ...
            stem = _GROUPS.get(kind, "")
            group = f"layers/{stem}_{seen[stem]}" if seen[stem] else f"layers/{stem}"
            seen[stem] += 1
            paths: list[str] = []
            while stem and file.has(f"{group}/vars/{len(paths)}"):
                paths.append(f"{group}/vars/{len(paths)}")
            return paths

        return _model(_parsed(content["config.json"]), file, arrays)


_GROUPS = {
    "Conv2D": "conv2d",
    "DepthwiseConv2D": "depthwise_conv2d",
    "SeparableConv2D": "separable_conv2d",
    "Dense": "dense",
    "BatchNormalization": "batch_normalization",
}


def _from_hdf5(file: HDF5) -> Sequential:
    """Return the model of an HDF5 file: a description in an attribute, and a group for each layer."""
    config = file.attribute("", "model_config")
    if config is None:
        raise ConfigError(
            "it does not say which layers it has (no attribute model_config): save the whole model, "
            "with model.save and not with save_weights"
        )
    top = "model_weights" if file.has("model_weights") else ""
    if "theano" in (file.attribute("", "backend"), file.attribute(top, "backend")):
        raise ConfigError(
            "it was saved on Theano, whose convolutions turn their kernels: load it with Keras 2 on "
            "TensorFlow, which turns them back, and save it again"
        )

    def arrays(name: str, kind: str) -> list[str]:
        group = f"{top}/{name}"
        return [f"{group}/{weight}" for weight in _names(file, group, "weight_names")]

    return _model(_parsed(config), file, arrays)


def _names(file: HDF5, group: str, attribute: str) -> list[str]:
    """Return a list of names, which Keras cuts in pieces called name0, name1, ... if it is long."""
    pieces: list[Any] = []
    whole = file.attribute(group, attribute)
    while whole is None and (piece := file.attribute(group, f"{attribute}{len(pieces)}")) is not None:
        pieces.append(piece)
    found = [whole] if whole is not None else pieces
    return [name.decode() if isinstance(name, bytes) else name for piece in found for name in piece]


def _parsed(text: str | bytes) -> dict[str, Any]:
    if len(text) > MAX_CONFIG:
        raise ConfigError(f"its description has {len(text)} bytes, expected at most {MAX_CONFIG}")
    return json.loads(text)


def _model(description: dict[str, Any], file: HDF5, arrays: Paths) -> Sequential:
    """Return a model of its description and its arrays."""
    kind, config = description["class_name"], description["config"]
    if kind not in ("Sequential", "Functional", "Model"):
        raise ConfigError(f"its model is a {kind}: expected a Sequential or a functional model")
    is_chain = kind == "Sequential"
    found = [_described(item) for item in (config if isinstance(config, list) else config["layers"])]
    _check_kinds(found)
    if is_chain:
        shape, source, result = _as_graph(found)
    else:
        (source,), (result,) = (_ends(config, key) for key in ("input_layers", "output_layers"))
        begin = [layer for layer in found if layer["name"] == source]
        if not begin:
            raise ConfigError(f"there is no layer {source!r} to take the network's input")
        shape = _input_shape(begin[0])
    nodes, ndim = [], {source: len(shape) + 1}
    for layer in found:
        if layer["kind"] != _INPUT:
            nodes.append(_node(layer, file, arrays, ndim))
    known = [size for size in shape if size is not None]
    model = sequential(nodes, source, result, known if len(known) == len(shape) else None)
    if len(dtypes := {str(array.dtype) for array in model.params.values()}) > 1:
        raise ConfigError(f"its layers are {' and '.join(sorted(dtypes))}: expected one of them throughout")
    return model


def _described(item: dict[str, Any]) -> dict[str, Any]:
    """Return a layer's kind, name, arguments and inputs, whichever Keras described it."""
    config, module = item["config"], item.get("module") or "keras"
    own = module.partition(".")[0] in ("keras", "tf_keras") and ">" not in (item.get("registered_name") or "")
    kind = item["class_name"] if own else f"{item['class_name']} of {module}"
    name = item.get("name") or config["name"]
    return {"kind": kind, "name": name, "config": config, "inbound": item.get("inbound_nodes", [])}


def _check_kinds(found: list[dict[str, Any]]) -> None:
    known = {*KINDS, _INPUT, _ADD, _CONCAT}
    if strangers := [f"{layer['name']!r} ({layer['kind']})" for layer in found if layer["kind"] not in known]:
        more = f" and {len(strangers) - 5} more" if len(strangers) > 5 else ""
        raise ConfigError(
            f"tinycnn has nothing for {', '.join(strangers[:5])}{more}: expected {_NAMED} and the like"
        )


def _as_graph(found: list[dict[str, Any]]) -> tuple[list[int | None], str, str]:
    """Let each layer read the one before it; return the input's shape and name, and the result's name."""
    source = found[0]["name"] if found[0]["kind"] == _INPUT else ""
    before, shape = source, _input_shape(found[0])
    for layer in found:
        if layer["kind"] != _INPUT:
            layer["inbound"], before = [[[before, 0, 0, {}]]], layer["name"]
    return shape, source, before


def _ends(config: dict[str, Any], key: str) -> list[str]:
    """Return the name of the only input or output of a functional model."""
    names = [name for name, *_ in _tensors(config[key])]
    if len(names) != 1:
        raise ConfigError(f"its {key} are {', '.join(map(repr, names))}: expected one")
    return names


def _input_shape(layer: dict[str, Any]) -> list[int | None]:
    """Return the shape of one image, in which a None stands for any size."""
    config = layer["config"]
    batch = config.get("batch_shape") or config.get("batch_input_shape")
    if not batch:
        raise ConfigError(f"{layer['name']!r} does not say what it takes: build the model before saving it")
    return batch[1:]


def _tensors(value: Any) -> Iterator[list[Any]]:
    """Yield what stands for arrays in a description: [layer's name, number of call, number of output]."""
    if isinstance(value, dict):
        is_tensor = value.get("class_name") == "__keras_tensor__"
        yield from _tensors(value["config"]["keras_history"] if is_tensor else list(value.values()))
    elif isinstance(value, list) and len(value) >= 3 and isinstance(value[0], str):
        if value[1:3] != [0, 0] or any(
            setting is not None for part in value[3:] for setting in part.values()
        ):
            raise ConfigError(f"{value[0]!r} is used in an unusual way ({value[1:]}): expected plain calls")
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _tensors(item)


def _node(layer: dict[str, Any], file: HDF5, arrays: Paths, ndim: dict[str, int]) -> Node:
    """Return a layer as an operation, with its weights, and note how many axes its output has."""
    name, kind, config = layer["name"], layer["kind"], layer["config"]
    if len(layer["inbound"]) != 1:
        raise ConfigError(f"{name!r} is used {len(layer['inbound'])} times: expected a layer for each use")
    inputs = tuple(origin for origin, *_ in _tensors(layer["inbound"]))
    axes = ndim.get(inputs[0]) if inputs else None
    if axes is not None:
        ndim[name] = 2 if kind in FLATTENING else axes
    if kind == _ADD:
        return Node(name, inputs, Residual)
    if kind == _CONCAT:
        check_last(config.get("axis", -1), axes)
        return Node(name, inputs, Concat)
    if len(inputs) != 1:
        raise ConfigError(f"{name!r} ({kind}) has {len(inputs)} inputs: expected one")
    paths = arrays(name, kind)
    try:
        with placeholders():
            parts = build(kind, config, [file.shape(path) for path in paths], axes)
        if main := parts.get(""):
            place(main, _weights(main, list(arrays_of(main, config)), paths, file))
    except (TinyCNNError, *_DAMAGED) as error:
        if isinstance(error, MissingPackageError):
            raise
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ConfigError(f"layer {name!r} ({kind}): {reason}") from error
    return Node(name, inputs, {name + suffix: part for suffix, part in parts.items()})


def _weights(layer: Layer, names: list[str], paths: list[str], file: HDF5) -> dict[str, np.ndarray]:
    """Return a layer's arrays by name, those that Keras leaves out at their first values."""
    if len(names) != len(paths):
        raise ConfigError(f"found {len(paths)} arrays, expected {len(names)}: {', '.join(names)}")
    own = {**layer.params, **layer.state}
    result = {name: np.array(array) for name, array in own.items() if name not in names}
    for name, path in zip(names, paths, strict=True):
        shape = file.shape(path)
        if shape not in (own[name].shape, (*own[name].shape, 1)):  # a depthwise kernel has a last axis of 1
            raise ConfigError(f"{path!r} has shape {shape}, expected {own[name].shape}")
        result[name] = file.array(path).reshape(own[name].shape)
        check_weights(name, result[name])
    dtype = result[names[0]].dtype if names else np.float32
    return {name: array.astype(dtype, copy=False) for name, array in result.items()}
