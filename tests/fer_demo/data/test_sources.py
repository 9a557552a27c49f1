"""RAF-DB, CK+ and folders of photographs, whole and damaged."""

import numpy as np
import pytest

from fer_demo.data.sources import list_ckplus, list_folders, list_rafdb
from fer_demo.errors import DataError

RAFDB = ["surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"]


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


@pytest.mark.parametrize("root", ["", "basic"])
@pytest.mark.parametrize("ending", ["_aligned.jpg", ".jpg"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_rafdb(tmp_path, root, ending, encoding):
    names = [f"{part}_{number:05}" for part in ("test", "train") for number in range(4)]
    touch(*(tmp_path / root / "Image" / "aligned" / f"{name}{ending}" for name in names))
    lines = [f"{name}.jpg {code}\n" for name, code in zip(names, [*range(1, 8), 3], strict=True)]
    touch(tmp_path / root / "EmoLabel" / "list_patition_label.txt")
    (tmp_path / root / "EmoLabel" / "list_patition_label.txt").write_text("".join(lines) + "\n", encoding)
    pictures, faults = list_rafdb(tmp_path)
    assert [picture.emotion for picture in pictures] == [*RAFDB, "disgust"]
    assert all(picture.image.is_file() for picture in pictures)
    assert faults == []


def test_broken_lines_of_rafdb_are_faults(tmp_path):
    lines = ["train_1.jpg 3", "train_2.jpg 8", "train_3.jpg", "../train_4.jpg 1", "train_5.jpg\t3"]
    lines += ["train_1.jpg 4", "\u00a0"]
    (tmp_path / "list_patition_label.txt").write_text("\n".join(lines), "utf-8")
    pictures, faults = list_rafdb(tmp_path)
    assert [picture.image.name for picture in pictures] == ["train_1.jpg", "train_5.jpg"]
    assert [fault.place[-6:] for fault in faults] == ["line 2", "line 3", "line 4", "line 6", "line 7"]
    assert faults[3].reason == "train_1.jpg has a label in line 1 already"
    assert "found 'train_2.jpg' and '8', expected a file's name and a code from 1 to 7" in faults[0].reason


def test_rafdb_as_folders_of_codes(tmp_path):
    touch(*(tmp_path / "train" / str(code) / "1.jpg" for code in range(1, 8)))
    pictures, _ = list_rafdb(tmp_path)
    assert [picture.emotion for picture in pictures] == RAFDB


def test_ckplus_as_folders(tmp_path):
    names = ["anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise"]
    touch(*(tmp_path / name / "S010_004_00000017.png" for name in names))
    pictures, _ = list_ckplus(tmp_path)
    emotions = ["angry", "contempt", "disgust", "fear", "happy", "sad", "surprise"]
    assert [picture.emotion for picture in pictures] == emotions


def test_ckplus_as_a_table(tmp_path):
    pixels = " ".join(map(str, np.arange(48 * 48) % 256))
    codes = [7, 1, 6, 8, 1]
    lines = [f"{code},{pixels},PublicTest" for code in codes]
    lines[4] += " 300"
    (tmp_path / "ck.csv").write_text("\n".join(["emotion,pixels,Usage", *lines, "", "", ""]))
    pictures, faults = list_ckplus(tmp_path / "ck.csv")
    assert [picture.emotion for picture in pictures] == ["contempt", "disgust", "neutral"]
    np.testing.assert_array_equal(pictures[0].image.ravel(), np.arange(48 * 48) % 256)
    assert [fault.place for fault in faults[:2]] == [f"{tmp_path / 'ck.csv'}: line {n}" for n in (5, 6)]
    assert len(faults) == 2  # and none for the empty line
    assert "emotion is '8', expected one of 0, 1, 2, 3, 4, 5, 6, 7" in faults[0].reason


def test_folders_with_foreign_emotions_come_sorted(tmp_path):
    names = ["test/Happy/2.png", "train/contempt/1.png", "train/disgust/10.png", "train/disgust/9.png"]
    touch(*(tmp_path / name for name in reversed(names)))
    pictures, faults = list_folders(tmp_path)
    assert [picture.place for picture in pictures] == [str(tmp_path / name) for name in names]
    assert [picture.emotion for picture in pictures] == ["happy", "contempt", "disgust", "disgust"]
    assert faults == []
    pictures, _ = list_folders(tmp_path, "PrivateTest")
    assert [picture.place for picture in pictures] == [str(tmp_path / names[0])]


@pytest.mark.parametrize("read", [list_folders, list_rafdb])
def test_what_is_no_folder_is_refused(tmp_path, read):
    touch(tmp_path / "file")
    for name in ("file", "nothing"):
        with pytest.raises(DataError, match=f"{name}: expected a folder with the data set"):
            read(tmp_path / name)


def test_a_missing_or_foreign_table_is_named(tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n")
    for name in ("table", "nothing"):
        with pytest.raises(DataError, match=rf"{name}\.csv: "):
            list_ckplus(tmp_path / f"{name}.csv")
