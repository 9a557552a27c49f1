"""The README's example runs as printed, and its pictures and links exist."""

import re
from pathlib import Path

import pytest

import tinycnn as tc

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_example_runs(backend, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    text = capsys.readouterr().out
    assert "every gradient agrees" in text
    assert tc.load_info("bars.safetensors")["labels"] == ["noise", "bar"]
    assert names["model"].evaluate(names["images"][200:], names["labels"][200:]).accuracy > 0.9


def test_the_quickstart_has_the_same_example():
    (example,) = re.findall(r"```python\n.*?```", README, re.DOTALL)
    assert example in (ROOT / "docs" / "quickstart.md").read_text()


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")], ids=lambda p: p.name
)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
