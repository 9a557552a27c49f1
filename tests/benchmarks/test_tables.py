"""The figures of the documentation are the saved ones."""

import hashlib

import pytest

from benchmarks import tables
from fer_demo.classifier import SHIPPED


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda page: page.name)
def test_tables_come_from_the_saved_results(page):
    text = page.read_text(encoding="utf-8")
    assert "<!-- end -->" in text
    assert tables.with_tables(text) == text


def test_a_figure_edited_by_hand_is_noticed():
    text = tables.PAGES[0].read_text(encoding="utf-8").replace("<!-- end -->", "| faster |\n<!-- end -->", 1)
    assert tables.with_tables(text) != text


def test_the_model_card_is_about_the_weights_that_are_shipped():
    measured = {row["name"]: row["sha256"] for row in tables.load("shipped")["rows"]}
    shipped = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in SHIPPED.items()}
    assert measured == shipped, "measure them anew, see docs/weights.md"
