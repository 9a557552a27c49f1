"""The command as its user runs it: it finds a planted temperature, and touches nothing else in the file."""

from pathlib import Path

import numpy as np
import pytest

import tinycnn as tc
from fer_demo import calibrate as command
from fer_demo.calibration import cross_fitted, negative_log_likelihood, reliability, temper
from fer_demo.classifier import EmotionClassifier
from fer_demo.data.convert import write_csv
from fer_demo.data.held_out import load_held_out


@pytest.fixture
def calibrate(run_command):
    return lambda *arguments: run_command(command, *arguments)


@pytest.fixture
def faces(tmp_path, save_weights):
    """A CSV file of faces whose labels are as sure as the small classifier is at temperature 2."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (600, 48, 48, 1), dtype=np.uint8)
    honest = EmotionClassifier(save_weights(calibration={"temperature": 2.0}))(images)
    labels = (honest.cumsum(axis=1) < rng.random((600, 1))).sum(axis=1).clip(0, 6)
    write_csv(tmp_path / "faces.csv", images, labels)
    return images


def test_the_temperature_is_kept_with_the_weights_and_nothing_else_changes(
    calibrate, faces, save_weights, tmp_path
):
    training = {"model": "small", "data": "0" * 64, "validation": "0.1"}
    weights = save_weights(training=training, metrics={"validation_accuracy": 0.5}, history={"loss": [1.0]})
    info, arrays = tc.load_info(weights), tc.load(weights).params
    predicted = EmotionClassifier(weights)(faces).argmax(axis=1)
    code, output, error = calibrate(weights, "--data", "faces.csv", "--part", "all")
    assert (code, error) == (0, "")

    found = tc.load_info(weights).pop("calibration")
    assert found["temperature"] == pytest.approx(2, rel=0.15)
    assert found["ece_after"] < 0.06 < 0.1 < found["ece_before"]
    assert found["nll_after"] < found["nll_before"]
    assert (found["bins"], found["faces"]) == (15, 600)
    assert (found["data"]["name"], found["data"]["part"]) == ("faces.csv", "all")
    assert f"Temperature {found['temperature']:.3f}, fitted on 600 faces" in output
    assert f"{found['ece_before']:.3f} before, {found['ece_after']:.3f} after" in output

    assert tc.load_info(weights) == {**info, "calibration": found}
    for name, array in tc.load(weights).params.items():
        np.testing.assert_array_equal(array, arrays[name])
    classifier = EmotionClassifier(weights)
    assert classifier.temperature == found["temperature"]
    np.testing.assert_array_equal(classifier(faces).argmax(axis=1), predicted)

    once = weights.read_bytes()
    calibrate(weights, "--data", "faces.csv", "--part", "all")
    assert weights.read_bytes() == once  # it starts from temperature 1 again


def test_each_half_is_scored_with_the_temperature_of_the_other(faces, save_weights, tmp_path):
    classifier, held_out = EmotionClassifier(save_weights()), load_held_out(tmp_path / "faces.csv", "all")
    found, labels = command.calibration(classifier, held_out), held_out.dataset.labels
    before = classifier(faces)
    after = cross_fitted(labels, before)
    assert found["ece_after"] == reliability(labels, after).error
    assert found["nll_after"] == negative_log_likelihood(labels, after)
    on_all = temper(before, found["temperature"])  # would look better than it is
    assert found["nll_after"] > negative_log_likelihood(labels, on_all)


def test_a_hundred_faces_suffice(calibrate, faces, save_weights):
    lines = Path("faces.csv").read_text().splitlines()
    for count, expected in ((99, 2), (100, 0)):
        Path("few.csv").write_text("\n".join(lines[: count + 1]))
        assert calibrate(save_weights(), "--data", "few.csv", "--part", "all")[0] == expected


def test_a_file_that_cannot_be_written_is_as_it_was(calibrate, faces, save_weights, monkeypatch):
    weights = save_weights()
    before = weights.read_bytes()

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    code, _, error = calibrate(weights, "--data", "faces.csv", "--part", "all")
    assert code == 2
    assert "no space left" in error
    assert weights.read_bytes() == before


def test_faces_that_the_model_was_trained_on_are_refused(calibrate, faces, save_weights):
    calibrate(weights := save_weights(), "--data", "faces.csv", "--part", "all")
    sha256 = tc.load_info(weights)["calibration"]["data"]["sha256"]
    weights = save_weights(training={"data": sha256, "validation": "PublicTest"})
    before = weights.read_bytes()
    code, _, error = calibrate(weights, "--data", "faces.csv", "--part", "all")
    assert code == 2
    assert "faces.csv: as far as the files tell, the model was trained on some of these faces" in error
    assert weights.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mini_xception", "--data", "faces.csv"], "mini_xception: no such file"),
        (["faces.csv", "--data", "faces.csv"], "faces.csv: not a whole safetensors file"),
        (["small.safetensors", "--data", "faces.csv"], "no part PublicTest; take all of them"),
        (
            ["small.safetensors", "--data", "few.csv", "--part", "all"],
            "found 99 faces, expected at least 100",
        ),
        (["small.safetensors", "--data", "one.csv", "--part", "all"], "of more than one emotion"),
        (["small.safetensors"], "--data"),
    ],
)
def test_mistakes_get_one_message_and_exit_code_2(
    calibrate, faces, save_weights, tmp_path, arguments, message
):
    save_weights()
    write_csv(tmp_path / "few.csv", faces[:99], np.arange(99) % 7)
    write_csv(tmp_path / "one.csv", faces[:100], np.zeros(100, int))
    code, output, error = calibrate(*arguments)
    assert code == 2
    assert message in " ".join(error.split())
    assert "Traceback" not in output + error
