"""A command as its user runs it, and weights small enough to make in no time."""

import sys

import pytest

import tinycnn as tc
from fer_demo import cli
from fer_demo.data.dataset import EMOTIONS


@pytest.fixture
def in_process(monkeypatch, capsys):
    """Call a module's command in this process; return exit code, standard output and error."""

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
def run_command(in_process, tmp_path, monkeypatch):
    """Call a module's command as `in_process` does, in a folder and with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYCNN_CACHE", str(tmp_path / "cache"))
    return in_process


@pytest.fixture
def count_trainings(monkeypatch):
    """Let a function's `trained` count each training's faces; that numbered `interrupt_at` is interrupted."""

    def count(call):
        def fit_and_count(model, x, labels, **options):
            call.trained.append(len(x))
            if len(call.trained) == call.interrupt_at:
                raise KeyboardInterrupt
            return fit(model, x, labels, **options)

        fit, call.trained, call.interrupt_at = tc.Sequential.fit, [], None
        monkeypatch.setattr(tc.Sequential, "fit", fit_and_count)
        return call

    return count


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
