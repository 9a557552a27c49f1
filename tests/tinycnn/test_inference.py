"""Prepared networks: the outputs of `forward`, for any batch, size, backend and number of threads."""

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinycnn as tc
from tinycnn import inference


def close(found, expected):
    """Equal within 1e-5 of the largest number in float32, 1e-12 in float64; dtype and shape alike."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    tolerance = 1e-5 if found.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max()))


def randomise(model, rng):
    """Give batch norm statistics and weights of all signs, zero among them, and biases too."""
    for _, layer in model.walk():
        if isinstance(layer, tc.BatchNorm):
            layer.params["gamma"][...] = rng.normal(size=layer.channels)
            layer.params["gamma"][0] = 0
            layer.params["beta"][...] = rng.normal(size=layer.channels)
            layer.state["running_mean"][...] = rng.normal(size=layer.channels)
            layer.state["running_var"][...] = rng.uniform(0.1, 3, layer.channels)
        elif not layer.children() and "bias" in layer.params:
            layer.params["bias"][...] = rng.normal(size=layer.params["bias"].shape)
    return model


def draw(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def network(channels=1, rng=None):
    """Return a small network with every kind of step."""
    rng = np.random.default_rng(0) if rng is None else rng
    main = [tc.SeparableConv2D(8, 9, 3, padding="same", bias=False, rng=rng), tc.BatchNorm(9), tc.ReLU()]
    main += [tc.DepthwiseConv2D(9, 3, padding="same", rng=rng), tc.BatchNorm(9)]
    main += [tc.MaxPool2D(3, stride=2, padding="same")]
    detour = [tc.Conv2D(8, 9, 1, stride=2, bias=False, rng=rng), tc.BatchNorm(9)]
    layers = [tc.Conv2D(channels, 8, 3, bias=False, rng=rng), tc.BatchNorm(8), tc.ReLU()]
    layers += [tc.Residual(tc.Sequential(main), tc.Sequential(detour)), tc.Dropout(0.5)]
    layers += [
        tc.Residual(tc.Sequential([tc.ReLU(), tc.Conv2D(9, 9, 3, padding="same", rng=rng)])),
        tc.ReLU(),
    ]
    layers += [
        tc.GlobalAvgPool2D(),
        tc.Dense(9, 20, rng=rng),
        tc.ReLU(),
        tc.Dense(20, 5, rng=rng),
        tc.Softmax(),
    ]
    model = randomise(tc.Sequential(layers), rng)
    model.params["10.kernel"][...] *= 0.02  # a softmax of large scores would hide what went wrong before it
    return model


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outputs_are_those_of_forward(backend, dtype):
    model = network().astype(dtype)
    prepared = tc.compile_for_inference(model)
    for shape in ((1, 12, 12, 1), (5, 12, 12, 1), (2, 9, 14, 1)):
        x = np.random.default_rng(1).standard_normal(shape).astype(dtype)
        before = x.copy()
        close(prepared(x), model.forward(x))
        np.testing.assert_array_equal(x, before)


@st.composite
def models(draw_from):
    """Random layers one after another, some of them in detours, for maps of some size; without a softmax."""
    rng = np.random.default_rng(draw_from(st.integers(0, 2**32 - 1)))
    size = draw_from(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    channels = draw_from(st.integers(1, 20))
    shape, layers = (*size, channels), []

    def window():
        kernel = draw_from(st.tuples(st.integers(1, 4), st.integers(1, 4)))
        explicit = st.tuples(*[st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)) for k in kernel])
        stride = draw_from(st.tuples(st.integers(1, 3), st.integers(1, 3)))
        return {"kernel_size": kernel, "stride": stride, "padding": draw_from(st.just("same") | explicit)}

    def layer(c):
        kind = draw_from(
            st.sampled_from(
                ["conv", "depthwise", "separable", "pool", "mean", "norm", "relu", "residual", "concat"]
            )
        )
        bias, out = draw_from(st.booleans()), draw_from(st.integers(1, 20))
        if kind == "residual":
            inner = [tc.Conv2D(c, c, 3, padding="same", bias=bias, rng=rng), tc.BatchNorm(c), tc.ReLU()]
            return tc.Residual(tc.Sequential(inner[: draw_from(st.integers(1, 3))]))
        if kind == "concat":
            conv = tc.Conv2D(c, out, 3, padding="same", bias=bias, rng=rng)
            paths = [tc.Sequential([conv, tc.ReLU()]), tc.Dropout(0.5), tc.MaxPool2D(2, 1, "same")]
            return tc.Concat(paths[draw_from(st.integers(0, 1)) :])
        return {
            "conv": lambda: tc.Conv2D(c, out, **window(), bias=bias, rng=rng),
            "depthwise": lambda: tc.DepthwiseConv2D(c, **window(), bias=bias, rng=rng),
            "separable": lambda: tc.SeparableConv2D(c, out, **window(), bias=bias, rng=rng),
            "pool": lambda: tc.MaxPool2D(**window()),
            "mean": lambda: tc.AvgPool2D(**window()),
            "norm": lambda: tc.BatchNorm(c),
            "relu": tc.ReLU,
        }[kind]()

    for _ in range(draw_from(st.integers(1, 6))):
        new = layer(shape[2])
        try:
            shape = new.output_shape(shape)
        except tc.ShapeError:  # the map has become too small for this window
            continue
        layers.append(new)
    if not layers or draw_from(st.booleans()):
        layers += [tc.Flatten(), tc.Dense(int(np.prod(shape)), 3, rng=rng), tc.BatchNorm(3)]
    x = draw(rng, draw_from(st.integers(1, 3)), *size, channels)
    return randomise(tc.Sequential(layers), rng), x


@given(case=models())
def test_random_models(backend, case):
    model, x = case
    close(tc.compile_for_inference(model)(x), model.forward(x))


@pytest.mark.parametrize(("padding", "prepared"), [("valid", True), ("same", False)])
def test_an_average_pool_is_a_window_like_others_unless_it_is_padded(backend, padding, prepared):
    layers = [tc.Conv2D(1, 3, 3, rng=0), tc.BatchNorm(3), tc.AvgPool2D((2, 3), (2, 1), padding), tc.ReLU()]
    model, x = randomise(tc.Sequential(layers), rng := np.random.default_rng(0)), draw(rng, 2, 7, 8, 1)
    network = tc.compile_for_inference(model)
    close(network(x), model.forward(x))
    assert all((plan is inference._layer_by_layer) != prepared for plan in network._plans.values())


def test_many_weights_in_blocks_of_images(backend):
    rng = np.random.default_rng(0)
    layers = [
        tc.Conv2D(3, 40, 3, stride=2, padding="same", rng=rng),
        tc.ReLU(),
        tc.Conv2D(40, 60, 3, rng=rng),
    ]
    layers += [tc.ReLU(), tc.Flatten(), tc.Dense(540, 300, rng=rng), tc.ReLU(), tc.Dense(300, 7, rng=rng)]
    model = tc.Sequential(layers)
    x = draw(rng, 19, 10, 10, 3)
    prepared = tc.compile_for_inference(model)
    for n in (1, 3, 19):
        close(prepared(x[:n]), model.forward(x[:n]))


def test_heavy_weights_for_few_images_and_for_many(backend):
    layers = [tc.Flatten(), tc.Dense(300, 4000, rng=0), tc.ReLU(), tc.Dense(4000, 3, rng=1)]
    model, x = tc.Sequential(layers), draw(np.random.default_rng(0), 20, 10, 10, 3)
    prepared = tc.compile_for_inference(model)
    for n in (1, 9, 20):
        close(model.predict(x[:n]), model.forward(x[:n]))
        close(prepared(x[:n]), model.forward(x[:n]))


def test_neither_threads_nor_company_change_a_bit():
    pytest.importorskip("numba", reason="the reference leaves both to BLAS")
    with tc.backend("numba"):
        prepared, x = tc.compile_for_inference(network()), draw(np.random.default_rng(1), 40, 30, 30, 1)
        before = tc.get_threads()
        try:
            results = []
            for threads in (1, 2, 3):
                tc.set_threads(threads)
                alone = [prepared(x[i : i + 1]) for i in range(3)]
                results += [np.concatenate(alone), prepared(x[:3]), prepared(x)[:3]]
        finally:
            tc.set_threads(before)
    assert len({result.tobytes() for result in results}) == 1


def bits(images):
    """Return a digest of what the small network makes of so many images."""
    x = draw(np.random.default_rng(1), images, 30, 30, 1)
    with tc.backend("numba"):
        return hashlib.sha256(tc.compile_for_inference(network())(x).tobytes()).hexdigest()


def test_a_processor_with_fewer_registers_gives_the_same_bits():
    codegen = pytest.importorskip("numba.core.codegen", reason="registers are compiled code's matter")
    features = codegen.get_host_cpu_features()
    if "+avx512f" not in features:
        pytest.skip("this processor has no more registers than others")
    code = "from tests.tinycnn.test_inference import bits; print(bits(3))"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NUMBA_CPU_FEATURES": features.replace("+avx512", "-avx512")},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert result.stdout.strip() == bits(3), result.stderr


def test_unknown_layers_and_changed_ones_run_as_they_are(backend):
    class Twice(tc.Layer):
        def _forward(self, x, train):
            return 2 * x, None

    class Negative(tc.ReLU):
        def _forward(self, x, train):
            return np.minimum(x, 0), None

    x = draw(np.random.default_rng(0), 3, 6, 6, 2)
    for layer in (Twice(), Negative(), tc.AvgPool2D(3, 2, "same")):
        model = tc.Sequential([tc.Conv2D(2, 3, 3, padding="same", rng=0), layer, tc.Softmax()])
        np.testing.assert_array_equal(tc.compile_for_inference(model)(x), model.forward(x))


@pytest.mark.parametrize("layers", [[tc.Dropout()], [tc.Flatten()], [tc.ReLU(), tc.Softmax()]])
def test_networks_that_do_little_still_return_new_arrays(backend, layers):
    model, x = tc.Sequential(layers), draw(np.random.default_rng(0), 3, 7)
    prepared = tc.compile_for_inference(model)
    first, second = prepared(x), prepared(x)
    close(first, model.forward(x))
    assert not any(np.shares_memory(a, b) for a, b in ((first, x), (first, second)))


def test_nan_comes_out(backend):
    model, x = network(), draw(np.random.default_rng(0), 2, 12, 12, 1)
    x[0, 5, 5] = np.nan
    y = tc.compile_for_inference(model)(x)
    assert np.isnan(y[0]).all()
    close(y[1:], model.forward(x[1:]))


def test_read_only_and_strided_input(backend):
    model, x = network(), draw(np.random.default_rng(0), 4, 24, 12, 1)
    x.flags.writeable = False
    close(tc.compile_for_inference(model)(x[::2, ::2]), model.forward(x[::2, ::2]))


def test_later_training_does_not_change_it(backend):
    model, x = network(), draw(np.random.default_rng(0), 8, 12, 12, 1)
    prepared = tc.compile_for_inference(model)
    expected = model.forward(x)
    for array in (*model.params.values(), *model.state.values()):
        array *= 1.5
    assert np.abs(model.forward(x) - expected).max() > 1e-3
    close(prepared(x), expected)


def test_predict_sees_every_change_of_weights(backend):
    model, x = network(), draw(np.random.default_rng(0), 3, 12, 12, 1)
    close(model.predict(x), model.forward(x))
    for name, change in (("0.kernel", 2.0), ("1.gamma", -1.0), ("8.bias", 3.0)):
        before = model.predict(x)
        model.params[name][...] *= change
        close(model.predict(x), model.forward(x))
        assert np.abs(model.predict(x) - before).max() > 1e-4
    model.state["1.running_mean"][...] += 1
    close(model.predict(x), model.forward(x))


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((2, 12, 12, 3), np.float32),
        np.zeros((2, 12, 12, 1)),
        np.zeros((2, 12, 12, 1), np.uint8),
        np.zeros((0, 12, 12, 1), np.float32),
        np.zeros((2, 2, 2, 1), np.float32),
        np.zeros((2, 12), np.float32),
        np.float32(1),
        [[0.0]],
    ],
)
def test_bad_input_gets_the_errors_of_forward(backend, x):
    model = network()
    with pytest.raises(tc.TinyCNNError) as expected:
        model.forward(x)
    with pytest.raises(type(expected.value)) as found:
        tc.compile_for_inference(model)(x)
    assert str(found.value) == str(expected.value)
    assert found.value.__notes__ == expected.value.__notes__


def test_a_mask_is_refused_by_what_is_prepared_already(backend):
    prepared = tc.compile_for_inference(tc.Sequential([tc.Dense(2, 2, rng=0)]))
    x = np.eye(2, dtype=np.float32)
    prepared(x)
    with pytest.raises(tc.DTypeError, match="without a mask"):
        prepared(np.ma.masked_array(x))


def test_paths_that_disagree_are_found(backend):
    model = tc.Sequential([tc.Residual(tc.Conv2D(1, 2, 3, padding="same", rng=0))])
    with pytest.raises(tc.ShapeError, match=r"Residual: main gives \(5, 5, 2\), shortcut gives \(5, 5, 1\)"):
        tc.compile_for_inference(model)(np.zeros((1, 5, 5, 1), np.float32))


def test_several_callers_at_once(backend):
    model = network()
    prepared, rng = tc.compile_for_inference(model), np.random.default_rng(0)
    batches = [draw(rng, n, 12, 12, 1) for n in (1, 2, 7, 1)]
    expected = [prepared(x).tobytes() for x in batches]
    wrong = []

    def call(x, right):
        with tc.backend(backend):
            wrong.extend(1 for _ in range(20) if prepared(x).tobytes() != right)

    callers = [threading.Thread(target=call, args=pair) for pair in zip(batches, expected, strict=True)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_what_would_overflow_is_not_folded(backend):
    model = tc.Sequential([tc.Conv2D(1, 1, 1, bias=False, rng=0), tc.BatchNorm(1)])
    model.params["0.kernel"][...], model.params["1.gamma"][...] = 1e10, 1e30
    x = np.full((1, 2, 2, 1), 1e-20, np.float32)
    np.testing.assert_allclose(model.predict(x), model.forward(x), rtol=1e-6)
    assert np.isfinite(model.predict(x)).all()
