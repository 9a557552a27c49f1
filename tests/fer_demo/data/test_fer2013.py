"""Kaggle's CSV files in every dialect, and everything that can be wrong with them."""

import bz2
import gzip
import io
import lzma
import os
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_demo.data import archives, fer2013
from fer_demo.data.dataset import USAGES
from fer_demo.data.fer2013 import read_csv
from fer_demo.errors import DataError

DIALECTS = {
    "fer2013": ("emotion,pixels,Usage", "{emotion},{pixels},{usage}"),
    "quoted": ('"emotion","pixels","Usage"', '"{emotion}","{pixels}","{usage}"'),
    "train": ("emotion,pixels", '{emotion},"{pixels}"'),
    "icml": ("emotion, Usage, pixels", "{emotion},{usage},{pixels}"),
    "comma": ('id,"a,b",emotion,pixels', '3,"x,y",{emotion},{pixels}'),
    "index": (",PIXELS,Emotion", "17,{pixels}, {emotion}"),
}


def zipped(
    text: bytes,
    names: tuple[str, ...] = ("__MACOSX/fer2013.csv", "._fer2013.csv", "readme.txt", "./fer2013.csv"),
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, text if name == names[-1] else b"")
    return buffer.getvalue()


def tarred(content):
    """Return an archive like Kaggle's fer2013.tar.gz, unpacked."""
    buffer, member = io.BytesIO(), tarfile.TarInfo("fer2013/fer2013.csv")
    member.size = len(content)
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


COMPRESSIONS = {"plain": bytes, "gzip": gzip.compress, "xz": lzma.compress, "zip": zipped}


def random_rows(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, rng.choice([10, 100, 256], (n, 1)), (n, 2304), dtype=np.uint8)
    return pixels, rng.integers(0, 7, n), rng.integers(0, 3, n)


def csv_lines(seed: int, n: int, dialect: str = "fer2013") -> list[str]:
    """The header and `n` rows."""
    header, row = DIALECTS[dialect]
    lines = [header]
    for pixels, emotion, usage in zip(*random_rows(seed, n), strict=True):
        lines.append(row.format(pixels=" ".join(map(str, pixels)), emotion=emotion, usage=USAGES[usage]))
    return lines


def write(folder: Path, content: bytes | list[str], name: str = "fer.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else "\n".join([*content, ""]).encode())
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("csv")


@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 6),
    dialect=st.sampled_from(list(DIALECTS)),
    compression=st.sampled_from(list(COMPRESSIONS)),
    newline=st.sampled_from(["\n", "\r\n"]),
    ending=st.sampled_from(["", "\n", "\r\n", "\n\n \n"]),
    mark=st.sampled_from(["", "\ufeff"]),
    block_size=st.integers(1, 40_000),
)
def test_round_trip(folder, seed, n, dialect, compression, newline, ending, mark, block_size):
    text = mark + newline.join(csv_lines(seed, n, dialect)) + ending
    path = write(folder, COMPRESSIONS[compression](text.encode()), "any.name")
    table = read_csv(path, block_size)
    pixels, emotions, usage = random_rows(seed, n)
    assert (table.images.dtype, table.images.shape) == (np.uint8, (n, 48, 48, 1))
    np.testing.assert_array_equal(table.images.reshape(n, 2304), pixels)
    np.testing.assert_array_equal(table.labels, emotions)
    if dialect in ("train", "index", "comma"):
        assert table.usage is None
    else:
        np.testing.assert_array_equal(table.usage, usage)


@pytest.mark.parametrize("block_size", [1, 20_000, 1 << 20])
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("5,1 2 3 ", "5,1 2 ", "line 4: found 2303 pixel values, expected 2304"),
        ("5,1 2 3 ", "5,1 2 3 4 ", "line 4: found 2305 pixel values, expected 2304"),
        ("5,1 2 3 ", "5,1 256 3 ", "line 4: pixel 2 is '256', expected a whole number from 0 to 255"),
        ("5,1 2 3 ", "5,1 -2 3 ", "line 4: pixel 2 is '-2'"),
        ("5,1 2 3 ", "5,1 2.5 3 ", "line 4: pixel 2 is '2.5'"),
        ("5,1 2 3 ", '5,"1 2 3 ', "line 4: a quotation mark has no partner in its column"),
        ("5,1 2 3 ", "7,1 2 3 ", "line 4: emotion is '7', expected one of 0, 1, 2, 3, 4, 5, 6"),
        ("5,1 2 3 ", ",1 2 3 ", "line 4: emotion is '', expected one of 0"),
        ("5,1 2 3 ", "happy,1 2 3 ", "line 4: emotion is 'happy', expected one of 0"),
        ("5,1 2 3 ", "1 2 3 ", r"line 4: the number of columns is 2, expected 3 \(emotion, pixels, Usage\)"),
        ("5,1 2 3 ", "5,1 2,3 ", "line 4: the number of columns is 4, expected 3"),
        ("5,1 2 3 ", "\n5,1 2 3 ", "line 4: the line is empty"),
        ("5,1 2 3 ", " \r\n\n5,1 2 3 ", "line 4: the line is empty"),
        (
            ",PublicTest",
            ",Public",
            "line 4: Usage is 'Public', expected one of Training, PublicTest, PrivateTest",
        ),
        (",PublicTest", ",", "line 4: Usage is ''"),
    ],
)
def test_a_broken_row_is_reported_by_its_line(tmp_path, old, new, message, block_size):
    lines = csv_lines(0, 6)
    lines[3] = "5,1 2 3 " + "4 " * 2301 + ",PublicTest"
    read_csv(write(tmp_path, lines), block_size)
    lines[3] = lines[3].replace(old, new)
    path = write(tmp_path, lines)
    with pytest.raises(DataError, match=message) as error:
        read_csv(path, block_size)
    assert str(error.value).startswith(f"{path}: broken rows")


def test_the_first_broken_rows_are_listed_in_order(tmp_path):
    lines = csv_lines(0, 12)
    for number in (3, 5, 6, 8, 9, 11, 12):
        lines[number - 1] = "0," + lines[number - 1]
    with pytest.raises(DataError) as error:
        read_csv(write(tmp_path, lines))
    found = [line.split(":")[0].strip() for line in str(error.value).splitlines()[1:-1]]
    assert found == [
        "line 3",
        "line 5",
        "line 6",
        "line 8",
        "line 9",
        "and perhaps more, which were not looked at",
    ]


def test_the_first_broken_row_is_reported_even_if_a_later_block_is_done_earlier(tmp_path):
    lines = csv_lines(0, 9)
    lines[2], lines[8] = "7" + lines[2][1:], "x"
    with pytest.raises(DataError, match="line 3: emotion"):
        read_csv(write(tmp_path, lines), block_size=1)


@pytest.mark.parametrize("cut", [1, 5, 12, 200, 5000])
def test_a_file_cut_off_within_its_last_row_is_called_incomplete(tmp_path, cut):
    text = "\n".join(csv_lines(1, 4)).encode()
    with pytest.raises(DataError, match=r"line 5: .*; the file ends within this line, so it is incomplete"):
        read_csv(write(tmp_path, text[:-cut]))


def test_only_the_last_line_is_called_incomplete(tmp_path):
    lines = csv_lines(1, 3)
    lines[2] = "3"
    with pytest.raises(DataError, match="line 3: the number of columns is 1") as error:
        read_csv(write(tmp_path, "\n".join(lines).encode()))
    assert "incomplete" not in str(error.value)


def test_unusual_but_valid_rows_are_read(tmp_path):
    lines = csv_lines(0, 3)
    lines[2] = "5,0001  2\t3 " + "4 " * 2301 + ",PublicTest"
    table = read_csv(write(tmp_path, lines))
    np.testing.assert_array_equal(table.images[1].ravel()[:4], [1, 2, 3, 4])
    np.testing.assert_array_equal(table.images[[0, 2]].reshape(2, -1), random_rows(0, 3)[0][[0, 2]])


def test_commas_within_quotation_marks_separate_no_columns(tmp_path):
    lines = csv_lines(0, 3)
    found = read_csv(write(tmp_path, lines))
    lines = [f"{lines[0]},note", *(f'{line},"from a, or b"' for line in lines[1:])]
    np.testing.assert_array_equal(read_csv(write(tmp_path, lines)).images, found.images)
    lines[2] = lines[2].replace('a, or b"', "a, or b")
    with pytest.raises(DataError, match="line 3: the number of columns is 5, expected 4"):
        read_csv(write(tmp_path, lines))


def test_carriage_returns_alone_end_no_lines(tmp_path):
    path = write(tmp_path, "\r".join(csv_lines(0, 300)).encode())
    with pytest.raises(
        DataError, match="carriage returns alone, as on old Macs; save the file with line feeds"
    ):
        read_csv(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("emotion,pixels,Usage", "no rows below the header"),
        ("emotion,pixels,Usage\n\n\n", "no rows below the header"),
        ("pixels\n1 2 3\n", "no emotions, as in Kaggle's test.csv"),
        ("usage,pixels\nTraining,1 2 3\n", "no emotions, as in Kaggle's test.csv"),
        (
            "emotion,image\n0,1\n",
            "names the columns 'emotion, image', expected emotion, pixels and perhaps Usage",
        ),
        ("emotion,pixels,pixels\n0,1,1\n", "names the columns 'emotion, pixels, pixels', expected"),
        ("\nemotion,pixels\n0,1\n", "line 1 names the columns '', expected"),
        ("\x00\x01\udcff binary", "line 1 names the columns"),
    ],
)
def test_what_is_no_table_of_fer2013_is_refused(tmp_path, text, message):
    path = write(tmp_path, text.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=message) as error:
        read_csv(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("compression", ["gzip", "xz", "zip"])
@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_archive_is_reported(tmp_path, compression, damage):
    content = bytearray(COMPRESSIONS[compression]("\n".join(csv_lines(2, 40)).encode()))
    if damage == "cut":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 3] ^= 0xFF
    path = write(tmp_path, bytes(content))
    with pytest.raises(DataError, match=r"cannot be read to the end|broken rows") as error:
        read_csv(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "expected one .csv file in the archive, found nothing"),
        (("a.txt",), "found 'a.txt'"),
        (("train.csv", "test.csv"), "found 'train.csv, test.csv'; unpack it and choose one"),
    ],
)
def test_an_archive_without_exactly_one_table_is_refused(tmp_path, names, message):
    with pytest.raises(DataError, match=message):
        read_csv(write(tmp_path, zipped(b"", names)))


def test_an_encrypted_archive_is_refused(tmp_path):
    content = bytearray(zipped(b"emotion,pixels\n", ("a.csv",)))
    content[6] |= 1  # the flag for encryption, in the member's header and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(DataError, match=r"cannot be unpacked here \(.*encrypted"):
        read_csv(write(tmp_path, bytes(content)))


def test_text_without_end_is_refused(tmp_path, monkeypatch):
    one_line = gzip.compress(b"emotion,pixels\n" + b"0" * (2 * fer2013.MAX_LINE))
    with pytest.raises(DataError, match=r"line 2 has \d+ bytes or more"):
        read_csv(write(tmp_path, one_line))
    monkeypatch.setattr(archives, "MAX_TEXT", 30_000)
    with pytest.raises(DataError, match="more than 30000 bytes of text"):
        read_csv(write(tmp_path, csv_lines(0, 20)))


def test_empty_lines_without_end_are_refused(tmp_path):
    lines = "\n".join(csv_lines(0, 1)).encode()
    assert len(read_csv(write(tmp_path, lines + b"\n" * 1000)).labels) == 1
    with pytest.raises(DataError, match="line 3: the line is empty"):
        read_csv(write(tmp_path, lzma.compress(lines + b"\n" * (1 << 27))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: b"", "the file is empty"),
        (lambda text: text[:20], "there are no rows below the header"),
        (
            lambda text: text.replace(b"Usage", b"pixels", 1),
            "line 1 names the columns 'emotion, pixels, pixels'",
        ),
        (lambda text: text.replace(b"emotion", b"label", 1), "there are pixels but no emotions"),
        (lambda text: text.replace(b"emotion,pixels", b"pixels,emotion", 1), "line 2: emotion is"),
        (lambda text: text.replace(b" ", b"\0", 3), "line 2: found 2301 pixel values"),
        (lambda text: text.replace(b" ", b" nan ", 1), "line 2: found 2305 pixel values"),
        (lambda text: text.replace(b",", b";"), "line 1 names the columns 'emotion;pixels;Usage'"),
        (lambda text: gzip.compress(tarred(text)), "a tar archive, which is not read; unpack it first"),
        (bz2.compress, "packed by bzip2, which is not read here; unpack it first"),
        (lambda text: gzip.compress(gzip.compress(text)), "packed by gzip twice"),
        (lambda text: text.decode().encode("utf-16"), "text in UTF-16, which is not read; save it as UTF-8"),
        (lambda text: text.replace(b"Training", b'Trai"ning'), "a quotation mark has no partner"),
        (lambda text: gzip.compress(text)[:-20], "cannot be read to the end"),
        (lambda text: gzip.compress(text)[:-8] + bytes(8), "cannot be read to the end"),
        (lambda text: lzma.compress(text)[:-20], "cannot be read to the end"),
    ],
)
def test_files_of_other_kinds_and_damaged_ones_are_refused(tmp_path, change, message):
    text = "\n".join(csv_lines(0, 3)).replace("PrivateTest", "Training").replace("PublicTest", "Training")
    path = write(tmp_path, change(text.encode()))
    with pytest.raises(DataError, match=re.escape(message)) as error:
        read_csv(path)
    assert str(path) in str(error.value)


@pytest.mark.skipif("FER2013_CSV" not in os.environ, reason="FER2013_CSV does not name a FER2013 file")
def test_the_real_file():
    table = read_csv(Path(os.environ["FER2013_CSV"]))
    assert table.images.shape == (32298, 48, 48, 1)
    np.testing.assert_array_equal(np.bincount(table.labels), [4462, 492, 4593, 8110, 5483, 3586, 5572])
    np.testing.assert_array_equal(np.bincount(table.usage), [28709, 3589])
    np.testing.assert_array_equal(table.images[0].ravel()[:8], [57, 59, 64, 50, 22, 1, 21, 50])
