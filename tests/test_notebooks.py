"""Every notebook has three exercises with hidden, tested solutions, and links that lead somewhere.

That it runs is seen when the site is built.
"""

import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.md"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(text):
    """Each cell's options and code."""
    found = re.findall(r"```\{code-cell\} ipython3\n(?:---\n(.*?)---\n)?(.*?)```", text, re.DOTALL)
    assert len(found) == text.count("{code-cell}")
    return found


def test_they_are_numbered_without_a_gap():
    assert [int(path.name[:2]) for path in NOTEBOOKS] == list(range(1, len(NOTEBOOKS) + 1))


@every_notebook
def test_three_exercises_have_hidden_solutions_that_are_tested(path):
    exercises = path.read_text().partition("\n## Exercises\n")[2]
    parts = re.split(r"^\*\*\d\. ", exercises, flags=re.MULTILINE)[1:]
    assert len(parts) == 3
    for part in parts:
        hidden = [code for options, code in cells(part) if "hide-cell" in options]
        assert len(hidden) == 1
        assert "assert" in hidden[0]


@every_notebook
def test_code_is_python(path):
    for _, code in cells(path.read_text()):
        python = re.sub(r"^%.*$", "", code, flags=re.MULTILINE)
        compile(python, path.name, "exec")


@every_notebook
def test_figures_have_a_caption_and_a_text_for_those_who_do_not_see_them(path):
    drawn = r"^(figure, |plt\.figure|show\((?!\")|draw\(|plot\.(?!architecture))"  # which is no image
    for options, code in cells(path.read_text()):
        if re.search(drawn, code, flags=re.MULTILINE):
            assert "  figure:\n    caption: " in options, code
            assert "  image:\n    alt: " in options, code
