"""Numbers at the edge: huge scores, channels without spread, a batch of one image, and NaN."""

import numpy as np
import pytest

import tinycnn as tc

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
SCORES = np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4], [1e4, 1e4, -1e4], [9999, 1e4, 9998], [0, 0, 0]])


@DTYPES
def test_softmax_of_huge_scores(backend, dtype):
    x, layer = SCORES.astype(dtype), tc.Softmax()
    y = layer.forward(x, train=True)
    third, e = 1 / 3, np.exp(np.arange(-2.0, 1))
    expected = np.array([[1, 0, 0], [third] * 3, [0.5, 0.5, 0], (e / e.sum())[[1, 2, 0]], [third] * 3])
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(tc.compile_for_inference(layer)(x), expected, rtol=1e-6, atol=1e-30)
    dx = layer.backward(np.eye(5, 3, dtype=dtype))
    assert np.isfinite(dx).all()
    np.testing.assert_allclose(dx.sum(axis=1), 0, atol=1e-6)


@DTYPES
@pytest.mark.parametrize("smoothing", [0, 0.1])
def test_cross_entropy_of_huge_scores(backend, dtype, smoothing):
    labels = np.array([1, 2, 0, 0, 1])
    loss, gradient = tc.SoftmaxCrossEntropy(smoothing)(SCORES.astype(dtype), labels)
    targets = np.eye(3)[labels] * (1 - smoothing) + smoothing / 3
    shifted = SCORES - SCORES.max(axis=1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    assert loss == pytest.approx(-(targets * log_probability).sum(axis=1).mean(), rel=1e-6)
    np.testing.assert_allclose(gradient, (np.exp(log_probability) - targets) / 5, atol=1e-6)
    assert gradient.dtype == dtype


def chain(dtype, images, rng):
    """A network of each way that batch norm is carried out in a training step, and its input."""
    layers = {
        "conv": tc.Conv2D(1, 4, 3, bias=False, rng=rng),
        "bn": tc.BatchNorm(4),
        "relu": tc.ReLU(),
        "sep": tc.SeparableConv2D(4, 4, 3, padding="same", bias=False, rng=rng),
        "bn2": tc.BatchNorm(4),
        "pool": tc.MaxPool2D(2),
        "module": tc.Residual(tc.Sequential([tc.BatchNorm(4), tc.ReLU()])),
        "mean": tc.GlobalAvgPool2D(),
        "dense": tc.Dense(4, 3, rng=rng),
        "bn3": tc.BatchNorm(3),
    }
    return tc.Sequential(layers).astype(dtype), np.zeros((images, 6, 6, 1), dtype)


@DTYPES
@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("grey", [0.0, 1.0, 1e4, "noise"])
def test_batch_norm_of_constant_channels_and_of_one_image(backend, dtype, images, grey):
    rng = np.random.default_rng(0)
    model, x = chain(dtype, images, rng)
    x += rng.standard_normal(x.shape).astype(dtype) if grey == "noise" else dtype(grey)
    labels = np.arange(images) % 3
    loss, optimizer = tc.SoftmaxCrossEntropy(), tc.SGD(0.1)
    logits = model.forward(x, train=True)
    assert np.isfinite(model.backward(loss(logits, labels)[1])).all()
    assert all(np.isfinite(gradient).all() for gradient in model.grads.values())
    for _ in range(3):  # fused, where the backend can
        assert np.isfinite(tc.train_step(model, x, labels, loss, optimizer).loss)
        for arrays in (model.grads, model.params, model.state):
            assert all(np.isfinite(array).all() for array in arrays.values())
    assert np.isfinite(model.predict(x)).all()


@DTYPES
@pytest.mark.parametrize("shape", [(1, 3), (4, 3), (1, 1, 1, 3), (2, 5, 5, 3)])
@pytest.mark.parametrize("value", [0, 0.1, 1e4, -1e6])
def test_a_constant_channel_is_normalised_to_beta(backend, dtype, shape, value):
    layer = tc.BatchNorm(3).astype(dtype)
    layer.params["beta"][...] = (1, 2, 3)
    y = layer.forward(np.full(shape, value, dtype), train=True)
    rounding = abs(value) * np.finfo(dtype).eps / np.sqrt(layer.eps)  # of the mean
    np.testing.assert_allclose(y, np.broadcast_to([1, 2, 3], shape), atol=8 * rounding + 1e-12)
    dx = layer.backward(np.ones(shape, dtype))
    np.testing.assert_allclose(dx, 0, atol=1e-4)  # a shift of all values changes nothing
    np.testing.assert_allclose(layer.grads["beta"], np.prod(shape[:-1]))


def test_batch_norm_far_from_zero_keeps_its_digits(backend):
    rng = np.random.default_rng(0)
    x = (100 + rng.standard_normal((32, 64, 64, 2))).astype(np.float32)
    dy = (1 + rng.standard_normal(x.shape)).astype(np.float32)
    layer, wide = tc.BatchNorm(2), tc.BatchNorm(2).astype(np.float64)
    exact = wide.forward(x.astype(np.float64), train=True), wide.backward(dy.astype(np.float64))
    np.testing.assert_allclose(layer.forward(x, train=True), exact[0], atol=2e-5)  # float32 has 8e-6 at 100
    np.testing.assert_allclose(layer.backward(dy), exact[1], atol=1e-4)
    np.testing.assert_allclose(layer.grads["beta"], wide.grads["beta"], rtol=1e-6)
    np.testing.assert_allclose(layer.grads["gamma"], wide.grads["gamma"], atol=5)  # of 131,072 terms


@pytest.mark.parametrize("prepared", [False, True])
def test_nan_in_an_image_is_seen_in_its_result_and_in_no_other(backend, prepared):
    layers = [tc.Conv2D(1, 4, 3, rng=0), tc.BatchNorm(4), tc.ReLU(), tc.MaxPool2D(2), tc.Flatten()]
    model = tc.Sequential([*layers, tc.Dense(16, 3, rng=0), tc.Softmax()])
    x = np.random.default_rng(0).standard_normal((3, 6, 6, 1)).astype(np.float32)
    whole = model.predict(x)
    x[1, 2, 3, 0] = np.nan
    y = model.predict(x) if prepared else model.forward(x)
    assert np.isnan(y[1]).all()
    np.testing.assert_allclose(y[[0, 2]], whole[[0, 2]], rtol=1e-5)
