"""Every layer: gradients against the definition of the derivative, shapes, errors, and manners."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinycnn as tc
from tinycnn.save import REGISTRY

seeds = st.integers(0, 2**32 - 1)
paddings = st.sampled_from(["valid", "same"])
sizes = st.integers(1, 4)
strides = st.integers(1, 3)


@st.composite
def window_layer(draw, kind):
    """A layer that slides a window, and its input shape: batch 1, one channel and odd sizes come up often."""
    kh, kw, c = draw(sizes), draw(sizes), draw(st.integers(1, 3))
    explicit = st.tuples(*[st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)) for k in (kh, kw)])
    options = {"stride": (draw(strides), draw(strides)), "padding": draw(paddings | explicit)}
    shape = (draw(st.integers(1, 3)), draw(st.integers(kh, 7)), draw(st.integers(kw, 7)), c)
    trained = {"bias": draw(st.booleans()), "l2": draw(st.sampled_from([0, 0.1])), "rng": draw(seeds)}
    if kind in (tc.Conv2D, tc.SeparableConv2D):
        return kind(c, draw(st.integers(1, 3)), (kh, kw), **options, **trained), shape
    if kind is tc.DepthwiseConv2D:
        return kind(c, (kh, kw), **options, **trained), shape
    return kind((kh, kw), **options), shape


maps = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(1, 3))


@st.composite
def plain_layer(draw, kind):
    """A layer without a window, and its input shape."""
    if kind is tc.Dense:
        n, i, o = (draw(st.integers(1, 5)) for _ in range(3))
        return tc.Dense(
            i, o, bias=draw(st.booleans()), l2=draw(st.sampled_from([0, 0.1])), rng=draw(seeds)
        ), (n, i)
    shape = draw(maps)
    if kind is tc.BatchNorm:
        layer = tc.BatchNorm(shape[-1])
        rng = np.random.default_rng(draw(seeds))
        for array in layer.params.values():
            array[...] = rng.standard_normal(array.shape)
        return layer, shape
    if kind is tc.Dropout:
        return tc.Dropout(draw(st.sampled_from([0, 0.3, 0.9])), rng=draw(seeds)), shape
    if kind is tc.Residual:
        c, out = shape[-1], draw(st.integers(1, 3))
        rng = np.random.default_rng(draw(seeds))
        shortcut = None if out == c and draw(st.booleans()) else tc.Conv2D(c, out, 1, rng=rng)
        main = tc.Sequential([tc.Conv2D(c, out, 3, padding="same", rng=rng), tc.BatchNorm(out)])
        return tc.Residual(main, shortcut), shape
    if kind is tc.Concat:
        c, rng = shape[-1], np.random.default_rng(draw(seeds))
        conv = tc.Sequential([tc.Conv2D(c, 2, 3, padding="same", rng=rng), tc.BatchNorm(2)])
        branches = {"conv": conv, "pool": tc.MaxPool2D(2, 1, "same"), "point": tc.Conv2D(c, 3, 1, rng=rng)}
        return tc.Concat(dict([*branches.items()][: draw(st.integers(2, 3))])), shape
    if kind is tc.Sequential:
        return tc.Sequential(
            {"conv": tc.Conv2D(shape[-1], 2, 1, rng=draw(seeds)), "flat": tc.Flatten()}
        ), shape
    return kind(), shape


WINDOW_KINDS = [tc.Conv2D, tc.DepthwiseConv2D, tc.SeparableConv2D, tc.MaxPool2D, tc.AvgPool2D]
PLAIN_KINDS = [
    tc.BatchNorm,
    tc.Concat,
    tc.Dense,
    tc.Dropout,
    tc.Flatten,
    tc.GlobalAvgPool2D,
    tc.ReLU,
    tc.Residual,
    tc.Sequential,
    tc.Softmax,
]
CASES = {kind: window_layer(kind) for kind in WINDOW_KINDS} | {
    kind: plain_layer(kind) for kind in PLAIN_KINDS
}
every_layer = pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)


def away_from_kinks(shape, seed):
    """Numbers that are all different and none near 0, in random order: ReLU and max-pool are smooth there."""
    size = int(np.prod(shape))
    rng = np.random.default_rng(seed)
    values = (np.arange(size) - size // 2 + 0.5) / max(size / 4, 1)
    return rng.permutation(values).reshape(shape)


def test_the_table_holds_every_layer():
    assert set(REGISTRY.values()) == set(CASES)


@every_layer
@given(data=st.data(), seed=seeds)
def test_gradients(backend, kind, data, seed):
    layer, shape = data.draw(CASES[kind])
    result = tc.gradcheck(layer, away_from_kinks(shape, seed), seed=seed, show=False)
    assert result.passed, f"\n{result}"


@every_layer
@given(data=st.data(), seed=seeds, dtype=st.sampled_from([np.float32, np.float64]))
def test_shapes_dtypes_and_manners(backend, kind, data, seed, dtype):
    layer, shape = data.draw(CASES[kind])
    layer = layer.astype(dtype)
    x = away_from_kinks(shape, seed).astype(dtype)
    before = x.copy()
    y = layer.forward(x, train=True)
    assert y.shape == (shape[0], *layer.output_shape(shape[1:]))
    assert y.dtype == dtype
    dy = np.random.default_rng(seed).standard_normal(y.shape).astype(dtype)
    dy_before = dy.copy()
    dx = layer.backward(dy)
    assert dx.shape == x.shape
    assert dx.dtype == dtype
    assert layer.grads.keys() == layer.params.keys()
    for name, param in layer.params.items():
        assert (layer.grads[name].shape, layer.grads[name].dtype) == (param.shape, param.dtype)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(dy, dy_before)


@every_layer
@given(data=st.data(), seed=seeds)
def test_memory_layout_does_not_matter(backend, kind, data, seed):
    layer, shape = data.draw(CASES[kind])
    x = away_from_kinks(shape, seed).astype(np.float32)
    strided = np.repeat(x, 2, axis=-1)[..., ::2]
    transposed = np.asfortranarray(x)
    np.testing.assert_array_equal(strided, x)
    expected = layer.forward(x)
    np.testing.assert_array_equal(layer.forward(strided), expected)
    np.testing.assert_array_equal(layer.forward(transposed), expected)


@every_layer
@given(data=st.data())
def test_backward_needs_a_training_forward(kind, data):
    layer, shape = data.draw(CASES[kind])
    x = np.ones(shape, np.float32)
    y = layer.forward(x, train=True)
    layer.forward(x)  # an evaluation forgets
    with pytest.raises(tc.CacheError, match=r"needs a forward\(x, train=True\)"):
        layer.backward(y)


@every_layer
@given(data=st.data())
def test_what_does_not_fit_is_refused(kind, data):
    layer, shape = data.draw(CASES[kind])
    with pytest.raises(tc.DTypeError, match=r"found uint8: use np\.float32"):
        layer.forward(np.ones(shape, np.uint8))
    with pytest.raises(tc.DTypeError, match="found list"):
        layer.forward([1.0])
    with pytest.raises(tc.ShapeError, match="at least one image"):
        layer.forward(np.ones((0, *shape[1:]), np.float32))
    y = layer.forward(np.ones(shape, np.float32), train=True)
    with pytest.raises(tc.ShapeError):
        layer.backward(np.ones((*y.shape, 1), np.float32))


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (tc.Conv2D(3, 8, 3), (2, 9, 9, 1), r"expected input \(N, H, W, 3\), found \(N, 9, 9, 1\)"),
        (tc.Conv2D(3, 8, 3), (2, 2, 9, 3), r"3x3 window does not fit into a 2x9 map"),
        (tc.DepthwiseConv2D(3, 3), (2, 9, 3), r"expected input \(N, H, W, 3\), found \(N, 9, 3\)"),
        (
            tc.Dense(8, 2),
            (5, 2, 2, 2),
            r"expected input \(N, 8\), found \(N, 2, 2, 2\): put a Flatten before it",
        ),
        (tc.BatchNorm(4), (5, 3), r"expected input \(N, ..., 4\), found \(N, 3\)"),
        (tc.GlobalAvgPool2D(), (5, 3), r"expected input \(N, H, W, C\), found \(N, 3\)"),
        (
            tc.Residual(tc.Conv2D(1, 2, 1)),
            (1, 4, 4, 1),
            r"main gives \(4, 4, 2\), shortcut gives \(4, 4, 1\)",
        ),
        (
            tc.Concat({"same": tc.ReLU(), "halved": tc.MaxPool2D(2)}),
            (1, 4, 4, 1),
            r"branch 'halved' gives \(2, 2, 1\), 'same' gives \(4, 4, 1\) .*: give both the same stride",
        ),
    ],
)
def test_shape_errors_say_what_was_expected(layer, shape, message):
    with pytest.raises(tc.ShapeError, match=message):
        layer.forward(np.zeros(shape, np.float32))


def test_an_error_inside_a_branch_names_the_branch():
    layer = tc.Concat({"first": tc.ReLU(), "second": tc.Conv2D(3, 2, 3)})
    with pytest.raises(tc.ShapeError) as caught:
        layer.forward(np.zeros((1, 9, 9, 1), np.float32))
    assert caught.value.__notes__ == ["in branch 'second'"]
    twin = copy.deepcopy(layer)
    with pytest.raises(tc.CacheError):
        twin.backward(np.ones((1, 2, 2, 5)))
    with pytest.raises(tc.ConfigError, match="Concat: expected at least two branches"):
        tc.Concat([tc.ReLU()])


def test_an_error_inside_a_model_names_the_layer():
    model = tc.Sequential({"first": tc.Conv2D(1, 2, 3), "second": tc.Conv2D(3, 2, 3)})
    with pytest.raises(tc.ShapeError) as caught:
        model.forward(np.zeros((1, 9, 9, 1), np.float32))
    assert caught.value.__notes__ == ["in layer 'second'"]
    with pytest.raises(tc.ShapeError) as caught:
        model.output_shape((9, 9, 1))
    assert caught.value.__notes__ == ["in layer 'second'"]


DENSE = tc.Dense(2, 2, rng=0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: tc.Conv2D(0, 1, 3), "in_channels=0"),
        (lambda: tc.Conv2D(1, 1.5, 3), "out_channels=1.5"),
        (lambda: tc.Conv2D(1, 1, 0), "kernel_size=0"),
        (lambda: tc.Conv2D(1, 1, (3, 3, 3)), "kernel_size="),
        (lambda: tc.Conv2D(1, 1, 3, stride=0), "stride=0"),
        (lambda: tc.Conv2D(1, 1, 3, padding="full"), "padding='full'"),
        (lambda: tc.Conv2D(1, 1, 3, padding=((-1, 0), (0, 0))), "padding="),
        (lambda: tc.Conv2D(1, 1, 3, padding=1), "padding=1"),
        (lambda: tc.Conv2D(1, 1, 3, l2=-1), "l2=-1"),
        (lambda: tc.Conv2D(1, 1, 3, l2=float("nan")), "l2=nan"),
        (lambda: tc.Conv2D(1, 1, 3, init="zeros"), "init='zeros': expected one of 'he', 'glorot'"),
        (lambda: tc.MaxPool2D(2, padding=((2, 0), (0, 0))), "could lie wholly in it"),
        (lambda: tc.Dense(3, 0), "out_features=0"),
        (lambda: tc.Dense(3, np.int64(7)), "at most 268435456: use 7, not NumPy's"),
        (lambda: DENSE.astype(np.float16), "expected np.float32 or np.float64"),
        (lambda: DENSE.astype("floats"), "dtype='floats'"),
        (lambda: tc.Dropout(1.0), "rate=1.0"),
        (lambda: tc.Dropout("half"), "rate='half'"),
        (lambda: tc.BatchNorm(3, momentum=1), "momentum=1"),
        (lambda: tc.BatchNorm(3, eps=0), "eps=0"),
        (lambda: tc.Composite({"a": 3}), "Composite: 'a' is a int, expected a layer"),
        (lambda: tc.Composite({"a.b": tc.ReLU()}), "'a.b'"),
        (lambda: tc.compile_for_inference(5), "model=5: expected a layer"),
        (lambda: tc.gradcheck(tc.ReLU(), np.ones((1, 2)), tolerance="small"), "tolerance='small'"),
        (lambda: tc.gradcheck(tc.ReLU(), np.ones((1, 2)), tolerance=-1), "tolerance=-1"),
        (lambda: tc.gradcheck(tc.ReLU(), np.ones((1, 2)), seed=-1), "seed=-1"),
        (lambda: tc.set_threads(True), "set_threads(True)"),
        (lambda: tc.Sequential([]), "at least one layer"),
        (lambda: tc.Sequential([tc.ReLU(), "relu"]), "'1' is a str"),
        (lambda: tc.Sequential({"a.b": tc.ReLU()}), "'a.b'"),
        (lambda: tc.Concat({"type": tc.ReLU(), "b": tc.ReLU()}), "layer name 'type': files need that word"),
        (lambda: tc.Sequential([tc.ReLU()] * 2), "'0' and '1' are one layer object"),
        (lambda: tc.Residual(*[tc.Dense(2, 2)] * 2), "'main' and 'shortcut' are one layer object"),
        (lambda: tc.Sequential([DENSE, tc.Residual(DENSE)]), "'0' and '1.main' are one layer object"),
        (lambda: tc.Residual("x"), "'main' is a str"),
    ],
)
def test_bad_arguments_are_refused_at_once(build, message):
    with pytest.raises(tc.ConfigError) as caught:
        build()
    assert message in str(caught.value)


def test_float64_input_to_float32_parameters_names_both_remedies():
    with pytest.raises(tc.DTypeError, match=r"x\.astype\(np\.float32\) or layer\.astype\(np\.float64\)"):
        tc.Dense(2, 2).forward(np.zeros((1, 2)))


def test_parameters_of_a_model_cannot_be_replaced_unnoticed():
    model = tc.Sequential([tc.Dense(2, 2)])
    with pytest.raises(TypeError):
        model.params["0.kernel"] = np.zeros((2, 2))
    model.params["0.kernel"][...] = 0
    assert not model.children()["0"].params["kernel"].any()


def test_batch_norm_in_training_and_evaluation(backend):
    rng = np.random.default_rng(0)
    layer = tc.BatchNorm(3, momentum=0.5, eps=1e-5)
    x = (rng.standard_normal((16, 5, 5, 3)) * [1, 2, 3] + [5, 0, -5]).astype(np.float32)
    y = layer.forward(x, train=True)
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(0, 1, 2)), 1, atol=1e-4)
    np.testing.assert_allclose(layer.state["running_mean"], x.mean(axis=(0, 1, 2)) / 2, rtol=1e-5)
    np.testing.assert_allclose(layer.state["running_var"], (1 + x.var(axis=(0, 1, 2))) / 2, rtol=1e-5)
    mean, var = layer.state["running_mean"], layer.state["running_var"]
    np.testing.assert_allclose(layer.forward(x), (x - mean) / np.sqrt(var + 1e-5), rtol=1e-4, atol=1e-5)


def test_batch_norm_of_constant_channels_and_a_single_value(backend):
    layer = tc.BatchNorm(2)
    for shape in ((4, 3, 3, 2), (1, 2)):
        y = layer.forward(np.full(shape, 7, np.float32), train=True)
        np.testing.assert_array_equal(y, 0)
        np.testing.assert_array_equal(layer.backward(np.ones_like(y)), 0)


def test_dropout_keeps_the_mean_and_is_the_same_for_the_same_seed(backend):
    x = np.ones((64, 1000), np.float32)
    y = tc.Dropout(0.3, rng=1).forward(x, train=True)
    np.testing.assert_array_equal(np.unique(y), np.float32([0, 1 / 0.7]))
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.01)
    np.testing.assert_array_equal(tc.Dropout(0.3, rng=1).forward(x, train=True), y)
    np.testing.assert_array_equal(tc.Dropout(0.3, rng=1).forward(x), x)


def test_softmax_is_stable(backend):
    y = tc.Softmax().forward(np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4]], np.float32))
    np.testing.assert_allclose(y, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]], rtol=1e-6)


def test_ties_go_to_the_first_maximum(backend):
    layer = tc.MaxPool2D(2)
    layer.forward(np.ones((1, 2, 2, 1), np.float32), train=True)
    np.testing.assert_array_equal(
        layer.backward(np.ones((1, 1, 1, 1), np.float32))[0, :, :, 0], [[1, 0], [0, 0]]
    )


def test_same_padding_is_that_of_keras(backend):
    # Keras: 4 columns, window 3, stride 2 need one padded column, and it stands at the right.
    x = np.arange(1, 5, dtype=np.float32).reshape(1, 1, 4, 1)
    layer = tc.DepthwiseConv2D(1, (1, 3), stride=(1, 2), padding="same", bias=False)
    layer.params["kernel"][...] = 1
    np.testing.assert_array_equal(layer.forward(x).ravel(), [1 + 2 + 3, 3 + 4 + 0])


@pytest.mark.parametrize("init", ["he", "glorot"])
def test_initial_kernels_have_the_published_variance(init):
    kernel = tc.Conv2D(32, 64, 3, init=init, rng=0).params["kernel"]
    fan_in, fan_out = 9 * 32, 9 * 64
    expected = {"he": 2 / fan_in, "glorot": 2 / (fan_in + fan_out)}[init]
    assert kernel.var() == pytest.approx(expected, rel=0.03)
    assert kernel.dtype == np.float32


class Own(tc.Layer):
    """A layer as a user writes it: what its methods return is given."""

    def __init__(self, forward=None, backward=None):
        super().__init__()
        self.returned = forward, backward

    def _forward(self, x, train):
        return self.returned[0] or x

    def _backward(self, dy, cache):
        return self.returned[1] or dy


def test_a_layer_that_returns_one_thing_of_two_is_told_so():
    two = np.ones((2, 1), np.float32)  # two images would unpack as well
    with pytest.raises(
        tc.ConfigError, match=r"_forward has to return the output and the cache, found ndarray"
    ):
        Own().forward(two)
    layer = Own(forward=(two, None))
    layer.forward(two, train=True)
    with pytest.raises(tc.ConfigError, match=r"_backward has to return the input's gradient and a dict"):
        layer.backward(two)


def test_parts_of_a_composite_are_exchanged_where_they_are_kept():
    """A second place for them could say something else."""
    residual, separable = tc.Residual(tc.ReLU()), tc.SeparableConv2D(1, 2, 3)
    for layer, name in [(residual, "main"), (residual, "shortcut"), (separable, "pointwise")]:
        with pytest.raises(AttributeError):
            setattr(layer, name, tc.ReLU())
    assert residual.shortcut is None


def test_a_copy_in_another_dtype_has_no_way_back_from_the_first_ones_forward():
    dense = tc.Dense(2, 2, rng=0)
    dense.forward(np.ones((1, 2), np.float32), train=True)
    with pytest.raises(tc.CacheError):
        dense.astype(np.float64).backward(np.ones((1, 2), np.float32))
    dense.backward(np.ones((1, 2), np.float32))


def test_an_error_on_the_way_back_names_the_layer():
    class Wrong(tc.Layer):
        def _backward(self, dy, cache):
            return dy

        def _forward(self, x, train):
            return x, None

    model = tc.Sequential({"block": tc.Sequential({"wrong": Wrong()})})
    y = model.forward(np.ones((1, 2), np.float32), train=True)
    with pytest.raises(tc.ConfigError) as caught:
        model.backward(y)
    assert caught.value.__notes__ == ["in layer 'wrong'", "in layer 'block'"]
