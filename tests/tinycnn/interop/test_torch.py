"""Weights as PyTorch's state dicts: by hand, and with PyTorch itself, where it is installed."""

import pickle
import struct

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import tinycnn as tc
from fer_demo.models import alexnet, compact, mini_xception
from tests.tinycnn.interop.twins import filled, images, nchw, torch_twin, with_everything
from tinycnn.interop import torch as interop


def small_alexnet():
    return alexnet(widths=(3, 4, 5, 5, 4), features=6)


def small_compact():
    return compact(widths=(4, 6, 8, 10))


MODELS = [mini_xception, small_alexnet, small_compact, with_everything]


@pytest.mark.parametrize("make", MODELS)
def test_there_and_back(tmp_path, make):
    model, other = filled(make()), make()
    interop.save(model, tmp_path / "a")
    interop.load(other, tmp_path / "a")
    for name, array in {**model.params, **model.state}.items():
        np.testing.assert_array_equal({**other.params, **other.state}[name], array)


def test_names_and_orders():
    model = with_everything()
    state = interop.state_dict(model, {"conv": "features.0", "module.main": "m"})
    assert {
        "features.0.weight",
        "features.0.bias",
        "m.sep.depthwise.weight",
        "identity.main.weight",
    } < state.keys()
    assert state["m.bn.num_batches_tracked"].dtype == np.int64
    kernel = model.params["conv.kernel"]  # (3, 2, 2, 4)
    assert state["features.0.weight"][3, 1, 2, 0] == kernel[2, 0, 1, 3]
    assert (
        state["m.sep.depthwise.weight"][3, 0, 2, 1]
        == model.params["module.main.sep.depthwise.kernel"][2, 1, 3]
    )
    row, column, channel = 2, 1, 5  # of the flattened map (3, 4, 6)
    ours, theirs = (row * 4 + column) * 6 + channel, (channel * 3 + row) * 4 + column
    assert state["dense.weight"][4, theirs] == model.params["dense.kernel"][ours, 4]
    assert state["bn.weight"][theirs] == model.params["bn.gamma"][ours]
    np.testing.assert_array_equal(state["m.bn.running_var"], model.state["module.main.bn.running_var"])


def test_the_whole_model_has_a_name_too():
    model = tc.Sequential({"a": tc.Dense(2, 1), "b": tc.Dense(1, 1)})
    there = interop.state_dict(model, {"": "module", "b": "head.b"})
    assert list(there) == ["module.a.weight", "module.a.bias", "head.b.weight", "head.b.bias"]
    assert list(interop.state_dict(tc.Sequential({"a": tc.Dense(2, 1)}), {"a": ""})) == ["weight", "bias"]


@pytest.mark.parametrize("make", MODELS)
def test_the_same_numbers_as_pytorch(tmp_path, make):
    torch = pytest.importorskip("torch", reason="compares with PyTorch, an optional peer")
    from safetensors import torch as tensors

    model = filled(make())
    module, x = torch_twin(torch, model, model.input_shape).eval(), images(model)

    def outputs():
        with torch.no_grad():
            return module(torch.from_numpy(nchw(x))).numpy()

    tensors.save_file(module.state_dict(), tmp_path / "theirs")
    other = make()
    interop.load(other, tmp_path / "theirs")
    np.testing.assert_allclose(other.predict(x), outputs(), rtol=0, atol=1e-5)
    interop.save(model, tmp_path / "ours")
    module.load_state_dict(tensors.load_file(tmp_path / "ours"))
    np.testing.assert_allclose(outputs(), model.predict(x), rtol=0, atol=1e-5)


def small():
    return tc.Sequential({"a": tc.Dense(2, 3, rng=0), "b": tc.BatchNorm(3)})


GOOD = interop.state_dict(small())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"a.bias": None},
            r"only there or only here: a.bias \(here\): expected the same layers",
        ),
        ({"c.weight": np.zeros(1)}, r"c.weight \(there\)"),
        ({"a.weight": np.zeros((2, 3))}, r"a.weight has shape \(2, 3\), expected \(3, 2\)"),
        ({"a.weight": np.zeros((3, 2), int)}, "a.weight is int64: expected a NumPy array of float32"),
        ({"a.weight": [[0.0] * 2] * 3}, "a.weight is list: expected a NumPy array"),
        ({"b.running_var": np.full(3, 1e300)}, r"b.running_var\[0\] is inf: expected finite"),
        ({"b.running_var": np.full(3, -0.5)}, r"b.running_var has -0.5: expected variances, of at least 0"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_and_change_nothing(change, message):
    model = small()
    before = {name: array.copy() for name, array in model.params.items()}
    arrays = {name: array + 1 if "weight" in name else array for name, array in GOOD.items()} | change
    with pytest.raises(tc.ConfigError, match=message):
        interop.load_state_dict(model, {k: v for k, v in arrays.items() if v is not None})
    for name, array in before.items():
        np.testing.assert_array_equal(model.params[name], array)


class Own(tc.BatchNorm):
    pass


class Foreign(tc.Layer):
    def __init__(self):
        super().__init__()
        self.params["w"] = np.zeros(1, np.float32)


class Scaled(tc.Dense):
    def __init__(self):
        super().__init__(2, 2)
        self.params["alpha"] = np.ones(1, np.float32)


FLAT = {"f": tc.Flatten(), "d": tc.Dense(8, 2)}
ADDED = {"f": tc.Flatten(), "r": tc.Residual(tc.Dense(8, 8))}

JOINED = {"c": tc.Concat([tc.Flatten(), tc.Flatten()]), "d": tc.Dense(16, 2)}


@pytest.mark.parametrize(
    ("model", "names", "message"),
    [
        (small(), {"c": "d"}, "names='c': expected layers of the model, such as 'a'"),
        (tc.Sequential({"x": Foreign()}), {}, "'x' is a Foreign, whose order in PyTorch is unknown"),
        (tc.Sequential({"x": Scaled()}), {}, "'x' has an array 'alpha', whose name in PyTorch is unknown"),
        (tc.Sequential(FLAT), {}, "the input's shape is unknown, and with it the maps that Flatten takes"),
        (tc.Sequential(ADDED, input_shape=(2, 2, 2)), {}, "'r' combines a flattened map and other"),
        (tc.Sequential(FLAT, input_shape=(4, 2)), {}, r"'f' flattens \(4, 2\): expected maps"),
        (tc.Sequential(JOINED, input_shape=(2, 2, 2)), {}, "'c' combines a flattened map and other"),
    ],
)
def test_models_that_do_not_fit_are_refused(tmp_path, model, names, message):
    save_file({"a": np.zeros(1)}, tmp_path / "a")
    for call in (interop.state_dict, lambda m, n: interop.load(m, tmp_path / "a", n)):
        with pytest.raises(tc.ConfigError, match=message):
            call(model, names)


def test_subclasses_and_maps_of_one_pixel_or_channel_need_no_order():
    state = interop.state_dict(tc.Sequential({"x": Own(3)}))
    assert sorted(state) == ["x.bias", "x.num_batches_tracked", "x.running_mean", "x.running_var", "x.weight"]
    for shape in ((2, 4, 1), (1, 1, 8)):
        model = tc.Sequential({"f": tc.Flatten(), "d": tc.Dense(8, 2, rng=0)}, input_shape=shape)
        np.testing.assert_array_equal(interop.state_dict(model)["d.weight"], model.params["d.kernel"].T)


@pytest.mark.parametrize("length", [640, 0x4B50])
def test_a_header_of_any_length_is_read(tmp_path, length):
    """These lengths look like the first bytes of a pickle and of a ZIP file."""
    model = tc.Sequential({"d": tc.Dense(3, 2, rng=0)})
    interop.save(model, tmp_path / "short.safetensors")
    content = (tmp_path / "short.safetensors").read_bytes()
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    path = tmp_path / "weights.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + header.ljust(length) + content[8 + len(header) :])
    interop.load(model, path)


def test_files_that_do_not_fit_are_refused(tmp_path):
    path, model = tmp_path / "weights", small()
    for content, message in [
        (pickle.dumps(GOOD, 2), "looks like a file of torch.save, which could run anything"),
        (b"PK\x03\x04", "looks like a file of torch.save"),
        (b"", "not a whole safetensors file"),
        (struct.pack("<Q", 2**60), "claims 1152921504606846976 bytes"),
    ]:
        path.write_bytes(content)
        with pytest.raises(tc.FileFormatError, match=message):
            interop.load(model, path)
    for arrays, message in [
        (GOOD | {"a.bias": np.zeros(3, np.int8)}, "a.bias is I8: expected F16, F32 or F64"),
        (GOOD | {"a.bias": np.zeros(2, np.float16)}, r"a.bias has shape \(2,\), expected \(3,\)"),
    ]:
        save_file(arrays, path)
        with pytest.raises(tc.FileFormatError, match=message) as error:
            interop.load(model, path)
        assert str(error.value).startswith(f"{path}: ")
    with pytest.raises(FileNotFoundError):
        interop.load(model, tmp_path / "none")


def test_halves_are_read_and_doubles_are_kept(tmp_path):
    model = small().astype(np.float64)
    arrays = {name: array.astype(np.float16) for name, array in GOOD.items() if array.dtype.kind == "f"}
    save_file(arrays, tmp_path / "half")
    interop.load(model, tmp_path / "half")
    np.testing.assert_array_equal(model.params["a.kernel"], arrays["a.weight"].T.astype(float))
    interop.save(model, tmp_path / "double")
    assert load_file(tmp_path / "double")["a.weight"].dtype == np.float64


def test_two_layers_of_one_name_there():
    model = tc.Sequential({"a": tc.Dense(3, 3, rng=0), "b": tc.Dense(3, 3, rng=1)})
    with pytest.raises(tc.ConfigError, match=r"two layers would be 'f\.0\.weight'"):
        interop.state_dict(model, {"a": "f.0", "b": "f.0"})
