"""What `import fer_demo` needs."""

import importlib
import sys
from pathlib import Path

import pytest

import fer_demo
import tinycnn as tc
from fer_demo.__main__ import commands


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "typer", None)
    with pytest.raises(tc.MissingPackageError, match=r"needs typer, .*tinycnn\[demo\]"):
        importlib.reload(fer_demo)


def test_every_command_is_listed():
    root = Path(fer_demo.__file__).parent
    runs = {path for path in root.rglob("*.py") if "cli.run(app)" in path.read_text()} - {root / "cli.py"}
    modules = {".".join(path.relative_to(root.parent).with_suffix("").parts) for path in runs}
    listed = {command.removeprefix("python -m ") for command in commands()}
    assert listed == {module.removesuffix(".__main__") for module in modules}
    assert len(listed) > 10
