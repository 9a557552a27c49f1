"""Bins by hand, and temperatures that were planted and are found."""

import numpy as np
import pytest

from fer_demo.calibration import (
    TEMPERATURES,
    cross_fitted,
    fit_temperature,
    negative_log_likelihood,
    reliability,
    temper,
)


def softmax(logits):
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def honest(n=4000, seed=0):
    """Labels drawn from the very probabilities that are given with them."""
    rng = np.random.default_rng(seed)
    probabilities = softmax(2 * rng.standard_normal((n, 7)))
    labels = (probabilities.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return labels, probabilities.astype(np.float32)


def test_bins_worked_out_by_hand():
    probabilities = np.array([[0.95, 0.05], [0.85, 0.15], [0.3, 0.7], [0.45, 0.55], [1.0, 0.0]])
    found = reliability(np.array([0, 1, 1, 1, 0]), probabilities, bins=5)
    assert found.count.tolist() == [0, 0, 1, 1, 3]
    np.testing.assert_allclose(found.confidence, [np.nan, np.nan, 0.55, 0.7, 2.8 / 3])
    np.testing.assert_allclose(found.accuracy, [np.nan, np.nan, 1, 1, 2 / 3])
    assert found.error == pytest.approx((0.45 + 0.3 + 3 * (2.8 / 3 - 2 / 3)) / 5)


def test_a_border_belongs_to_the_bin_below():
    half = np.array([[0.5, 0.5]])
    assert reliability(np.array([0]), half, bins=2).count.tolist() == [1, 0]
    assert reliability(np.array([0]), half, bins=4).count.tolist() == [0, 1, 0, 0]


def test_honest_probabilities_have_hardly_any_error_and_temperature_1():
    labels, probabilities = honest()
    assert reliability(labels, probabilities).error < 0.03
    assert fit_temperature(labels, probabilities) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("planted", [0.4, 3.0])
def test_a_planted_temperature_is_found_and_undone(planted):
    labels, probabilities = honest()
    spoilt = temper(probabilities, 1 / planted)
    assert fit_temperature(labels, spoilt) == pytest.approx(planted, rel=0.05)
    mended = cross_fitted(labels, spoilt)
    assert reliability(labels, mended).error < 0.03 < 0.1 < reliability(labels, spoilt).error
    np.testing.assert_array_equal(mended.argmax(axis=1), probabilities.argmax(axis=1))


def test_each_half_is_tempered_as_the_other_demands():
    labels, probabilities = honest(400)
    tempered = cross_fitted(labels, probabilities, seed=3)
    one, other = np.array_split(np.random.default_rng(3).permutation(400), 2)
    expected = temper(probabilities[one], fit_temperature(labels[other], probabilities[other]))
    np.testing.assert_allclose(tempered[one], expected, rtol=1e-6)


def test_the_likelihood_is_that_of_the_tempered_probabilities():
    labels, probabilities = honest(50)
    expected = -np.log(temper(probabilities.astype(float), 2.5)[np.arange(50), labels]).mean()
    assert negative_log_likelihood(labels, probabilities, 2.5) == pytest.approx(expected)


def test_a_true_class_of_probability_0_has_a_finite_likelihood():
    certain = np.eye(7, dtype=np.float32)[[0, 1]]
    assert 80 < negative_log_likelihood(np.array([1, 1]), certain) * 2 < 90


@pytest.mark.parametrize(("label", "bound"), [(0, 0), (1, 1)])
def test_always_or_never_right_ends_at_a_bound(label, bound):
    probabilities = np.tile(np.float32([0.6, 0.4]), (10, 1))
    found = fit_temperature(np.full(10, label), probabilities)
    assert found == pytest.approx(TEMPERATURES[bound], rel=0.2)  # the loss is flat near it
    assert TEMPERATURES[0] <= found <= TEMPERATURES[1]
