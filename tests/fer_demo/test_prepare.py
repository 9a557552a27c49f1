"""The command as its user runs it."""

import subprocess
import sys
from functools import partial

import cv2
import numpy as np
import pytest

from fer_demo import prepare as command
from fer_demo.data import load
from fer_demo.data.faces import draw_face
from fer_demo.data.images import cut_face, read_grey
from fer_demo.detection.cascades import largest_face

NAMES = ["anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise"]


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYCNN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def prepare(run_command):
    """Call the command; return exit code, standard output and standard error."""
    return partial(run_command, command)


@pytest.fixture
def ckplus(tmp_path):
    """Three faces of each emotion, in the order that a file system may give them."""
    rng = np.random.default_rng(0)
    for number in (2, 0, 1):
        for name in reversed(NAMES):
            (tmp_path / "ck" / name).mkdir(parents=True, exist_ok=True)
            face = rng.integers(0, 256, (48, 48), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "ck" / name / f"{number}.png"), face)
    return tmp_path / "ck"


def test_a_data_set_becomes_a_file_that_is_read_again(prepare, ckplus, tmp_path):
    code, output, error = prepare("ck", "--layout", "ckplus", "--out", "sub/ck.csv.gz")
    assert (code, error) == (0, "")
    dataset = load(tmp_path / "sub" / "ck.csv.gz")
    assert list(dataset.class_counts().values()) == [3, 3, 3, 3, 3, 3, 0]
    first = cv2.imread(str(ckplus / "anger" / "0.png"), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(dataset.images[0, ..., 0], first)
    lines = [" ".join(line.replace("│", " ").split()) for line in output.splitlines()]
    assert "disgust 3" in lines
    assert "neutral 0" in lines
    assert "labelled contempt 3" in lines
    assert "Wrote 18 faces: sub/ck.csv.gz" in lines
    content = (tmp_path / "sub" / "ck.csv.gz").read_bytes()
    prepare("ck", "--layout", "ckplus", "--out", "again.csv.gz")
    assert (tmp_path / "again.csv.gz").read_bytes() == content


def test_only_and_limit(prepare, ckplus, tmp_path):
    options = ["--only", "disgust", "--only", "fear", "--limit", 2, "--seed", 1]
    code, output, _ = prepare("ck", "--layout", "ckplus", "--out", "ck.csv", *options)
    assert code == 0
    assert list(load(tmp_path / "ck.csv").class_counts().values()) == [0, 2, 2, 0, 0, 0, 0]
    assert "more than --limit" in output
    assert "not among --only" in output


def test_faces_are_searched_in_folders_unless_it_is_forbidden(prepare, tmp_path):
    face = draw_face("happy", np.random.default_rng(0), 0).reshape(48, 48)
    large = cv2.resize(face, (160, 160), interpolation=cv2.INTER_CUBIC)
    (tmp_path / "photos" / "happy").mkdir(parents=True)
    wide = cv2.copyMakeBorder(large, 60, 60, 60, 400, cv2.BORDER_REPLICATE)
    cv2.imwrite(str(tmp_path / "photos" / "happy" / "1.jpg"), wide)
    cv2.imwrite(str(tmp_path / "photos" / "happy" / "2.jpg"), np.full((200, 200), 90, np.uint8))
    code, output, _ = prepare("photos", "--layout", "folders", "--out", "found.csv")
    assert code == 0
    assert "no face found" in output
    assert "--no-detect takes them as they are" in output
    image = read_grey(tmp_path / "photos" / "happy" / "1.jpg")
    [found] = load(tmp_path / "found.csv").images
    np.testing.assert_array_equal(found[..., 0], cut_face(image, largest_face(image)))
    prepare("photos", "--layout", "folders", "--out", "middle.csv", "--no-detect")
    middle, flat = load(tmp_path / "middle.csv").images
    np.testing.assert_array_equal(middle[..., 0], cut_face(image))
    assert abs(flat.astype(int) - 90).max() < 3


def test_the_list_of_damaged_files_does_not_replace_what_is_read(prepare, tmp_path):
    (tmp_path / "o.csv.damaged.txt").write_text("emotion,pixels\n")
    code, _, error = prepare("o.csv.damaged.txt", "--layout", "ckplus", "--out", "o.csv")
    assert code == 2
    assert "the list of damaged files o.csv.damaged.txt: this file is read" in error
    assert (tmp_path / "o.csv.damaged.txt").exists()


@pytest.mark.parametrize("layout", ["affectnet", "folders", "rafdb", "ckplus"])
def test_a_data_set_that_is_not_there(prepare, layout):
    code, _, error = prepare("typo", "--layout", layout, "--out", "o.csv")
    assert code == 2
    assert error == "Error: typo: no such file or folder; expected the data set\n"


@pytest.mark.parametrize("damaged", [2, 13])
def test_damaged_files_are_listed_and_skipped(prepare, ckplus, tmp_path, damaged):
    for number in range(damaged):
        (ckplus / "fear" / f"bad [b]{number:02}.png").write_bytes(b"no image")
    (tmp_path / "ck.csv.damaged.txt").write_text("of an earlier run")
    code, _, error = prepare("ck", "--layout", "ckplus", "--out", "ck.csv")
    assert code == 0
    assert f"Warning: {damaged} damaged or missing, skipped:" in error
    assert "fear/bad [b]01.png: damaged, or no image" in error
    assert len(load(tmp_path / "ck.csv")) == 18
    listed = tmp_path / "ck.csv.damaged.txt"
    assert listed.exists() == (damaged > 10)
    if damaged > 10:
        assert "bad [b]10" not in error
        assert "and 3 more; all of them: ck.csv.damaged.txt" in error
        assert len(listed.read_text().splitlines()) == 13


def test_nothing_usable_is_an_error_and_leaves_no_file(prepare, tmp_path):
    (tmp_path / "ck" / "contempt").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "ck" / "contempt" / "1.png"), np.zeros((48, 48), np.uint8))
    code, output, error = prepare("ck", "--layout", "ckplus", "--out", "ck.csv")
    assert code == 2
    assert "Error: ck: no usable face is left, so nothing was written" in error
    assert "labelled contempt" in output
    assert not (tmp_path / "ck.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing", "--layout", "ckplus", "--out", "a.csv"], "nothing"),
        (["nothing", "--layout", "affectnet", "--out", "a.csv"], "nothing"),
        (["ck", "--layout", "affectnet", "--out", "a.csv"], "expected AffectNet's CSV file"),
        (["ck", "--layout", "rafdb2", "--out", "a.csv"], "--layout"),
        (
            ["ck", "--layout", "ckplus", "--out", "a.png"],
            "a.png: expected a name that ends in .csv or .csv.gz",
        ),
        (["ck", "--layout", "ckplus", "--out", "folder.csv"], "folder.csv: this is a folder"),
        (["ck", "--layout", "ckplus", "--out", "text/a.csv"], "text"),
        (["ck", "--layout", "ckplus", "--out", "/proc/a.csv"], "/proc/a.csv: cannot be written"),
        (["ck", "--layout", "ckplus", "--out", "a.csv", "--only", "contempt"], "--only"),
        (["ck", "--layout", "ckplus", "--out", "a.csv", "--limit", "0"], "--limit"),
        (["ck", "--layout", "ckplus", "--out", "a.csv", "--min-size", "0"], "--min-size"),
        (["ck", "--out", "a.csv"], "--layout"),
        (["ck", "--layout", "ckplus"], "--out"),
        (["a\0b", "--layout", "rafdb", "--out", "a.csv"], "b"),
        (["x" * 5000, "--layout", "folders", "--out", "a.csv"], "x"),
        (["ck", "--layout", "ckplus", "--out", "a\0b.csv"], "b"),
    ],
)
def test_mistakes_get_one_message_and_exit_code_2(prepare, ckplus, tmp_path, arguments, message):
    (tmp_path / "text").write_text("")
    (tmp_path / "folder.csv").mkdir()
    code, output, error = prepare(*arguments)
    assert code == 2
    assert "Error" in error
    assert message in error
    assert "Traceback" not in output + error
    assert not (tmp_path / "a.csv").exists()


def test_in_a_process_of_its_own_no_control_characters_get_into_a_log(ckplus, tmp_path):
    arguments = ["ck", "--layout", "ckplus", "--out", "ck.csv"]
    run = subprocess.run(
        [sys.executable, "-m", "fer_demo.prepare", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "\x1b" not in run.stdout
    assert run.stdout.endswith("Wrote 18 faces: ck.csv\n")
    assert run.stderr == ""


def test_help_fits_a_screen(prepare):
    code, output, _ = prepare("--help")
    assert code == 0
    assert "Examples:" in output
    assert len(output.splitlines()) < 70
