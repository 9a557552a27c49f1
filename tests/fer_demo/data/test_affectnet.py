"""AffectNet in both of its forms, whole and damaged."""

import io

import numpy as np
import pytest

from fer_demo.data.affectnet import list_affectnet
from fer_demo.errors import DataError

HEADER = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
)


def row(path="1/a.jpg", box=(10, 20, 30, 40), expression=5) -> str:
    return f"{path},{','.join(map(str, box))},1.5;2.5;3.5,{expression},-0.1,0.2"


def write_table(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_every_code_has_its_emotion(tmp_path):
    table = write_table(tmp_path / "training.csv", *(row(expression=code) for code in range(11)))
    pictures, faults = list_affectnet(table)
    words = "neutral happy sad surprise fear disgust angry contempt none uncertain non-face"
    assert [picture.emotion for picture in pictures] == words.split()
    assert [picture.box for picture in pictures] == [(10, 20, 30, 40)] * 7 + [None] * 4
    assert faults == []


@pytest.mark.parametrize(
    ("table", "images"),
    [
        ("training.csv", "."),
        ("training.csv", "Manually_Annotated_Images"),
        ("lists/training.csv", "."),
        ("lists/training.csv", "Manually_Annotated_Images"),
    ],
)
def test_images_are_found_near_the_table(tmp_path, table, images):
    touch(tmp_path / images / "1" / "b.jpg", tmp_path / "other" / "c.jpg")
    source = write_table(tmp_path / table, row("1/a.jpg"), row("1/b.jpg"))
    pictures, _ = list_affectnet(source)
    assert [picture.image.resolve() for picture in pictures] == [
        tmp_path / images / "1" / name for name in ("a.jpg", "b.jpg")
    ]


def test_a_folder_of_tables(tmp_path):
    write_table(tmp_path / "validation.csv", row("1/b.jpg"))
    write_table(tmp_path / "training.csv", row("1/a.jpg"))
    touch(tmp_path / "1" / "a.jpg")
    pictures, _ = list_affectnet(tmp_path)
    assert [picture.image.name for picture in pictures] == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (row(expression=11), "expression is '11', expected a whole number from 0 to 10"),
        (row(expression=""), "expression is ''"),
        (row(box=("NULL", 1, 2, 3)), "face_x is 'NULL', face_y is '1'"),
        (row("../../secret.jpg"), "expected a path within the data set"),
        (row("/etc/secret.jpg"), "expected a path within the data set"),
        (row(""), "filePath is empty"),
        (row(box=(10, 20, 0, 40)), "the face's box is 0 x 40 pixels, expected at least 1 x 1"),
        ("1/a.jpg,1,2", "expression is ''"),
        ('"' + "x" * 200_000, "expression is ''"),
    ],
)
def test_a_broken_row_is_a_fault_of_its_own(tmp_path, line, message):
    table = write_table(tmp_path / "training.csv", row(), line, row("1/b.jpg"))
    pictures, [fault] = list_affectnet(table)
    assert [picture.image.name for picture in pictures] == ["a.jpg", "b.jpg"]
    assert fault.place == f"{table}: line 3"
    assert message in fault.reason


def test_a_path_with_backslashes_is_understood(tmp_path):
    touch(tmp_path / "1" / "a.jpg")
    pictures, faults = list_affectnet(write_table(tmp_path / "training.csv", row(r"1\a.jpg")))
    assert ([picture.image.is_file() for picture in pictures], faults) == ([True], [])


@pytest.mark.parametrize("text", ["", "emotion,pixels\n", HEADER.replace("face_y", "face_z")])
def test_another_table_is_refused(tmp_path, text):
    (tmp_path / "training.csv").write_text(text)
    with pytest.raises(DataError, match=r"training\.csv: line 1 lacks .*face_y.*; use AffectNet's"):
        list_affectnet(tmp_path / "training.csv")


def label(value) -> bytes:
    file = io.BytesIO()
    np.save(file, value, allow_pickle=True)
    return file.getvalue()


def put_pair(folder, number, value):
    touch(folder / "images" / f"{number}.jpg", folder / "annotations" / f"{number}_aro.npy")
    (folder / "annotations" / f"{number}_exp.npy").write_bytes(value)


@pytest.mark.parametrize("value", ["5", b"5", 5, np.int32([5]), np.uint8(5)])
@pytest.mark.parametrize("part", ["", "train_set"])
def test_folders_of_faces_and_labels(tmp_path, part, value):
    put_pair(tmp_path / part, 17, label(np.array(value)))
    [picture], faults = list_affectnet(tmp_path)
    assert (picture.emotion, picture.box, faults) == ("disgust", None, [])
    assert picture.image == tmp_path / part / "images" / "17.jpg"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"", "not a NumPy file of one whole number"),
        (b"\x93NUMPY\x01\x00\x60\x0f" + b"[" * 0xF60, "not a NumPy file of one whole number"),
        (label(np.array("5"))[:-1], "found 3 bytes of data, expected 4"),
        (label(np.array("5")) + b"5\0\0\0", "found 8 bytes of data, expected 4"),
        (label(np.array("5"))[:-4] + b"\xff" * 4, "expression is '\ufffd"),
        (label(np.array("")).replace(b"<U1", b"<U0"), "found 4 bytes of data, expected 0"),
        (label(np.array("12")), "expression is '12'"),
        (label(np.array(5.0)), "not a NumPy file of one whole number"),
        (label(np.arange(2)), "not a NumPy file of one whole number"),
        (label(np.array([{}], object)), "not a NumPy file of one whole number"),
        (label(np.array("5")).replace(b"<U1", b"<U999999999"), "not a NumPy file of one whole number"),
        (bytes(5000), "not a file of at most 4096 bytes"),
    ],
)
def test_a_damaged_label_is_a_fault(tmp_path, value, message):
    put_pair(tmp_path, 1, label(np.array("0")))
    put_pair(tmp_path, 2, value)
    [picture], [fault] = list_affectnet(tmp_path)
    assert picture.image.name == "1.jpg"
    assert fault.place == str(tmp_path / "annotations" / "2_exp.npy")
    assert message in fault.reason


def test_of_two_images_of_one_number_the_second_is_a_fault(tmp_path):
    put_pair(tmp_path, 1, label(np.array("0")))
    touch(tmp_path / "images" / "1.png")
    [picture], [fault] = list_affectnet(tmp_path)
    assert picture.image.name == "1.jpg"
    assert (fault.place, fault.reason) == (
        str(tmp_path / "images" / "1.png"),
        "1.jpg has the same number and is taken",
    )


def test_an_image_without_label_and_a_label_without_image(tmp_path):
    put_pair(tmp_path, 1, label(np.array("0")))
    put_pair(tmp_path, 2, label(np.array("0")))
    touch(tmp_path / "images" / "3.jpg")
    (tmp_path / "images" / "1.jpg").unlink()
    [picture], faults = list_affectnet(tmp_path)
    assert picture.image.name == "2.jpg"
    assert [fault.reason for fault in faults] == [
        "there is no image of that number",
        "there is no label annotations/3_exp.npy",
    ]


def test_a_folder_of_something_else_is_refused(tmp_path):
    touch(tmp_path / "images" / "1.jpg")
    with pytest.raises(DataError, match="expected AffectNet's CSV file"):
        list_affectnet(tmp_path)
