"""Fused kernels: compiled ones against the reference, on numbers that show every tie and every kink."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinycnn as tc
from tests.tinycnn.dtypes import DTYPES
from tinycnn.kernels import reference
from tinycnn.kernels.deferred import Deferred, Gradient, NormGradient
from tinycnn.kernels.padding import output_size

pytest.importorskip("numba", reason="parity needs the numba backend")
from tinycnn.kernels import jit

SEEDS = st.integers(0, 2**32 - 1)
CHANNELS = st.sampled_from([1, 2, 3, 4, 5, 8, 11, 16, 19, 24, 33])
NO_PAD = ((0, 0), (0, 0))


def assert_close(found, expected, dtype):
    """Equal within 1e-5 of the largest number for float32, 1e-12 for float64; types and shapes alike."""
    if isinstance(expected, tuple):
        assert type(found) is type(expected)
        for a, b in zip(found, expected, strict=True):
            assert_close(a, b, dtype)
    elif isinstance(expected, np.ndarray):
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        tolerance = 1e-5 if dtype == np.float32 else 1e-12
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max()))
    else:
        assert found == expected


def copied(arguments):
    """A copy of all arrays in a tuple of arguments."""
    if isinstance(arguments, np.ndarray):
        return arguments.copy()
    return tuple(map(copied, arguments)) if isinstance(arguments, tuple) else arguments


def both(name, dtype, *args):
    """The reference's result, which the compiled kernel's is close to; neither changes its arguments."""
    kept = copied(args)
    expected, found = getattr(reference, name)(*args), getattr(jit, name)(*args)
    assert_close(found, expected, dtype)
    for before, after in zip(kept, args, strict=True):
        np.testing.assert_equal(copied(after), before)
    return expected


class Numbers:
    """Random numbers of one dtype."""

    def __init__(self, seed, dtype):
        self.rng, self.dtype = np.random.default_rng(seed), dtype

    def normal(self, *shape):
        return self.rng.standard_normal(shape).astype(self.dtype)

    def round(self, *shape):
        """Eighths from -2 to 2: products and sums of a few are exact, so ties are ties everywhere."""
        return (self.rng.integers(-16, 17, shape) / 8).astype(self.dtype)

    def deferred(self, shape, relu):
        c = shape[-1]
        return Deferred(self.round(*shape), self.round(c), self.round(c), self.round(c), relu)

    def input(self, shape, kind):
        """A map that is finished, deferred, or deferred with ReLU."""
        return self.normal(*shape) if kind == "finished" else self.deferred(shape, kind == "relu")


KINDS = st.sampled_from(["finished", "deferred", "relu"])


@st.composite
def pads(draw, window):
    return tuple(tuple(draw(st.tuples(*[st.integers(0, k - 1)] * 2))) for k in window)


@st.composite
def geometries(draw):
    """A convolution that a fused kernel can do: (x shape, separable or not, kernel shape, stride, pad)."""
    n, c, o = draw(st.integers(1, 9)), draw(CHANNELS), draw(CHANNELS)
    window = draw(st.just((1, 1)) | st.tuples(st.integers(1, 5), st.integers(1, 5)))
    pad = draw(pads(window))
    size = [draw(st.integers(max(1, k - sum(p)), 9)) for k, p in zip(window, pad, strict=True)]
    separable = draw(st.booleans())
    strided = window == (1, 1) and not separable
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) if strided else (1, 1)
    return (n, *size, c), separable, (*window, c, o), stride, pad


def convolution(numbers, shape, separable, kernel_shape, kind):
    """A fused convolution's input, depthwise kernel or None, and kernel."""
    *window, c, o = kernel_shape
    taps = numbers.normal(*window, c) if separable else None
    return numbers.input(shape, kind), taps, numbers.normal(*(1, 1) if separable else window, c, o)


@settings(max_examples=40)
@given(geometry=geometries(), kind=KINDS, dtype=DTYPES, seed=SEEDS)
def test_conv_moments(geometry, kind, dtype, seed):
    shape, separable, kernel_shape, stride, pad = geometry
    arrays = convolution(Numbers(seed, dtype), shape, separable, kernel_shape, kind)
    both("conv_moments", dtype, *arrays, stride, pad)


@settings(max_examples=80)
@given(
    geometry=geometries(),
    kind=KINDS,
    dtype=DTYPES,
    pooled=st.booleans(),
    extra=st.booleans(),
    need_dx=st.sampled_from([True, True, False]),
    partial=st.booleans(),
    seed=SEEDS,
    data=st.data(),
)
def test_conv_moments_backward(geometry, kind, dtype, pooled, extra, need_dx, partial, seed, data):
    shape, separable, kernel_shape, stride, pad = geometry
    numbers = Numbers(seed, dtype)
    arrays = convolution(numbers, shape, separable, kernel_shape, kind)
    out = (shape[0], *output_size(shape[1:3], kernel_shape[:2], stride, pad), kernel_shape[3])
    gradient = data.draw(pooled_gradients(numbers, out)) if pooled else plain_gradient(numbers.normal(*out))
    dz = NormGradient(gradient, numbers.normal(*out), *(numbers.normal(out[3]) for _ in range(3)))
    more = numbers.normal(*shape) if extra else None
    expected, found = (
        kernels.conv_moments_backward(dz, *arrays, stride, pad, more, need_dx, partial)
        for kernels in (reference, jit)
    )
    assert_close(found[1:], expected[1:], dtype)
    assert found[0].g.shape == shape
    if need_dx:
        assert_close(found[0].g, expected[0].g, dtype)
    if need_dx and not partial and kind != "finished":
        assert_close(found[0], expected[0], dtype)


def plain_gradient(g):
    """A gradient whose sums nobody asks for: wrong on purpose."""
    return Gradient(g, *np.full((2, g.shape[3]), np.nan))


@st.composite
def pooled_gradients(draw, numbers, shape):
    """The gradient of a map of that shape, after a max-pool."""
    window = [draw(st.integers(1, min(4, size + 1))) for size in shape[1:3]]
    pad, stride = draw(pads(window)), draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    pad = tuple(
        (low, max(high, k - low - size)) for (low, high), k, size in zip(pad, window, shape[1:3], strict=True)
    )
    _, pooled = reference.deferred_max_pool2d(numbers.deferred(shape, False), tuple(window), stride, pad)
    return plain_gradient(numbers.normal(*pooled.winner.shape))._replace(pooled=pooled)


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 6), st.integers(1, 6), CHANNELS),
    relu=st.booleans(),
    other=st.none() | KINDS,
    dtype=DTYPES,
    seed=SEEDS,
)
def test_finished_and_its_gradient(shape, relu, other, dtype, seed):
    numbers = Numbers(seed, dtype)
    x = numbers.deferred(shape, relu)
    both("finished", dtype, x)
    both("finished", dtype, x, None if other is None else numbers.input(shape, other))
    both("gradient_of", dtype, x, numbers.normal(*shape))


@st.composite
def pool_geometries(draw):
    """(x shape, window, stride, pad)."""
    window = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)) | st.just((16, 16)))
    pad = draw(pads(window))
    size = [draw(st.integers(max(1, k - sum(p)), max(9, k))) for k, p in zip(window, pad, strict=True)]
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    return (draw(st.integers(1, 9)), *size, draw(CHANNELS)), window, stride, pad


@settings(max_examples=40)
@given(geometry=pool_geometries(), relu=st.booleans(), dtype=DTYPES, seed=SEEDS)
def test_deferred_max_pool(geometry, relu, dtype, seed):
    shape, *window = geometry
    x = Numbers(seed, dtype).deferred(shape, relu)
    pooled, way_back = both("deferred_max_pool2d", dtype, x, *window)
    # The values are the plain pool's, and so are the winners, but for ties that ReLU makes.
    y, winner = reference.max_pool2d(reference.finished(x), *window)
    np.testing.assert_array_equal(reference.finished(pooled), y)
    np.testing.assert_array_equal(way_back.winner[y != 0], winner[y != 0])


@pytest.mark.parametrize("channels", [1, 8, 11])
@pytest.mark.parametrize("scale", [1.0, -1.0, 0.0])
def test_of_equal_values_the_first_wins(backend, channels, scale):
    vector = np.full(channels, scale, np.float32)
    x = Deferred(np.ones((2, 5, 5, channels), np.float32), vector, vector, vector)
    _, pooled = tc.kernels.active().deferred_max_pool2d(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    first = np.array([[4, 3, 3], [1, 0, 0], [1, 0, 0]])  # the first place of each window inside the map
    np.testing.assert_array_equal(pooled.winner, np.broadcast_to(first[..., np.newaxis], pooled.winner.shape))


@pytest.mark.parametrize("channels", [1, 8, 11])
@pytest.mark.parametrize("relu", [False, True])
def test_nan_wins_a_max_pool_and_passes_through(backend, channels, relu):
    kernels = tc.kernels.active()
    z = np.random.default_rng(0).standard_normal((1, 6, 6, channels)).astype(np.float32)
    z[0, 1, 1] = z[0, 4, 5, -1] = np.nan
    x = Deferred(z, *np.ones((3, channels), np.float32), relu)
    y = kernels.finished(x)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(z))
    np.testing.assert_array_equal(np.isnan(kernels.finished(x, x)), np.isnan(z))
    np.testing.assert_array_equal(np.isnan(kernels.finished(x, np.zeros_like(z))), np.isnan(z))
    pooled, way_back = kernels.deferred_max_pool2d(x, (3, 3), (3, 3), ((0, 0), (0, 0)))
    values, winner = kernels.max_pool2d(y, (3, 3), (3, 3), ((0, 0), (0, 0)))
    np.testing.assert_array_equal(kernels.finished(pooled), values)
    assert np.isnan(values[0, 0, 0]).all()
    assert np.isnan(values[0, 1, 1, -1])
    np.testing.assert_array_equal(way_back.winner, winner)


def test_infinity_is_a_number_like_others(backend):
    kernels = tc.kernels.active()
    z = np.array([-np.inf, 1, np.inf, -2], np.float32).reshape(1, 2, 2, 1)
    x = Deferred(z, *np.float32([[0], [1], [0]]))
    np.testing.assert_array_equal(kernels.finished(x), z)
    np.testing.assert_array_equal(kernels.finished(x._replace(relu=True)), np.maximum(z, 0))


def test_padding_does_not_win_over_minus_infinity(backend):
    kernels = tc.kernels.active()
    z = np.array([-np.inf, 1, np.inf, -2], np.float32).reshape(1, 2, 2, 1)
    x = Deferred(z, *np.float32([[0], [1], [0]]))
    pooled, _ = kernels.deferred_max_pool2d(x, (2, 2), (1, 1), ((1, 1), (1, 1)))
    np.testing.assert_array_equal(pooled.z, kernels.max_pool2d(z, (2, 2), (1, 1), ((1, 1), (1, 1)))[0])


def test_moments_survive_a_mean_far_from_zero(backend):
    rng = np.random.default_rng(0)
    x = (1e4 + rng.standard_normal((16, 12, 12, 3))).astype(np.float32)
    z, mean, var = tc.kernels.active().conv_moments(
        x, None, np.eye(3, dtype=np.float32)[None, None], (1, 1), NO_PAD
    )
    np.testing.assert_array_equal(z, x)
    np.testing.assert_allclose(mean, x.mean(axis=(0, 1, 2), dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(var, x.var(axis=(0, 1, 2), dtype=np.float64), rtol=1e-3)


def test_many_equal_numbers_have_their_own_mean(backend):
    x, one = np.full((64, 48, 48, 2), 0.1, np.float32), np.eye(2, dtype=np.float32)[None, None]
    _, mean, var = tc.kernels.active().conv_moments(x, None, one, (1, 1), NO_PAD)
    np.testing.assert_allclose(mean, x[0, 0, 0], rtol=1e-6)  # sums in float32 alone are wrong by 2e-5
    assert var.max() < 1e-10


@pytest.mark.parametrize("shape", [(2, 9, 9, 3), (1, 1, 1, 8)])
def test_a_constant_map_has_no_variance(backend, shape):
    kernel = np.full((1, 1, shape[3], 9), 0.5, np.float32)
    _, mean, var = tc.kernels.active().conv_moments(np.ones(shape, np.float32), None, kernel, (1, 1), NO_PAD)
    np.testing.assert_array_equal(mean, np.full(9, shape[3] / 2))
    np.testing.assert_array_equal(var, np.zeros(9))


@pytest.mark.parametrize("kind", ["finished", "relu"])
@pytest.mark.parametrize("separable", [False, True])
def test_threads_and_callers_do_not_change_a_bit(kind, separable):
    numbers = Numbers(0, np.float32)
    shape, pad = (19, 20, 20, 8), ((1, 1), (1, 1))
    arrays = convolution(numbers, shape, separable, (3, 3, 8, 19), kind)
    gradient = plain_gradient(numbers.normal(19, 20, 20, 19))
    dz = NormGradient(gradient, gradient.g, *numbers.normal(3, 19))
    x = numbers.deferred(shape, True)

    def results():
        parts = (
            jit.conv_moments(*arrays, (1, 1), pad),
            jit.conv_moments_backward(dz, *arrays, (1, 1), pad),
            jit.deferred_max_pool2d(x, (3, 3), (2, 2), pad),
            jit.gradient_of(x, x.z),
            jit.finished(x, x),
        )
        return [array.tobytes() for array in leaves(parts)]

    def call():
        found.append(results())

    before, found = tc.get_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            tc.set_threads(threads)
            callers = [threading.Thread(target=call) for _ in range(3)]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join()
    finally:
        tc.set_threads(before)
    assert len(found) == 12
    assert all(result == found[0] for result in found)


def leaves(values):
    """All arrays in nested tuples."""
    if isinstance(values, tuple):
        return [array for value in values for array in leaves(value)]
    return [values] if isinstance(values, np.ndarray) else []
