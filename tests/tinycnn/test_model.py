"""Summary, and models in files."""

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import save_file

import tinycnn as tc
from tinycnn.layers import Layer
from tinycnn.save import REGISTRY


def model_with_everything():
    rng = np.random.default_rng(0)
    module = tc.Residual(
        tc.Sequential({"sep": tc.SeparableConv2D(4, 6, 3, padding="same", rng=rng), "bn": tc.BatchNorm(6)}),
        tc.Conv2D(4, 6, 1, rng=rng),
    )
    layers = {
        "conv": tc.Conv2D(1, 4, (3, 2), stride=(2, 1), padding=((1, 0), (0, 1)), l2=0.01, rng=rng),
        "relu": tc.ReLU(),
        "depthwise": tc.DepthwiseConv2D(4, 3, bias=False, rng=rng),
        "module": module,
        "both": tc.Concat({"pool": tc.AvgPool2D(3, 1, "same"), "relu": tc.ReLU()}),
        "max": tc.MaxPool2D(3, 2, "same"),
        "avg": tc.AvgPool2D(2),
        "flat": tc.Flatten(),
        "dropout": tc.Dropout(0.3),
        "dense": tc.Dense(24, 3, rng=rng),
        "softmax": tc.Softmax(),
    }
    return tc.Sequential(layers, input_shape=(12, 10, 1))


def test_summary_counts():
    text = model_with_everything().summary()
    rows = {line.split()[0]: line.split() for line in text.splitlines() if not line.startswith("-")}
    assert rows["conv"][1:] == ["Conv2D", "6x10x4", "28", "1,440"]  # 6*10 outputs * 3*2*1*4
    assert rows["depthwise"][1:] == ["DepthwiseConv2D", "4x8x4", "36", "1,152"]
    assert rows["module.main.sep.pointwise"][1:] == ["Conv2D", "4x8x6", "30", "768"]
    assert rows["module.add"][1:] == ["Residual", "4x8x6", "0", "0"]
    assert rows["both.concat"][1:] == ["Concat", "4x8x12", "0", "0"]
    assert rows["dense"][1:] == ["Dense", "3", "75", "72"]
    assert rows["total"][1:] == ["247", "5,352"]
    assert "12 numbers of state (running statistics), 259 in all" in text


class Gate(tc.Composite):
    """x times its own mean's weights: its two children are no chain."""

    def __init__(self):
        self.mean, self.dense = tc.GlobalAvgPool2D(), tc.Dense(4, 4, rng=0)
        super().__init__({"dense": self.dense, "mean": self.mean})  # not in the order of computation

    def output_shape(self, input_shape):
        return input_shape

    def multiply_adds(self, input_shape):
        return self.dense.multiply_adds((4,))


def test_a_composite_of_ones_own_is_not_taken_for_a_chain():
    model = tc.Sequential({"gate": Gate(), "flat": tc.Flatten()}, input_shape=(3, 3, 4))
    lines = [line.split() for line in model.summary().splitlines()]
    assert ["gate", "Gate", "3x3x4", "20", "16"] in lines
    assert ["flat", "Flatten", "36", "0", "0"] in lines
    tree = model._repr_html_()
    assert "dense" in tree
    assert tree.count("3×3×4") == 1


def test_summary_needs_a_shape():
    with pytest.raises(tc.ConfigError, match=r"model\.summary\(\(48, 48, 1\)\)"):
        tc.Sequential([tc.ReLU()]).summary()


def test_a_wrong_input_shape_is_refused_when_the_model_is_built():
    with pytest.raises(tc.ShapeError):
        tc.Sequential([tc.Conv2D(3, 4, 3)], input_shape=(48, 48, 1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_model_loads_from_its_file_alone(tmp_path, dtype):
    model = model_with_everything().astype(dtype)
    x = np.random.default_rng(1).standard_normal((5, 12, 10, 1)).astype(dtype)
    model.forward(x, train=True)  # so that running statistics are not their first values
    path = tmp_path / "model.safetensors"
    tc.save(model, path, labels=["a", "b", "c"], metrics={"accuracy": 0.5}, preprocessing={"mean": 1.5})
    loaded = tc.load(path)
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    assert loaded.summary() == model.summary()
    assert {name: type(layer) for name, layer in loaded.walk()}["module.main.sep"] is tc.SeparableConv2D
    info = tc.load_info(path)
    assert info["labels"] == ["a", "b", "c"]
    assert info["metrics"] == {"accuracy": 0.5}
    assert info["preprocessing"] == {"mean": 1.5}
    assert list(tmp_path.iterdir()) == [path]


def test_loaded_layers_have_the_same_arguments(tmp_path):
    model = model_with_everything()
    tc.save(model, tmp_path / "m")
    for (path, layer), (other_path, other) in zip(model.walk(), tc.load(tmp_path / "m").walk(), strict=True):
        assert path == other_path
        if not layer.children():
            assert layer.config() == other.config()


def test_a_layer_of_ones_own_must_be_registered(tmp_path):
    class Twice(Layer):
        def _forward(self, x, train):
            return 2 * x, None

    model = tc.Sequential([Twice()])
    with pytest.raises(tc.ConfigError, match=r"call tinycnn\.register\(Twice\) first"):
        tc.save(model, tmp_path / "m")
    assert not list(tmp_path.iterdir())
    try:
        tc.register(Twice)
        tc.save(model, tmp_path / "m")
        np.testing.assert_array_equal(tc.load(tmp_path / "m").predict(np.ones((1, 1), np.float32)), 2)
        corrected = type("Twice", (Layer,), {"__qualname__": Twice.__qualname__, "__module__": __name__})
        tc.register(corrected)  # as when a notebook's cell is run again
        assert REGISTRY["Twice"] is corrected
    finally:
        del REGISTRY["Twice"]
    with pytest.raises(tc.FileFormatError, match="unknown layer 'Twice'"):
        tc.load(tmp_path / "m")

    class ReLU(Layer):
        pass

    with pytest.raises(tc.ConfigError, match="'ReLU' exists already"):
        tc.register(ReLU)
    with pytest.raises(tc.ConfigError, match="another layer is called 'ReLU' in files: rename the class"):
        tc.save(tc.Sequential([ReLU()]), tmp_path / "m")


def test_two_loads_train_on_alike(tmp_path):
    tc.save(tc.Sequential([tc.Dropout(0.5, rng=0), tc.Dense(4, 3, rng=0)]), tmp_path / "m")
    x, labels, losses = np.ones((6, 4), np.float32), np.arange(6) % 3, []
    for _ in range(2):
        losses.append(tc.load(tmp_path / "m").fit(x, labels, epochs=2, progress=False).loss)
    assert losses[0] == losses[1]


@pytest.mark.parametrize("labels", [None, 1, "abc", {"cat": 1}])
def test_labels_are_a_list_of_names(tmp_path, labels):
    with pytest.raises(tc.ConfigError, match=r"labels=.*: expected a list of names"):
        tc.save(tc.Sequential([tc.Dense(4, 3, rng=0)]), tmp_path / "m", labels=labels)


def test_labels_are_as_many_as_the_model_has_outputs(tmp_path):
    model = tc.Sequential([tc.Dense(4, 3, rng=0)], input_shape=(4,))
    with pytest.raises(tc.ConfigError, match="found 2 labels: expected 3, one for each output"):
        tc.save(model, tmp_path / "m", labels=["cat", "dog"])
    assert not (tmp_path / "m").exists()


def test_a_layer_that_could_not_be_built_again_is_not_saved(tmp_path):
    class Times(Layer):
        def __init__(self, factor):
            super().__init__()

    class Named(Layer):
        def __init__(self, type):
            super().__init__()
            self._name = type

        def config(self):
            return {"type": self._name}

    try:
        tc.register(Times)
        with pytest.raises(tc.ConfigError, match=r"Times: config\(\) has to return .*missing.*'factor'"):
            tc.save(tc.Sequential([Times(2)]), tmp_path / "m")
        tc.register(Named)
        with pytest.raises(tc.ConfigError, match="a layer has an argument, or in one a key, 'type'"):
            tc.save(tc.Sequential([Named("oak")]), tmp_path / "m")
    finally:
        for name in ("Times", "Named"):
            REGISTRY.pop(name, None)
    assert not list(tmp_path.iterdir())


def test_metadata_must_be_json(tmp_path):
    with pytest.raises(tc.ConfigError, match="what JSON can hold"):
        tc.save(model_with_everything(), tmp_path / "m", metrics={"x": object()})
    with pytest.raises(tc.ConfigError, match="metadata version: the file has its own"):
        tc.save(model_with_everything(), tmp_path / "m", version="my third")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m"
    tc.save(model_with_everything(), path)
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda fd: (_ for _ in ()).throw(OSError("no space left on device")))
    with pytest.raises(OSError, match="no space left"):
        tc.save(model_with_everything(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def edited(path, change):
    """Rewrite a file's JSON header after `change` has edited it as a dict."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    info = json.loads(header["__metadata__"]["tinycnn"])
    change(info)
    header["__metadata__"]["tinycnn"] = json.dumps(info)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda i: i["architecture"]["layers"]["dense"].update(out_features=4),
            "has shape .*, its architecture needs",
        ),
        (lambda i: i["architecture"]["layers"].pop("dense"), "arrays do not match the architecture"),
        (lambda i: i["architecture"]["layers"]["relu"].update(type="os.system"), "unknown layer 'os.system'"),
        (lambda i: i["architecture"]["layers"]["relu"].update(speed=1), "cannot be built"),
        (lambda i: i["architecture"].update(type="ReLU", layers=1), "cannot be built"),
        (lambda i: i.pop("architecture"), "has no architecture"),
    ],
)
def test_edited_files_are_refused(tmp_path, change, message):
    path = tmp_path / "m.safetensors"
    tc.save(model_with_everything(), path)
    edited(path, change)
    with pytest.raises(tc.FileFormatError, match=message) as caught:
        tc.load(path)
    assert str(path) in str(caught.value)


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    tc.save(model_with_everything(), path)
    whole = path.read_bytes()
    for length in (0, 7, 8, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(tc.FileFormatError, match="not a whole safetensors file"):
            tc.load(path)
    for start in (b"PK\3\4", b"\x89HDF\r\n\x1a\n", b"\x80\x02}q"):
        path.write_bytes(start + whole)
        with pytest.raises(tc.FileFormatError, match=r"another library's model: read it"):
            tc.load(path)
    save_file({"a": np.zeros(3, np.float32)}, path)
    with pytest.raises(tc.FileFormatError, match=r"not written by tinycnn\.save"):
        tc.load(path)
    with pytest.raises(FileNotFoundError):
        tc.load(tmp_path / "nothing")
