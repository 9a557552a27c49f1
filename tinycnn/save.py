"""A model in one safetensors file: weights as arrays, everything else as JSON text in the header.

Nothing in such a file is ever executed or unpickled: layers are built by name from a fixed list.
"""

import inspect
import json
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize

from tinycnn import layers
from tinycnn._version import __version__
from tinycnn.checks import refuse
from tinycnn.errors import ConfigError, FileFormatError, TinyCNNError
from tinycnn.files import replace_file
from tinycnn.finite import all_finite
from tinycnn.layers.base import Layer, joined
from tinycnn.layers.initializers import placeholders
from tinycnn.model import Sequential
from tinycnn.sealed import safetensors_bytes

#: Layers that a file may name. A subclass of the user's own is added with `register`.
REGISTRY: dict[str, type[Layer]] = {
    name: kind
    for name, kind in vars(layers).items()
    if isinstance(kind, type) and issubclass(kind, Layer) and kind not in (Layer, layers.Composite)
} | {"Sequential": Sequential}

FORMAT = "tinycnn-1"
#: Of files in whole numbers, which `tinycnn.quantized` writes and reads.
INT8_FORMAT = "tinycnn-int8-1"
#: What reads each of them.
_READERS = {FORMAT: "tinycnn.load", INT8_FORMAT: "tinycnn.load_quantized"}
#: How files of Keras and PyTorch begin: HDF5, ZIP, and a pickle.
_ARCHIVES = (b"\x89HDF", b"PK", b"\x80\x02")
#: No file has a longer header: a large model's takes some kB, and a lie would cost memory.
MAX_HEADER = 1 << 22
#: No description is a deeper tree; a chain of layers within another adds two.
MAX_DEPTH = 100

_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}


def register(kind: type[Layer]) -> type[Layer]:
    """Let files name a layer class of your own; usable as a decorator.

    A class takes the place of an earlier one of its own module, as when a notebook's cell is run again.

    Raises:
        ConfigError: the name is taken.

    >>> @register
    ... class HalfReLU(tc.Layer):
    ...     def _forward(self, x, train):
    ...         return np.maximum(x, x / 2), None
    >>> save(tc.Sequential([HalfReLU()]), "model.safetensors")
    >>> load("model.safetensors").forward(np.array([[-1.0, 1.0]]))
    array([[-0.5,  1. ]])
    """
    if not _is_same(REGISTRY.get(kind.__name__, kind), kind):
        raise ConfigError(f"a layer called {kind.__name__!r} exists already: rename the class")
    REGISTRY[kind.__name__] = kind
    return kind


def _is_same(one: type[Layer], other: type[Layer]) -> bool:
    """Whether two classes are one, perhaps defined twice, as when a notebook's cell is run again."""
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def save(
    model: Sequential,
    path: str | os.PathLike,
    *,
    labels: Sequence[str] = (),
    metrics: dict[str, Any] | None = None,
    **extra: Any,
) -> None:
    """Write a model so that `load` needs nothing but the file.

    The file is complete or not there at all; see `tinycnn.files.replace_file`.

    Args:
        model: any model of registered layers.
        path: usually ending in ``.safetensors``.
        labels: names of the K outputs.
        metrics: figures to keep with the model, as JSON can hold them.
        extra: further metadata, such as ``preprocessing={"mean": 129.5, "std": 65.1}``.

    Raises:
        ConfigError: there are not K labels, where `input_shape` tells K; or `load` would refuse the file: a
            layer is not registered, a weight is NaN or infinite, or metadata are too long or not what JSON
            can hold.
        OSError: the file cannot be written.

    >>> model = tc.Sequential([tc.Dense(4, 2, rng=0)])
    >>> save(model, "model.safetensors", labels=["cat", "dog"], preprocessing={"mean": 129.5, "std": 65.1})
    >>> load_info("model.safetensors")["preprocessing"]
    {'mean': 129.5, 'std': 65.1}
    """
    if not isinstance(model, Sequential):
        raise ConfigError(f"model is a {type(model).__name__}: expected a tinycnn.Sequential")
    info = {**extra, "labels": checked_labels(labels, model), "metrics": metrics or {}}
    content = model_bytes(FORMAT, model, {**model.params, **model.state}, info)
    try:
        _load(Path(path), content)
    except FileFormatError as error:
        raise ConfigError(f"nothing is saved, since tinycnn.load would refuse it: {error}") from error
    replace_file(Path(path), content)


def checked_labels(labels: Any, model: Sequential) -> list[str]:
    """Return the names of a model's outputs as a list.

    Raises:
        ConfigError: it is no list of names, or not one for each output, where `input_shape` tells how many.
    """
    if isinstance(labels, str | Mapping) or not isinstance(labels, Iterable):
        refuse("labels", labels, "a list of names")
    names, shape = list(labels), model.input_shape
    if names and shape and len(names) != (outputs := model.output_shape(shape)[-1]):
        raise ConfigError(f"found {len(names)} labels: expected {outputs}, one for each output of the model")
    return names


def model_bytes(
    file_format: str, architecture: Sequential, arrays: Mapping[str, np.ndarray], info: Mapping[str, Any]
) -> bytes:
    """Return a file's content: arrays, the layers that they belong to, and more.

    Raises:
        ConfigError: a layer is not registered, or metadata are too long, not what JSON can hold, or called as
            what the file says of itself.
    """
    own = {"version": __version__, "architecture": spec_of(architecture)}
    if taken := sorted(own.keys() & info.keys()):
        raise ConfigError(f"metadata {', '.join(taken)}: the file has its own; expected another name")
    info = {**info, **own}
    try:
        metadata = {"format": file_format, "tinycnn": json.dumps(info, allow_nan=False)}
        _parse(metadata["tinycnn"])
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"metadata must be what JSON can hold: {error}") from error
    content = safetensors_bytes(arrays, metadata)
    if _header_length(content) > MAX_HEADER:
        raise ConfigError(f"the metadata take more than {MAX_HEADER} bytes: keep them in a file of their own")
    return content


def load(path: str | os.PathLike) -> Sequential:
    """Return the model that `save` wrote, with its weights. `load_info` gives the rest of the file.

    Whoever wrote the file, reading it takes no more than a few times its size in memory.

    Raises:
        FileFormatError: the file is damaged, of another kind, names a layer that does not exist here, or has
            a weight that is NaN or infinite.
        OSError: the file cannot be read.

    >>> model, x = tc.Sequential([tc.Dense(4, 2, rng=0)]), np.ones((1, 4), np.float32)
    >>> save(model, "model.safetensors")
    >>> np.array_equal(load("model.safetensors").predict(x), model.predict(x))
    True
    """
    path = Path(path)
    return _load(path, path.read_bytes())


def _load(path: Path, content: bytes) -> Sequential:
    model, entries = read_model(path, content, FORMAT)
    try:
        arrays = _arrays(entries, {**model.params, **model.state})
    except ConfigError as error:
        raise FileFormatError(f"{path}: {error}") from error
    place(model, arrays)
    dropouts = [layer for _, layer in model.walk() if isinstance(layer, layers.Dropout)]
    for seed, layer in enumerate(dropouts):  # a file has no generators, but two loads train on alike
        layer.rng = np.random.default_rng(seed)
    return model


def read_model(
    path: Path, content: bytes, file_format: str
) -> tuple[Sequential, list[tuple[str, dict[str, Any]]]]:
    """Return a file's layers, with `placeholders` for weights, and its arrays as `parse_safetensors` does.

    Raises:
        FileFormatError: the file is damaged, of another format, or names a layer that does not exist here.
    """
    info, entries = _parse_model(path, content, file_format)
    try:
        with placeholders():
            model = build(info["architecture"])
    except (TinyCNNError, TypeError, ValueError) as error:
        raise FileFormatError(f"{path}: its architecture cannot be built: {error}") from error
    if not isinstance(model, Sequential):
        raise FileFormatError(f"{path}: its architecture is a {type(model).__name__}, expected a Sequential")
    return model, entries


def place(model: Layer, arrays: Mapping[str, np.ndarray]) -> None:
    """Let a model of `placeholders` have arrays of its own, named as in its `params` and `state`."""
    for path, layer in model.walk():
        if not layer.children():
            for own in (layer.params, layer.state):
                own.update({key: arrays[joined(path, key)] for key in own})


def load_info(path: str | os.PathLike) -> dict[str, Any]:
    """Return what a model file says beside its weights: architecture, labels, metrics, and what was added.

    Raises:
        FileFormatError: the file is damaged or of another kind.
        OSError: the file cannot be read.

    >>> save(tc.Sequential([tc.Dense(4, 2, rng=0)]), "model.safetensors", labels=["cat", "dog"])
    >>> load_info("model.safetensors")["labels"]
    ['cat', 'dog']
    """
    path = Path(path)
    return _parse_model(path, path.read_bytes(), *_READERS)[0]


def is_quantized(path: str | os.PathLike) -> bool:
    """Whether a file holds an int8 model, for `tinycnn.load_quantized`, and not one for `load`.

    Raises:
        FileFormatError: the file is damaged or of another kind.
        OSError: the file cannot be read.

    >>> save(tc.Sequential([tc.Dense(4, 2, rng=0)]), "model.safetensors")
    >>> is_quantized("model.safetensors")
    False
    """
    path = Path(path)
    return parse_safetensors(path, path.read_bytes())[0].get("format") == INT8_FORMAT


def parse_safetensors(path: Path, content: bytes) -> tuple[dict[str, str], list[tuple[str, dict[str, Any]]]]:
    """Return any safetensors file's metadata, and its arrays: names, each with {"dtype", "shape", "data"}.

    Args:
        path: for messages.
        content: the file's.

    Raises:
        FileFormatError: the file is damaged or of another kind.
    """
    try:
        length = _header_length(content)
        if length > MAX_HEADER:
            raise ValueError(f"its header claims {length} bytes, expected at most {MAX_HEADER}")
        entries = deserialize(content)  # checks places and shapes against the file's length
        metadata = _parse(content[8 : 8 + length]).get("__metadata__") or {}
    except (SafetensorError, struct.error, ValueError, RecursionError) as error:
        remedy = "save or download it again"
        if content.startswith(_ARCHIVES) or path.suffix.lower() == ".onnx":
            remedy = "it looks like another library's model: read it with tinycnn.interop, and save that"
        raise FileFormatError(f"{path}: not a whole safetensors file ({error}): {remedy}") from error
    return metadata, entries


def _parse_model(
    path: Path, content: bytes, *formats: str
) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    """Return what a file of one of these formats says, and its arrays as `parse_safetensors` does."""
    metadata, entries = parse_safetensors(path, content)
    found = metadata.get("format")
    if found not in formats:
        remedy = f"; read it with {_READERS[found]}" if found in _READERS else ""
        raise FileFormatError(
            f"{path}: a safetensors file, but not written by tinycnn.save "
            f"(format {found!r}, expected {' or '.join(map(repr, formats))}){remedy}"
        )
    try:
        info = _parse(metadata["tinycnn"])
    except (KeyError, ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: its description is damaged: {error}") from error
    if not isinstance(info, dict) or not isinstance(info.get("architecture"), dict):
        raise FileFormatError(f"{path}: its description has no architecture")
    return info, entries


def _header_length(data: bytes) -> int:
    return struct.unpack("<Q", data[:8])[0]


def _parse(text: bytes | str) -> Any:
    """Read JSON in which no object has a name twice: readers differ in which of the two they take."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(result := dict(pairs)) < len(pairs):
            raise ValueError("a name stands twice in one object")
        return result

    return json.loads(text, object_pairs_hook=unique)


def _arrays(entries: list[tuple[str, dict[str, Any]]], own: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of a file, which must have the names and shapes of a model's own.

    Raises:
        ConfigError: they have not, or dtypes are mixed or not float32 or float64, or a number is not finite.
    """
    file = dict(entries)
    if odd := sorted(own.keys() ^ file.keys()):
        raise ConfigError(f"arrays do not match the architecture: {', '.join(odd[:5])}")
    dtypes = {entry["dtype"] for entry in file.values()}
    if len(dtypes) > 1 or not dtypes <= _DTYPES.keys():
        raise ConfigError(f"arrays are {', '.join(sorted(dtypes))}: expected all F32 or all F64")
    arrays = {}
    for name, entry in file.items():
        shape, dtype = tuple(entry["shape"]), _DTYPES[entry["dtype"]]
        if shape != own[name].shape:
            raise ConfigError(f"{name} has shape {shape}, its architecture needs {own[name].shape}")
        stored = np.frombuffer(entry["data"], dtype).reshape(shape)
        arrays[name] = stored.astype(dtype.newbyteorder("="))
        check_weights(name, stored)
    return arrays


def check_weights(name: str, array: np.ndarray) -> None:
    """Raise a ConfigError unless an array holds finite numbers alone, and a variance none below 0."""
    if not all_finite(array):
        place = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
        raise ConfigError(
            f"{name}{list(place)} is {array[place]}: expected finite weights; the training has diverged, "
            "use a model from before, or a lower learning rate"
        )
    if name.endswith("running_var") and array.min() < 0:
        raise ConfigError(f"{name} has {array.min()}: expected variances, of at least 0")


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ConfigError("layers, or arguments, lie too deep within one another: expected a flatter model")


def spec_of(value: Any, depth: int = 0) -> Any:
    """Return a layer as {"type": name, arguments...}, and what contains layers with them replaced so.

    Raises:
        ConfigError: a layer is not registered, its `config` does not fit it, or all lies too deep.
    """
    _check_depth(depth)
    if isinstance(value, Layer):
        name = type(value).__name__
        if name not in REGISTRY:
            raise ConfigError(f"a file cannot name {name!r}: call tinycnn.register({name}) first")
        if not _is_same(type(value), REGISTRY[name]) and type(value) is not layers.Sequential:
            raise ConfigError(f"another layer is called {name!r} in files: rename the class and register it")
        config = value.config()
        try:
            inspect.signature(REGISTRY[name]).bind(**config)
        except TypeError as error:
            raise ConfigError(
                f"{name}: config() has to return the constructor's arguments: {error}"
            ) from None
        return {"type": name, **spec_of(dict(config), depth)}
    if isinstance(value, dict):
        if "type" in value:
            raise ConfigError("a layer has an argument, or in one a key, 'type', which files need: rename it")
        return {key: spec_of(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [spec_of(item, depth + 1) for item in value]
    return value


def build(spec: Any, depth: int = 0) -> Any:
    """Undo `spec_of`; lists become tuples.

    Raises:
        ConfigError: a layer is unknown, or all lies too deep.
        TinyCNNError, TypeError, ValueError: of a layer that cannot have these arguments.
    """
    _check_depth(depth)
    if isinstance(spec, list):
        return tuple(build(item, depth + 1) for item in spec)
    if not isinstance(spec, dict):
        return spec
    arguments = {key: build(value, depth + 1) for key, value in spec.items() if key != "type"}
    if "type" not in spec:
        return arguments
    if not isinstance(spec["type"], str) or spec["type"] not in REGISTRY:
        raise ConfigError(
            f"unknown layer {spec['type']!r}: if it is your own, call tinycnn.register with its class first"
        )
    return REGISTRY[spec["type"]](**arguments)
