"""`python -m fer_demo.web` as its user runs it, up to the server's first answer."""

import socket
import sys

import pytest

from fer_demo import cli
from fer_demo.web import __main__ as command


@pytest.fixture
def run(monkeypatch, capsys):
    """Call the command in this process; return exit code, standard output and standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["fer_demo.web", "--no-open", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.run(command.app)
        return stop.value.code, *capsys.readouterr()

    return call


def test_a_port_that_is_taken(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, error = run("--port", str(port))
    assert code == 2
    assert error == (
        f"Error: cannot listen at port {port}: another program listens there. "
        "--port 0 takes one that is free\n"
    )


@pytest.mark.parametrize("name", ["fastapi", "uvicorn", "websockets"])
def test_what_is_not_installed_is_named(run, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    code, _, error = run("--port", "0")
    assert code == 2
    assert error == f"Error: this needs {name}, which is not installed: pip install 'tinycnn[web]'\n"


def test_weights_that_are_not_there(run):
    code, output, error = run("--port", "0", "--weights", "nothing.safetensors")
    assert (code, output) == (2, "")
    assert "nothing.safetensors" in error


def test_no_other_computer_can_reach_it():
    with command.listen(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_no_browser_takes_the_terminal_of_a_server(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not command.has_screen()
    monkeypatch.setenv("DISPLAY", ":0")
    assert command.has_screen()


def test_help_fits_a_screen(run):
    code, output, _ = run("--help")
    assert code == 0
    assert "Examples:" in output
    assert len(output.splitlines()) < 50
