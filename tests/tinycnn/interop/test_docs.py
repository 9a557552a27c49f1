"""The examples on the page about other libraries run, one after another."""

import contextlib
import importlib.util
import io
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "interop.md"


def test_examples(tmp_path, monkeypatch):
    pytest.importorskip("onnx", reason="the page is about the extra 'interop'")
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(examples) == 6
    names, printed = {}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        for example in examples:
            needed = re.findall(r"^(?:import|from) (\w+)", example, re.MULTILINE)
            if all(importlib.util.find_spec(name) for name in needed):
                exec(compile(example, str(PAGE), "exec"), names)
    assert printed.getvalue().count("True") == 2
