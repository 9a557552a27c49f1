import numpy as np
import pytest

from fer_demo.errors import DataError
from fer_demo.metrics import fold_metrics, over_folds, over_seeds, summarise_folds, wilson_interval

LABELS = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 1, 0, 0])


def test_scores_worked_out_by_hand():
    fold = fold_metrics(LABELS, PREDICTED, classes=3)
    assert fold.accuracy == pytest.approx(3 / 6)
    np.testing.assert_array_equal(fold.confusion, [[2, 1, 0], [1, 1, 0], [1, 0, 0]])
    np.testing.assert_allclose(fold.precision, [2 / 4, 1 / 2, 0])  # class 2 is present and never predicted
    np.testing.assert_allclose(fold.recall, [2 / 3, 1 / 2, 0])
    np.testing.assert_allclose(fold.f1, [4 / 7, 1 / 2, 0])
    np.testing.assert_array_equal(fold.support, [3, 2, 1])
    assert fold.macro_f1 == pytest.approx((4 / 7 + 1 / 2 + 0) / 3)


def test_class_without_samples_has_no_score_even_if_predicted():
    fold = fold_metrics(np.array([0, 0, 1]), np.array([0, 2, 1]), classes=3)
    assert np.isnan([fold.precision[2], fold.recall[2], fold.f1[2]]).all()
    assert fold.support[2] == 0
    assert fold.macro_f1 == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize(
    ("labels", "predicted", "message"),
    [
        ([0, 1], [0], r"shape \(2,\) and predictions \(1,\)"),
        ([[0, 1]], [[0, 1]], r"must be \(N,\)"),
        ([], [], "at least 1"),
        ([0, 3], [0, 0], r"labels\[1\] is 3: expected a class from 0 to 2"),
        ([0, 0], [0, -1], r"predictions\[1\] is -1"),
        ([0, 1], [0.2, 0.8], "predictions are float64: expected integers"),
    ],
)
def test_bad_input_is_named(labels, predicted, message):
    with pytest.raises(DataError, match=message):
        fold_metrics(np.array(labels), np.array(predicted), classes=3)


def test_summary_averages_over_the_folds_that_have_the_class():
    with_class_2 = fold_metrics(LABELS, PREDICTED, classes=3)
    without = fold_metrics(np.array([0, 1, 1]), np.array([0, 1, 1]), classes=3)
    summary = summarise_folds([with_class_2, without, without], ("a", "b", "c"))
    assert summary["accuracy"]["folds"] == [0.5, 1, 1]
    assert summary["per_class"]["a"]["precision"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert summary["per_class"]["c"] == {
        "precision": 0,
        "recall": 0,
        "f1": 0,
        "support": pytest.approx(1 / 3),
    }
    assert summary["confusion"] == [[4, 1, 0], [1, 5, 0], [1, 0, 0]]


def test_class_in_no_fold_is_none():
    fold = fold_metrics(np.array([0, 1]), np.array([0, 1]), classes=3)
    unknown = summarise_folds([fold, fold], ("a", "b", "c"))["per_class"]["c"]
    assert unknown == {"precision": None, "recall": None, "f1": None, "support": 0}


def test_spread_is_the_sample_standard_deviation():
    assert over_folds([0.5, 0.6, 0.7]) == {
        "mean": pytest.approx(0.6),
        "std": pytest.approx(0.1),
        "folds": [0.5, 0.6, 0.7],
    }


def test_one_fold_has_spread_zero():
    assert over_folds([np.float32(0.5)]) == {"mean": 0.5, "std": 0.0, "folds": [0.5]}


def test_no_fold_is_an_error():
    with pytest.raises(DataError, match="no fold"):
        summarise_folds([])


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [(0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (1, 1, 0.2065, 1), (81, 263, 0.2553, 0.3662)],
)
def test_interval_of_a_share(right, of, low, high):
    # The last one is an example of Newcombe 1998, "Two-sided confidence intervals for the single proportion".
    assert wilson_interval(right, of) == pytest.approx((low, high), abs=5e-5)


def test_the_interval_over_seeds_is_student_s():
    spread = over_seeds([0.60, 0.62, 0.64])
    assert (spread["mean"], spread["std"]) == pytest.approx((0.62, 0.02))
    assert spread["interval"] == pytest.approx(
        [0.62 - 4.30265 * 0.02 / 3**0.5, 0.62 + 4.30265 * 0.02 / 3**0.5]
    )
    assert over_seeds([0.6]) == {"mean": 0.6, "std": 0.0, "interval": None, "seeds": [0.6]}
