"""Keras's layers in terms of ours: which arguments mean what, and which of them there is nothing for."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tinycnn import layers
from tinycnn.checks import refuse
from tinycnn.errors import ConfigError
from tinycnn.layers.base import Layer, Shape

Config = Mapping[str, Any]

#: Arguments that may change what a layer computes, and the values with which they do not.
_DEFAULTS: dict[str, tuple[Any, ...]] = {
    "data_format": ("channels_last", None),
    "dilation_rate": (1, [1, 1]),
    "groups": (1,),
    "depth_multiplier": (1,),
    "keepdims": (False,),
    "max_value": (None,),
    "negative_slope": (0, None),
    "threshold": (0, None),
    "renorm": (False,),
    "virtual_batch_size": (None,),
    "noise_shape": (None,),
    "quantization_config": (None,),
}
_ACTIVATIONS: dict[str, type[Layer] | None] = {
    "linear": None,
    "relu": layers.ReLU,
    "softmax": layers.Softmax,
}


def build(kind: str, config: Config, shapes: list[Shape], ndim: int | None) -> dict[str, Layer]:
    """Return what a Keras layer does, by what to add to its name: itself "", and perhaps its activation.

    Args:
        kind: a key of `KINDS`.
        config: its arguments, as Keras writes them.
        shapes: of its arrays, in Keras's order.
        ndim: axes of its input, with the batch's, if that is known.

    Raises:
        ConfigError: an argument has a value that there is nothing for.
        KeyError, IndexError: an argument or an array is missing.
    """
    for key, values in _DEFAULTS.items():
        if key in config and config[key] not in values:
            refuse(key, config[key], f"{values[0]!r}, which is all that tinycnn has")
    if kind == "BatchNormalization":
        check_last(config["axis"], ndim)
    if kind == "Softmax":
        check_last(config.get("axis", -1), ndim)
    layer = KINDS[kind](config, shapes)
    activation = None if layer is None or kind == "Activation" else _activation(config)
    named = {"": layer, "_activation": activation}
    return {suffix: layer for suffix, layer in named.items() if layer is not None}


def arrays_of(layer: Layer, config: Config) -> Iterator[str]:
    """Yield the names of a layer's arrays in the order in which Keras keeps them."""
    absent = {"gamma": config.get("scale", True), "beta": config.get("center", True)}
    yield from (name for name in (*layer.params, *layer.state) if absent.get(name, True))


def check_last(axis: Any, ndim: int | None) -> None:
    """Raise a ConfigError unless an axis is the channels', of a layer whose input has so many axes."""
    (axis,) = axis if isinstance(axis, list) and len(axis) == 1 else (axis,)
    if axis != -1 and (ndim is None or axis != ndim - 1):
        refuse("axis", axis, "-1: the channels must come last")


def _activation(config: Config) -> Layer | None:
    name = config.get("activation") or "linear"
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        refuse("activation", name, f"one of {', '.join(_ACTIVATIONS)}")
    kind = _ACTIVATIONS[name]
    return None if kind is None else kind()


def _window(config: Config, size: str = "kernel_size") -> dict[str, Any]:
    stride = config[size] if config["strides"] is None else config["strides"]
    return {"kernel_size": config[size], "stride": stride, "padding": config["padding"]}


def _conv2d(config: Config, shapes: list[Shape]) -> Layer:
    return layers.Conv2D(shapes[0][-2], config["filters"], bias=config["use_bias"], **_window(config))


def _depthwise(config: Config, shapes: list[Shape]) -> Layer:
    return layers.DepthwiseConv2D(shapes[0][-2], bias=config["use_bias"], **_window(config))


def _separable(config: Config, shapes: list[Shape]) -> Layer:
    channels, filters = shapes[0][-2], config["filters"]
    return layers.SeparableConv2D(channels, filters, bias=config["use_bias"], **_window(config))


def _dense(config: Config, shapes: list[Shape]) -> Layer:
    return layers.Dense(shapes[0][0], config["units"], bias=config["use_bias"])


def _batch_norm(config: Config, shapes: list[Shape]) -> Layer:
    return layers.BatchNorm(shapes[-1][0], config["momentum"], config["epsilon"])


def _global_average(config: Config, shapes: list[Shape]) -> Layer:
    return layers.GlobalAvgPool2D()


def _refuse_code(config: Config, shapes: list[Shape]) -> Layer:
    raise ConfigError("a Lambda holds program code, which is never run: replace it by layers, and save again")


#: What makes a layer of a Keras layer's arguments and its arrays' shapes; None where nothing is to be done.
KINDS: dict[str, Callable[[Config, list[Shape]], Layer | None]] = {
    "Conv2D": _conv2d,
    "DepthwiseConv2D": _depthwise,
    "SeparableConv2D": _separable,
    "Dense": _dense,
    "BatchNormalization": _batch_norm,
    "Activation": lambda config, shapes: _activation(config),
    "ReLU": lambda config, shapes: layers.ReLU(),
    "Softmax": lambda config, shapes: layers.Softmax(),
    "MaxPooling2D": lambda config, shapes: layers.MaxPool2D(**_window(config, "pool_size")),
    "AveragePooling2D": lambda config, shapes: layers.AvgPool2D(**_window(config, "pool_size")),
    "GlobalAveragePooling2D": _global_average,
    "Flatten": lambda config, shapes: layers.Flatten(),
    "Dropout": lambda config, shapes: layers.Dropout(config["rate"]),
    "Lambda": _refuse_code,
}

#: Layers after which an image is a row of features.
FLATTENING = ("Flatten", "GlobalAveragePooling2D")
