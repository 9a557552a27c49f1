"""The cache of parsed files: what comes back, and that whatever is wrong with it does no harm."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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
    scalar = dict.fromkeys(("images", "labels", "checksum"), np.zeros((), np.uint8))
    for arrays in ({"weights": np.zeros(3, np.float32)}, scalar):
        save_file(arrays, cache_file(DIGEST))
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


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t._replace(images=t.images[:, :, :, 0]),
        lambda t: t._replace(images=t.images.astype(np.float32)),
        lambda t: t._replace(images=t.images[:0], labels=t.labels[:0], usage=t.usage[:0]),
        lambda t: t._replace(labels=t.labels[:-1]),
        lambda t: t._replace(labels=t.labels + np.uint8(7)),
        lambda t: t._replace(labels=t.labels.astype(np.int64)),
        lambda t: t._replace(usage=t.usage + np.uint8(3)),
    ],
)
def test_arrays_that_are_no_faces_are_ignored(table, change):
    write_cache(DIGEST, change(table))
    assert read_cache(DIGEST) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the folder may stay
@given(place=st.integers(0, 4000), content=st.binary(min_size=1, max_size=40))
def test_any_damage_is_noticed(place, content):
    one = Table(np.zeros((1, 48, 48, 1), np.uint8), np.ones(1, np.uint8), np.ones(1, np.uint8))
    write_cache(DIGEST, one)
    whole = cache_file(DIGEST).read_bytes()
    place %= len(whole)
    damaged = whole[:place] + content + whole[place + len(content) :]
    cache_file(DIGEST).write_bytes(damaged)
    kept = read_cache(DIGEST)
    assert kept is None or all(map(np.array_equal, kept, one))


def test_writers_at_the_same_time_leave_one_whole_file(folder, table):
    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(write_cache, DIGEST, table) for _ in range(40)]:
            future.result()
            kept = read_cache(DIGEST)
            np.testing.assert_array_equal(kept.images, table.images)
    assert list(folder.iterdir()) == [cache_file(DIGEST)]
