"""The figures of the documentation are the saved ones."""

import pytest

from benchmarks import tables


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda page: page.name)
def test_tables_come_from_the_saved_results(page):
    text = page.read_text(encoding="utf-8")
    assert "<!-- end -->" in text
    assert tables.with_tables(text) == text


def test_a_figure_edited_by_hand_is_noticed():
    text = tables.PAGES[0].read_text(encoding="utf-8").replace("<!-- end -->", "| faster |\n<!-- end -->", 1)
    assert tables.with_tables(text) != text
