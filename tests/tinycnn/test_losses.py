import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinycnn as tc


@given(
    n=st.integers(1, 6),
    classes=st.integers(2, 7),
    smoothing=st.sampled_from([0, 0.1, 0.5]),
    weighted=st.booleans(),
    soft=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_gradient_is_the_slope_of_the_loss(n, classes, smoothing, weighted, soft, seed):
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((n, classes))
    labels = rng.dirichlet(np.ones(classes), n) if soft else rng.integers(0, classes, n)
    loss = tc.SoftmaxCrossEntropy(smoothing, rng.random(classes) + 0.1 if weighted else None)
    _, gradient = loss(logits, labels)
    direction, step = rng.standard_normal(logits.shape), 1e-5
    numeric = (loss(logits + step * direction, labels)[0] - loss(logits - step * direction, labels)[0]) / (
        2 * step
    )
    assert numeric == pytest.approx((gradient * direction).sum(), abs=1e-8)


def test_class_weights_are_a_weighted_mean():
    logits = np.log(np.array([[0.5, 0.5], [0.2, 0.8]], np.float64))
    loss, _ = tc.SoftmaxCrossEntropy(class_weights=[3, 1])(logits, np.array([0, 1]))
    assert loss == pytest.approx((-3 * np.log(0.5) - np.log(0.8)) / 4)


def test_smoothing_has_its_minimum_at_the_smoothed_targets():
    smoothed = np.array([[0.9 + 0.1 / 4, 0.1 / 4, 0.1 / 4, 0.1 / 4]])
    _, gradient = tc.SoftmaxCrossEntropy(0.1)(np.log(smoothed), np.array([0]))
    np.testing.assert_allclose(gradient, 0, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_of_0_and_1_are_classes_to_the_bit(backend, dtype):
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((9, 4)).astype(dtype), rng.integers(0, 4, 9)
    loss = tc.SoftmaxCrossEntropy(0.1, [1, 2, 0.3, 0.7])
    hard, soft = loss(logits, labels), loss(logits, np.eye(4)[labels])
    assert hard[0] == soft[0]
    np.testing.assert_array_equal(hard[1], soft[1])
    assert soft[1].dtype == dtype


def test_probabilities_are_a_mean_over_classes_and_weights_too(backend):
    logits, p = np.log(np.array([[0.5, 0.5], [0.2, 0.8]])), np.array([[0.25, 0.75], [1, 0]])
    loss, _ = tc.SoftmaxCrossEntropy(class_weights=[3, 1])(logits, p)
    entropy = -(p * logits).sum(axis=1)
    assert loss == pytest.approx((1.5 * entropy[0] + 3 * entropy[1]) / 4.5)
    smooth, _ = tc.SoftmaxCrossEntropy(0.2)(logits, p)
    assert smooth == pytest.approx(-((0.8 * p + 0.1) * logits).sum(axis=1).mean())


def test_a_batch_of_ignored_classes_alone_gives_nothing():
    loss, gradient = tc.SoftmaxCrossEntropy(class_weights=[0, 1])(
        np.ones((2, 2), np.float32), np.array([0, 0])
    )
    assert loss == 0
    np.testing.assert_array_equal(gradient, 0)


def test_huge_logits_stay_finite():
    loss, gradient = tc.SoftmaxCrossEntropy(0.1)(np.array([[1e4, -1e4]], np.float32), np.array([1]))
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()
    assert gradient.dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label_smoothing": 1}, "label_smoothing=1"),
        ({"label_smoothing": -0.1}, "label_smoothing=-0.1"),
        ({"class_weights": [1, -1]}, "one finite number of at least 0 per class"),
        ({"class_weights": [0, 0]}, "not all of them 0"),
        ({"class_weights": [1, np.inf]}, "finite"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(tc.ConfigError, match=message):
        tc.SoftmaxCrossEntropy(**arguments)


def test_bad_data():
    loss, logits = tc.SoftmaxCrossEntropy(), np.zeros((3, 4), np.float32)
    with pytest.raises(
        tc.ConfigError, match="label 4 at position 2: expected 0 to 3, since the model has 4 outputs"
    ):
        loss(logits, np.array([0, 1, 4]))
    with pytest.raises(tc.ShapeError, match=r"found \(3, 4\) and \(2,\)"):
        loss(logits, np.array([0, 1]))
    with pytest.raises(tc.DTypeError, match=r"from 0 to 3; use labels.astype\(int\)"):
        loss(logits, np.zeros(3))
    with pytest.raises(tc.ShapeError, match=r"use labels\[:, 0\]"):
        loss(logits, np.zeros((3, 1), int))
    with pytest.raises(tc.ShapeError, match=r"labels \(N,\) or \(N, K\), found \(3, 4\) and \(3, 5\)$"):
        loss(logits, np.zeros((3, 5)))
    with pytest.raises(tc.DTypeError, match=r"labels \(N, K\) are int64: expected probabilities as floats"):
        loss(logits, np.zeros((3, 4), np.int64))
    with pytest.raises(tc.ConfigError, match="class_weights has 2 numbers, the model has 4 outputs"):
        tc.SoftmaxCrossEntropy(class_weights=[1, 2])(logits, np.zeros(3, int))


@pytest.mark.parametrize(
    "row", [[0.5, 0.4], [0.5, 0.502], [1.5, -0.5], [np.nan, 1], [np.inf, -np.inf], [0, 0]]
)
def test_what_is_no_distribution_is_refused(row):
    labels = np.array([[0.5, 0.5], row])
    with pytest.raises(tc.ConfigError, match=r"labels at position 1 are \[.*\]: expected probabilities"):
        tc.SoftmaxCrossEntropy()(np.zeros((2, 2)), labels)


@pytest.mark.parametrize("scale", [1e-50, 1.0, 1e39])
def test_only_ratios_of_class_weights_matter(scale):
    loss = tc.SoftmaxCrossEntropy(class_weights=[scale, 2 * scale])
    value, gradient = loss(np.zeros((2, 2), np.float32), np.array([0, 1]))
    assert value == pytest.approx(np.log(2))
    assert gradient.any()
