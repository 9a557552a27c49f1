"""Folders of images by the name of the emotion."""

import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_demo.data.dataset import EMOTIONS, content_digest
from fer_demo.data.folders import read_folder
from fer_demo.errors import DataError

ROOT = Path(__file__).parents[3]


def put(path: Path, image: np.ndarray | int = 100) -> np.ndarray:
    """Write an image, or a grey square of this value, and return it."""
    if isinstance(image, int):
        image = np.full((48, 48), image, np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return image


def test_images_come_in_the_order_of_their_names_with_the_labels_of_their_folders(tmp_path):
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (4, 48, 48), dtype=np.uint8)
    names = ("angry/10.png", "angry/9.png", "happy/ä.bmp", "sad/1.png")
    for index in (2, 0, 3, 1):
        put(tmp_path / names[index], faces[index])
    dataset = read_folder(tmp_path)
    np.testing.assert_array_equal(dataset.images, faces[..., None])
    assert dataset.labels.dtype == np.int64
    assert [EMOTIONS[label] for label in dataset.labels] == ["angry", "angry", "happy", "sad"]
    assert (dataset.name, dataset.usage, dataset.synthetic) == (tmp_path.name, None, False)
    assert dataset.sha256 == content_digest(dataset.images, dataset.labels)


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("train", "Training"),
        ("training", "Training"),
        ("val", "PublicTest"),
        ("valid", "PublicTest"),
        ("validation", "PublicTest"),
        ("publictest", "PublicTest"),
        ("test", "PrivateTest"),
        ("PrivateTest", "PrivateTest"),
    ],
)
def test_names_of_parts(tmp_path, name, usage):
    put(tmp_path / name / "fear" / "1.png")
    assert read_folder(tmp_path).usage.tolist() == [usage]


def test_kaggles_parts_become_usages(tmp_path):
    for number, part in enumerate(("Test", "train", "validation")):
        put(tmp_path / part / "fear" / "1.png", number)
    dataset = read_folder(tmp_path)
    assert dataset.usage.tolist() == ["PrivateTest", "Training", "PublicTest"]
    assert dataset.images[:, 0, 0, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "emotion"),
    [
        ("Anger", "angry"),
        ("DISGUSTED", "disgust"),
        ("fearful", "fear"),
        ("Happiness", "happy"),
        ("sadness", "sad"),
        ("surprised", "surprise"),
        ("neutrality", "neutral"),
    ],
)
def test_synonyms_of_emotions(tmp_path, name, emotion):
    put(tmp_path / name / "1.png")
    assert read_folder(tmp_path).class_counts()[emotion] == 1


def test_colour_becomes_grey_and_the_middle_square_is_averaged(tmp_path):
    wide = np.zeros((96, 200, 3), np.uint8)
    wide[:, 52:148] = 90  # the square in the middle; black beside it
    wide[::2, 52:148] = 110
    put(tmp_path / "sad" / "wide.png", wide)
    put(tmp_path / "sad" / "tall.png", wide.transpose(1, 0, 2))
    put(tmp_path / "sad" / "tiny.png", np.full((7, 5), 100, np.uint8))
    np.testing.assert_array_equal(read_folder(tmp_path).images, 100)


def test_damaged_files_are_listed(tmp_path):
    put(tmp_path / "sad" / "whole.png")
    for number in range(12):
        (tmp_path / "sad" / f"text{number:02}.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match="12 of 13 files cannot be read as images") as error:
        read_folder(tmp_path)
    assert str(tmp_path / "sad" / "text00.png") in str(error.value)
    assert "text09" in str(error.value)
    assert "text10" not in str(error.value)
    assert str(error.value).endswith("and 2 more")


@pytest.mark.parametrize("content", [b"", "half"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_an_image_cut_short_is_damaged(tmp_path, content, suffix):
    path = tmp_path / "sad" / f"1{suffix}"
    put(path, np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content == "half" else content)
    with pytest.raises(DataError, match="1 of 1 files cannot be read as images"):
        read_folder(tmp_path)


def test_a_folder_within_an_emotions_folder_is_not_skipped(tmp_path):
    put(tmp_path / "sad" / "more" / "1.png")
    with pytest.raises(DataError, match="1 of 1 files cannot be read as images"):
        read_folder(tmp_path)


@pytest.mark.parametrize("name", ["contempt", "train/contempt"])
def test_an_unknown_folder_is_refused(tmp_path, name):
    put(tmp_path / name / "1.png")
    with pytest.raises(DataError, match="name is unknown, expected one of angry, disgust, fear") as error:
        read_folder(tmp_path)
    assert str(tmp_path / name) in str(error.value)


def test_an_emotion_beside_the_parts_is_refused(tmp_path):
    put(tmp_path / "train" / "sad" / "1.png")
    put(tmp_path / "happy" / "1.png")
    with pytest.raises(DataError, match=r"happy: the folder's name is unknown, expected one of train"):
        read_folder(tmp_path)


def test_an_image_beside_the_folders_is_refused(tmp_path):
    put(tmp_path / "sad" / "1.png")
    put(tmp_path / "2.png")
    with pytest.raises(DataError, match=r"2\.png: this image must be moved into a folder"):
        read_folder(tmp_path)


def test_what_is_not_meant_as_an_image_is_left_alone(tmp_path):
    put(tmp_path / "sad" / "1.png")
    for name in ("sad/.DS_Store", "sad/Thumbs.db", "README.txt", "test", ".git/config", "__MACOSX/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert len(read_folder(tmp_path)) == 1


@pytest.mark.parametrize("name", ["", "sad", "train", "train/sad"])
def test_a_folder_without_images_is_refused(tmp_path, name):
    (tmp_path / name).mkdir(parents=True, exist_ok=True)
    with pytest.raises(DataError, match="there are no images in it; expected some in subfolders named angry"):
        read_folder(tmp_path)


def put_png(path: Path, size: int, depth: int, kind: int, row: bytes, *others: tuple[bytes, bytes]) -> None:
    """Write a square PNG by hand: `kind` is its colour type, `row` one row, `others` further chunks."""
    lines = zlib.compress((b"\0" + row) * size)
    header = struct.pack(">IIBBBBB", size, size, depth, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), *others, (b"IDAT", lines), (b"IEND", b"")]
    packed = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))


def test_every_kind_of_png_becomes_8_bits_of_grey(tmp_path):
    sad = tmp_path / "sad"
    put_png(sad / "1x1", 1, 8, 0, b"\x64")
    put_png(sad / "16-bit", 8, 16, 0, b"\x64\x00" * 8)
    put_png(sad / "alpha", 8, 8, 4, b"\x64\x00" * 8)  # wholly transparent, and read all the same
    put_png(sad / "colour-with-alpha", 8, 8, 6, b"\x64\x64\x64\x01" * 8)
    put_png(sad / "palette", 8, 8, 3, b"\x01" * 8, (b"PLTE", b"\x00\x00\x00\x64\x64\x64"))
    np.testing.assert_array_equal(read_folder(tmp_path).images, np.full((5, 48, 48, 1), 100))


def test_a_photograph_is_turned_upright(tmp_path):
    image = np.zeros((48, 48), np.uint8)
    image[:16] = 255
    put(tmp_path / "sad" / "1.jpg", image)
    jpeg = (tmp_path / "sad" / "1.jpg").read_bytes()
    for orientation, turned in ((3, image[::-1, ::-1]), (6, np.rot90(image, -1)), (8, np.rot90(image))):
        entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
        exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + entry + b"\0\0\0\0"
        segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
        (tmp_path / "sad" / "1.jpg").write_bytes(jpeg[:2] + segment + jpeg[2:])
        difference = read_folder(tmp_path).images[0, :, :, 0].astype(int) - turned
        assert np.abs(difference).max() < 30


def test_what_is_no_file_is_refused_without_being_opened(tmp_path):
    sad = tmp_path / "sad"
    sad.mkdir()
    os.mkfifo(sad / "pipe.png")  # whose end would never come
    (sad / "loop.png").symlink_to(sad / "loop.png")
    (sad / "nowhere.png").symlink_to(sad / "nothing")
    (sad / "up").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DataError, match="4 of 4 files cannot be read as images") as error:
        read_folder(tmp_path)
    assert all(f"{sad / name}: not a file" in str(error.value) for name in ("pipe.png", "loop.png", "up"))


def test_a_file_of_gigabytes_is_not_opened(tmp_path):
    put(tmp_path / "sad" / "1.png")
    with (tmp_path / "sad" / "1.png").open("ab") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match="the file has 1099511627776 bytes, expected at most 268435456"):
        read_folder(tmp_path)


@pytest.mark.parametrize("place", ["", "sad"])
def test_a_name_that_is_no_text(tmp_path, place):
    path = os.path.join(os.fsencode(tmp_path / place), b"\xff.png")
    put(tmp_path / "sad" / "1.png")
    shutil.copy(tmp_path / "sad" / "1.png", path)
    if place:
        assert len(read_folder(tmp_path)) == 2
    else:
        with pytest.raises(DataError, match="this image must be moved"):
            read_folder(tmp_path)


def test_a_folders_name_that_is_no_text_is_shown_with_question_marks(tmp_path):
    folder = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"f\xe4ces")))
    put(folder / "sad" / "1.png")
    assert read_folder(folder).name == "f?ces"


CLAIM = """
import resource, sys
from pathlib import Path
from fer_demo.data.folders import read_folder
from fer_demo.errors import DataError
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20), used + (200 << 20)))
try:
    read_folder(Path(sys.argv[1]))
except DataError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is Linux's")
@pytest.mark.parametrize("size", [8193, 30_000, 60_000, 2**31 - 1])
def test_an_image_that_claims_too_many_pixels_is_refused_before_they_are_allocated(tmp_path, size):
    put_png(tmp_path / "sad" / "1.png", 1, 8, 0, b"\x00")
    content = bytearray((tmp_path / "sad" / "1.png").read_bytes())
    content[16:24] = struct.pack(">II", size, size)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "sad" / "1.png").write_bytes(content)
    command = [sys.executable, "-c", CLAIM, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    reason = "damaged, or no image" if size == 2**31 - 1 else "it claims too many pixels"
    assert result.stdout.splitlines()[1].endswith(reason)
