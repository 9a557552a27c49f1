"""The command as its user runs it, and a file in int8 wherever weights are taken."""

import json

import cv2
import numpy as np
import pytest

import tinycnn as tc
from fer_demo import calibrate, evaluate, quantize, sight
from fer_demo.classifier import EmotionClassifier
from fer_demo.data.convert import write_csv


@pytest.fixture
def faces(tmp_path):
    """A CSV file of faces that are not marked."""
    rng = np.random.default_rng(0)
    images = (rng.random((120, 1, 1, 1)) * rng.integers(0, 256, (120, 48, 48, 1))).astype(np.uint8)
    write_csv(tmp_path / "faces.csv", images, np.arange(120) % 7)
    return images


def test_the_file_answers_as_the_float_weights_do(run_command, faces, save_weights):
    training = {"model": "small", "data": "0" * 64, "validation": "PublicTest"}
    weights = save_weights(calibration={"temperature": 2.0}, training=training, history={"loss": [1.0]})
    code, output, error = run_command(
        quantize, weights, "--data", "faces.csv", "--part", "all", "--images", 50, "--out", "new/int8.st"
    )
    assert (code, error) == (0, "")
    assert "QuantizedModel(2 steps, 16,128 int8 weights" in output
    assert "ranges from 50 faces" in output
    before, after = EmotionClassifier(weights), EmotionClassifier("new/int8.st")
    assert (before.quantized, after.quantized) == (False, True)
    assert (after.temperature, after.normalise) == (2.0, before.normalise)
    assert after.info["training"] == training
    assert "history" not in after.info
    assert np.abs(after(faces) - before(faces)).max() < 0.03
    assert after.path.stat().st_size < before.path.stat().st_size / 3

    code, _, error = run_command(evaluate, "new/int8.st", "faces.csv", "--json", "scores.json")
    assert (code, error) == (0, "")
    with open("scores.json", encoding="utf-8") as file:
        found = json.load(file)
    assert found["accuracy"] == pytest.approx(np.mean(after(faces).argmax(axis=1) == np.arange(120) % 7))


def test_the_same_seed_gives_the_same_bytes(run_command, faces, save_weights, tmp_path):
    save_weights()
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        options = ("--data", "faces.csv", "--part", "all", "--images", 5, "--seed", seed, "--out", out)
        assert run_command(quantize, "small.safetensors", *options)[0] == 0
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_photographs_that_are_no_use_are_listed(run_command, faces, save_weights, tmp_path):
    for emotion in ("happy", "sad"):
        folder = tmp_path / "photos" / emotion
        folder.mkdir(parents=True)
        for number, face in enumerate(faces[:50]):
            cv2.imwrite(str(folder / f"{number}.png"), face)
        (folder / "bad.png").write_bytes(b"")
    weights = save_weights()
    for module, options in ((quantize, ["--out", "int8.st"]), (calibrate, [])):
        code, output, error = run_command(module, weights, "--data", "photos", "--part", "all", *options)
        assert code == 0
        assert "100 faces" in output
        assert "2 damaged or missing, skipped:\n  photos/happy/bad.png: the file is empty\n" in error


def test_what_needs_float_weights_says_so(run_command, faces, save_weights):
    run_command(quantize, save_weights(), "--data", "faces.csv", "--part", "all", "--out", "int8.st")
    with pytest.raises(tc.ConfigError, match=r"int8\.st: an int8 network cannot be looked into"):
        sight.block_maps(EmotionClassifier("int8.st"), faces[0, :, :, 0])
    for module, options in ((calibrate, ["--part", "all"]), (quantize, ["--out", "again.st"])):
        code, output, error = run_command(module, "int8.st", "--data", "faces.csv", *options)
        assert code == 2
        assert "in int8 already; name those in float32" in error or "an int8 file; calibrate" in error
        assert "Traceback" not in output + error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing", "--data", "faces.csv"], "weights='nothing': expected a file, or one of"),
        (["small.safetensors", "--data", "nothing.csv"], "nothing.csv: no such file"),
        (
            ["small.safetensors", "--data", "faces.csv", "--part", "PublicTest"],
            "no part PublicTest; take all of them",
        ),
        (["small.safetensors"], "--data"),
    ],
)
def test_mistakes_get_one_message_and_exit_code_2(run_command, faces, save_weights, arguments, message):
    save_weights()
    code, output, error = run_command(quantize, *arguments, "--out", "int8.st")
    assert code == 2
    assert message in " ".join(error.split())
    assert "Traceback" not in output + error
