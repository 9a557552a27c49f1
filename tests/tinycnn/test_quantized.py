"""Networks in whole numbers: close to the float ones, the same on both backends, and careful with files."""

import json
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinycnn as tc
from tinycnn.kernels.integer import requantise
from tinycnn.quantized.numbers import Scale, Weights, fixed_point
from tinycnn.quantized.outline import outline
from tinycnn.sealed import safetensors_bytes


def draw(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def network(seed=0, channels=1, end=True):
    """Return a network with every kind of step, and statistics as if it had been trained."""
    rng = np.random.default_rng(seed)
    main = [tc.SeparableConv2D(8, 20, 3, padding="same", bias=False, rng=rng), tc.BatchNorm(20), tc.ReLU()]
    main += [tc.DepthwiseConv2D(20, (3, 2), padding="same", rng=rng), tc.BatchNorm(20)]
    main += [tc.MaxPool2D(3, stride=2, padding="same")]
    detour = [tc.Conv2D(8, 20, 1, stride=2, bias=False, rng=rng), tc.BatchNorm(20)]
    layers = {
        "conv": tc.Conv2D(channels, 8, (3, 2), stride=(1, 2), padding=((1, 0), (2, 1)), bias=False, rng=rng),
        "norm": tc.BatchNorm(8),
        "relu": tc.ReLU(),
        "module": tc.Residual(tc.Sequential(main), tc.Sequential(detour)),
        "dropout": tc.Dropout(0.5),
        "block": tc.Residual(
            tc.Sequential([tc.BatchNorm(20), tc.ReLU(), tc.Conv2D(20, 20, 3, padding="same", rng=rng)])
        ),
        "relu2": tc.ReLU(),
    }
    if end:
        layers |= {"mean": tc.GlobalAvgPool2D(), "dense": tc.Dense(20, 9, rng=rng), "relu3": tc.ReLU()}
        layers |= {"dense2": tc.Dense(9, 3, rng=rng), "softmax": tc.Softmax()}
    model = tc.Sequential(layers, input_shape=(10, 12, channels))
    for _, layer in model.walk():
        if isinstance(layer, tc.BatchNorm):
            layer.params["gamma"][...] = rng.uniform(0.5, 1.5, layer.channels)
            layer.params["beta"][...] = rng.normal(size=layer.channels)
            layer.state["running_mean"][...] = rng.normal(size=layer.channels)
    if end:  # a softmax of large scores would hide what went wrong before it
        model.params["dense2.kernel"][...] *= 0.1
        model.params["dense2.bias"][...] = 0
    return model


@pytest.fixture(scope="module")
def images():
    return draw(np.random.default_rng(1), 70, 10, 12, 1)


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def quantized(model, images):
    return tc.quantize(model, images)


def test_probabilities_are_nearly_those_in_float(backend, model, quantized, images):
    found, expected = quantized.predict(images), model.predict(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    assert np.abs(found - expected).max() < 0.02
    assert np.ptp(expected, axis=0).max() > 0.1  # images are told apart
    np.testing.assert_array_equal(quantized.predict(images[:1]), found[:1])


def test_a_map_at_the_end_is_off_by_a_few_steps_of_its_scale(backend, images):
    model = network(seed=2, end=False)
    found, expected = tc.quantize(model, images).predict(images), model.predict(images)
    assert found.shape == expected.shape
    step = expected.max() / 255
    assert np.abs(found - expected).max() < 12 * step
    assert np.abs(found - expected).mean() < 2 * step


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    channels=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    window=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    kind=st.sampled_from(["conv", "depthwise", "separable", "pool", "pooled", "residual", "dense"]),
)
def test_both_backends_give_the_same_bits(seed, size, channels, window, stride, kind):
    pytest.importorskip("numba", reason="compares with the numba backend")
    rng, (c, o) = np.random.default_rng(seed), channels
    geometry = {"kernel_size": window, "stride": stride, "padding": "same"}
    layers = {
        "conv": lambda: [tc.Conv2D(c, o, **geometry, rng=rng), tc.ReLU()],
        "depthwise": lambda: [tc.DepthwiseConv2D(c, **geometry, rng=rng)],
        "separable": lambda: [
            tc.SeparableConv2D(c, o, **geometry, rng=rng),
            tc.BatchNorm(o),
            tc.GlobalAvgPool2D(),
        ],
        "pool": lambda: [tc.MaxPool2D(**geometry)],
        "pooled": lambda: [tc.MaxPool2D(**geometry), tc.ReLU(), tc.Flatten()],
        "residual": lambda: [
            tc.Residual(tc.Sequential([tc.Conv2D(c, c, 3, padding="same", rng=rng)])),
            tc.ReLU(),
        ],
        "dense": lambda: [tc.ReLU(), tc.Flatten(), tc.Dense(size[0] * size[1] * c, o, rng=rng), tc.Softmax()],
    }[kind]()
    x = draw(rng, 3, *size, c)
    small = tc.quantize(tc.Sequential(layers), x)
    results = []
    for name in ("numpy", "numba"):
        with tc.backend(name):
            results.append(small.predict(1.5 * x))  # some numbers are beyond the ranges
    np.testing.assert_array_equal(*results)


def test_both_backends_give_the_same_bits_for_whole_networks(images, quantized):
    pytest.importorskip("numba", reason="compares with the numba backend")
    with tc.backend("numpy"):
        expected = quantized.predict(images)
    threads = tc.get_threads()
    try:
        for count in (1, 2):
            tc.set_threads(count)
            with tc.backend("numba"):
                np.testing.assert_array_equal(quantized.predict(images), expected)
    finally:
        tc.set_threads(threads)


def test_zero_is_a_number_of_every_scale():
    for low, high in ((0.0, 6.0), (-1.0, 3.0), (-2.0, 0.0), (0.0, 0.0), (-1e-30, 1e30)):
        scale = Scale.over(low, high)
        assert -128 <= scale.zero <= 127
        assert scale.real(scale(np.zeros(1, np.float32)))[0] == 0
    x = np.linspace(-1, 3, 1000, dtype=np.float32)
    scale = Scale.over(-1, 3)
    assert np.abs(scale.real(scale(x)) - x).max() <= scale.scale * 0.51
    assert Scale.over(0, 6).zero == -128  # so that clipping is a ReLU
    np.testing.assert_array_equal(scale(np.float32([-9, 9])), [-128, 127])


def test_each_output_channel_has_its_own_scale():
    kernel = draw(np.random.default_rng(0), 3, 3, 4, 5) * np.float32([1, 100, 1e-4, 0, 1e-30])
    bias = np.float32([1, 2, 3, 4, 5])
    weights = Weights.of(kernel, bias, Scale(0.1, 3))
    np.testing.assert_array_equal(np.abs(weights.kernel).max(axis=(0, 1, 2))[:3], 127)
    assert (np.abs(weights.kernel * weights.scale - kernel) <= 0.51 * weights.scale).all()
    assert (np.abs(weights.bias * weights.scale * 0.1 - bias) <= 0.051 * weights.scale + 1e-6 * bias).all()
    assert np.abs(weights.bias).max() <= 2**24


@pytest.mark.parametrize("factors", [[0.3, 0.001, 1e-6], [1.0], [500.0, 2.0], [1e-12]])
def test_factors_become_whole_numbers_and_a_shift(factors):
    multiplier, shift = fixed_point(np.array(factors), 30)
    assert multiplier.dtype == np.int32
    np.testing.assert_allclose(multiplier / 2.0**shift, factors, rtol=1e-3, atol=max(factors) * 2**-29)
    sums = np.arange(-3000, 3000, dtype=np.int32)
    exact = np.clip(np.floor(sums * (multiplier[0] / 2.0**shift) + 0.5) + 7, -128, 127)
    np.testing.assert_array_equal(requantise(sums, multiplier[:1], shift, 7), exact)


def test_labels_are_as_many_as_the_model_has_outputs(quantized, tmp_path):
    with pytest.raises(tc.ConfigError, match="found 2 labels: expected 3, one for each output"):
        quantized.save(tmp_path / "m", labels=["cat", "dog"])
    with pytest.raises(tc.ConfigError, match="labels='abc': expected a list of names"):
        quantized.save(tmp_path / "m", labels="abc")
    assert not (tmp_path / "m").exists()


def test_files_hold_the_whole_model(quantized, images, tmp_path):
    path = tmp_path / "small.safetensors"
    quantized.save(path, labels=["a", "b", "c"], preprocessing={"mean": 1.0})
    loaded = tc.load_quantized(path)
    np.testing.assert_array_equal(loaded.predict(images), quantized.predict(images))
    assert repr(loaded) == repr(quantized)
    assert loaded.summary() == quantized.summary()
    assert tc.is_quantized(path)
    info = tc.load_info(path)
    assert (info["labels"], info["preprocessing"]) == (["a", "b", "c"], {"mean": 1.0})
    once = path.read_bytes()
    loaded.save(path, labels=["a", "b", "c"], preprocessing={"mean": 1.0})
    assert path.read_bytes() == once
    with pytest.raises(
        tc.FileFormatError, match=r"expected 'tinycnn-1'\); read it with tinycnn.load_quantized"
    ):
        tc.load(path)
    tc.save(network(), path)
    assert not tc.is_quantized(path)
    with pytest.raises(tc.FileFormatError, match=r"expected 'tinycnn-int8-1'\); read it with tinycnn.load"):
        tc.load_quantized(path)


@pytest.fixture
def rewritten(quantized, tmp_path):
    """Save a model with some arrays, or some of the description, replaced."""

    def rewrite(arrays=None, **description):
        path = tmp_path / "bad.safetensors"
        quantized.save(path)
        (length,) = struct.unpack("<Q", path.read_bytes()[:8])
        metadata = json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]
        metadata["tinycnn"] = json.dumps({**json.loads(metadata["tinycnn"]), **description})
        changed = {**quantized.arrays, **(arrays or {})}
        path.write_bytes(safetensors_bytes({k: a for k, a in changed.items() if a is not None}, metadata))
        return path

    return rewrite


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("dense.scale", lambda a: None, "arrays do not match the architecture: dense.scale"),
        ("more", lambda a: np.zeros(1, np.int8), "arrays do not match the architecture: more"),
        ("dense.kernel", lambda a: a.astype(np.float32), "dense.kernel is F32 .*, expected I8"),
        (
            "dense.kernel",
            lambda a: a[..., :-1],
            r"dense.kernel is I8 \(1, 1, 20, 8\), expected I8 \(1, 1, 20, 9\)",
        ),
        ("dense.scale", lambda a: a * np.nan, "dense.scale holds NaN or infinity"),
        ("dense.scale", lambda a: a * 0, r"dense.scale\[0\] is 0.0: expected scales above 0"),
        (
            "dense.scale",
            lambda a: a * np.float32(1e38),
            "layer 'dense' needs a factor of .* between two scales",
        ),
        (
            "dense.bias",
            lambda a: np.full_like(a, 2**31 - 1),
            "layer 'dense': its sums may reach 21.*less than 2",
        ),
        ("ranges", lambda a: a + 100, r"ranges\[0\] is .*: expected 0 inside of every range"),
    ],
)
def test_an_array_that_cannot_be_is_named(rewritten, quantized, name, change, message):
    path = rewritten({name: change(quantized.arrays.get(name))})
    with pytest.raises(tc.FileFormatError, match=f"bad.safetensors: {message}.*; quantise the model anew"):
        tc.load_quantized(path)


def dense(inputs, outputs):
    return {"type": "Dense", "in_features": inputs, "out_features": outputs}


@pytest.mark.parametrize("end", [[], [tc.Softmax()]])
def test_a_relu_behind_the_last_sums_counts(backend, end):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 6, 6, 3)).astype(np.float32)
    model = tc.Sequential([tc.Flatten(), tc.Dense(108, 5, rng=0), tc.ReLU(), *end], input_shape=(6, 6, 3))
    expected = model.predict(x)
    assert np.abs(tc.quantize(model, x).predict(x) - expected).max() < 0.02 * expected.max()


@pytest.mark.parametrize(
    ("layers", "input_shape", "message"),
    [
        ({"a": dense(2**14, 2**14)}, [2**14], "more weights than the file can hold"),
        ({"a": {"type": "ReLU"}}, [2**40, 2**20], ""),
        ({"a": {"type": "ReLU"}}, None, "input_shape=None"),
        (
            {"a": {"type": "AvgPool2D", "kernel_size": 2, "padding": "same"}},
            [5, 5, 1],
            "layer 'a' is of the kind AvgPool2D",
        ),
    ],
)
def test_layers_that_cannot_be_are_refused(rewritten, layers, input_shape, message):
    architecture = {"type": "Sequential", "layers": layers, "input_shape": input_shape}
    with pytest.raises(tc.FileFormatError, match=f"bad.safetensors: .*{message}"):
        tc.load_quantized(rewritten(architecture=architecture))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [tc.Conv2D(1, 2, 3), tc.AvgPool2D(2, padding=((1, 0), (0, 1)))],
            "layer '1' is of the kind AvgPool2D, which has no form",
        ),
        ([tc.Concat([tc.Conv2D(1, 2, 1), tc.ReLU()])], "layer '0' is of the kind Concat, which has no form"),
        ([tc.Sequential([tc.Softmax()]), tc.ReLU()], "layer '0.0' is a Softmax before the end"),
        ([tc.Dropout(0.5), tc.Softmax()], "nothing to quantise: expected layers that compute"),
    ],
)
def test_layers_without_a_form_in_whole_numbers_are_named(images, layers, message):
    with pytest.raises(tc.ConfigError, match=message):
        tc.quantize(tc.Sequential(layers), images)


def test_an_average_pool_of_any_size_takes_the_memory_of_one_number():
    """A file may claim any, before anything tells that it lies."""
    [(_, step)] = outline(tc.Sequential([tc.AvgPool2D(64)]), (64, 64, 3))
    assert step.taps.shape == (64, 64, 3)
    assert step.taps.strides == (0, 0, 0)


def test_a_forward_pass_of_its_own_has_no_form(images):
    model = tc.Sequential({"conv": tc.Conv2D(1, 2, 3), "relu": tc.ReLU()})
    model.children()["relu"].forward = lambda x, train=False: -x
    with pytest.raises(
        tc.ConfigError, match="'relu' is of the kind ReLU with a forward pass of its own, which"
    ):
        tc.quantize(model, images)


def test_a_pickle_makes_ready_anew(backend, quantized, images):
    expected = quantized.predict(images)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(quantized)).predict(images), expected)


def test_bad_images_are_refused(model, quantized, images):
    with pytest.raises(
        tc.ConfigError, match=r"images=\(0, 10, 12, 1\): expected an array of at least one image"
    ):
        tc.quantize(model, images[:0])
    with pytest.raises(tc.NonFiniteError, match="NaN or infinity in the images"):
        tc.quantize(model, images * np.nan)
    with pytest.raises(tc.DTypeError, match=r"images are float64: .*: use images.astype\(np.float32\)"):
        tc.quantize(model.astype(np.float64), images.astype(np.float64))
    with pytest.raises(tc.ConfigError, match=r"model is a Conv2D: expected a tinycnn\.Sequential"):
        tc.quantize(tc.Conv2D(1, 2, 3), images)
    with pytest.raises(tc.DTypeError, match="images are float64: expected float32"):
        quantized.predict(images.astype(np.float64))
    with pytest.raises(tc.ShapeError, match=r"\(N, 10, 12, 1\), found \(70, 10, 10, 1\)"):
        quantized.predict(images[:, :, 2:])
    with pytest.raises(tc.NonFiniteError, match="the images hold NaN or infinity"):
        quantized.predict(images + np.inf)
    with pytest.raises(tc.ConfigError, match="batch_size=0"):
        quantized.predict(images, batch_size=0)


def test_the_summary_names_every_step(quantized):
    lines = quantized.summary().splitlines()
    assert lines[0].split()[:3] == ["step", "kind", "output"]
    assert any(line.startswith("module.main.0.pointwise") for line in lines)
    assert lines[-1].split() == [
        "total",
        f"{sum(a.size for a in quantized.arrays.values() if a.dtype == np.int8):,}",
    ]


def test_images_have_no_mask_and_may_be_huge():
    x = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    model = tc.quantize(tc.Sequential([tc.Dense(3, 4, rng=0)]), x)
    with pytest.raises(tc.DTypeError, match="images have a mask"):
        model.predict(np.ma.masked_array(x))
    assert np.isfinite(model.predict(np.full((1, 3), 3e38, np.float32))).all()
