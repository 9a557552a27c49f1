"""Files as Keras writes them, made by hand: two kinds of HDF5, old and new, and the .keras archive."""

import io
import json
import zipfile

import numpy as np
import pytest

h5py = pytest.importorskip("h5py", reason="reads Keras's files, of the extra 'interop'")

#: What Keras calls a layer's group in an archive.
GROUPS = {
    "Conv2D": "conv2d",
    "DepthwiseConv2D": "depthwise_conv2d",
    "SeparableConv2D": "separable_conv2d",
    "Dense": "dense",
    "BatchNormalization": "batch_normalization",
}
CONV = {
    "kernel_size": [3, 3], "strides": [1, 1], "padding": "valid", "data_format": "channels_last",
    "dilation_rate": [1, 1], "groups": 1, "activation": "linear", "use_bias": True,
}  # fmt: skip
NORM = {"axis": -1, "momentum": 0.99, "epsilon": 1e-3, "center": True, "scale": True}
POOL = {"pool_size": [3, 3], "strides": [2, 2], "padding": "same", "data_format": "channels_last"}


def layer(kind, name, inputs=(), arrays=None, **config):
    """A layer: kind and name, names of those it reads, its arrays by Keras's names, its arguments."""
    return {"kind": kind, "name": name, "inputs": inputs, "arrays": arrays or {}, "config": config}


def description(layers, functional=True, new=False):
    """What Keras says about a model: an old one, with inputs as lists, or a new one, with them as objects."""

    def inbound(inputs):
        if not inputs:
            return []
        if not new:
            return [[[name, 0, 0, {}] for name in inputs]]
        tensors = [
            {"class_name": "__keras_tensor__", "config": {"shape": [None], "keras_history": [name, 0, 0]}}
            for name in inputs
        ]
        return [{"args": [tensors] if len(tensors) > 1 else tensors, "kwargs": {"mask": None}}]

    items = [
        {
            "class_name": one["kind"],
            "config": {"name": one["name"], **one["config"]},
            **({"module": "keras.layers", "registered_name": None} if new else {}),
            **({"name": one["name"], "inbound_nodes": inbound(one["inputs"])} if functional else {}),
        }
        for one in layers
    ]
    if not functional:
        return {"class_name": "Sequential", "config": {"layers": items} if new else items}
    first, last = ([one["name"], 0, 0] for one in (layers[0], layers[-1]))
    ends = (first, last) if new else ([first], [last])
    config = {"layers": items, "input_layers": ends[0], "output_layers": ends[1]}
    return {"class_name": "Functional" if new else "Model", "config": config}


def hdf5(layers, config, new=False):
    """The bytes of an HDF5 file of a model."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        text = json.dumps(config)
        file.attrs["model_config"] = text if new else text.encode()
        for one in layers:
            name = one["name"]
            group = file.create_group(f"model_weights/{name}")
            paths = [f"{name}/{key}" if new else f"{name}_1/{key}:0" for key in one["arrays"]]
            group.attrs["weight_names"] = paths if new else np.array(paths, "S")
            for path, array in zip(paths, one["arrays"].values(), strict=True):
                group[path] = array
    return buffer.getvalue()


def archive(layers, config, compression=zipfile.ZIP_STORED):
    """The bytes of a .keras file of a model."""
    weights, seen = io.BytesIO(), {}
    with h5py.File(weights, "w") as file:
        for one in layers:
            if (stem := GROUPS.get(one["kind"])) is None:
                continue
            number = seen[stem] = seen.get(stem, -1) + 1
            group = file.create_group(f"layers/{stem}_{number}/vars" if number else f"layers/{stem}/vars")
            for index, array in enumerate(one["arrays"].values()):
                group[str(index)] = array
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as file:
        file.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        file.writestr("config.json", json.dumps(config))
        file.writestr("model.weights.h5", weights.getvalue())
    return packed.getvalue()


#: How a list of layers becomes a file.
FORMATS = {
    "old.h5": lambda layers, functional: hdf5(layers, description(layers, functional)),
    "new.h5": lambda layers, functional: hdf5(layers, description(layers, functional, new=True), new=True),
    "new.keras": lambda layers, functional: archive(layers, description(layers, functional, new=True)),
}
