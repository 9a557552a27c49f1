"""The how-to pages' Python runs as printed, and all documents' commands are such as their programs take."""

import importlib
import re
import shlex
from pathlib import Path

import click
import pytest
import typer

import tinycnn as tc

ROOT = Path(__file__).parents[1]
HOWTO = sorted((ROOT / "docs" / "howto").glob("*.md"))
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


WITH_PYTHON = [page for page in HOWTO if blocks(page, "python")]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.stem)
def test_python_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    with tc.backend("numpy"):  # small arrays: nothing is worth compiling
        for example in blocks(page, "python"):
            exec(compile(example, str(page), "exec"), names)


def commands():
    """(page, module, arguments) of every line ``python -m fer_demo...`` in a block of shell."""
    for page in DOCUMENTS:
        for line in "".join(blocks(page, "sh")).splitlines():
            if command := re.match(r"python -m (fer_demo\S+)(.*)", line):
                yield page.name, command[1], shlex.split(command[2], comments=True)


def app(name):
    module = importlib.import_module(name)
    return (importlib.import_module(f"{name}.__main__") if hasattr(module, "__path__") else module).app


def test_commands_are_ones_that_the_programs_take():
    faults, found = [], list(commands())
    for page, module, arguments in found:
        try:
            typer.main.get_command(app(module)).make_context(module, arguments)
        except click.ClickException as error:
            faults.append(f"{page}: {module} {shlex.join(arguments)}: {error.format_message()}")
    assert len(found) > 30
    assert faults == []
