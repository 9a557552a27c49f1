"""The two backends: the same names, the same signatures, the same numbers."""

import inspect
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinycnn as tc
from tests.tinycnn.dtypes import DTYPES
from tinycnn.kernels import reference
from tinycnn.kernels.padding import output_size, resolve_pad

pytest.importorskip("numba", reason="parity needs the numba backend")
from tinycnn.kernels import jit
from tinycnn.kernels.jit import winograd


def test_names_and_signatures_are_the_same():
    assert reference.__all__ == jit.__all__
    for name in reference.__all__:
        assert inspect.signature(getattr(reference, name)) == inspect.signature(getattr(jit, name)), name


def assert_close(found, expected):
    """Equal within 1e-5 of the largest number in float32, 1e-13 in float64; dtype and shape alike."""
    if isinstance(expected, tuple | list):
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            assert_close(a, b)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-5)
    else:
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        tolerance = 1e-5 if found.dtype == np.float32 else 1e-13
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max()))


@st.composite
def windows(draw):
    """Random (x shape, window, stride, pad) with at least one output."""
    n, c = draw(st.integers(1, 9)), draw(st.integers(1, 5))
    window = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    size = draw(st.tuples(st.integers(window[0], 9), st.integers(window[1], 9)))
    explicit = st.tuples(*[st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)) for k in window])
    pad = resolve_pad(size, window, stride, draw(st.sampled_from(["valid", "same"]) | explicit))
    return (n, *size, c), window, stride, pad


arguments = {
    "geometry": windows(),
    "out_channels": st.integers(1, 5),
    "dtype": DTYPES,
    "seed": st.integers(0, 2**32 - 1),
}


def both(name, *args):
    copies = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    expected, found = getattr(reference, name)(*args), getattr(jit, name)(*args)
    assert_close(found, expected)
    for before, after in zip(copies, args, strict=True):
        if isinstance(before, np.ndarray):
            np.testing.assert_array_equal(before, after)
    return expected


@given(widths=st.lists(st.integers(1, 5), min_size=2, max_size=4), seed=arguments["seed"], flat=st.booleans())
def test_branches(widths, seed, flat):
    rng, shape = np.random.default_rng(seed), (7,) if flat else (7, 3, 2)
    arrays = [rng.standard_normal((*shape, width)) for width in widths]
    joined = both("concat", arrays)
    for part, array in zip(both("split", joined, widths), arrays, strict=True):
        np.testing.assert_array_equal(part, array)


@given(**arguments, bias=st.booleans())
def test_convolutions(geometry, out_channels, dtype, seed, bias):
    (n, h, w, c), window, stride, pad = geometry
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.standard_normal(shape).astype(dtype)

    x, out = draw(n, h, w, c), output_size((h, w), window, stride, pad)
    full, depthwise = draw(*window, c, out_channels), draw(*window, c)
    both("conv2d", x, full, draw(out_channels) if bias else None, stride, pad)
    both("conv2d_backward", draw(n, *out, out_channels), x, full, stride, pad)
    both("depthwise_conv2d", x, depthwise, draw(c) if bias else None, stride, pad)
    both("depthwise_conv2d_backward", draw(n, *out, c), x, depthwise, stride, pad)
    both("bias_backward", draw(n, *out, c))


@given(
    taps=st.sampled_from([3, 5]),
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    pad=st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2),
    channels=st.tuples(st.integers(32, 40), st.integers(32, 40)),
    dtype=arguments["dtype"],
    seed=arguments["seed"],
)
def test_winograd_convolutions(taps, size, pad, channels, dtype, seed):
    rng = np.random.default_rng(seed)
    n = -(-winograd.ENOUGH_PIXELS // (size[0] * size[1])) + 2
    x = rng.standard_normal((n, *size, channels[0])).astype(dtype)
    kernel = rng.standard_normal((taps, taps, *channels)).astype(dtype)
    assert winograd.suits(x, kernel, (1, 1), pad)
    y = both("conv2d", x, kernel, rng.standard_normal(channels[1]).astype(dtype), (1, 1), pad)
    both("conv2d_backward", rng.standard_normal(y.shape).astype(dtype), x, kernel, (1, 1), pad)


def test_winograd_loses_few_digits():
    """On AlexNet's shapes in float32: within 2e-5 of the layer's largest output, against float64."""
    rng = np.random.default_rng(0)
    for taps, size, c, o in ((5, 12, 64, 192), (3, 6, 192, 256)):
        x, kernel = rng.standard_normal((8, size, size, c)), rng.standard_normal((taps, taps, c, o))
        pad = ((taps // 2, taps // 2),) * 2
        y = reference.conv2d(x, kernel, None, (1, 1), pad)
        dy = rng.standard_normal(y.shape)
        exact = (y, *reference.conv2d_backward(dy, x, kernel, (1, 1), pad))
        x, kernel, dy = (a.astype(np.float32) for a in (x, kernel, dy))
        found = (jit.conv2d(x, kernel, None, (1, 1), pad), *jit.conv2d_backward(dy, x, kernel, (1, 1), pad))
        for a, b in zip(found, exact, strict=True):
            assert np.abs(a - b).max() < 2e-5 * np.abs(b).max()


@given(**arguments)
def test_pooling(geometry, out_channels, dtype, seed):
    (n, h, w, c), window, stride, pad = geometry
    rng = np.random.default_rng(seed)
    # Few distinct values, so that windows often hold ties.
    x = rng.integers(0, 4, (n, h, w, c)).astype(dtype)
    y, winner = both("max_pool2d", x, window, stride, pad)
    dy = rng.standard_normal(y.shape).astype(dtype)
    both("max_pool2d_backward", dy, winner, x.shape, window, stride, pad)
    both("avg_pool2d", x, window, stride, pad)
    both("avg_pool2d_backward", dy, x.shape, window, stride, pad)
    pooled = both("global_avg_pool2d", x)
    both("global_avg_pool2d_backward", pooled, x.shape)


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 6)) | st.tuples(*[st.integers(1, 9)] * 4),
    dtype=arguments["dtype"],
    seed=arguments["seed"],
)
def test_normalisation_and_element_by_element(shape, dtype, seed):
    rng = np.random.default_rng(seed)
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    c = shape[-1]
    mean, var = both("batch_norm_statistics", x)
    scale, beta = (rng.standard_normal(c).astype(dtype) for _ in range(2))
    both("batch_norm_apply", x, mean, scale, beta)
    inv_std = 1 / np.sqrt(var + dtype(0.1))
    both("batch_norm_backward", dy, x, mean, inv_std, scale)
    y = both("relu", x)
    both("relu_backward", dy, y)
    both("dropout", x, rng.random(shape) < 0.5, 0.5)
    both("add", x, dy)


@given(
    n=st.integers(1, 20),
    i=st.integers(1, 70),
    o=st.integers(1, 70),
    **{k: arguments[k] for k in ("dtype", "seed")},
)
def test_dense(n, i, o, dtype, seed):
    rng = np.random.default_rng(seed)
    x, kernel, bias, dy = (rng.standard_normal(s).astype(dtype) for s in ((n, i), (i, o), (o,), (n, o)))
    both("dense", x, kernel, bias)
    both("dense", x, kernel, None)
    both("dense_backward", dy, x, kernel)


def test_statistics_survive_a_mean_far_from_zero(backend):
    # E[x^2] - E[x]^2 in float32 gives about 1 here, or less than nothing.
    x = (1e4 + np.random.default_rng(0).standard_normal((64, 12, 12, 3))).astype(np.float32)
    mean, var = tc.kernels.active().batch_norm_statistics(x)
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(axis=(0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(var, x.astype(np.float64).var(axis=(0, 1, 2)), rtol=1e-3)


def test_max_pool_passes_nan_on_and_stays_inside(backend):
    kernels = tc.kernels.active()
    x = np.full((1, 3, 3, 2), np.nan, np.float32)
    y, winner = kernels.max_pool2d(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    assert np.isnan(y).all()
    dx = kernels.max_pool2d_backward(np.ones_like(y), winner, x.shape, (3, 3), (2, 2), ((1, 1), (1, 1)))
    assert dx.sum() <= y.size


def test_selection_as_call_and_as_context():
    before = tc.backend_name()
    with tc.backend("numpy"):
        assert tc.backend_name() == "numpy"
        with tc.backend("numba"):
            assert tc.kernels.active() is jit
        assert tc.kernels.active() is reference
    assert tc.backend_name() == before


def test_unknown_backend_is_named():
    with pytest.raises(tc.BackendError, match="unknown backend 'cuda': expected one of 'numpy', 'numba'"):
        tc.backend("cuda")


def test_environment_variable_selects(monkeypatch):
    monkeypatch.setattr(tc.kernels, "_selected", None)
    monkeypatch.setitem(os.environ, "TINYCNN_BACKEND", "numpy")
    assert tc.backend_name() == "numpy"


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_threads_do_not_change_a_bit(threads):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((13, 20, 20, 8)).astype(np.float32)
    kernel, dy = rng.standard_normal((3, 3, 8, 16)).astype(np.float32), None
    wide, wide_kernel = (rng.standard_normal(s).astype(np.float32) for s in ((13, 8, 8, 32), (3, 3, 32, 40)))
    before = tc.get_threads()

    def results():
        nonlocal dy
        y = jit.conv2d(x, kernel, None, (1, 1), ((1, 1), (1, 1)))
        dy = y if dy is None else dy
        gradients = jit.conv2d_backward(dy, x, kernel, (1, 1), ((1, 1), (1, 1)))
        z = jit.conv2d(wide, wide_kernel, None, (1, 1), ((1, 1), (1, 1)))  # by Winograd's algorithm
        gradients += jit.conv2d_backward(z, wide, wide_kernel, (1, 1), ((1, 1), (1, 1)))
        return [a.tobytes() for a in (y, z, *gradients, *jit.batch_norm_statistics(x), jit.bias_backward(y))]

    try:
        tc.set_threads(1)
        expected = results()
        tc.set_threads(threads)
        assert results() == expected
    finally:
        tc.set_threads(before)
