"""A command as its user runs it, and weights small enough to make in no time."""

import sys

import pytest

import tinycnn as tc
from fer_demo import cli
from fer_demo.data.dataset import EMOTIONS


@pytest.fixture
def run_command(tmp_path, monkeypatch, capsys):
    """Call a module's command in this process and folder; return exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYCNN_CACHE", str(tmp_path / "cache"))

    def call(module, *arguments):
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
        try:
            cli.run(module.app)
            code = 0
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def save_weights(tmp_path):
    """Save an untrained classifier whose answers differ from face to face, and return its file."""

    def save(name="small.safetensors", **more):
        layers = [tc.Flatten(), tc.Dense(48 * 48, 7, rng=0), tc.Softmax()]
        model = tc.Sequential(layers, input_shape=(48, 48, 1))
        more = {"preprocessing": {"mean": 127.5, "std": 74.0}, **more}
        tc.save(model, tmp_path / name, labels=EMOTIONS, **more)
        return tmp_path / name

    return save
