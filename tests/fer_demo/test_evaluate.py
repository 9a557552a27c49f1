"""The command as its user runs it: on rows of a table, and on photographs of every kind."""

import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_demo import evaluate as command
from fer_demo.classifier import EmotionClassifier
from fer_demo.data import load
from fer_demo.data.dataset import EMOTIONS
from fer_demo.data.faces import draw_face
from fer_demo.data.held_out import load_held_out
from fer_demo.data.images import cut_face, read_grey
from fer_demo.detection.cascades import largest_face
from fer_demo.report import figures
from fer_demo.report.content import RESPONSIBLE_USE
from fer_demo.report.evaluation import TRAINED_ON
from fer_demo.training import was_trained_on

USAGE = ["Training"] * 20 + ["PublicTest"] * 14 + ["PrivateTest"]


@pytest.fixture
def evaluate(run_command):
    return lambda *arguments: run_command(command, *arguments)


@pytest.fixture
def table(tmp_path):
    """A CSV file, its images (35, 48, 48, 1) and labels."""
    images = np.random.default_rng(0).integers(0, 256, (35, 48, 48, 1), dtype=np.uint8)
    labels = np.arange(35) % 7
    rows = zip(labels, images, USAGE, strict=True)
    lines = [f"{label},{' '.join(map(str, image.ravel()))},{usage}" for label, image, usage in rows]
    (tmp_path / "faces.csv").write_text("\n".join(["emotion,pixels,Usage", *lines, ""]))
    return images, labels


def photograph(emotion="happy", side=120) -> np.ndarray:
    """A drawn face in the midst of a larger picture."""
    face = draw_face(emotion, np.random.default_rng(0), 0).reshape(48, 48)
    large = cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC)
    return cv2.copyMakeBorder(large, 50, 70, 60, 200, cv2.BORDER_REPLICATE)


def put(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


def read(path):
    return json.loads(path.read_text())


def one_line(text):
    return " ".join(text.split())


def test_a_part_of_a_table_is_scored(evaluate, table, save_weights, tmp_path):
    weights = save_weights()
    code, output, error = evaluate(
        weights, "faces.csv", "--part", "PublicTest", "--json", "new/a.json", "--out", "scored"
    )
    assert (code, error) == (0, "")
    images, labels = table[0][20:34], table[1][20:34]
    predicted = EmotionClassifier(weights)(images).argmax(axis=1)
    confusion = np.zeros((7, 7), int)
    np.add.at(confusion, (labels, predicted), 1)
    result = read(tmp_path / "new" / "a.json")
    assert result["images"] == 14
    assert result["confusion"] == confusion.tolist()
    assert result["accuracy"] == np.mean(labels == predicted)
    assert result["interval"][0] < result["accuracy"] < result["interval"][1]
    assert list(result["per_class"]) == list(EMOTIONS)
    assert result["per_class"]["sad"]["recall"] == confusion[4, 4] / 2
    assert {scores["support"] for scores in result["per_class"].values()} == {2}
    assert 0 < result["ece"] < 1
    assert sum(result["reliability"]["count"]) == 14
    assert (result["no_face"], result["skipped"], result["left_out"]) == (0, 0, {})
    assert result["data"]["name"] == "faces.csv"
    assert result["data"]["part"] == "PublicTest"
    assert result["weights"]["name"] == "small"
    assert len(result["weights"]["sha256"]) == len(result["data"]["sha256"]) == 64
    assert f"Accuracy {result['accuracy']:.3f}, 95 % interval {result['interval'][0]:.3f}" in output
    assert one_line(RESPONSIBLE_USE) in one_line(output)
    assert TRAINED_ON not in output
    assert {path.name for path in (tmp_path / "scored").iterdir()} == {
        "evaluation.json", "confusion.png", "reliability.png", "mistakes.png",
    }  # fmt: skip
    assert read(tmp_path / "scored" / "evaluation.json") == result


def test_flip_average_is_another_classifier(evaluate, table, save_weights, tmp_path):
    weights = save_weights(calibration={"temperature": 2.0})
    code, output, _ = evaluate(weights, "faces.csv", "--flip-average", "--json", "a.json")
    assert code == 0
    predicted = EmotionClassifier(weights, flip_average=True)(table[0]).argmax(axis=1)
    result = read(tmp_path / "a.json")
    assert result["accuracy"] == np.mean(table[1] == predicted)
    assert result["weights"]["flip_average"] is True
    assert "small, averaged over mirror images, on 35 faces: faces.csv" in output
    assert "at temperature 2" in output


@pytest.mark.parametrize(
    ("validation", "part", "packed", "said"),
    [("PublicTest", "all", False, True), ("PublicTest", "Training", False, True),
     ("PublicTest", "PrivateTest", False, False), ("0.1", "PublicTest", False, True),
     ("PublicTest", "all", True, True), ("PublicTest", "PublicTest", True, False)],
)  # fmt: skip
def test_faces_that_the_model_was_trained_on_are_announced(
    evaluate, table, save_weights, tmp_path, validation, part, packed, said
):
    evaluate(save_weights(), "faces.csv", "--json", "a.json")
    sha256 = "of the same rows, packed" if packed else read(tmp_path / "a.json")["data"]["sha256"]
    weights = save_weights(training={"data": sha256, "validation": validation})
    code, output, _ = evaluate(weights, "faces.csv", "--part", part)
    assert code == 0
    assert (one_line(TRAINED_ON) in one_line(output)) is said


def test_photographs_are_cut_as_training_cuts_them(evaluate, save_weights, tmp_path, monkeypatch):
    paths = [
        put(tmp_path / "photos" / "Anger" / "1.JPG", photograph("angry")),
        put(tmp_path / "photos" / "HAPPINESS" / "1.png", cv2.cvtColor(photograph(), cv2.COLOR_GRAY2BGRA)),
        put(tmp_path / "photos" / "HAPPINESS" / "2.png", photograph().astype(np.uint16) * 257),
    ]
    cut = put(tmp_path / "photos" / "sad" / "cut.png", np.full((48, 48), 90, np.uint8))
    seen = []
    classify = EmotionClassifier.__call__
    monkeypatch.setattr(
        EmotionClassifier, "__call__", lambda *given: seen.append(given[1]) or classify(*given)
    )
    code, _, error = evaluate(save_weights(), "photos", "--json", "a.json")
    assert (code, error) == (0, "")
    pictures = [read_grey(path) for path in paths]
    expected = [*(cut_face(picture, largest_face(picture)) for picture in pictures), read_grey(cut)]
    np.testing.assert_array_equal(seen[0][..., 0], expected)
    result = read(tmp_path / "a.json")
    assert [scores["support"] for scores in result["per_class"].values()] == [1, 0, 0, 2, 1, 0, 0]
    assert result["per_class"]["disgust"]["recall"] is None
    assert result["data"]["name"] == "photos"


def test_what_is_not_scored_is_counted_and_listed(evaluate, save_weights, tmp_path):
    photos = tmp_path / "photos"
    put(photos / "happy" / "1.png", photograph())
    put(photos / "happy" / "wall [1].png", np.full((200, 300), 90, np.uint8))
    put(photos / "contempt" / "1.png", photograph())
    (photos / "sad").mkdir()
    (photos / "sad" / "bad.png").write_bytes(b"no image")
    code, output, error = evaluate(save_weights(), "photos", "--json", "a.json")
    assert code == 0
    assert "on 1 face: photos" in output
    assert "1 not used, no face found:\n  photos/happy/wall [1].png\n" in error
    assert "1 not used, labelled contempt:\n" in error
    assert "1 damaged or missing, skipped:\n  photos/sad/bad.png: damaged, or no image\n" in error
    result = read(tmp_path / "a.json")
    assert (result["images"], result["no_face"], result["skipped"]) == (1, 1, 1)
    assert result["no_face_files"] == ["photos/happy/wall [1].png"]
    assert result["skipped_files"] == [["photos/sad/bad.png", "damaged, or no image"]]
    assert result["left_out"] == {"labelled contempt": 1}
    (contempt,) = result["left_out_files"]["labelled contempt"]
    assert contempt.startswith("photos/contempt/")
    code, output, _ = evaluate(save_weights(), "photos", "--no-detect")
    assert "on 2 faces: photos" in output


def test_many_files_are_listed_in_the_json_file_only(evaluate, save_weights, tmp_path):
    put(tmp_path / "photos" / "sad" / "a.png", np.full((48, 48), 90, np.uint8))
    for number in range(12):
        (tmp_path / "photos" / "sad" / f"bad{number:02}.png").write_bytes(b"")
    _, _, error = evaluate(save_weights(), "photos", "--json", "a.json")
    assert "bad09" in error
    assert "bad10" not in error
    assert "and 2 more; --json lists them all" in error
    assert len(read(tmp_path / "a.json")["skipped_files"]) == 12


def test_one_photograph_that_was_turned_by_its_camera(evaluate, save_weights, tmp_path):
    path = put(tmp_path / "photos" / "happy" / "1.jpg", np.rot90(photograph()))
    jpeg = path.read_bytes()
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + entry + b"\0\0\0\0"
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    code, output, error = evaluate(save_weights(), "photos")
    assert (code, error) == (0, "")
    assert "on 1 face: photos" in output  # lying on its side, it would not be found


def test_parts_of_a_folder(evaluate, save_weights, tmp_path):
    for part, emotion in (("train", "sad"), ("test", "happy"), ("test", "fear")):
        put(tmp_path / "photos" / part / emotion / "1.png", np.full((48, 48), 90, np.uint8))
    _, output, _ = evaluate(save_weights(), "photos", "--part", "PrivateTest")
    assert "on 2 faces: PrivateTest of photos" in output
    code, _, error = evaluate(save_weights(), "photos", "--part", "PublicTest")
    assert code == 2
    assert "photos: there is no folder of the part PublicTest" in error
    knows_training = {"training": {"data": "packed otherwise", "validation": "PublicTest"}}
    for part, known in (("Training", True), ("PrivateTest", False)):
        assert was_trained_on(knows_training, load_held_out(tmp_path / "photos", part).dataset) == known


@pytest.mark.parametrize("side", [48, 60])
def test_a_folder_that_was_trained_on_is_known_by_each_of_its_parts(tmp_path, side):
    photos = tmp_path / "photos"
    for part, emotion in (("train", "sad"), ("val", "happy")):
        put(photos / part / emotion / "1.png", photograph()[:side, : 2 * side])
    for validation, known in (("0", True), ("0.5", True), ("PublicTest", False)):
        info = {"training": {"data": load(photos).sha256, "validation": validation}}
        for part, expected in (("all", True), ("Training", True), ("PublicTest", known)):
            faces = load_held_out(photos, part, detect=False).dataset
            assert was_trained_on(info, faces) == expected, (validation, part)
    (photos / "val" / "happy" / "bad.png").write_bytes(b"")  # no training can read it now
    assert len(load_held_out(photos, detect=False).faults) == 1


def test_a_perfect_score_has_no_picture_of_mistakes(evaluate, table, save_weights, monkeypatch):
    monkeypatch.setattr(EmotionClassifier, "__call__", lambda self, faces: np.eye(7)[np.arange(35) % 7])
    monkeypatch.setattr(figures, "save_all", lambda drawn, folder: {name: folder / name for name in drawn})
    Path("scored").mkdir()
    Path("scored/mistakes.png").write_bytes(b"of an earlier evaluation")
    code, output, _ = evaluate(save_weights(), "faces.csv", "--out", "scored")
    assert code == 0
    assert not Path("scored/mistakes.png").exists()
    assert "Accuracy 1.000, 95 % interval 0.901 to 1.000" in output
    assert "Wrote scored/confusion" in output
    assert "mistakes" not in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.safetensors", "faces.csv"], "weights='nothing.safetensors': expected a file, or one of"),
        (["faces.csv", "faces.csv"], "faces.csv: not a whole safetensors file"),
        (["small.safetensors", "nothing"], "nothing: no such file or folder"),
        (["small.safetensors", "empty"], "empty: there are no images in it"),
        (["small.safetensors", "strange"], "strange/joy: the folder's name is unknown"),
        (["small.safetensors", "walls"], "walls: no face is left to score"),
        (["small.safetensors", "small.safetensors"], "small.safetensors: line 1"),
        (["small.safetensors", "plain.csv", "--part", "PublicTest"], "plain.csv: faces are not marked"),
        (["small.safetensors", "marked.csv", "--part", "PublicTest"], "no face is marked PublicTest"),
        (["small.safetensors", "faces.csv", "--part", "test"], "--part"),
        (["small.safetensors", "faces.csv", "--json", "empty"], "--json"),
        (["small.safetensors", "faces.csv", "--json", "text/a.json"], "text"),
        (["small.safetensors", "faces.csv", "--out", "text"], "--out"),
        (["small.safetensors", "faces.csv", "--out", "o", "--json", "o/mistakes.png"], "is for --json"),
        (["small.safetensors"], "DATA"),
        (["small.safetensors", "x" * 5000], "x"),
        (["small.safetensors", "a\0b"], "b"),
    ],
)  # fmt: skip
def test_mistakes_get_one_message_and_exit_code_2(
    evaluate, table, save_weights, tmp_path, arguments, message
):
    save_weights()
    (tmp_path / "text").write_text("")
    (tmp_path / "empty").mkdir()
    put(tmp_path / "strange" / "joy" / "1.png", np.zeros((48, 48), np.uint8))
    put(tmp_path / "walls" / "sad" / "1.png", np.zeros((100, 100), np.uint8))
    pixels = " ".join(["0"] * 48 * 48)
    (tmp_path / "plain.csv").write_text(f"emotion,pixels\n0,{pixels}\n")
    (tmp_path / "marked.csv").write_text(f"emotion,pixels,Usage\n0,{pixels},Training\n")
    code, output, error = evaluate(*arguments)
    assert code == 2
    assert "Error" in error
    assert message in one_line(error)
    assert "Traceback" not in output + error


def test_a_folder_of_the_user_s_stays(evaluate, save_weights, tmp_path):
    put(tmp_path / "walls" / "sad" / "1.png", np.zeros((100, 100), np.uint8))
    (tmp_path / "scored").mkdir()
    code, _, error = evaluate(save_weights(), "walls", "--out", "scored")
    assert (code, "no face is left" in one_line(error)) == (2, True)
    assert (tmp_path / "scored").is_dir()


def test_photographs_are_listed_even_if_none_has_a_face(evaluate, save_weights, tmp_path):
    for number in range(30):
        put(tmp_path / "walls" / "sad" / f"{number:02}.png", np.zeros((100, 100), np.uint8))
    code, _, error = evaluate(save_weights(), "walls", "--json", "a.json", "--out", "scored")
    found = read(tmp_path / "a.json")
    assert code == 2
    assert "--json lists them all" in one_line(error)
    assert found["images"] == 0
    assert found["no_face_files"] == [f"walls/sad/{number:02}.png" for number in range(30)]
    assert not (tmp_path / "scored").exists()


def test_help_fits_a_screen(evaluate):
    code, output, _ = evaluate("--help")
    assert code == 0
    assert "Examples:" in output
    assert len(output.splitlines()) < 50
