"""Files that are whole or not there at all."""

import os
from pathlib import Path

import pytest

from tinycnn.files import replace_file


def test_new_content_takes_the_place_of_the_old(tmp_path):
    path = tmp_path / "file"
    for content in (b"old", b"new"):
        replace_file(path, content)
        assert path.read_bytes() == content
    replace_file(path, iter([b"in ", b"", b"parts"]))
    assert path.read_bytes() == b"in parts"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="links and permissions are others on Windows")
def test_a_link_stays_one_and_permissions_stay_as_they_were(tmp_path):
    target, link = tmp_path / "there" / "file", tmp_path / "link"
    target.parent.mkdir()
    target.write_bytes(b"old")
    target.chmod(0o600)
    link.symlink_to(target)
    replace_file(link, b"new")
    assert link.is_symlink()
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"new", 0o600)


def test_an_error_keeps_a_relative_name_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as error:
        replace_file(Path("no/folder"), b"new")
    assert error.value.filename == os.path.join("no", "folder")


def test_a_failure_at_any_point_keeps_the_old_file_and_leaves_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "file"
    replace_file(path, b"old")
    with pytest.raises(TypeError, match="bytes-like"):
        replace_file(path, "text, which fails once the file is open")

    def full(*_):
        raise OSError("no space left on device")

    for function in ("os.fsync", "pathlib.Path.replace"):
        monkeypatch.setattr(function, full)
        with pytest.raises(OSError, match="no space"):
            replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("name", "kind"), [("no/folder", FileNotFoundError), (".", IsADirectoryError)])
def test_an_error_names_the_file_that_the_caller_knows(tmp_path, name, kind):
    with pytest.raises(kind) as error:
        replace_file(tmp_path / name, b"new")
    assert error.value.filename == str(tmp_path / name)
    assert ".tmp" not in str(error.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with a name are Unix's")
def test_a_pipe_is_written_into_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    replace_file(pipe, b"new")
    assert os.read(reader, 10) == b"new"
    assert pipe.is_fifo()
    os.close(reader)
