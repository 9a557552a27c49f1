"""A table in Markdown."""

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Return a table; the first column, or so many, are words and stand to the left, the others numbers."""
    rule = ["---"] * words + ["---:"] * (len(heads) - words)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (heads, rule, *rows))
