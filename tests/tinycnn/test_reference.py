"""The reference kernels against the plainest loops there are, and numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinycnn.kernels import reference


def conv2d_by_loops(x, kernel, stride, pad):
    n, h, w, c = x.shape
    kh, kw, _, o = kernel.shape
    padded = np.zeros((n, h + sum(pad[0]), w + sum(pad[1]), c))
    padded[:, pad[0][0] : pad[0][0] + h, pad[1][0] : pad[1][0] + w] = x
    oh, ow = (padded.shape[1] - kh) // stride[0] + 1, (padded.shape[2] - kw) // stride[1] + 1
    y = np.zeros((n, oh, ow, o))
    for index in np.ndindex(y.shape):
        image, i, j, out = index
        for a in range(kh):
            for b in range(kw):
                for channel in range(c):
                    y[index] += (
                        padded[image, i * stride[0] + a, j * stride[1] + b, channel]
                        * kernel[a, b, channel, out]
                    )
    return y


@given(
    size=st.tuples(st.integers(3, 6), st.integers(3, 6)),
    window=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pad=st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2),
    channels=st.tuples(st.integers(1, 2), st.integers(1, 2)),
)
def test_convolution_is_what_the_loops_say(size, window, stride, pad, channels):
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((2, *size, channels[0])), rng.standard_normal((*window, *channels))
    np.testing.assert_allclose(
        reference.conv2d(x, kernel, None, stride, pad), conv2d_by_loops(x, kernel, stride, pad)
    )
    # A depthwise convolution is an ordinary one whose kernel is zero between different channels.
    depthwise = kernel[..., 0]
    diagonal = depthwise[..., np.newaxis] * np.eye(channels[0])
    found = reference.depthwise_conv2d(x, depthwise, None, stride, pad)
    np.testing.assert_allclose(found, conv2d_by_loops(x, diagonal, stride, pad))


def test_the_paper_horizontal_line_filter():
    x = np.zeros((1, 5, 5, 1))
    x[0, 2] = 1  # a horizontal line
    kernel = np.array([[-1, -1, -1], [2, 2, 2], [-1, -1, -1]], float).reshape(3, 3, 1, 1)
    y = reference.conv2d(x, kernel, None, (1, 1), ((0, 0), (0, 0)))[0, :, :, 0]
    np.testing.assert_array_equal(y, [[-3, -3, -3], [6, 6, 6], [-3, -3, -3]])


def test_pooling_by_hand():
    x = np.array([[1, 2, 5], [4, 3, 0]], float).reshape(1, 2, 3, 1)
    y, winner = reference.max_pool2d(x, (2, 2), (1, 1), ((0, 0), (0, 0)))
    np.testing.assert_array_equal(y.ravel(), [4, 5])
    np.testing.assert_array_equal(winner.ravel(), [2, 1])
    dx = reference.max_pool2d_backward(
        np.array([10, 20.0]).reshape(y.shape), winner, x.shape, (2, 2), (1, 1), ((0, 0),) * 2
    )
    np.testing.assert_array_equal(dx[0, :, :, 0], [[0, 0, 20], [10, 0, 0]])
    # Padding counts neither as a value nor in the divisor.
    mean = reference.avg_pool2d(x, (2, 2), (2, 2), ((0, 0), (0, 1)))
    np.testing.assert_array_equal(mean.ravel(), [2.5, 2.5])


def test_cross_entropy_by_hand():
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    targets = np.array([[1, 0, 0], [0, 1, 0.0]])
    loss, gradient = reference.softmax_cross_entropy(logits, targets, np.array([1.0, 3.0]))
    assert loss == pytest.approx((-np.log(0.5) - 3 * np.log(0.1)) / 4)
    np.testing.assert_allclose(gradient, [[-0.125, 0.0625, 0.0625], [0.075, -0.675, 0.6]])


def test_cross_entropy_is_stable():
    loss, gradient = reference.softmax_cross_entropy(
        np.array([[1e4, -1e4]]), np.array([[0.0, 1.0]]), np.ones(1)
    )
    assert loss == pytest.approx(2e4)
    np.testing.assert_array_equal(gradient, [[1, -1]])
