"""Weights to and from PyTorch, as state dicts in safetensors files. PyTorch itself is not needed.

A state dict names arrays and does not say how they are used, so the network must exist on both sides. Layers
go by their names, not their order, which a safetensors file does not keep.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinycnn.checks import refuse
from tinycnn.errors import ConfigError, FileFormatError
from tinycnn.files import replace_file
from tinycnn.interop.nchw import WITH_ARRAYS, flattened_maps, from_nchw, nchw_shape, to_nchw
from tinycnn.layers import Composite
from tinycnn.layers.base import Layer, Shape, joined
from tinycnn.model import Sequential
from tinycnn.save import check_weights, parse_safetensors
from tinycnn.sealed import safetensors_bytes

__all__ = ["load", "load_state_dict", "save", "state_dict"]

#: Paths of layers here, and of the modules there that are called otherwise.
Names = Mapping[str, str]

_WORDS = {"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
_WORDS |= {name: name for name in ("running_mean", "running_var")}
#: How many batches PyTorch's batch norm has seen. Its running averages do not depend on it, ours neither.
_COUNT = "num_batches_tracked"
_DTYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "F64": np.dtype("<f8")}


def state_dict(model: Sequential, names: Names | None = None) -> dict[str, np.ndarray]:
    """Return a model's arrays as the state dict of a PyTorch module of the same layers.

    ``module.load_state_dict({name: torch.from_numpy(a) for name, a in state.items()})`` takes it. Mind that
    PyTorch's batch norm has another eps by default, that its momentum is 1 - ours, that its "same" padding
    knows no stride, and that its average pool counts padding, but for `count_include_pad=False`.

    Args:
        model: of Conv2D, DepthwiseConv2D, SeparableConv2D, Dense, BatchNorm and layers without arrays.
        names: the modules that are called otherwise, such as {"conv1": "features.0"}; a name covers all that
            is inside it. Otherwise `module1.main.sep1.depthwise.weight` is of the layer
            `module1.main.sep1.depthwise`.

    Raises:
        ConfigError: a layer is of another kind, `names` has a layer that does not exist or gives two layers
            one name, or the model has a `Flatten` and no `input_shape`.

    >>> model = Sequential({"conv": tc.Conv2D(1, 8, 3), "bn": tc.BatchNorm(8)})
    >>> state_dict(model, {"conv": "features.0"})["features.0.weight"].shape
    (8, 1, 3, 3)
    """
    arrays = {}
    for slot in _slots(model, names or {}):
        arrays[slot.name] = to_nchw(slot.layer, slot.key, slot.array, slot.map_shape)
        if slot.key == "running_var":
            arrays[slot.name.removesuffix(slot.key) + _COUNT] = np.array(0, np.int64)
    return arrays


def load_state_dict(model: Sequential, arrays: Mapping[str, np.ndarray], names: Names | None = None) -> None:
    """Give a model the weights of a PyTorch module of the same layers; see `state_dict`.

    Args:
        model: keeps its dtype, to which arrays are rounded. On an error it is as before.
        arrays: for example ``{name: tensor.numpy() for name, tensor in module.state_dict().items()}``.
        names: the modules that are called otherwise.

    Raises:
        ConfigError: names or shapes differ, an array is of another type than float, or not finite, or as in
            `state_dict`.

    >>> model = Sequential({"dense": tc.Dense(2, 1)})
    >>> load_state_dict(model, {"dense.weight": np.array([[1.0, 2.0]]), "dense.bias": np.array([3.0])})
    >>> model.predict(np.ones((1, 2), np.float32))
    array([[6.]], dtype=float32)
    """
    slots = list(_slots(model, names or {}))
    given = {name for name in arrays if name.rpartition(".")[2] != _COUNT}
    if odd := sorted(given ^ {slot.name for slot in slots}):
        where = ", ".join(f"{name} ({'there' if name in given else 'here'})" for name in odd[:5])
        raise ConfigError(
            f"{len(odd)} arrays are only there or only here: {where}: expected the same layers, under the "
            "same names, or `names` that say which are which"
        )
    new = [_fitting(slot, arrays[slot.name]) for slot in slots]
    for slot, array in zip(slots, new, strict=True):
        slot.array[...] = array


def save(model: Sequential, path: str | os.PathLike, names: Names | None = None) -> None:
    """Write `state_dict` of a model to a safetensors file, for ``safetensors.torch.load_file(path)``.

    Raises:
        ConfigError: as in `state_dict`.
        OSError: the file cannot be written.

    >>> save(Sequential({"dense": tc.Dense(2, 1)}), "weights.safetensors")
    """
    replace_file(Path(path), safetensors_bytes(state_dict(model, names), {"format": "pt"}))


def load(model: Sequential, path: str | os.PathLike, names: Names | None = None) -> None:
    """Give a model the weights that ``safetensors.torch.save_file(module.state_dict(), path)`` wrote.

    Files of ``torch.save`` (``.pt``, ``.pth``) hold pickled programs and are not read.

    Args:
        model: has the same layers. On an error it is as before.
        path: of the file.
        names: the modules that are called otherwise; see `state_dict`.

    Raises:
        FileFormatError: the file is damaged or of another kind, or its arrays do not fit the model.
        ConfigError: the model or `names` cannot be used; see `state_dict`.
        OSError: the file cannot be read.

    >>> one, other = Sequential([tc.Dense(2, 1, rng=0)]), Sequential([tc.Dense(2, 1, rng=1)])
    >>> save(one, "weights.safetensors")
    >>> load(other, "weights.safetensors")
    >>> bool((one.params["0.kernel"] == other.params["0.kernel"]).all())
    True
    """
    path = Path(path)
    list(_slots(model, names or {}))  # what is wrong with the model is not the file's fault
    with path.open("rb") as file:
        # A safetensors file begins with eight bytes of any kind, its header's length; then the header does.
        begin = file.read(9)
        if begin[:2] in (b"PK", b"\x80\x02") and begin[8:] != b"{":
            raise FileFormatError(
                f"{path}: looks like a file of torch.save, which could run anything when it is read: write "
                "it with safetensors.torch.save_file(module.state_dict(), path)"
            )
    _, entries = parse_safetensors(path, path.read_bytes())
    arrays = {}
    for name, entry in entries:
        if name.rpartition(".")[2] != _COUNT:
            if entry["dtype"] not in _DTYPES:
                raise FileFormatError(f"{path}: {name} is {entry['dtype']}: expected F16, F32 or F64")
            stored = np.frombuffer(entry["data"], _DTYPES[entry["dtype"]])
            arrays[name] = stored.reshape(entry["shape"])
    try:
        load_state_dict(model, arrays, names)
    except ConfigError as error:
        raise FileFormatError(f"{path}: {error}") from error


class _Slot(NamedTuple):
    """An array of a model, and where it belongs: its layer, its key there, PyTorch's name for it."""

    array: np.ndarray
    layer: Layer
    key: str
    name: str
    map_shape: Shape | None


def _slots(model: Sequential, names: Names) -> Iterator[_Slot]:
    maps, paths, taken = flattened_maps(model), dict(model.walk()), set[str]()
    if strangers := names.keys() - paths.keys():
        refuse("names", min(strangers), f"layers of the model, such as {list(paths)[1]!r}")
    for path, layer in paths.items():
        arrays = {} if isinstance(layer, Composite) else {**layer.params, **layer.state}
        if arrays and not isinstance(layer, WITH_ARRAYS):
            raise ConfigError(f"{path!r} is a {type(layer).__name__}, whose order in PyTorch is unknown")
        for key, array in arrays.items():
            if key not in _WORDS:
                raise ConfigError(f"{path!r} has an array {key!r}, whose name in PyTorch is unknown")
            name = joined(_renamed(path, names), _WORDS[key])
            if name in taken:
                raise ConfigError(
                    f"two layers would be {name!r} there: give each a module of its own in `names`"
                )
            taken.add(name)
            yield _Slot(array, layer, key, name, maps.get(path))


def _renamed(path: str, names: Names) -> str:
    """Return the path there: the longest beginning that `names` has is replaced."""
    parts = path.split(".")
    for length in range(len(parts), -1, -1):  # to "", the whole model
        if (start := ".".join(parts[:length])) in names:
            return ".".join(filter(None, [names[start], *parts[length:]]))
    return path


def _fitting(slot: _Slot, array: np.ndarray) -> np.ndarray:
    """Return PyTorch's array as it is to be here, or raise a ConfigError."""
    expected = nchw_shape(slot.layer, slot.key, slot.array.shape)
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        found = getattr(array, "dtype", type(array).__name__)
        raise ConfigError(f"{slot.name} is {found}: expected a NumPy array of float32")
    if array.shape != expected:
        raise ConfigError(f"{slot.name} has shape {array.shape}, expected {expected}")
    with np.errstate(over="ignore"):  # what becomes infinite is refused
        result = from_nchw(slot.layer, slot.key, array, slot.map_shape).astype(slot.array.dtype)
    check_weights(slot.name, result)
    return result
