"""The estimator keeps scikit-learn's rules, and works in its tools."""

import pickle
import sys

import numpy as np
import pytest

import tinycnn as tc

pytest.importorskip("sklearn", reason="the estimator needs scikit-learn, of the extra 'sklearn'")

import joblib
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from tinycnn.sklearn import CNNClassifier, default_network


@pytest.fixture(autouse=True, scope="module")
def _numpy():
    """Nothing to compile: other tests compare the backends."""
    with tc.backend("numpy"):
        yield


@parametrize_with_checks([CNNClassifier()])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def bars(count=60):
    """Images (count, 8, 8, 1) of noise, every second one with a bright bar, and what they are."""
    labels = np.array(["noise", "bar"])[np.arange(count) % 2]
    images = np.random.default_rng(0).standard_normal((count, 8, 8, 1))
    images[labels == "bar", 3:5] += 3
    return 100 + 20 * images, labels


def small(**options):
    return CNNClassifier(**{"epochs": 8, "batch_size": 10, "random_state": 0} | options)


def test_images_and_rows_of_pixels_are_the_same():
    images, labels = bars()
    as_images = small().fit(images[:40], labels[:40])
    as_rows = small(image_shape=[8, 8, 1]).fit(images[:40].reshape(40, 64), labels[:40])
    assert as_images.score(images[40:], labels[40:]) > 0.9
    assert as_images.classes_.tolist() == ["bar", "noise"]
    assert as_images.mean_.shape == (1,)
    assert as_images.history_.loss[-1] < as_images.history_.loss[0]
    expected = as_images.predict_proba(images[40:])
    np.testing.assert_array_equal(as_rows.predict_proba(images[40:].reshape(20, 64)), expected)


def test_a_network_of_ones_own_and_the_default():
    def network(input_shape, classes, seed):
        return tc.Sequential([tc.Flatten(), tc.Dense(64, classes, rng=seed), tc.Softmax()])

    images, labels = bars()
    model = small(network=network).fit(images, labels)
    assert model.network_.params["1.kernel"].shape == (64, 2)
    assert sum(array.size for array in default_network((8, 8, 1), 10, 0).params.values()) == 5178
    assert default_network((1, 3, 2), 2, 0).output_shape((1, 3, 2)) == (2,)


def test_in_scikit_learns_tools():
    images, labels = bars()
    rows = images.reshape(60, 64)
    pipeline = make_pipeline(MinMaxScaler(), small(image_shape=(8, 8, 1)))
    search = GridSearchCV(pipeline, {"cnnclassifier__epochs": np.array([1, 8])}, cv=2).fit(rows, labels)
    assert search.best_params_ == {"cnnclassifier__epochs": 8}
    assert cross_val_score(small(), images, labels, cv=2).mean() > 0.9
    calibrated = CalibratedClassifierCV(small(image_shape=(8, 8, 1)), cv=2).fit(rows, labels)
    assert calibrated.score(rows, labels) > 0.9


def test_clones_and_copies(tmp_path):
    images, labels = bars()
    model = small().fit(images, labels)
    again = clone(model)
    assert not hasattr(again, "network_")
    expected = model.predict_proba(images)
    np.testing.assert_array_equal(again.fit(images, labels).predict_proba(images), expected)
    joblib.dump(model, tmp_path / "model")
    for copy in (joblib.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(copy.predict_proba(images), expected)
    tc.save(model.network_, tmp_path / "weights", labels=list(model.classes_))
    x = ((images - model.mean_) / model.std_).astype(np.float32)
    np.testing.assert_allclose(tc.load(tmp_path / "weights").predict(x), expected, atol=1e-6)


def fixed(model):
    return lambda input_shape, classes, seed: model


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs=0: expected a whole number"),
        ({"batch_size": 2.0}, "batch_size=2.0: expected a whole number"),
        ({"learning_rate": -1}, "lr=-1: expected a learning rate"),
        ({"image_shape": (8, 8)}, r"image_shape=\(8, 8\): expected \(H, W, C\) of 64 numbers"),
        ({"image_shape": 8}, "image_shape=8: expected whole numbers"),
        ({"network": "vgg"}, "network='vgg': expected a function"),
        ({"network": fixed(None)}, "network=None: expected a function that returns"),
        ({"network": fixed(tc.Sequential([tc.Flatten()]))}, "ending in a Softmax"),
        ({"network": fixed(tc.Sequential([tc.Softmax()]))}, r"its output is \(64,\), expected \(2,\)"),
    ],
)
def test_bad_arguments_are_named(options, message):
    images, labels = bars(20)
    with pytest.raises(tc.TinyCNNError, match=message):
        small(**options).fit(images.reshape(20, 64), labels)


def test_bad_samples_are_named():
    images, labels = bars(20)
    with pytest.raises(tc.ShapeError, match=r"expected \(n, features\) or \(n, H, W, C\)"):
        small().fit(images[..., 0], labels)
    model = small(epochs=1).fit(images, labels)
    with pytest.raises(tc.ShapeError, match=r"samples are \(8, 7, 1\): expected \(8, 8, 1\)"):
        model.predict(images[:, :, 1:])
    assert model.fit(images[:, :, 1:], labels).network_.input_shape == (8, 7, 1)


def test_a_missing_scikit_learn_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "tinycnn.sklearn")
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    with pytest.raises(tc.MissingPackageError, match=r"pip install 'tinycnn\[sklearn\]'"):
        __import__("tinycnn.sklearn")


def test_what_overflows_has_no_probabilities():
    images, labels = bars(16)
    model = CNNClassifier(epochs=1, random_state=0).fit(images * 1e-30, labels)
    with pytest.raises(ValueError, match="so far from the training data"):
        model.predict(images * 1e30)
