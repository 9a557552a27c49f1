import json
import subprocess

import numpy as np
import pytest

from fer_demo.errors import DataError
from fer_demo.report import environment, read_results, write_results
from fer_demo.report.results import _commit
from tinycnn.errors import FileFormatError


def test_what_is_written_is_read(run, tmp_path):
    write_results(run.results, tmp_path / "results.json")
    assert read_results(tmp_path / "results.json") == run.results
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_json_never_holds_nan_and_takes_numpy(run, tmp_path):
    run.results["seconds"] = np.float32(1.5)
    run.results["models"]["alexnet"]["history"] = [{"loss": np.array([1.0, np.nan]), "val_loss": (np.inf,)}]
    write_results(run.results, tmp_path / "results.json")
    written = json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
    assert written["seconds"] == 1.5
    assert written["models"]["alexnet"]["history"] == [{"loss": [1.0, None], "val_loss": [None]}]


def test_failed_write_keeps_the_old_file(run, tmp_path):
    path = tmp_path / "results.json"
    write_results(run.results, path)
    with pytest.raises(TypeError, match="object"):
        write_results({"models": object()}, path)
    assert read_results(path) == run.results


def test_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(DataError, match=r"absent\.json: no such file; .*python -m fer_demo\.cv"):
        read_results(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"models": ', r"damaged\.json: Expecting value: line 1 column 12"),
        (b"\xff\xfe", r"damaged\.json: .*can't decode byte 0xff in position 0"),
        (b"[1, 2]", "no object named 'protocol'"),
        (b'{"protocol": {}, "data": {}, "environment": {}, "models": []}', "no object named 'models'"),
    ],
)
def test_damaged_file_is_named(content, message, tmp_path):
    path = tmp_path / "damaged.json"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        read_results(path)


def test_environment_is_complete():
    found = environment()
    assert list(found) == [
        "python", "numpy", "numba", "tinycnn", "opencv", "platform", "cpu", "cores", "commit",
    ]  # fmt: skip
    assert found["numpy"] == np.__version__
    assert found["opencv"]
    assert found["cpu"]
    assert found["cores"] >= 1


def test_commit_only_of_the_folder_that_is_the_checkout(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "inner").mkdir()
    git("init")
    assert _commit(tmp_path) is None  # nothing committed yet
    git("commit", "--allow-empty", "--message", "first")
    assert len(_commit(tmp_path)) == 40
    assert _commit(tmp_path / "inner") is None
