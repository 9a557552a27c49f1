"""Models in Keras's files, written here by hand; and by Keras itself, where it is installed."""

import io
import json
import os
import pickle
import struct
import sys
import zipfile

import numpy as np
import pytest

import tinycnn as tc
from tests.tinycnn.interop.keras_files import (
    CONV,
    FORMATS,
    NORM,
    POOL,
    archive,
    description,
    h5py,
    hdf5,
    layer,
)
from tinycnn.interop.keras import load_h5


def ours():
    """A network with a residual module as in mini-Xception, and one without a shortcut."""
    rng = np.random.default_rng(0)
    main = {
        "sep": tc.SeparableConv2D(4, 6, 3, padding="same", rng=rng),
        "norm2": tc.BatchNorm(6, momentum=0.99, eps=0.01),
        "pool": tc.MaxPool2D(3, 2, "same"),
    }
    shortcut = {"conv2": tc.Conv2D(4, 6, 1, 2, "same", bias=False, rng=rng)}
    layers = {
        "conv": tc.Conv2D(1, 4, (3, 2), (2, 1), padding="same", rng=rng),
        "conv_activation": tc.ReLU(),
        "norm": tc.BatchNorm(4, momentum=0.99),
        "add": tc.Residual(tc.Sequential(main), tc.Sequential(shortcut)),
        "add2": tc.Residual(tc.Sequential({"dw": tc.DepthwiseConv2D(6, 3, padding="same", rng=rng)})),
        "cat": tc.Concat(
            [tc.Sequential({"max": tc.MaxPool2D(3, 1, "same")}), tc.Sequential({"relu": tc.ReLU()})]
        ),
        "flat": tc.Flatten(),
        "drop": tc.Dropout(0.3),
        "dense": tc.Dense(4 * 5 * 12, 3, rng=rng),
        "dense_activation": tc.Softmax(),
    }
    model = tc.Sequential(layers, input_shape=(15, 10, 1))
    for array in {**model.params, **model.state}.values():
        array[...] = rng.random(array.shape, np.float32) - (0 if array.ndim == 1 else 0.5)
    return model


def theirs(model):
    """The same network as Keras describes it."""
    a = {**model.params, **model.state}

    def of(path, *names):
        return {name: a[f"{path}.{name}"] for name in names}

    def norm(path):
        arrays = of(path, "gamma", "beta", "running_mean", "running_var")
        return dict(zip(("gamma", "beta", "moving_mean", "moving_variance"), arrays.values(), strict=True))

    conv = CONV | {"kernel_size": [3, 2], "strides": [2, 1], "padding": "same", "activation": "relu"}
    conv2 = CONV | {"kernel_size": [1, 1], "strides": [2, 2], "padding": "same", "use_bias": False}
    same = CONV | {"padding": "same", "depth_multiplier": 1}
    sep = {
        "depthwise_kernel": a["add.main.sep.depthwise.kernel"][..., np.newaxis],
        "pointwise_kernel": a["add.main.sep.pointwise.kernel"],
        "bias": a["add.main.sep.pointwise.bias"],
    }
    dw = {"depthwise_kernel": a["add2.main.dw.kernel"][..., np.newaxis], "bias": a["add2.main.dw.bias"]}
    return [
        layer("InputLayer", "in", batch_shape=[None, 15, 10, 1]),
        layer("Conv2D", "conv", ["in"], of("conv", "kernel", "bias"), filters=4, **conv),
        layer("BatchNormalization", "norm", ["conv"], norm("norm"), **NORM),
        layer("SeparableConv2D", "sep", ["norm"], sep, filters=6, **same),
        layer("BatchNormalization", "norm2", ["sep"], norm("add.main.norm2"), **NORM | {"epsilon": 0.01}),
        layer("Conv2D", "conv2", ["norm"], of("add.shortcut.conv2", "kernel"), filters=6, **conv2),
        layer("MaxPooling2D", "pool", ["norm2"], **POOL),
        layer("Add", "add", ["pool", "conv2"]),
        layer("DepthwiseConv2D", "dw", ["add"], dw, **same),
        layer("Add", "add2", ["add", "dw"]),
        layer("MaxPooling2D", "max", ["add2"], **POOL | {"strides": [1, 1]}),
        layer("ReLU", "relu", ["add2"]),
        layer("Concatenate", "cat", ["max", "relu"], axis=-1),
        layer("Flatten", "flat", ["cat"], data_format="channels_last"),
        layer("Dropout", "drop", ["flat"], rate=0.3, noise_shape=None),
        layer("Dense", "dense", ["drop"], of("dense", "kernel", "bias"), units=3, activation="softmax",
              use_bias=True),
    ]  # fmt: skip


def written(tmp_path, content, name="model.h5"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", FORMATS)
def test_a_functional_model(tmp_path, kind):
    model = ours()
    path = written(tmp_path, FORMATS[kind](theirs(model), True), kind)
    loaded = load_h5(path)
    assert loaded.summary() == model.summary()
    assert [repr(one) for _, one in loaded.walk()] == [repr(one) for _, one in model.walk()]
    x = np.random.default_rng(1).standard_normal((3, 15, 10, 1)).astype(np.float32)
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    tc.save(loaded, tmp_path / "again")
    np.testing.assert_array_equal(tc.load(tmp_path / "again").predict(x), model.predict(x))
    history = loaded.fit(x, np.arange(3), epochs=1, progress=False)
    assert np.isfinite(history.loss).all()


def chain(**changes):
    """A small chain of layers, with a batch norm that has no scale."""
    rng = np.random.default_rng(0)

    def some(*shape):
        return rng.random(shape, np.float32)

    conv, norm, dense = some(3, 3, 2, 4), [some(4), some(4), some(4)], some(4, 2)
    names = ("beta", "moving_mean", "moving_variance")
    pool = POOL | {"pool_size": [2, 2], "strides": None}
    return [
        layer("Conv2D", "a", (), {"kernel": conv, "bias": some(4)}, filters=4,
              batch_input_shape=[None, 9, 8, 2], **CONV),
        layer("BatchNormalization", "b.c", (), dict(zip(names, norm, strict=True)),
              **NORM | {"scale": False}),
        layer("Activation", "d", (), activation="relu"),
        layer("AveragePooling2D", "e", (), **pool),
        layer("ReLU", "f", (), max_value=None, negative_slope=0.0, threshold=0.0),
        layer("GlobalAveragePooling2D", "g", (), keepdims=False),
        layer("Dense", "h", (), {"kernel": dense, "bias": some(2)}, units=2, use_bias=True, activation=None),
        layer("Softmax", "i", (), axis=-1),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", FORMATS)
def test_a_chain(tmp_path, kind):
    layers = chain()
    model = load_h5(written(tmp_path, FORMATS[kind](layers, False)))
    assert model.input_shape == (9, 8, 2)
    assert list(model.children()) == ["a", "b_c", "d", "e", "f", "g", "h", "i"]
    np.testing.assert_array_equal(model.params["b_c.gamma"], np.ones(4))
    np.testing.assert_array_equal(model.state["b_c.running_var"], layers[1]["arrays"]["moving_variance"])
    np.testing.assert_array_equal(model.params["h.kernel"], layers[6]["arrays"]["kernel"])
    assert model.predict(np.zeros((2, 9, 8, 2), np.float32)).shape == (2, 2)


def test_images_of_any_size_and_long_lists_of_names(tmp_path):
    layers = chain()
    layers[0]["config"]["batch_input_shape"] = [None, None, None, 2]
    path = written(tmp_path, hdf5(layers, description(layers, functional=False)))
    with h5py.File(path, "a") as file:
        attributes = file["model_weights/a"].attrs
        for number, name in enumerate(attributes["weight_names"]):
            attributes[f"weight_names{number}"] = [name]
        del attributes["weight_names"]
    model = load_h5(path)
    assert model.input_shape is None
    np.testing.assert_array_equal(model.params["a.bias"], layers[0]["arrays"]["bias"])


def test_batch_norm_of_features_says_axis_1(tmp_path):
    arrays = {name: np.ones(4, np.float32) for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    layers = [
        layer("Flatten", "flat", (), batch_input_shape=[None, 2, 2, 1]),
        layer("BatchNormalization", "norm", (), arrays, **NORM | {"axis": [1]}),
    ]
    model = load_h5(written(tmp_path, hdf5(layers, description(layers, False))))
    assert model.predict(np.ones((1, 2, 2, 1), np.float32)).shape == (1, 4)
    layers[0] = layer("Activation", "flat", (), batch_input_shape=[None, 4, 4, 4], activation="relu")
    with pytest.raises(tc.FileFormatError, match=r"'norm' \(BatchNormalization\): axis=1: expected -1"):
        load_h5(written(tmp_path, hdf5(layers, description(layers, False))))


REFUSED = [
    (0, {"kind": "Conv3D"}, r"tinycnn has nothing for 'a' \(Conv3D\): expected Conv2D, "),
    (2, {"kind": "Lambda"}, r"'d' \(Lambda\): a Lambda holds program code, which is never run"),
    (2, {"config": {"activation": "tanh"}}, r"'d' \(Activation\): activation='tanh': expected one of linear"),
    (0, {"config": {"activation": {"class_name": "x"}}}, "activation=.*: expected one of"),
    (0, {"config": {"data_format": "channels_first"}}, "='channels_first': expected 'channels_last'"),
    (0, {"config": {"dilation_rate": [2, 2]}}, r"'a' \(Conv2D\): dilation_rate=\[2, 2\]: expected 1"),
    (0, {"config": {"padding": "causal"}}, "padding='causal': expected 'valid', 'same'"),
    (0, {"config": {"filters": 10**6}}, r"shape \(3, 3, 2, 4\), expected \(3, 3, 2, 1000000\)"),
    (0, {"config": {"filters": 10**12}}, "out_channels=1000000000000: expected a whole number"),
    (0, {"config": {"use_bias": False}}, "found 2 arrays, expected 1: kernel"),
    (0, {"config": {"batch_input_shape": None}}, "'a' does not say what it takes"),
    (0, {"arrays": {}}, r"'a' \(Conv2D\): .*index out of range"),
    (4, {"config": {"negative_slope": 0.1}}, "negative_slope=0.1: expected 0"),
    (6, {"config": {"units": None}}, "out_features=None: expected a whole number"),
    (7, {"config": {"axis": 0}}, r"'i' \(Softmax\): axis=0: expected -1"),
]


@pytest.mark.parametrize(("place", "change", "message"), REFUSED)
def test_what_cannot_be_mapped_is_named(tmp_path, place, change, message):
    layers = chain()
    change = dict(change)
    layers[place]["config"] |= change.pop("config", {})
    layers[place] |= change
    path = written(tmp_path, hdf5(layers, description(layers, functional=False)))
    with pytest.raises(tc.FileFormatError, match=message) as error:
        load_h5(path)
    assert str(error.value).startswith(f"{path}: ")


def described(change):
    """A functional model whose description `change` has changed."""
    layers = theirs(ours())
    config = description(layers, new=True)
    change(config["config"])
    return archive(layers, config)


def arguments(config):
    """What the batch norm is called with."""
    return config["layers"][2]["inbound_nodes"][0]["args"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["layers"][1]["inbound_nodes"].append([]), "'conv' is used 2 times"),
        (lambda c: c["layers"][1].update(inbound_nodes=[]), "'conv' is used 0 times"),
        (lambda c: arguments(c).append([["in", 0, 1]]), r"'in' is used in an unusual way \(\[0, 1\]\)"),
        (lambda c: arguments(c).append([["in", 0, 0, {"mask": 1}]]), "'in' is used in an unusual way"),
        (lambda c: arguments(c).append([["in", 0, 0]]), r"'norm' \(BatchNormalization\) has 2 inputs"),
        (lambda c: c["layers"][2].update(registered_name="Mine>Norm"), "BatchNormalization of keras.layers"),
        (lambda c: c["layers"][2].update(module="mine"), r"'norm' \(BatchNormalization of mine\)"),
        (lambda c: c.update(output_layers=[["dense", 0, 0], ["drop", 0, 0]]), "are 'dense', 'drop'"),
        (lambda c: c.update(input_layers=["pool2", 0, 0]), "there is no layer 'pool2' to take the network's"),
        (lambda c: c["layers"].pop(6), "'pool' depends on nothing"),
        (lambda c: c.pop("layers"), "not a whole Keras model"),
    ],
)  # fmt: skip
def test_unusual_graphs_are_refused(tmp_path, change, message):
    with pytest.raises(tc.FileFormatError, match=message):
        load_h5(written(tmp_path, described(change)))


def edited(edit):
    """An HDF5 file of the chain, changed by `edit`."""
    layers = chain()
    buffer = io.BytesIO(hdf5(layers, description(layers, functional=False)))
    with h5py.File(buffer, "a") as file:
        edit(file, file["model_weights"])
    return buffer.getvalue()


def replaced(path, **options):
    """An edit that puts another array, or none, in the place of one."""

    def edit(file, weights):
        shape = weights[path].shape
        del weights[path]
        weights.create_dataset(path, **{"shape": shape, "dtype": "f4"} | options)

    return edit


def link(target):
    def edit(file, weights):
        del weights["h/h_1/bias:0"]
        weights["h/h_1/bias:0"] = target

    return edit


KERNEL = "a/a_1/kernel:0"
FULL = np.ones((3, 3, 2, 4), np.float32)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (replaced(KERNEL), "lies in pieces"),  # never written
        (replaced(KERNEL, data=FULL, compression="gzip", chunks=True), "lies in pieces, packed, or"),
        (replaced(KERNEL, shape=(3, 3, 2, 10**9), chunks=(3, 3, 2, 1)), r"has shape .* expected \(3, 3, 2"),
        (replaced(KERNEL, external=[(__file__, 0, 288)]), "or in another file"),
        (replaced(KERNEL, data=FULL * np.nan), r"kernel\[0, 0, 0, 0\] is nan: expected finite"),
        (replaced(KERNEL, data=FULL.astype("f2"), dtype="f2"), "is float16: expected float32 or float64"),
        (replaced(KERNEL, data=FULL.astype(">f4"), dtype=">f4"), "is >f4: expected float32"),
        (replaced(KERNEL, data=np.full(FULL.shape, b"x", "S4"), dtype="S4"), r"is \|S4: expected float32"),
        (replaced(KERNEL, data=FULL.astype("f8"), dtype="f8"), "are float32 and float64: expected one"),
        (lambda f, w: f.attrs.__setitem__("backend", b"theano"), "saved on Theano, whose convolutions turn"),
        (lambda f, w: w.attrs.__setitem__("backend", b"theano"), "saved on Theano"),
        (link(h5py.ExternalLink("/etc/passwd", "x")), "is a link"),
        (link(h5py.SoftLink("/model_weights/a")), "is a link: expected what it leads to in its place"),
        (lambda f, w: w.__delitem__("h"), "it has no 'model_weights/h'"),
        (lambda f, w: w["a"].attrs.__setitem__("weight_names", 3), "not a whole Keras model"),
        (lambda f, w: f.attrs.__setitem__("model_config", "[" * 10**5), "not a whole Keras model .Recursion"),
        (lambda f, w: f.attrs.__setitem__("model_config", "{"), "not a whole Keras model .JSON"),
        (lambda f, w: f.attrs.__delitem__("model_config"), "save the whole model, with model.save"),
    ],
)  # fmt: skip
def test_a_file_that_lies_is_refused(tmp_path, edit, message):
    with pytest.raises(tc.FileFormatError, match=message):
        load_h5(written(tmp_path, edited(edit)))


def test_one_array_under_many_names_does_not_multiply(tmp_path):
    kernel = np.zeros((500, 500), np.float32)
    dense = {"units": 500, "use_bias": False, "activation": "linear"}
    layers = [layer("Dense", "d0", (), {"kernel": kernel}, batch_input_shape=[None, 500], **dense)]
    layers += [layer("Dense", f"d{number}", **dense) for number in range(1, 100)]
    buffer = io.BytesIO(hdf5(layers, description(layers, functional=False)))
    with h5py.File(buffer, "a") as file:
        for number in range(1, 100):
            group = file[f"model_weights/d{number}"]
            group["kernel"] = file["model_weights/d0/d0_1/kernel:0"]
            group.attrs["weight_names"] = ["kernel"]
    with pytest.raises(tc.FileFormatError, match="its arrays claim more bytes than the"):
        load_h5(written(tmp_path, buffer.getvalue()))


def test_a_heap_that_the_library_would_never_come_back_from_is_refused(tmp_path):
    layers = chain()
    data = bytearray(hdf5(layers, description(layers, functional=False, new=True), new=True))
    place, number, size = data.index(b"GCOL\x01"), None, 0
    while number != 0:  # up to the free space
        place += 16 + -(-size // 8) * 8
        number, size = struct.unpack_from("<HxxxxxxQ", data, place)
    data[place + 8 : place + 16] = bytes(8)
    with pytest.raises(tc.FileFormatError, match="a heap of texts is damaged"):
        load_h5(written(tmp_path, bytes(data)))


def test_heaps_that_lie_in_one_another_do_not_keep_it_busy(tmp_path):
    heap = b"GCOL\x01\0\0\0" + struct.pack("<QHHIQ", 1 << 40, 1, 0, 0, 16)
    with pytest.raises(tc.FileFormatError, match="a heap of texts is damaged"):
        load_h5(written(tmp_path, b"\x89HDF\r\n\x1a\n" + heap * 8000))


def test_float64_goes_for_what_keras_leaves_out(tmp_path):
    layers = chain()
    for one in layers:
        one["arrays"] = {name: array.astype(np.float64) for name, array in one["arrays"].items()}
    model = load_h5(written(tmp_path, hdf5(layers, description(layers, functional=False))))
    assert {array.dtype for array in {**model.params, **model.state}.values()} == {np.dtype(np.float64)}
    assert model.predict(np.zeros((1, 9, 8, 2))).dtype == np.float64


def zipped(name, content=b"{}"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no whole HDF5 file"),
        (b"\x89HDF\r\n\x1a\n", "no whole HDF5 file"),
        (pickle.dumps({"a": 1}), "no whole HDF5 file"),
        (hdf5([], {"class_name": "MyModel", "config": {}}), "its model is a MyModel: expected a Sequential"),
        (zipped("x"), "a zip archive without config.json: expected what Keras's model.save writes"),
        (zipped("config.json"), "without model.weights.h5"),
        (archive([], {}, zipfile.ZIP_DEFLATED), "config.json is packed: expected it stored"),
        (archive([], {})[:-30], "not a whole Keras model .BadZipFile"),
        (archive([], {}), "not a whole Keras model .KeyError: 'class_name'"),
        (archive([], {"class_name": "Sequential", "config": []}), "not a whole Keras model .IndexError"),
        (archive([], json.dumps("x" * (1 << 24))), "expected at most 16777216"),
    ],
)  # fmt: skip
def test_what_is_no_keras_model_is_refused(tmp_path, content, message):
    with pytest.raises(tc.FileFormatError, match=message):
        load_h5(written(tmp_path, content))


def test_a_missing_file_or_package_is_named(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        load_h5(tmp_path / "none.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(tc.MissingPackageError, match=r"h5py, .*: pip install 'tinycnn\[interop\]'"):
        load_h5(written(tmp_path, b""))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_the_same_numbers_as_keras(tmp_path, monkeypatch, name):
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "torch"))
    keras = pytest.importorskip("keras", reason="compares with Keras, an optional peer")
    kinds = keras.layers
    x = image = keras.Input((15, 10, 1))
    x = kinds.Conv2D(4, 3, padding="same", activation="relu")(x)
    x = kinds.BatchNormalization(scale=False)(x)
    main = kinds.SeparableConv2D(6, 3, padding="same", use_bias=False)(x)
    main = kinds.MaxPooling2D(3, 2, "same")(main)
    x = kinds.Add()([main, kinds.Conv2D(6, 1, 2, "same")(x)])
    x = kinds.Add()([x, kinds.DepthwiseConv2D(3, padding="same")(x)])
    x = kinds.Concatenate()([kinds.ReLU()(x), kinds.Conv2D(2, 1)(x)])
    x = kinds.Dropout(0.3)(kinds.Flatten()(kinds.AveragePooling2D(2)(x)))
    model = keras.Model(image, kinds.Dense(5, activation="softmax")(x))
    model.save(tmp_path / name)
    faces = np.random.default_rng(0).standard_normal((4, 15, 10, 1)).astype(np.float32)
    expected = np.asarray(model.predict(faces, verbose=0))
    np.testing.assert_allclose(load_h5(tmp_path / name).predict(faces), expected, rtol=0, atol=1e-6)
