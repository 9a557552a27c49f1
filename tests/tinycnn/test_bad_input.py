"""Arguments and arrays that do not fit: one error of the project's own, which names what is wrong."""

import json
import struct
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest
from safetensors.numpy import save_file

import tinycnn as tc
from tinycnn import plan

KERNEL = {"kernel_size": 3, "stride": 1, "padding": "valid", "bias": True, "init": "he", "l2": 0.0, "rng": 0}
DENSE = {"bias": True, "init": "he", "l2": 0.0, "rng": 0}
CHANNELS = {"in_channels": 2, "out_channels": 2}
POOL = {"kernel_size": 2, "padding": "valid"}
GOOD = [
    (tc.Conv2D, CHANNELS | KERNEL),
    (tc.DepthwiseConv2D, {"channels": 2} | KERNEL),
    (tc.SeparableConv2D, CHANNELS | KERNEL),
    (tc.Dense, {"in_features": 2, "out_features": 2} | DENSE),
    (tc.BatchNorm, {"channels": 2, "momentum": 0.9, "eps": 1e-3}),
    (tc.MaxPool2D, POOL),
    (tc.AvgPool2D, POOL),
    (tc.Dropout, {"rate": 0.5, "rng": 0}),
    (tc.Residual, {"main": tc.ReLU(), "shortcut": tc.ReLU()}),
    (tc.Concat, {"branches": [tc.ReLU(), tc.ReLU()]}),
    (tc.Sequential, {"layers": [tc.ReLU()], "input_shape": (2, 2, 1)}),
    (tc.SoftmaxCrossEntropy, {"label_smoothing": 0.0, "class_weights": [1, 1]}),
    (tc.Cosine, {"lr": 0.1, "steps": 10, "warmup": 1, "final": 0.0}),
    (tc.OneCycle, {"max_lr": 0.1, "steps": 9, "warmup_fraction": 0.3, "start_div": 25.0, "final_div": 1e4}),
    (tc.ReduceOnPlateau, {"lr": 0.1, "factor": 0.5, "patience": 1, "min_lr": 0.0, "threshold": 0.0}),
    (tc.ExponentialMovingAverage, {"decay": 0.9}),
    (tc.SGD, {"learning_rate": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 0.0}),
    (tc.Adam, {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.0}),
]
ARGUMENTS = [(kind, good, name) for kind, good in GOOD for name in good]

#: Nothing takes any of these, except for what stands in `FINE`.
BAD = [
    None,
    "3",
    "",
    b"x",
    3.5,
    True,
    -1,
    -0.5,
    10**9,
    10**30,
    float("nan"),
    float("inf"),
    [],
    {},
    object(),
    len,
]
BAD += [(1, 2, 3), (None, None), np.array([1, 2]), np.array(2), 1 + 2j]
FINE = {
    "rng": [None, True, 10**9, 10**30, [], (1, 2, 3), np.array([1, 2])],  # seeds to NumPy
    "bias": [True],
    "l2": [3.5, 10**9, 10**30],
    "eps": [3.5, 10**9, 10**30],
    "nesterov": [True],
    "learning_rate": [3.5, 10**9, 10**30],
    "weight_decay": [3.5, 10**9, 10**30],
    "shortcut": [None],
    "input_shape": [None, (1, 2, 3)],
    "class_weights": [None, (1, 2, 3), np.array([1, 2])],
    "lr": [3.5, 10**9, 10**30],
    "max_lr": [3.5, 10**9, 10**30],
    "steps": [10**9, 10**30],
    "start_div": [3.5, 10**9, 10**30],
    "final_div": [3.5, 10**9, 10**30],
    "patience": [10**9, 10**30],
}


@pytest.mark.parametrize(
    ("kind", "good", "name"), ARGUMENTS, ids=[f"{kind.__name__}-{name}" for kind, _, name in ARGUMENTS]
)
def test_a_bad_argument_is_named(kind, good, name):
    kind(**good)
    for value in BAD:
        fine_values = [] if (kind, name) == (tc.Adam, "eps") else FINE.get(name, [])
        if any(type(value) is type(fine) and np.array_equal(value, fine) for fine in fine_values):
            kind(**good | {name: value})
            continue
        with pytest.raises(tc.ConfigError) as error:
            kind(**good | {name: value})
        other = {"layers": "Sequential:", "branches": "Concat:", "learning_rate": "lr"}.get(name, name)
        assert any(word in str(error.value) for word in (name, other)), error.value
        assert "expected" in str(error.value)
        assert len(str(error.value)) < 400


@contextmanager
def little_memory():
    """Check that no more than 5 MB are asked for."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "make",
    [
        lambda: tc.Dense(10**5, 10**5),
        lambda: tc.Conv2D(10**4, 10**4, 3),
        lambda: tc.DepthwiseConv2D(100, 3000),
        lambda: tc.SeparableConv2D(10**5, 10**5, 3),
    ],
)
def test_an_absurd_size_is_refused_before_it_is_allocated(make):
    with little_memory(), pytest.raises(tc.ConfigError, match="at most 268435456 numbers"):
        make()


LAYERS = [
    (tc.Conv2D(2, 3, 3, rng=0), (4, 5, 5, 2)),
    (tc.DepthwiseConv2D(2, 3, rng=0), (4, 5, 5, 2)),
    (tc.SeparableConv2D(2, 3, 3, rng=0), (4, 5, 5, 2)),
    (tc.Dense(5, 3, rng=0), (4, 5)),
    (tc.BatchNorm(2), (4, 5, 5, 2)),
    (tc.ReLU(), (4, 5)),
    (tc.Softmax(), (4, 5)),
    (tc.Dropout(), (4, 5)),
    (tc.Flatten(), (4, 5, 5, 2)),
    (tc.MaxPool2D(2), (4, 5, 5, 2)),
    (tc.AvgPool2D(2), (4, 5, 5, 2)),
    (tc.GlobalAvgPool2D(), (4, 5, 5, 2)),
    (tc.Residual(tc.ReLU()), (4, 5)),
    (tc.Concat([tc.ReLU(), tc.Dense(5, 3, rng=0)]), (4, 5)),
    (tc.Sequential([tc.Flatten(), tc.Dense(50, 2, rng=0)]), (4, 5, 5, 2)),
]
each_layer = pytest.mark.parametrize(
    ("layer", "shape"), LAYERS, ids=[type(layer).__name__ for layer, _ in LAYERS]
)


@each_layer
def test_arrays_that_do_not_fit_are_refused(backend, layer, shape):
    x = np.zeros(shape, np.float32)
    wrong_types = [
        x.tolist(),
        None,
        "x",
        *(x.astype(t) for t in ("f2", "i8", "u1", "?", "O", "c8", "f16", ">f4", "U1")),
    ]
    wrong_types += [np.ma.masked_array(x, x == 0)]
    wrong_shapes = [
        x[0, ..., 0].sum(),
        x[:0],
        np.zeros((2, 0), np.float32),
        np.zeros((2, 0, 0, 2), np.float32),
    ]
    wrong_shapes = [np.asarray(array, np.float32) for array in wrong_shapes]
    for error, arrays in ((tc.DTypeError, wrong_types), (tc.ShapeError, wrong_shapes)):
        for array in arrays:
            with pytest.raises(error):
                layer.forward(array, train=True)
            with pytest.raises(error):
                tc.compile_for_inference(layer)(array)


@each_layer
def test_gradients_that_do_not_fit_are_refused(backend, layer, shape):
    dy = layer.forward(np.ones(shape, np.float32), train=True)
    for wrong in (dy.tolist(), None, dy.astype(np.float64), dy.astype(np.int64)):
        with pytest.raises(tc.DTypeError):
            layer.backward(wrong)
    for wrong in (dy[:1], dy[..., :1], dy[0]):
        with pytest.raises(tc.ShapeError):
            layer.backward(wrong)


@each_layer
def test_every_memory_layout_gives_the_same(backend, layer, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    expected = layer.forward(x)
    wide = np.zeros((*shape[:-1], 2 * shape[-1]), np.float32)
    wide[..., ::2] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    for same in (np.asfortranarray(x), x[::-1].copy()[::-1], wide[..., ::2], read_only):
        np.testing.assert_array_equal(same, x)
        np.testing.assert_array_equal(layer.forward(same), expected)
        np.testing.assert_allclose(tc.compile_for_inference(layer)(same), expected, rtol=1e-5, atol=1e-6)


def test_the_loss_refuses_arrays_that_do_not_fit():
    loss, logits, labels = tc.SoftmaxCrossEntropy(), np.zeros((3, 4), np.float32), np.zeros(3, int)
    for wrong in (logits.tolist(), None, logits.astype(int), logits.astype("f2"), logits.astype("O")):
        with pytest.raises(tc.DTypeError, match="expected an array of float32 or float64"):
            loss(wrong, labels)
    with pytest.raises(tc.ShapeError):
        loss(logits[:0], labels[:0])
    with pytest.raises(tc.DTypeError, match="labels are timedelta64"):
        loss(logits, labels.astype("m8[s]"))
    with pytest.raises(tc.DTypeError, match="labels have a mask"):
        loss(logits, np.ma.masked_array(labels, [True, False, False]))


def write(path, header, body=b"", length=None):
    """Write a safetensors file by hand, or one that lies about its header's length."""
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + body)


def described(layers):
    """The header of a file of a model without arrays."""
    info = {"architecture": {"type": "Sequential", "layers": layers}}
    return {"__metadata__": {"format": "tinycnn-1", "tinycnn": json.dumps(info)}}


def kernel(**entry):
    """The header of a file of one dense layer with a kernel of (1, 1), stored as `entry` says."""
    header = described([{"type": "Dense", "in_features": 1, "out_features": 1, "bias": False}])
    return header | {"0.kernel": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]} | entry}


EMPTY = {"dtype": "F32", "shape": [0, 2**62, 2**62], "data_offsets": [0, 0]}
LARGE = {"type": "Dense", "in_features": 16_000, "out_features": 16_000}


@pytest.mark.parametrize(
    ("header", "body", "message"),
    [
        (kernel(), b"\0" * 3, "not a whole safetensors file"),
        (kernel(), b"\0" * 5, "not a whole safetensors file"),
        (kernel(shape=[10**9, 10**9]), b"\0" * 4, "not a whole safetensors file"),
        (kernel(data_offsets=[0, 2**40]), b"\0" * 4, "not a whole safetensors file"),
        (kernel() | {"b": kernel()["0.kernel"]}, b"\0" * 4, "not a whole safetensors file"),  # overlaps
        (kernel(dtype="F16", data_offsets=[0, 2]), b"\0" * 2, "F16: expected all F32 or all F64"),
        (kernel(dtype="BF16", data_offsets=[0, 2]), b"\0" * 2, "BF16: expected all F32 or all F64"),
        (kernel(dtype="I64", data_offsets=[0, 8]), b"\0" * 8, "I64: expected all F32 or all F64"),
        (kernel(shape=[1]), b"\0" * 4, r"0\.kernel has shape \(1,\), its architecture needs \(1, 1\)"),
        (kernel(), struct.pack("<f", np.nan), r"0\.kernel\[0, 0\] is nan: expected finite weights"),
        (kernel(), struct.pack("<f", -np.inf), r"0\.kernel\[0, 0\] is -inf"),
        (described([{"type": "ReLU"}]) | {"b": EMPTY}, b"", "do not match"),
        (described([LARGE] * 500), b"", "do not match"),
        (described([{"type": "Dense", "in_features": 10**9, "out_features": 10**9}]), b"", "cannot be built"),
        (described([{"type": "Dropout", "rng": "x"}]), b"", "cannot be built: rng='x'"),
        (described([{"type": []}]), b"", "unknown layer"),
        (described("[" * 50), b"", "cannot be built"),
        ({"__metadata__": None}, b"", r"not written by tinycnn\.save"),
    ],
)  # fmt: skip
def test_a_file_that_lies_is_refused_in_little_memory(tmp_path, header, body, message):
    path = tmp_path / "m.safetensors"
    write(path, header, body)
    with little_memory(), pytest.raises(tc.FileFormatError, match=message) as error:
        tc.load(path)
    assert str(path) in str(error.value)


def test_a_header_too_long_or_too_deep_or_with_a_name_twice_is_refused(tmp_path):
    path, relu = tmp_path / "m", '{"type": "ReLU"}'
    for length in (2**63, 99_000_000):
        write(path, {}, length=length)
        with pytest.raises(tc.FileFormatError, match=f"claims {length} bytes, expected at most 4194304"):
            tc.load(path)
    for depth, message in ((100_000, "maximum recursion depth"), (100, "too deep within one another")):
        text = '{"type": "Sequential", "layers": {"a": ' * depth + relu + "}}" * depth
        write(path, {"__metadata__": {"format": "tinycnn-1", "tinycnn": f'{{"architecture": {text}}}'}})
        with pytest.raises(tc.FileFormatError, match=f"{message}|expected at most 4194304"):
            tc.load(path)
    text = f'{{"architecture": {{"type": "Sequential", "layers": {{"a": {relu}, "a": {relu}}}}}}}'
    write(path, {"__metadata__": {"format": "tinycnn-1", "tinycnn": text}})
    with pytest.raises(tc.FileFormatError, match="a name stands twice in one object"):
        tc.load(path)


def test_what_load_would_refuse_is_not_saved(tmp_path):
    model = deep = tc.Sequential([tc.Dense(1, 1, rng=0)])
    with pytest.raises(tc.ConfigError, match=r"model is a ReLU: expected a tinycnn\.Sequential"):
        tc.save(tc.ReLU(), tmp_path / "m")
    with pytest.raises(tc.ConfigError, match="the metadata take more than 4194304 bytes"):
        tc.save(model, tmp_path / "m", notes="x" * 5_000_000)
    for _ in range(40):
        deep = tc.Sequential([deep])
    tc.save(deep, tmp_path / "deep")
    tc.load(tmp_path / "deep")
    for _ in range(20):
        deep = tc.Sequential([deep])
    with pytest.raises(tc.ConfigError, match="too deep within one another"):
        tc.save(deep, tmp_path / "m")
    model.params["0.bias"][...] = np.nan
    with pytest.raises(tc.ConfigError, match=r"0\.bias\[0\] is nan: expected finite weights"):
        tc.save(model, tmp_path / "m")
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(2), "arrays are F32, F64: expected all F32 or all F64"),
        (np.zeros(2, np.int64), "arrays are F32, I64: expected all F32 or all F64"),
        (np.zeros(3, np.float32), r"0\.bias has shape \(3,\), its architecture needs \(2,\)"),
    ],
)
def test_arrays_that_were_replaced_by_unfit_ones_are_not_saved(tmp_path, array, message):
    model = tc.Sequential([dense := tc.Dense(1, 2, rng=0)])
    dense.params["bias"] = array
    with pytest.raises(
        tc.ConfigError, match=rf"nothing is saved, since tinycnn\.load would refuse it: .*{message}"
    ):
        tc.save(model, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_metadata_that_would_not_come_back_are_not_saved(tmp_path):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    model = tc.Sequential([tc.Dense(1, 1, rng=0)])
    for metrics, problem in [({1: 0.5, "1": 0.6}, "a name stands twice"), ({"deep": deep}, "recursion")]:
        with pytest.raises(tc.ConfigError, match=f"metadata must be what JSON can hold: .*{problem}"):
            tc.save(model, tmp_path / "m", metrics=metrics)
    assert not (tmp_path / "m").exists()


def test_mixed_dtypes_are_refused(tmp_path):
    header = kernel()["__metadata__"]
    info = json.loads(header["tinycnn"])
    info["architecture"]["layers"][0]["bias"] = True
    header["tinycnn"] = json.dumps(info)
    save_file({"0.kernel": np.ones((1, 1), np.float32), "0.bias": np.ones(1)}, tmp_path / "m", header)
    with pytest.raises(tc.FileFormatError, match="arrays are F32, F64: expected all F32 or all F64"):
        tc.load(tmp_path / "m")


def test_a_loaded_model_can_be_trained(tmp_path):
    tc.save(tc.Sequential([tc.Dense(2, 2, rng=0), tc.BatchNorm(2)]), tmp_path / "m")
    model = tc.load(tmp_path / "m")
    x, labels = np.eye(2, dtype=np.float32), np.arange(2)
    before = model.params["0.kernel"].copy()
    tc.train_step(model, x, labels, tc.SoftmaxCrossEntropy(), tc.SGD(0.1))
    assert (model.params["0.kernel"] != before).any()


MODEL = tc.Sequential([tc.Flatten(), tc.Dense(4, 2, rng=0)], input_shape=(2, 2, 1))
IMAGES, LABELS = np.zeros((5, 2, 2, 1), np.float32), np.arange(5) % 2


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, None, "3", True])
def test_a_bad_batch_size_is_named(batch_size):
    for call in (
        lambda: MODEL.predict(IMAGES, batch_size=batch_size),
        lambda: MODEL.evaluate(IMAGES, LABELS, batch_size=batch_size),
        lambda: MODEL.fit(IMAGES, LABELS, batch_size=batch_size, progress=False),
    ):
        with pytest.raises(tc.ConfigError, match=r"batch_size=.*expected a whole number of at least 1"):
            call()


@pytest.mark.parametrize(
    ("x", "error"),
    [
        (None, tc.DTypeError),
        ([[1.0]], tc.DTypeError),
        (np.float32(1), tc.DTypeError),
        (np.array(1.0, np.float32), tc.ShapeError),
        (IMAGES[:0], tc.ShapeError),
    ],
)
def test_what_is_no_batch_of_images_is_refused(x, error):
    with pytest.raises(error, match="expected"):
        MODEL.predict(x)
    with pytest.raises(error, match="expected"):
        MODEL.evaluate(x, LABELS[: np.size(x)] if np.ndim(x) else np.array(1))


@pytest.mark.parametrize(
    ("option", "value"),
    [("seed", value) for value in ("x", -1, 1.5, None, True, [1])]
    + [("optimizer", value) for value in ("adam", tc.Adam, 0.1)]
    + [("loss", "mse"), ("loss", len), ("ema", 0.9)]
    + [("validation", value) for value in (5, "xy", (), (IMAGES,), (IMAGES, LABELS, LABELS), IMAGES)],
)
def test_a_bad_option_of_fit_is_named(option, value):
    with pytest.raises(tc.TinyCNNError, match=f"{option}=.*expected"):
        MODEL.fit(IMAGES, LABELS, progress=False, **{option: value})


@pytest.mark.parametrize(
    "prepare", [lambda b: b[:-1], lambda b: np.concatenate([b, b]), lambda b: None, lambda b: b.sum()]
)
def test_prepare_must_not_lose_images(prepare):
    for call in (
        lambda: MODEL.predict(IMAGES, prepare=prepare),
        lambda: MODEL.evaluate(IMAGES, LABELS, prepare=prepare),
        lambda: MODEL.fit(IMAGES, LABELS, prepare=prepare, progress=False),
    ):
        with pytest.raises(tc.ShapeError, match=r"prepare made .*: expected an array of as many images"):
            call()


def test_augment_must_not_lose_images():
    with pytest.raises(tc.ShapeError, match=r"augment made .*: expected an array of as many images"):
        MODEL.fit(IMAGES, LABELS, augment=lambda batch, rng: batch[:1], progress=False)


@pytest.mark.parametrize(
    ("channels", "shape", "remedy"),
    [
        (3, (8, 8, 3), r"a single image x is a batch of one as x\[np.newaxis\]"),
        (1, (2, 8, 8), r"grey images x have their channel as x\[..., np.newaxis\]"),
        (3, (2, 3, 8, 8), r"channels come last, x.transpose\(0, 2, 3, 1\)"),
    ],
)
def test_axes_out_of_place_are_told_what_to_do(channels, shape, remedy):
    with pytest.raises(tc.ShapeError, match=remedy):
        tc.Conv2D(channels, 2, 3).forward(np.zeros(shape, np.float32))


def test_an_input_shape_with_a_batch_axis_is_told_so():
    with pytest.raises(tc.ShapeError, match="an input_shape has no N"):
        tc.Sequential([tc.Conv2D(1, 2, 3)], input_shape=(4, 8, 8, 1))


@pytest.mark.parametrize(("inputs", "layer"), [(128, "Flatten"), (2, "GlobalAvgPool2D")])
def test_a_dense_layer_behind_maps_is_told_what_to_put_between(inputs, layer):
    with pytest.raises(tc.ShapeError, match=f"put a {layer} before it"):
        tc.Dense(inputs, 2).forward(np.zeros((1, 8, 8, 2), np.float32))


def test_gradcheck_takes_layers_alone():
    with pytest.raises(tc.ConfigError, match="expected an object of type Layer"):
        tc.gradcheck(lambda x: x, np.zeros((2, 2)))


@pytest.mark.parametrize("key", ["kernel", "bias", "gamma", "beta", "running_mean", "running_var"])
def test_an_array_of_another_shape_in_its_place_is_named(backend, key):
    """Compiled code would read and write beyond it."""
    layers = [tc.Conv2D(3, 4, 3, bias=key == "bias", rng=0), tc.BatchNorm(4)]
    model, x = tc.Sequential(layers), np.ones((2, 6, 6, 3), np.float32)
    layer = next(layer for layer in layers if key in {**layer.params, **layer.state})
    arrays = layer.params if key in layer.params else layer.state
    arrays[key] = arrays[key][..., :1, :].copy() if key == "kernel" else arrays[key][:3].copy()
    ways = (model.forward, model.predict, lambda x: plan.run_model(model, x))
    for way in (*ways, lambda x: model.forward(x, train=True)):
        with pytest.raises(tc.ShapeError, match=f"its {key} is .*: expected"):
            way(x)


def test_a_kernel_of_another_dtype_in_a_separable_convolution_is_named(backend):
    conv = tc.SeparableConv2D(2, 4, 3, bias=False, rng=0)
    conv.pointwise.params["kernel"] = conv.pointwise.params["kernel"].astype(np.float64)
    model, x = tc.Sequential([conv, tc.BatchNorm(4)]), np.ones((2, 6, 6, 2), np.float32)
    for way in (model.forward, model.predict, lambda x: plan.run_model(model, x)):
        with pytest.raises(tc.DTypeError, match="float64"):
            way(x)


def test_paths_that_do_not_keep_their_promise_cannot_be_added(backend):
    class Gate(tc.Layer):  # without its `output_shape`
        def _forward(self, x, train):
            return x.mean(axis=(1, 2), keepdims=True), None

    x = np.ones((2, 6, 6, 2), np.float32)
    for shortcut in (None, tc.Sequential([tc.Conv2D(2, 2, 1, bias=False, rng=0), tc.BatchNorm(2)])):
        model = tc.Sequential([tc.Residual(Gate(), shortcut)])
        for way in (model.forward, model.predict, lambda x, model=model: plan.run_model(model, x)):
            with pytest.raises(tc.ShapeError, match=r"main gave \(2, 1, 1, 2\), shortcut \(2, 6, 6, 2\)"):
                way(x)
