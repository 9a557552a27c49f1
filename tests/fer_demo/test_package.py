"""What `import fer_demo` needs."""

import importlib
import sys

import pytest

import fer_demo
import tinycnn as tc


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "typer", None)
    with pytest.raises(tc.MissingPackageError, match=r"needs typer, .*tinycnn\[demo\]"):
        importlib.reload(fer_demo)
