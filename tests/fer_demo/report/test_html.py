import re
from html.parser import HTMLParser

import pytest

from fer_demo.report.content import GAP_SENTENCE, RESPONSIBLE_USE, SYNTHETIC_TITLE
from fer_demo.report.html import write_report

PNG = b"\x89PNG\r\n\x1a\n"


class Elements(HTMLParser):
    """Every element of a page with its attributes, and a check that each is closed."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.unclosed: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "img"}:
            self.unclosed.append(tag)

    def handle_endtag(self, tag):
        assert self.unclosed.pop() == tag


@pytest.fixture
def figures(tmp_path):
    names = ["samples", "class_distribution", "f1_comparison"]
    names += [f"{kind}_{model}" for kind in ("curves", "confusion") for model in ("mini_xception", "alexnet")]
    paths = {name: tmp_path / f"{name}.png" for name in names}
    for path in paths.values():
        path.write_bytes(PNG)
    return paths


def page_of(results, figures, tmp_path) -> str:
    return write_report(results, figures, tmp_path / "report.html").read_text(encoding="utf-8")


def plain(page: str) -> str:
    body = page[page.index("<body>") :]
    return " ".join(re.sub("<[^>]+>", " ", body).split())


def test_page_is_whole_and_asks_for_nothing_outside(run, figures, tmp_path):
    page = page_of(run.results, figures, tmp_path)
    elements = Elements(page)
    assert elements.unclosed == []
    assert page.startswith("<!DOCTYPE html>")
    assert not re.search(r"https?:|url\(|@import|<script", page)
    references = [
        value for _, attrs in elements.found for key, value in attrs.items() if key in {"src", "href"}
    ]
    assert all(reference.startswith("data:") for reference in references)


def test_pictures_are_inside_and_described(run, figures, tmp_path):
    images = [attrs for tag, attrs in Elements(page_of(run.results, figures, tmp_path)).found if tag == "img"]
    assert len(images) == len(figures)
    assert {attrs["src"] for attrs in images} == {"data:image/png;base64,iVBORw0KGgo="}
    assert all(len(attrs["alt"]) > 20 for attrs in images)


def test_tables_have_captions_and_scopes(run, figures, tmp_path):
    found = Elements(page_of(run.results, figures, tmp_path)).found
    tags = [tag for tag, _ in found]
    assert tags.count("table") == tags.count("caption") == 1 + 2 * 2 + 3
    assert all(attrs["scope"] in {"row", "col"} for tag, attrs in found if tag == "th")


def test_headline_and_facts(run, figures, tmp_path):
    run.results["protocol"]["learning_rate"] = {"mini_xception": 0.01, "alexnet": 0.001}
    text = plain(page_of(run.results, figures, tmp_path))
    accuracy = run.results["models"]["alexnet"]["accuracy"]
    headline = f"{accuracy['mean']:.3f} ± {accuracy['std']:.3f} accuracy of the best model, alexnet"
    for expected in (
        headline,
        GAP_SENTENCE,
        "seed 0",
        "wall time 59 min 22 s",
        "9f" * 32,
        RESPONSIBLE_USE,
    ):
        assert expected in text
    assert "learning rate mini_xception 0.01, alexnet 0.001" in text
    assert f"numpy {run.results['environment']['numpy']}" in text


@pytest.mark.parametrize("synthetic", [True, False])
def test_synthetic_data_is_announced_and_never_compared_with_the_paper(run, figures, tmp_path, synthetic):
    run.results["data"]["synthetic"] = synthetic
    text = plain(page_of(run.results, figures, tmp_path))
    assert (SYNTHETIC_TITLE in text) is synthetic
    assert ("the paper prints 0.588 for mini_xception and 0.622 for alexnet" in text) is not synthetic


def test_names_are_escaped(run, figures, tmp_path):
    run.results["data"]["name"] = '<img src="x">.csv'
    page = page_of(run.results, figures, tmp_path)
    assert '<img src="x">' not in page
    assert "&lt;img src=&#34;x&#34;&gt;.csv" in page


def test_interrupted_run_shows_what_is_there(run, tmp_path):
    model = run.results["models"].pop("alexnet")
    for measure in ("accuracy", "train_accuracy", "gap", "macro_f1"):
        model[measure]["folds"] = model[measure]["folds"][:3]
    run.results["models"] = {"alexnet": model}
    page = page_of(run.results, {}, tmp_path)
    assert "3 of 5 folds" in page
    assert "<img" not in page


def test_run_without_a_finished_fold_says_so(run, tmp_path):
    run.results["models"] = {}
    assert "No model has finished a fold." in page_of(run.results, {}, tmp_path)
