"""`load`: one door to files, folders and synthetic faces."""

import hashlib

import cv2
import numpy as np
import pytest

from fer_demo import data
from fer_demo.data.cache import cache_file
from fer_demo.errors import DataError

PIXELS = " ".join(["9"] * 2304)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYCNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "some.csv"
    path.write_text(f"emotion,pixels,Usage\n3,{PIXELS},PrivateTest\n0,{PIXELS},Training\n")
    return path


@pytest.fixture
def parsed(monkeypatch):
    """The paths of the files that were parsed."""
    paths = []

    def read_csv(path):
        paths.append(path)
        return data.fer2013.read_csv(path)

    monkeypatch.setattr(data, "read_csv", read_csv)
    return paths


def test_a_csv_file(csv):
    dataset = data.load(str(csv))
    assert (dataset.images.dtype, dataset.images.shape) == (np.uint8, (2, 48, 48, 1))
    assert (dataset.labels.dtype, dataset.labels.tolist()) == (np.int64, [3, 0])
    assert dataset.usage.tolist() == ["PrivateTest", "Training"]
    assert (dataset.name, dataset.synthetic) == ("some.csv", False)
    assert dataset.sha256 == hashlib.sha256(csv.read_bytes()).hexdigest()


def test_the_second_time_comes_from_the_cache_and_is_equal(csv, parsed):
    first, second = data.load(csv), data.load(csv)
    assert parsed == [csv]
    for name in ("images", "labels", "usage"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert (first.name, first.sha256) == (second.name, second.sha256)


def test_the_cache_follows_the_content_not_the_name(csv, parsed, tmp_path):
    data.load(csv)
    copy = tmp_path / "copy.csv"
    copy.write_bytes(csv.read_bytes())
    assert data.load(copy).name == "copy.csv"
    csv.write_text(f"emotion,pixels\n5,{PIXELS}\n")
    assert data.load(csv).labels.tolist() == [5]
    assert parsed == [csv, csv]


def test_a_damaged_cache_is_written_anew(csv, parsed):
    kept = cache_file(data.load(csv).sha256)
    content = kept.read_bytes()
    kept.write_bytes(content[:-1])
    assert data.load(csv).labels.tolist() == [3, 0]
    assert kept.read_bytes() == content
    assert parsed == [csv, csv]


def test_without_cache_nothing_is_kept_or_looked_up(csv, parsed, cache_folder):
    data.load(csv, cache=False)
    assert not cache_folder.exists()
    data.load(csv)
    data.load(csv, cache=False)
    assert parsed == [csv] * 3


def test_a_broken_file_is_not_kept(csv, cache_folder):
    csv.write_text(f"emotion,pixels\n9,{PIXELS}\n")
    with pytest.raises(DataError, match="line 2: emotion is '9'"):
        data.load(csv)
    assert not cache_folder.exists()


def test_a_folder(tmp_path):
    (tmp_path / "faces" / "happy").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "faces" / "happy" / "1.png"), np.full((48, 48), 5, np.uint8))
    assert data.load(tmp_path / "faces").class_counts()["happy"] == 1


@pytest.fixture
def drawn(monkeypatch):
    """The data sets that were drawn, of seven faces each."""
    datasets, draw = [], data.synthetic_faces

    def synthetic_faces():
        datasets.append(draw(7))
        return datasets[-1]

    monkeypatch.setattr(data, "synthetic_faces", synthetic_faces)
    return datasets


def test_nothing_means_synthetic_faces_which_are_drawn_once(drawn):
    loaded = data.load(None), data.load(None)
    (faces,) = drawn
    for dataset in loaded:
        np.testing.assert_array_equal(dataset.images, faces.images)
        np.testing.assert_array_equal(dataset.labels, faces.labels)
        assert dataset.labels.dtype == faces.labels.dtype
        assert (dataset.name, dataset.sha256, dataset.usage) == (faces.name, faces.sha256, None)
        assert dataset.synthetic


def test_without_cache_faces_are_drawn_each_time(drawn, cache_folder):
    data.load(None, cache=False)
    assert not cache_folder.exists()
    data.load(None)
    data.load(None, cache=False)
    assert len(drawn) == 3


def test_another_program_draws_anew(drawn, monkeypatch, tmp_path):
    data.load(None)
    monkeypatch.setattr(data.faces, "__file__", str(tmp_path / "faces.py"))
    (tmp_path / "faces.py").write_text("another program")
    data.load(None)
    monkeypatch.setattr(cv2, "__version__", "another OpenCV")
    data.load(None)
    data.load(None)
    assert len(drawn) == 3


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(
        DataError, match=r"missing\.csv: no such file or folder; expected a CSV file of FER2013"
    ):
        data.load(tmp_path / "missing.csv")
