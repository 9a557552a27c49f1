"""No command writes over what it reads, nor two files into one."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_demo import cv, evaluate, predict, prepare, quantize, train, webcam
from fer_demo.ablation import __main__ as ablation
from fer_demo.data.convert import write_csv
from fer_demo.paper import __main__ as paper
from fer_demo.search import __main__ as search


@pytest.fixture
def inputs(run_command, save_weights, tmp_path):
    """A file of faces, one of weights, a picture and a video; `run_command` runs beside them."""
    save_weights("w")
    write_csv(tmp_path / "faces.csv", np.zeros((7, 48, 48, 1), np.uint8), np.arange(7))
    cv2.imwrite("photo.png", np.zeros((60, 60), np.uint8))
    video = cv2.VideoWriter("video.avi", cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    video.write(np.zeros((64, 64, 3), np.uint8))
    video.release()
    return {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("module", "arguments", "place"),
    [
        (train, "--data faces.csv --out faces.csv", "--out faces.csv: this file is read"),
        (train, "--data faces.csv --extra more.csv --out more.csv", "--out more.csv: this file is read"),
        (train, "--teacher w --out ./w", "--out w: this file is read"),
        (train, "--out new.csv --log new.csv", "--log new.csv: this file is for --out"),
        (evaluate, "w faces.csv --json faces.csv", "--json faces.csv: this file is read"),
        (quantize, "w --data faces.csv --out w", "--out w: this file is read"),
        (prepare, "faces.csv --layout ckplus --out faces.csv", "--out faces.csv: this file is read"),
        (predict, "photo.png --csv photo.png", "--csv photo.png: this file is read"),
        (predict, ". --json-lines photo.png", "--json-lines photo.png: this file is read"),
        (predict, "photo.png --csv new --json-lines new", "--csv new: this file is for --json-lines"),
        (webcam, "--source video.avi --headless --save video.avi", "--save video.avi: this file is read"),
    ],
)
def test_an_output_in_the_place_of_an_input_is_refused(run_command, inputs, module, arguments, place):
    code, _, error = run_command(module, *arguments.split())
    assert (code, error) == (2, f"Error: {place}; choose another name\n")
    assert all(path.read_bytes() == content for path, content in inputs.items())


@pytest.mark.parametrize(("module", "option"), [(predict, "--annotate"), (webcam, "--save")])
def test_a_name_of_shipped_weights_is_no_folder_beside(run_command, inputs, module, option):
    for name in ("compact", "haar"):
        Path(name).mkdir()
    picture = ["photo.png"] if module is predict else ["--source", "video.avi", "--headless"]
    for name in ("compact", "haar"):
        place = f"{name}/copy.avi" if module is webcam else name
        code, _, error = run_command(module, *picture, "--weights", "compact", option, place)
        assert (code, error) == (0, "") or "No face found" in error


@pytest.mark.parametrize(
    ("module", "arguments", "place"),
    [
        (prepare, "photos --layout folders --out photos/a.csv", "--out photos/a.csv lies in photos"),
        (evaluate, "w photos --json photos/happy/1.png", "--json photos/happy/1.png lies in photos"),
        (evaluate, "w photos --out photos", "--out photos: this folder is read"),
        (train, "--data photos --out photos/new", "--out photos/new lies in photos"),
        (train, "--data faces.csv --extra photos --log ./photos/a.csv", "--log photos/a.csv lies in photos"),
        (quantize, "w --data photos --out photos/w", "--out photos/w lies in photos"),
        (cv, "--data photos --out photos/cv", "--out photos/cv lies in photos"),
        (ablation, "--data photos --out photos/a", "--out photos/a lies in photos"),
        (search, "--data photos --out photos/s", "--out photos/s lies in photos"),
        (paper, "--photos photos --out photos/p", "--out photos/p lies in photos"),
        (paper, "--cv photos --out photos", "--out photos: this folder is read"),
    ],
)
def test_an_output_within_a_folder_that_is_read_is_refused(run_command, inputs, module, arguments, place):
    photo = Path("photos/happy/1.png")
    photo.parent.mkdir(parents=True)
    photo.write_bytes(before := Path("photo.png").read_bytes())
    code, _, error = run_command(module, *arguments.split())
    assert code == 2
    assert error.startswith(f"Error: {place}")
    assert photo.read_bytes() == before
    assert [str(path) for path in Path("photos").rglob("*")] == ["photos/happy", "photos/happy/1.png"]


def test_what_an_encoding_lacks_is_a_question_mark(tmp_path):
    command = [sys.executable, "-m", "fer_demo.train", "--epochs", "1", "--backend", "numpy", "--data"]
    faces = tmp_path / "faces.csv"
    rows = [f"{n % 7},{' '.join([str(n)] * 2304)}" for n in range(7)]
    faces.write_text("\n".join(["emotion,pixels", *rows]))
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(Path(__file__).parents[2])}
    environment["TINYCNN_CACHE"] = str(tmp_path / "cache")
    ended = subprocess.run(
        [*command, faces, "--out", "日本.safetensors"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Model: ??.safetensors" in ended.stdout
    assert (tmp_path / "日本.safetensors").exists()
