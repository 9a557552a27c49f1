"""The reference's fused operations against the plain ones they are made of, over many small blocks."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinycnn as tc
from tinycnn.kernels import reference
from tinycnn.kernels.deferred import Deferred, Gradient, NormGradient
from tinycnn.kernels.reference import blocks
from tinycnn.kernels.threads import in_threads

NO_PAD = ((0, 0), (0, 0))
SMALL, LARGE = 40, blocks.BLOCK
PATIENCE = 60  # seconds, for machines that do much else


@pytest.fixture(autouse=True, params=[SMALL, LARGE], ids=["many blocks", "few blocks"], scope="module")
def block_size(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK", request.param)
        yield


@pytest.fixture(params=[1, 2, 4])
def thread_count(request):
    before = tc.get_threads()
    tc.set_threads(request.param)
    yield request.param
    tc.set_threads(before)


@st.composite
def convolutions(draw):
    """A deferred input, depthwise kernel or None, kernel, stride and padding, in float64."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    n, c, o = draw(st.integers(1, 7)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    kind = draw(st.sampled_from(["ordinary", "separable", "strided"]))
    window = (1, 1) if kind == "strided" else draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) if kind == "strided" else (1, 1)
    pad = tuple(draw(st.tuples(*[st.integers(0, k - 1)] * 2)) for k in window)
    size = [draw(st.integers(k, 6)) for k in window]
    x = Deferred(rng.standard_normal((n, *size, c)), *rng.standard_normal((3, c)), draw(st.booleans()))
    if kind == "separable":
        return x, rng.standard_normal((*window, c)), rng.standard_normal((1, 1, c, o)), stride, pad
    return x, None, rng.standard_normal((*window, c, o)), stride, pad


def plain_convolution(x, depthwise, kernel, stride, pad):
    """The finished input, what the kernel is multiplied with and its padding, and the output."""
    y = between = np.maximum(x.z * x.scale + x.shift, 0 if x.relu else -np.inf)
    if depthwise is not None:
        between, pad = reference.depthwise_conv2d(y, depthwise, None, (1, 1), pad), NO_PAD
    return y, between, pad, reference.conv2d(between, kernel, None, stride, pad)


@given(convolution=convolutions())
def test_convolution_and_moments(convolution):
    z, mean, var = reference.conv_moments(*convolution)
    *_, expected = plain_convolution(*convolution)
    np.testing.assert_allclose(z, expected, atol=1e-12)
    np.testing.assert_allclose((mean, var), reference.batch_norm_statistics(expected), atol=1e-12)


@given(convolution=convolutions(), partial=st.booleans(), extra=st.booleans(), pooled=st.booleans())
def test_convolution_backward(convolution, partial, extra, pooled):
    x, depthwise, kernel, stride, pad = convolution
    y, between, last_pad, z = plain_convolution(*convolution)
    rng = np.random.default_rng(0)
    gain, slope, offset = rng.standard_normal((3, kernel.shape[3]))
    g = spread = rng.standard_normal(z.shape)
    way = None
    if pooled:
        pooling = (2, 2), (1, 2), ((1, 0), (1, 1))
        smaller, way = reference.deferred_max_pool2d(Deferred(z, gain, gain, gain), *pooling)
        g = rng.standard_normal(smaller.z.shape)
        spread = reference.max_pool2d_backward(g, way.winner, z.shape, *pooling)
    more = rng.standard_normal(x.z.shape) if extra else None
    dz = NormGradient(Gradient(g, np.empty(0), np.empty(0), way), z, gain, slope, offset)
    dx, d_depthwise, dkernel = reference.conv_moments_backward(dz, *convolution, more, partial=partial)

    d_out = gain * spread + slope * z + offset
    dy, expected = reference.conv2d_backward(d_out, between, kernel, stride, last_pad)
    np.testing.assert_allclose(dkernel, expected, atol=1e-10)
    if depthwise is not None:
        dy, expected = reference.depthwise_conv2d_backward(dy, y, depthwise, (1, 1), pad)
        np.testing.assert_allclose(d_depthwise, expected, atol=1e-10)
    dy = dy + more if extra else dy
    if x.relu and not partial:
        dy = reference.relu_backward(dy, y)
    np.testing.assert_allclose(dx.g, dy, atol=1e-10)
    if not partial:
        np.testing.assert_allclose(dx.sum_g, dy.sum(axis=(0, 1, 2)), atol=1e-10)
        np.testing.assert_allclose(dx.sum_gz, (dy * (x.z - x.mean)).sum(axis=(0, 1, 2)), atol=1e-10)


@pytest.mark.parametrize("special", [[], [np.nan], [np.inf], [-np.inf], [np.nan, np.inf, -np.inf]])
@pytest.mark.parametrize("geometry", [((3, 3), (2, 2), ((0, 1), (0, 1))), ((2, 4), (1, 3), ((1, 1), (2, 0)))])
def test_max_pool_finds_the_same_winners(special, geometry):
    rng = np.random.default_rng(0)
    z = rng.choice([*np.arange(-2.0, 3), *special], (5, 7, 8, 3))
    x = Deferred(z, np.zeros(3), np.array([1.0, -1.0, 2.0]), np.zeros(3))
    pooled, way_back = reference.deferred_max_pool2d(x, *geometry)
    y, winner = reference.max_pool2d(z * x.scale, *geometry)
    np.testing.assert_array_equal(pooled.z * x.scale, y)
    found = y != -np.inf  # where all is minus infinity, the plain pool may name a place in the padding
    np.testing.assert_array_equal(way_back.winner[found], winner[found])


def test_threads_do_not_change_a_bit(thread_count):
    def results():
        rng = np.random.default_rng(0)
        arrays = [rng.standard_normal(s).astype(np.float32) for s in ((9, 8, 8, 5), (3, 3, 5), (1, 1, 5, 6))]
        vectors = rng.standard_normal((3, 5)).astype(np.float32)
        x = Deferred(arrays[0], *vectors, True)
        geometry = arrays[1], arrays[2], (1, 1), ((1, 1), (1, 1))
        z, mean, var = reference.conv_moments(x, *geometry)
        dz = NormGradient(Gradient(z, mean, var), z, mean, var, mean)
        dx, *kernels = reference.conv_moments_backward(dz, x, *geometry)
        return [array.tobytes() for array in (z, mean, var, *dx[:3], *kernels)]

    found = results()
    tc.set_threads(1)
    assert found == results()


def test_every_item_is_done_once_and_results_keep_their_order(thread_count):
    workers, all_at_work = set(), threading.Event()

    def work(item):
        workers.add(threading.get_ident())
        if len(workers) == thread_count:
            all_at_work.set()
        assert all_at_work.wait(PATIENCE)
        return item**2

    assert in_threads(work, range(12)) == [item**2 for item in range(12)]
    assert len(workers) == thread_count


def test_an_error_comes_out_whoever_meets_it(thread_count):
    caller, met = threading.get_ident(), threading.Event()

    def work(item):
        if (threading.get_ident() == caller) == (thread_count == 1):
            met.set()
            raise ZeroDivisionError(item)
        assert met.wait(PATIENCE)

    with pytest.raises(ZeroDivisionError):
        in_threads(work, range(12))
    assert in_threads(len, ["a", "bc"]) == [1, 2]
