"""ONNX out and in; what is written is run by ONNX Runtime and OpenCV, where they are installed."""

import json
import sys

import numpy as np
import pytest

import tinycnn as tc
from fer_demo.models import alexnet, compact, mini_xception
from tests.tinycnn.interop.twins import filled, images, nchw, torch_twin, with_everything

onnx = pytest.importorskip("onnx", reason="writes ONNX, of the extra 'interop'")


def small_alexnet():
    return alexnet(widths=(3, 4, 5, 5, 4), features=6)


def small_compact():
    return compact(widths=(4, 6, 8, 10))


MODELS = [mini_xception, small_alexnet, small_compact, with_everything]
each_model = pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Each model with the path of its file."""
    folder, found = tmp_path_factory.mktemp("onnx"), {}
    for make in MODELS:
        model, path = filled(make()), folder / f"{make.__name__}.onnx"
        labels = list(map(str, range(model.output_shape(model.input_shape)[-1])))
        tc.export_onnx(model, path, labels=labels, preprocessing={"mean": 129.5, "std": 65.1})
        found[make] = model, path
    return found


@each_model
def test_onnx_runtime_agrees(exported, make):
    runtime = pytest.importorskip("onnxruntime", reason="runs the written files")
    model, path = exported[make]
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].name == "input"
    for count in (1, 3):
        x = images(model, count)
        (found,) = session.run(None, {"input": nchw(x)})
        np.testing.assert_allclose(found, model.predict(x), rtol=0, atol=1e-5)
    known = session.get_modelmeta().custom_metadata_map
    assert {name: json.loads(text) for name, text in known.items()} == {
        "labels": list(map(str, range(found.shape[1]))),
        "preprocessing": {"mean": 129.5, "std": 65.1},
    }


@each_model
def test_opencv_agrees(exported, make):
    cv2 = pytest.importorskip("cv2", reason="runs the written files")
    model, path = exported[make]
    network = cv2.dnn.readNetFromONNX(str(path))
    for count in (1, 3):
        x = images(model, count)
        network.setInput(nchw(x))
        np.testing.assert_allclose(network.forward(), model.predict(x), rtol=0, atol=1e-5)


@each_model
def test_there_and_back(exported, make):
    model, path = exported[make]
    loaded = tc.import_onnx(path)
    assert loaded.input_shape == model.input_shape
    x = images(model)
    np.testing.assert_allclose(loaded.predict(x), model.predict(x), rtol=0, atol=1e-6)


def test_a_path_that_only_drops_out_comes_back(tmp_path):
    conv, drop = tc.Conv2D(1, 2, 3, padding="same", rng=0), tc.Dropout(0.5, rng=0)
    layers = [tc.Concat([tc.Sequential([drop]), tc.Sequential([conv])]), tc.Residual(tc.Dropout(0.1, rng=0))]
    model = tc.Sequential([*layers, tc.GlobalAvgPool2D()], input_shape=(6, 6, 1))
    tc.export_onnx(model, tmp_path / "m.onnx")
    x = np.random.default_rng(0).random((2, 6, 6, 1), np.float32)
    np.testing.assert_allclose(tc.import_onnx(tmp_path / "m.onnx").forward(x), model.forward(x), rtol=1e-6)


def test_names_come_back_and_batch_norm_lies_in_the_weights(exported):
    loaded = tc.import_onnx(exported[mini_xception][1])
    assert list(loaded.children())[:5] == ["conv1", "relu1", "conv2", "relu2", "module1"]
    assert "module1.main.module1_main_sep1_pointwise.kernel" in loaded.params


@pytest.mark.filterwarnings("ignore")
@each_model
def test_what_pytorch_writes(tmp_path, make):
    torch = pytest.importorskip("torch", reason="exports with PyTorch, an optional peer")
    model = filled(make())
    module, x, path = torch_twin(torch, model, model.input_shape).eval(), images(model), tmp_path / "m.onnx"
    batch = torch.from_numpy(nchw(x))
    # The new exporter, dynamo=True, takes many seconds; what it writes otherwise is in the tests below.
    torch.onnx.export(module, (batch,), path, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "N"}})
    with torch.no_grad():
        expected = module(batch).numpy()
    np.testing.assert_allclose(tc.import_onnx(path).predict(x), expected, rtol=0, atol=1e-5)


def test_batch_norm_that_others_read_too_stays(tmp_path):
    block = tc.Residual(tc.BatchNorm(3))
    layers = [tc.Conv2D(2, 3, 3, rng=0), block, tc.ReLU(), tc.BatchNorm(3)]
    model = filled(tc.Sequential(layers, input_shape=(5, 6, 2)))
    tc.export_onnx(model, tmp_path / "m.onnx")
    loaded, x = tc.import_onnx(tmp_path / "m.onnx"), images(model)
    assert sum(isinstance(layer, tc.BatchNorm) for _, layer in loaded.walk()) == 2
    np.testing.assert_allclose(loaded.predict(x), model.predict(x), rtol=1e-6)


class Own(tc.ReLU):
    def _forward(self, x, train):
        return x, x


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (tc.ReLU(), "model is a ReLU: expected a tinycnn.Sequential"),
        (tc.Sequential([tc.ReLU()]), "the input's shape is unknown"),
        (tc.Sequential([Own()], (2, 2, 1)), "'0' is a Own, which there is no rule for"),
        (tc.Sequential([tc.Flatten()], (2, 2, 2)), "ends with flattened maps"),
        (tc.Sequential({"input": tc.ReLU()}, (2, 2, 2)), "a layer is called 'input'"),
        (tc.Sequential([tc.Dense(2, 2)], (2,)).astype(np.float64), "0.kernel is float64: use model.astype"),
    ],
)
def test_models_that_cannot_be_written(tmp_path, model, message):
    with pytest.raises(tc.ConfigError, match=message):
        tc.export_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_an_odd_model_and_odd_metadata(tmp_path):
    path = tmp_path / "m.onnx"
    model = tc.Sequential([tc.Dropout()], input_shape=(2, 3, 4))
    tc.export_onnx(model, path)
    with pytest.raises(tc.FileFormatError, match="expected at least one layer"):
        tc.import_onnx(path)
    with pytest.raises(tc.ConfigError, match="metadata must be what JSON can hold"):
        tc.export_onnx(model, path, classes={1, 2})
    with pytest.raises(tc.ConfigError, match="metadata must be what JSON can hold"):
        tc.export_onnx(model, path, temperature=np.nan)
    with pytest.raises(tc.ConfigError, match="found 2 labels: expected 4"):
        tc.export_onnx(model, path, labels=["a", "b"])
    bad = tc.Sequential([tc.Dense(2, 2, rng=0)], (2,))
    bad.params["0.kernel"][0, 1] = np.nan
    with pytest.raises(tc.ConfigError, match=r"0.kernel\[0, 1\] is nan"):
        tc.export_onnx(bad, path)


def graph(*nodes, shape=("N", 2, 4, 4), constants=(), opset=18, output=None):
    """The bytes of a graph that takes x and puts out what the last node does."""
    helper = onnx.helper
    made = helper.make_graph(
        [
            helper.make_node(kind, inputs, [name], name=name, **options)
            for kind, name, inputs, options in nodes
        ],
        "g",
        [helper.make_tensor_value_info("x", 1, shape)],
        [helper.make_tensor_value_info(output or nodes[-1][1], 1, None)],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in dict(constants).items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)])


def read(tmp_path, model):
    path = tmp_path / "m.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return tc.import_onnx(path)


def relu(name="r", x="x"):
    return ("Relu", name, [x], {})


W = np.random.default_rng(0).standard_normal((3, 2, 3, 3)).astype(np.float32)
ROW = np.ones(3, np.float32)
POOL = {"kernel_shape": [3, 3]}
PADS = np.array([0, 0, 1, 1, 0, 0, 0, 1])


def test_other_ways_to_say_the_same(tmp_path):
    features = {"w": np.eye(32, 5, dtype=np.float32), "to": np.array([-1, 32])}
    nodes = [
        ("Identity", "same", ["w"], {}),
        ("Dropout", "d", ["x"], {}),
        ("Reshape", "flat", ["d", "to"], {}),
        ("MatMul", "m", ["flat", "same"], {}),
        ("Softmax", "s", ["m"], {}),
    ]
    model = read(tmp_path, graph(*nodes, constants=features))
    x = images(model)
    scores = nchw(x).reshape(3, 32)[:, :5]
    np.testing.assert_allclose(
        model.predict(x), np.exp(scores) / np.exp(scores).sum(1, keepdims=True), rtol=1e-5
    )
    pooled = [("MaxPool", "p", ["x"], POOL | {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
              ("ReduceMean", "m", ["p", "axes"], {"keepdims": 1}), ("Flatten", "f", ["m"], {})]  # fmt: skip
    model = read(tmp_path, graph(*pooled, constants={"axes": np.array([-1, -2])}))
    expected = tc.MaxPool2D(3, 2, "same").forward(x).mean(axis=(1, 2))
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-6)


def test_a_pad_goes_into_the_window_behind_it(tmp_path):
    nodes = [("Pad", "p", ["x", "pads"], {}), ("Conv", "c", ["p", "w"], {"pads": [0, 0, 1, 0]})]
    model = read(tmp_path, graph(*nodes, constants={"w": W, "pads": PADS}))
    assert model.children()["c"].padding == ((1, 1), (1, 1))
    with pytest.raises(tc.FileFormatError, match=r"Pad=0.0: expected margins of -inf"):
        read(tmp_path, graph(nodes[0], ("MaxPool", "m", ["p"], POOL), constants={"pads": PADS}))
    with pytest.raises(tc.FileFormatError, match=r"'r' \(Relu\): gets what a Pad makes"):
        read(tmp_path, graph(nodes[0], relu(x="p"), constants={"pads": PADS}))


def test_pooled_maps_keep_their_four_axes_until_they_are_flattened(tmp_path):
    nodes = [
        ("GlobalAveragePool", "g", ["x"], {}),
        relu(x="g"),
        ("Concat", "c", ["g", "r"], {"axis": -3}),
        ("Reshape", "f", ["c", "to"], {}),
        ("Softmax", "s", ["f"], {"axis": -1}),
    ]
    model = read(tmp_path, graph(*nodes, shape=(2, 2, 4, 4), constants={"to": np.array([2, -1])}))
    x = images(model)
    mean = x.mean(axis=(1, 2))
    scores = np.exp(np.concatenate([mean, np.maximum(mean, 0)], axis=1))
    np.testing.assert_allclose(model.predict(x), scores / scores.sum(axis=1, keepdims=True), rtol=1e-5)


def test_global_average_pooling_as_pytorch_writes_it(tmp_path):
    nodes = [
        ("ReduceMean", "m", ["x", "axes"], {"keepdims": 1}),
        ("Reshape", "row", ["m", "all"], {}),
        ("Gather", "g", ["row", "places"], {"axis": 0}),
        ("Reshape", "f", ["g", "to"], {}),
    ]
    places = np.arange(6).reshape(3, 2, 1, 1)
    constants = {"axes": np.array([-1, -2]), "all": np.array([-1]), "places": places, "to": np.array([3, 2])}
    x = np.random.default_rng(0).random((5, 4, 4, 2), np.float32)
    model = read(tmp_path, graph(*nodes, constants=constants, shape=(3, 2, 4, 4)))
    np.testing.assert_allclose(model.predict(x), x.mean(axis=(1, 2)), rtol=1e-6)
    with pytest.raises(tc.FileFormatError, match="expected all numbers of all images, in their order"):
        read(tmp_path, graph(*nodes, constants=constants | {"places": places[::-1].copy()}))
    with pytest.raises(tc.FileFormatError, match="gets all images in one row"):
        read(tmp_path, graph(*nodes[:2], relu(x="row"), constants=constants))


def conv(**options):
    """A convolution by constant weights."""
    return graph(("Conv", "c", ["x", "w"], options), constants={"w": W})


def weighed(array, shape=("N", 2, 4, 4)):
    """A convolution by other weights."""
    return graph(("Conv", "c", ["x", "w"], {}), constants={"w": array}, shape=shape)


def one(kind, *constants, opset=18, **options):
    """A graph of one operator on x and on constants."""
    names = [f"c{number}" for number in range(len(constants))]
    return graph(
        (kind, "o", ["x", *names], options), constants=dict(zip(names, constants, strict=True)), opset=opset
    )


def alone(kind, constant, **options):
    """An operator on a constant, which is not the image."""
    return graph((kind, "o", ["c"], options), constants={"c": constant})


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (one("Sigmoid"), r"operator 'o' \(Sigmoid\): tinycnn has nothing for it: expected Conv, "),
        (one("Relu", domain="mine"), r"'o' \(Relu\): tinycnn has nothing for it"),
        (conv(group=2), "group=2: expected 1, or as many"),
        (conv(dilations=[2, 2]), r"dilations=\[2, 2\]: expected \[1, 1\], which is all that tinycnn has"),
        (conv(auto_pad="SAME_LOWER"), "auto_pad='SAME_LOWER': expected 'NOTSET'"),
        (weighed(W[:, :1]), r"expected input \(N, H, W, 1\), found \(N, 4, 4, 2\)"),
        (weighed(W.astype(np.float64)), "its kernel is float64 .* expected float32"),
        (weighed(np.full_like(W, np.inf)), r"kernel\[0, 0, 0, 0\] is inf: expected finite"),
        (graph(("Conv", "c", ["x", "w"], {})), "'w' depends on the image: expected a constant"),
        (graph(relu(), ("Conv", "c", ["x", "r"], {})), "2 of its 2 inputs depend on the image: expected"),
        (graph(("MatMul", "g", ["w", "x"], {}), constants={"w": W}), "1 of its 2 inputs depend"),
        (one("Add", W), "expected the first; of Add and Concat, all"),
        (graph(("MaxPool", "p", ["x"], POOL), ("Add", "a", ["x", "p"], {})), "expected two alike"),
        (one("MaxPool", **POOL, ceil_mode=1), "ceil_mode=1: expected 0"),
        (one("MaxPool"), "'kernel_shape' is missing"),
        (one("AveragePool", **POOL, pads=[1] * 4, count_include_pad=1), "count_include_pad=1"),
        (one("ReduceMean", axes=[1], opset=13), r"axes=\[1\]: expected \[2, 3\]"),
        (one("ReduceMean"), r"axes=\(\): expected \[2, 3\]"),
        (graph(("GlobalAveragePool", "g", ["x"], {}), ("Softmax", "s", ["g"], {"axis": -1})), "axis=-1"),
        (graph(("GlobalAveragePool", "g", ["x"], {}), relu(x="g"), ("Concat", "c", ["g", "r"], {"axis": -1})),
         "axis=-1: expected 1"),
        (graph(("Flatten", "f", ["x"], {}), ("Gemm", "d", ["f", "w", "b"], {}), shape=(3, 2, 4, 4),
               constants={"w": np.ones((32, 3), np.float32), "b": ROW[:, None]}),
         r"bias is float32 \(3, 1\)"),
        (graph(("Reshape", "f", ["x", "to"], {}), shape=(2, 2, 4, 4), constants={"to": np.array([4, -1])}),
         r"shape=\[4, -1\]"),
        (one("Flatten", axis=2), "axis=2: expected 1"),
        (one("Flatten"), "its output is not a layer's, or a flattened map"),
        (one("Reshape", np.array([-1, 2])), r"shape=\[-1, 2\]: expected"),
        (one("Softmax", axis=-1), "axis=-1: expected 1: the channels"),
        (one("Softmax", axis=1, opset=11), "opset=11: expected 13 or later"),
        (one("Pad", PADS[::-1].copy()), "margins for rows and columns alone"),
        (one("Pad", -PADS), "negative ones cut off"),
        (one("Dropout", np.float32(0.5), np.array(True)), "training_mode=True: expected False"),
        (one("Pad", PADS), "its output is not a layer's"),
        (one("Pad", PADS, mode="edge"), "mode='edge': expected 'constant'"),
        (one("BatchNormalization", training_mode=1), "training_mode=1"),
        (graph(relu(), shape=("N", 2, "H", 4)), r"its input is \(N, 2, H, 4\): expected \(N, C, H, W\)"),
        (graph(relu(), output="none"), "its output is not a layer's"),
        (alone("Sqrt", np.ones(1)), "works on constants alone"),
        (alone("ConstantOfShape", np.array([10**9])), "expected at most 64 numbers"),
        (alone("Cast", np.array([1]), to=1), "to=1: expected 7"),
        (alone("Concat", np.ones(65), axis=0), "up to 64 numbers"),
        (b"", "it has 0 inputs and 0 outputs: expected an ONNX model"),
        (b"\x80\x04K\x01.", r"not a whole ONNX file \(DecodeError"),
    ],
)  # fmt: skip
def test_what_cannot_be_mapped_is_named(tmp_path, model, message):
    with pytest.raises(tc.FileFormatError, match=message) as error:
        read(tmp_path, model)
    assert str(error.value).startswith(f"{tmp_path / 'm.onnx'}: ")


def test_a_model_that_is_read_can_be_trained_and_shares_no_array(tmp_path):
    same = ["w"] * 4  # exporters write equal arrays once
    norms = [("BatchNormalization", "n", ["x", *same], {}), ("BatchNormalization", "m", ["r", *same], {})]
    ends = [("GlobalAveragePool", "g", ["m"], {}), ("Flatten", "f", ["g"], {})]
    nodes = norms[0], relu(x="n"), norms[1], *ends
    model = read(tmp_path, graph(*nodes, shape=("N", 3, 4, 4), constants={"w": ROW}))
    arrays = [*model.params.values(), *model.state.values()]
    assert len({array.ctypes.data for array in arrays}) == len(arrays) == 8
    x = np.random.default_rng(0).random((4, 4, 4, 3), np.float32)
    model.fit(x, np.array([0, 1, 2, 1]), epochs=1, progress=False)


def test_a_forward_pass_of_its_own_is_not_passed_over(tmp_path):
    model = tc.Sequential({"relu": tc.ReLU()}, input_shape=(2, 2, 1))
    model.children()["relu"].forward = lambda x, train=False: -x
    with pytest.raises(tc.ConfigError, match="'relu' has a forward pass of its own: ONNX has nothing"):
        tc.export_onnx(model, tmp_path / "m.onnx")


def test_other_files_are_not_opened(tmp_path):
    model = conv()
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    with pytest.raises(tc.FileFormatError, match="'w' lies in another file: expected all in one"):
        tc.import_onnx(tmp_path / "m.onnx")


def test_a_tensor_that_lies_about_its_size_is_refused(tmp_path):
    model = conv()
    model.graph.initializer[0].dims[:] = [2**20, 2**20, 3, 3]
    with pytest.raises(tc.FileFormatError, match="cannot reshape array"):
        read(tmp_path, model)


def test_weights_under_many_operators_do_not_multiply(tmp_path):
    nodes = [("MatMul", f"m{i}", [f"m{i - 1}" if i else "x", "same"], {}) for i in range(30)]
    square = {"w": np.eye(200, dtype=np.float32)}
    alike = graph(("Identity", "same", ["w"], {}), *nodes, shape=("N", 200), constants=square)
    with pytest.raises(tc.FileFormatError, match=r"'m10' \(MatMul\): operators share weights"):
        read(tmp_path, alike)


def test_a_missing_file_or_package_is_named(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        tc.import_onnx(tmp_path / "none.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    for call in (tc.import_onnx, lambda path: tc.export_onnx(mini_xception(), path)):
        with pytest.raises(tc.MissingPackageError, match=r"onnx, .*: pip install 'tinycnn\[interop\]'"):
            call(tmp_path / "m.onnx")


def test_images_of_two_axes_are_refused(tmp_path):
    model = tc.Sequential([tc.Flatten(), tc.Dense(15, 2, rng=0)], input_shape=(5, 3))
    with pytest.raises(tc.ConfigError, match="input_shape is"):
        tc.export_onnx(model, tmp_path / "m.onnx")


def test_weights_that_overflow_with_batch_norm_in_them_are_refused(tmp_path):
    model = tc.Sequential([tc.Conv2D(1, 1, 1, bias=False, rng=0), tc.BatchNorm(1)], input_shape=(2, 2, 1))
    model.params["0.kernel"][...], model.params["1.gamma"][...] = 1e10, 1e30
    with pytest.raises(tc.ConfigError, match=r"'1', in the weights before it,.* is inf: expected finite"):
        tc.export_onnx(model, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
