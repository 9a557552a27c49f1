import base64

import pytest

from fer_demo.report import read_results, write_all


def test_one_folder_holds_everything(run, tmp_path):
    run.results["models"].pop("alexnet")
    run.probabilities.pop("alexnet")
    page = write_all(run.results, run.images, run.labels, tmp_path / "new" / "folder", run.probabilities)
    assert page == tmp_path / "new" / "folder" / "report.html"
    assert read_results(page.with_name("results.json")) == run.results
    pictures = list(page.parent.glob("*.png"))
    assert len(pictures) == 6
    text = page.read_text(encoding="utf-8")
    assert all(base64.b64encode(picture.read_bytes()).decode() in text for picture in pictures)


def test_results_survive_a_picture_that_fails(run, tmp_path):
    with pytest.raises(IndexError):
        write_all(run.results, run.images[:1], run.labels, tmp_path)
    assert read_results(tmp_path / "results.json") == run.results
