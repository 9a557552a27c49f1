"""Reading a network in whole numbers from a file that anybody may have written."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn.checks import check_shape
from tinycnn.errors import ConfigError, FileFormatError, TinyCNNError
from tinycnn.finite import all_finite
from tinycnn.layers import Layer
from tinycnn.layers.base import Arrays, Shape
from tinycnn.quantized.model import QuantizedModel
from tinycnn.quantized.outline import outline
from tinycnn.quantized.program import array_kinds, split_softmax
from tinycnn.save import INT8_FORMAT, read_model

#: Names of dtypes in safetensors files.
_NAMES = {np.dtype(np.int8): "I8", np.dtype(np.int32): "I32", np.dtype(np.float32): "F32"}
#: No network has more float32 numbers, those of batch norm included, for each byte of its int8 file.
_MOST_NUMBERS = 16


def load_quantized(path: str | os.PathLike) -> QuantizedModel:
    """Return the model that `QuantizedModel.save` wrote. `load_info` gives the rest of the file.

    Nothing in the file is run, and whoever wrote it, no more memory is filled than some times its size.

    Raises:
        FileFormatError: the file is damaged or of another kind, or an array does not belong to its layers or
            has numbers that cannot be; the message names the array.
        OSError: the file cannot be read.

    >>> images = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
    >>> tc.quantize(tc.Sequential([tc.Conv2D(1, 2, 3, rng=0)]), images).save("int8.safetensors")
    >>> load_quantized("int8.safetensors").input_shape
    (8, 8, 1)
    """
    path = Path(path)
    content = path.read_bytes()
    architecture, entries = read_model(path, content, INT8_FORMAT)
    try:
        if _numbers(architecture) > _MOST_NUMBERS * len(content):
            raise ConfigError("its layers have more weights than the file can hold")
        shape = check_shape(architecture.input_shape, "input_shape")
        named, _ = split_softmax(outline(architecture, shape))
        return QuantizedModel(architecture, _arrays(dict(entries), array_kinds(named)))
    except (TinyCNNError, MemoryError, ValueError) as error:
        raise FileFormatError(
            f"{path}: {error}; quantise the model anew, or download the file again"
        ) from error


def _numbers(model: Layer) -> int:
    """Return how many numbers a float model would have."""
    leaves = (layer for _, layer in model.walk() if not layer.children())
    return sum(array.size for leaf in leaves for array in (*leaf.params.values(), *leaf.state.values()))


def _arrays(file: Mapping[str, Any], kinds: Mapping[str, tuple[np.dtype, Shape]]) -> Arrays:
    """Return a file's arrays.

    Raises:
        ConfigError: they are not of these kinds, or have numbers that `quantize` does not write.
    """
    if odd := sorted(file.keys() ^ kinds.keys()):
        raise ConfigError(f"arrays do not match the architecture: {', '.join(odd[:5])}")
    arrays = {}
    for name, (dtype, shape) in kinds.items():
        found, wanted = (file[name]["dtype"], tuple(file[name]["shape"])), (_NAMES[dtype], shape)
        if found != wanted:
            raise ConfigError(f"{name} is {found[0]} {found[1]}, expected {wanted[0]} {wanted[1]}")
        arrays[name] = np.frombuffer(file[name]["data"], dtype.newbyteorder("<")).reshape(shape).astype(dtype)
        _check(name, arrays[name])
    return arrays


def _check(name: str, array: np.ndarray) -> None:
    if array.dtype != np.float32:
        return  # what an int8 or int32 number may be depends on others
    if not all_finite(array):
        raise ConfigError(f"{name} holds NaN or infinity: expected finite numbers")
    if name == "ranges":
        bad = np.flatnonzero((array[:, 0] > 0) | (array[:, 1] < 0))
        expected = "0 inside of every range"
    else:
        bad, expected = np.flatnonzero(array <= 0), "scales above 0"
    if len(bad):
        raise ConfigError(f"{name}[{bad[0]}] is {array[bad[0]].tolist()}: expected {expected}")
