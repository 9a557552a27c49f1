"""The cache of parsed files: what comes back, and that whatever is wrong with it does no harm."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from fer_demo.data.cache import cache_file, read_cache, write_cache
from fer_demo.data.fer2013 import Table

DIGEST = "0123" * 16


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYCNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    labels, usage = rng.integers(0, 3, (2, 5), dtype=np.uint8)
    return Table(rng.integers(0, 256, (5, 48, 48, 1), dtype=np.uint8), labels, usage)


@pytest.mark.parametrize("with_usage", [True, False])
def test_round_trip(folder, table, with_usage):
    table = table if with_usage else table._replace(usage=None)
    write_cache(DIGEST, table)
    kept = read_cache(DIGEST)
    np.testing.assert_array_equal(kept.images, table.images)
    np.testing.assert_array_equal(kept.labels, table.labels)
    np.testing.assert_array_equal(kept.usage, table.usage)
    assert list(folder.iterdir()) == [cache_file(DIGEST)]  # and no temporary file


def test_other_content_is_not_found(table):
    write_cache(DIGEST, table)
    assert read_cache("4567" * 16) is None


@pytest.mark.parametrize("place", [0, 100, 600, -1])
def test_a_changed_byte_is_noticed(table, place):
    write_cache(DIGEST, table)
    content = bytearray(cache_file(DIGEST).read_bytes())
    content[place] ^= 1
    cache_file(DIGEST).write_bytes(content)
    assert read_cache(DIGEST) is None


@pytest.mark.parametrize("length", [0, 5, 500, 5000])
def test_a_file_cut_short_is_noticed(table, length):
    write_cache(DIGEST, table)
    cache_file(DIGEST).write_bytes(cache_file(DIGEST).read_bytes()[:length])
    assert read_cache(DIGEST) is None


def test_a_foreign_file_is_ignored(folder):
    folder.mkdir()
    save_file({"weights": np.zeros(3, np.float32)}, cache_file(DIGEST))
    assert read_cache(DIGEST) is None


def test_a_folder_that_cannot_be_made_means_no_cache(folder, table):
    folder.write_text("a file stands where the folder should be")
    write_cache(DIGEST, table)
    assert read_cache(DIGEST) is None


def test_a_full_disk_means_no_cache(folder, table, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fer_demo.data.cache.replace_file", full)
    write_cache(DIGEST, table)
    assert list(folder.iterdir()) == []
