"""Weights in the order of libraries whose images are (N, C, H, W), such as PyTorch's and ONNX's.

There kernels are (O, C, KH, KW), and a `Flatten` lays a map's numbers channel by channel, where here it lays
them pixel by pixel. What reads a flattened map must have its weights in that order.
"""

import numpy as np

from tinycnn.errors import ConfigError
from tinycnn.layers import BatchNorm, Concat, Conv2D, Dense, DepthwiseConv2D, Flatten, Residual
from tinycnn.layers import Sequential as Chain
from tinycnn.layers.base import Layer, Shape, joined
from tinycnn.model import Sequential

#: Layers whose arrays have an order there; all others must have none.
WITH_ARRAYS = Conv2D, DepthwiseConv2D, Dense, BatchNorm


def to_nchw(layer: Layer, name: str, array: np.ndarray, map_shape: Shape | None) -> np.ndarray:
    """Return one of a layer's arrays as those libraries keep it.

    Args:
        layer: of a kind in `WITH_ARRAYS`.
        name: "kernel", "bias", "gamma", ...
        array: the array, as it is here.
        map_shape: (H, W, C) of the map that the layer's input was before a `Flatten`, or None.
    """
    if name == "kernel" and isinstance(layer, DepthwiseConv2D):
        array = array.transpose(2, 0, 1)[:, np.newaxis]
    elif name == "kernel" and isinstance(layer, Dense):  # a convolution of a window as large as the map
        window = array.reshape(*(map_shape or (1, 1, layer.in_features)), layer.out_features)
        array = window.transpose(3, 2, 0, 1).reshape(layer.out_features, layer.in_features)
    elif name == "kernel":
        array = array.transpose(3, 2, 0, 1)
    elif isinstance(layer, BatchNorm) and map_shape:
        array = array.reshape(map_shape).transpose(2, 0, 1).ravel()
    return np.ascontiguousarray(array)


def from_nchw(layer: Layer, name: str, array: np.ndarray, map_shape: Shape | None) -> np.ndarray:
    """Undo `to_nchw`."""
    if name == "kernel" and isinstance(layer, DepthwiseConv2D):
        array = array[:, 0].transpose(1, 2, 0)
    elif name == "kernel" and isinstance(layer, Dense):
        height, width, channels = map_shape or (1, 1, layer.in_features)
        window = array.reshape(layer.out_features, channels, height, width)
        array = window.transpose(2, 3, 1, 0).reshape(layer.in_features, layer.out_features)
    elif name == "kernel":
        array = array.transpose(2, 3, 1, 0)
    elif isinstance(layer, BatchNorm) and map_shape:
        height, width, channels = map_shape
        array = array.reshape(channels, height, width).transpose(1, 2, 0).ravel()
    return np.ascontiguousarray(array)


def nchw_shape(layer: Layer, name: str, shape: Shape) -> Shape:
    """Return the shape that `to_nchw` gives to an array of `shape`."""
    if name != "kernel":
        return shape
    if isinstance(layer, Dense):
        return shape[::-1]
    rows, columns, channels, *outputs = shape
    return (*outputs, channels, rows, columns) if outputs else (channels, 1, rows, columns)


def map_of(shape: Shape) -> Shape | None:
    """Return the shape of a map that is to be flattened, or None where the order is the same in any case."""
    return shape if len(shape) == 3 and shape[2] > 1 and shape[0] * shape[1] > 1 else None


def flattened_maps(model: Sequential) -> dict[str, Shape]:
    """Return the (H, W, C) that a layer's input had before a `Flatten`, by path, for layers behind one.

    The path "" stands for the model's output, if that is a flattened map.

    Raises:
        ConfigError: the model has a `Flatten` and no `input_shape`; or adds or joins flattened maps.
    """
    found: dict[str, Shape] = {}

    def visit(layer: Layer, path: str, shape: Shape, before: Shape | None) -> Shape | None:
        """Note what is behind a Flatten; return the map that the output was, if it is flattened."""
        inside = {name: joined(path, name) for name in layer.children()}
        if isinstance(layer, Chain):
            for name, child in layer.children().items():
                before, shape = visit(child, inside[name], shape, before), child.output_shape(shape)
            return before
        if isinstance(layer, Residual | Concat):
            ends = {visit(child, inside[name], shape, before) for name, child in layer.children().items()}
            if isinstance(layer, Concat):
                ends.add(None)  # two flattened maps behind one another are no flattened map
            elif layer.shortcut is None:
                ends.add(before)
            if len(ends) > 1:
                raise ConfigError(
                    f"{path!r} combines a flattened map and other features: put it before the Flatten"
                )
            return ends.pop()
        if isinstance(layer, Flatten):
            if before is None and len(shape) not in (1, 3):
                raise ConfigError(
                    f"{path!r} flattens {shape}: expected maps (H, W, C), whose order there is known"
                )
            return before or map_of(shape)
        if before is not None:
            found[path] = before
        return None if isinstance(layer, Dense) else before

    if any(isinstance(layer, Flatten) for _, layer in model.walk()):
        if model.input_shape is None:
            raise ConfigError(
                "the input's shape is unknown, and with it the maps that Flatten takes: "
                "use tinycnn.Sequential(layers, input_shape=...)"
            )
        if rest := visit(model, "", model.input_shape, None):
            found[""] = rest
    return found
