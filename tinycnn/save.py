"""A model in one safetensors file: weights as arrays, everything else as JSON text in the header.

Nothing in such a file is ever executed or unpickled: layers are built by name from a fixed list.
"""

import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from tinycnn import layers
from tinycnn._version import __version__
from tinycnn.errors import ConfigError, FileFormatError, TinyCNNError
from tinycnn.files import replace_file
from tinycnn.layers.base import Layer
from tinycnn.model import Sequential
from tinycnn.sealed import safetensors_bytes

#: Layers that a file may name. A subclass of the user's own is added with `register`.
REGISTRY: dict[str, type[Layer]] = {
    name: kind
    for name, kind in vars(layers).items()
    if isinstance(kind, type) and issubclass(kind, Layer) and kind not in (Layer, layers.Composite)
} | {"Sequential": Sequential}

FORMAT = "tinycnn-1"


def register(kind: type[Layer]) -> type[Layer]:
    """Let files name a layer class of your own; usable as a decorator.

    Raises:
        ConfigError: the name is taken.
    """
    if REGISTRY.get(kind.__name__, kind) is not kind:
        raise ConfigError(f"a layer called {kind.__name__!r} exists already: rename the class")
    REGISTRY[kind.__name__] = kind
    return kind


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
        ConfigError: a layer is not registered, or metadata that JSON cannot hold.
        OSError: the file cannot be written.
    """
    info = {
        "version": __version__,
        "architecture": _spec(model),
        "labels": list(labels),
        "metrics": metrics or {},
        **extra,
    }
    try:
        metadata = {"format": FORMAT, "tinycnn": json.dumps(info)}
    except (TypeError, ValueError) as error:
        raise ConfigError(f"metadata must be what JSON can hold: {error}") from error
    replace_file(Path(path), safetensors_bytes({**model.params, **model.state}, metadata))


def load(path: str | os.PathLike) -> Sequential:
    """Return the model that `save` wrote, with its weights. `load_info` gives the rest of the file.

    Raises:
        FileFormatError: the file is damaged, of another kind, or names a layer that does not exist here.
        OSError: the file cannot be read.
    """
    path = Path(path)
    info, arrays = _read(path)
    try:
        model = _build(info["architecture"])
    except (TinyCNNError, TypeError, ValueError, KeyError) as error:
        raise FileFormatError(f"{path}: its architecture cannot be built: {error}") from error
    if not isinstance(model, Sequential):
        raise FileFormatError(f"{path}: its architecture is a {type(model).__name__}, expected a Sequential")
    own = {**model.params, **model.state}
    if own.keys() != arrays.keys():
        odd = sorted(own.keys() ^ arrays.keys())
        raise FileFormatError(f"{path}: arrays do not match the architecture: {', '.join(odd[:5])}")
    dtypes = {array.dtype for array in arrays.values()}
    if len(dtypes) > 1 or not dtypes <= {np.dtype(np.float32), np.dtype(np.float64)}:
        raise FileFormatError(
            f"{path}: arrays are {sorted(map(str, dtypes))}: expected all float32 or float64"
        )
    for name, array in arrays.items():
        if array.shape != own[name].shape:
            raise FileFormatError(
                f"{path}: {name} has shape {array.shape}, its architecture needs {own[name].shape}"
            )
    if np.dtype(np.float64) in dtypes:
        model = model.astype(np.float64)
        own = {**model.params, **model.state}
    for name, array in arrays.items():
        own[name][...] = array
    return model


def load_info(path: str | os.PathLike) -> dict[str, Any]:
    """Return what a model file says beside its weights: architecture, labels, metrics, and what was added.

    Raises:
        FileFormatError: the file is damaged or of another kind.
        OSError: the file cannot be read.
    """
    return _read(Path(path))[0]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    data = path.read_bytes()
    try:
        arrays = load_tensors(data)  # checks the header against the file's length before it allocates
        (length,) = struct.unpack("<Q", data[:8])
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    except (SafetensorError, struct.error, ValueError, KeyError) as error:
        raise FileFormatError(
            f"{path}: not a whole safetensors file ({error}): save or download it again"
        ) from error
    if metadata.get("format") != FORMAT:
        raise FileFormatError(
            f"{path}: a safetensors file, but not written by tinycnn.save "
            f"(format {metadata.get('format')!r}, expected {FORMAT!r})"
        )
    try:
        info = json.loads(metadata["tinycnn"])
    except (KeyError, ValueError) as error:
        raise FileFormatError(f"{path}: its description is damaged: {error}") from error
    if not isinstance(info, dict) or not isinstance(info.get("architecture"), dict):
        raise FileFormatError(f"{path}: its description has no architecture")
    return info, arrays


def _spec(value: Any) -> Any:
    """Return a layer as {"type": name, arguments...}, and what contains layers with them replaced so."""
    if isinstance(value, Layer):
        name = type(value).__name__
        if name not in REGISTRY:
            raise ConfigError(f"a file cannot name {name!r}: call tinycnn.register({name}) first")
        return {"type": name, **{key: _spec(argument) for key, argument in value.config().items()}}
    if isinstance(value, dict):
        return {key: _spec(argument) for key, argument in value.items()}
    return value


def _build(spec: Any) -> Any:
    """Undo `_spec`."""
    if isinstance(spec, list):
        return tuple(_build(item) for item in spec)
    if not isinstance(spec, dict):
        return spec
    arguments = {key: _build(value) for key, value in spec.items() if key != "type"}
    if "type" not in spec:
        return arguments
    if spec["type"] not in REGISTRY:
        raise ConfigError(f"unknown layer {spec['type']!r}")
    return REGISTRY[spec["type"]](**arguments)
