"""From faces to probabilities, whatever a file's order of labels, dtype and temperature."""

import os
import sys

import numpy as np
import pytest

import tinycnn as tc
from fer_demo.classifier import SHIPPED, EmotionClassifier
from fer_demo.data.dataset import EMOTIONS

PREPROCESSING = {"mean": 120.0, "std": 60.0}


def small_model():
    features = [tc.Conv2D(1, 4, 5, stride=4, rng=0), tc.ReLU(), tc.GlobalAvgPool2D()]
    return tc.Sequential([*features, tc.Dense(4, 7, rng=1), tc.Softmax()], input_shape=(48, 48, 1))


@pytest.fixture(scope="module")
def faces():
    return np.random.default_rng(0).integers(0, 256, (70, 48, 48, 1), dtype=np.uint8)


@pytest.fixture
def saved(tmp_path):
    """Save a model, and return the file."""

    def save(model=None, labels=EMOTIONS, **more):
        path = tmp_path / "small.safetensors"
        tc.save(model or small_model(), path, labels=labels, **{"preprocessing": PREPROCESSING, **more})
        return path

    return save


@pytest.fixture
def expected(faces):
    x = (faces.astype(np.float32) - 120) / 60
    return small_model().forward(x)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_a_name_that_is_no_text_is_shown_with_question_marks(saved, tmp_path):
    path = tmp_path / os.fsdecode(b"w\xff\x1b[31m.safetensors")
    saved().rename(path)
    assert EmotionClassifier(path).name == "w??[31m"


def test_probabilities_are_the_models_for_normalised_faces(saved, faces, expected):
    classifier = EmotionClassifier(saved())
    assert (classifier.name, classifier.temperature) == ("small", 1)
    found = classifier(faces)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.ptp(found, axis=0).min() > 1e-3  # the faces are told apart
    np.testing.assert_array_equal(classifier(faces[:0]), np.zeros((0, 7)))


def test_a_file_may_have_its_labels_in_another_order(saved, faces, expected):
    labels = ["sad", "angry", "neutral", "happy", "disgust", "surprise", "fear"]
    found = EmotionClassifier(saved(labels=labels))(faces)
    for column, name in enumerate(EMOTIONS):
        np.testing.assert_allclose(found[:, column], expected[:, labels.index(name)], atol=1e-6)


def test_weights_of_float64_are_used_as_float32(saved, faces, expected):
    found = EmotionClassifier(saved(small_model().astype(np.float64)))(faces)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 2.0, 3])
def test_the_temperature_divides_logits(saved, faces, expected, temperature):
    found = EmotionClassifier(saved(calibration={"temperature": temperature}))(faces)
    logits = np.log(expected) / temperature
    np.testing.assert_allclose(found, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), atol=1e-6)


def test_the_lowest_temperature_leaves_one_emotion_and_no_nan(saved, faces, expected):
    found = EmotionClassifier(saved(calibration={"temperature": 0.01}))(faces)
    np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("preprocessing", [{"mean": 0.0, "std": 1e-300}, {"mean": 1e300, "std": 1.0}])
def test_numbers_that_make_nan_are_the_files_fault(saved, faces, preprocessing):
    path = saved(preprocessing=preprocessing)
    with pytest.raises(tc.NonFiniteError, match=rf"{path.name}: a face's probabilities are NaN: .*train a"):
        EmotionClassifier(path)(faces)


def test_flip_averaging_is_the_mean_over_the_mirror_image(saved, faces):
    path = saved(calibration={"temperature": 2.0})
    plain, averaged = EmotionClassifier(path), EmotionClassifier(path, flip_average=True)
    mirrored = np.ascontiguousarray(faces[:, :, ::-1])
    np.testing.assert_allclose(averaged(faces), (plain(faces) + plain(mirrored)) / 2, atol=1e-6)
    np.testing.assert_allclose(averaged(faces), averaged(mirrored), atol=1e-6)
    assert np.abs(averaged(faces) - plain(faces)).max() > 1e-3


def test_shipped_weights_are_known_by_name(faces):
    assert EmotionClassifier().path == SHIPPED["mini_xception"]
    for name, path in SHIPPED.items():
        classifier = EmotionClassifier(name)
        assert classifier.path == path
        assert classifier(faces[:2]).shape == (2, 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ()}, r"labels=\[\]: expected in any order angry, disgust"),
        ({"labels": [*EMOTIONS[:6], "contempt"]}, "labels=.*: expected in any order"),
        ({"labels": [*EMOTIONS[:6], "sad"]}, "labels=.*: expected in any order"),
        ({"preprocessing": None}, "preprocessing=None: expected a mean and a std above 0"),
        ({"preprocessing": {"mean": 0.0}}, "preprocessing=.*: expected a mean and a std"),
        ({"preprocessing": {"mean": 0.0, "std": 0.0}}, "preprocessing=.*: expected a mean and a std"),
        ({"preprocessing": {"mean": True, "std": 1.0}}, "preprocessing=.*: expected a mean and a std"),
        ({"preprocessing": [0.0, 1.0]}, "preprocessing=.*: expected a mean and a std"),
        ({"calibration": {}}, "calibration={}: expected a temperature from 0.01 to 100"),
        ({"calibration": 1.5}, "calibration=1.5: expected a temperature"),
        ({"calibration": {"temperature": 0}}, "calibration=.*: expected a temperature"),
        ({"calibration": {"temperature": "hot"}}, "calibration=.*: expected a temperature"),
        (
            {"model": tc.Sequential([tc.Conv2D(3, 7, 3), tc.GlobalAvgPool2D(), tc.Softmax()])},
            "cannot take grey faces of 48x48 pixels",
        ),
        (
            {
                "model": tc.Sequential(
                    [tc.Conv2D(1, 7, 3), tc.GlobalAvgPool2D(), tc.Softmax()], input_shape=(64, 64, 1)
                )
            },
            r"takes images of \(64, 64, 1\), expected grey faces of \(48, 48, 1\)",
        ),
        ({"model": tc.Sequential([tc.GlobalAvgPool2D(), tc.Softmax()])}, r"its outputs are \(1,\)"),
        (
            {"model": tc.Sequential([tc.Flatten(), tc.Dense(2304, 7)])},
            "its last layer is .*a Softmax",
        ),
    ],
)
def test_a_file_that_is_no_classifier_of_emotions_is_named(saved, options, message):
    path = saved(**options)
    with pytest.raises(tc.FileFormatError, match=f"small.safetensors: .*{message}"):
        EmotionClassifier(path)


def test_a_file_that_is_damaged_or_missing_is_named(tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    with pytest.raises(tc.FileFormatError, match=r"bad\.safetensors: not a whole safetensors file"):
        EmotionClassifier(tmp_path / "bad.safetensors")
    with pytest.raises(tc.ConfigError, match=r"weights=.*nothing.*: expected a file, or one of"):
        EmotionClassifier(tmp_path / "nothing")
    with pytest.raises(tc.ConfigError, match="expected a file"):
        EmotionClassifier(tmp_path)


@pytest.mark.parametrize(
    ("faces", "error", "message"),
    [
        (np.zeros((2, 48, 48, 1), np.float32), tc.DTypeError, "faces are float32: expected"),
        ([[0]], tc.DTypeError, "faces are list: expected an array of uint8"),
        (
            np.zeros((48, 48, 1), np.uint8),
            tc.ShapeError,
            r"expected faces \(N, 48, 48, 1\), found \(48, 48, 1\)",
        ),
        (np.zeros((2, 64, 64, 1), np.uint8), tc.ShapeError, r"found \(2, 64, 64, 1\)"),
        (np.zeros((0, 48, 48), np.uint8), tc.ShapeError, r"found \(0, 48, 48\)"),
    ],
)
def test_faces_of_another_kind_are_refused(saved, faces, error, message):
    with pytest.raises(error, match=message):
        EmotionClassifier(saved())(faces)
