"""A command as its user runs it, and weights small enough to make in no time."""

import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from safetensors.numpy import load_file

import tinycnn as tc
from fer_demo import cli
from fer_demo.data.dataset import EMOTIONS


def exit_code(module, *arguments):
    """Call a module's command in this process, which has imported everything already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
        try:
            cli.run(module.app)
        except SystemExit as stop:
            return stop.code
    return 0


def lasting(value, *but):
    """Results or a model's description without what a clock measured, the commit, and what else is named.

    Somebody may commit something while the tests run.
    """
    if isinstance(value, dict):
        left_out = ("seconds", "images_per_second", "commit", *but)
        return {key: lasting(item, *but) for key, item in value.items() if key not in left_out}
    return [lasting(item, *but) for item in value] if isinstance(value, list) else value


def content(path):
    """A model's file: its lasting description, and its arrays' bytes."""
    return lasting(tc.load_info(path)), {name: array.tobytes() for name, array in load_file(path).items()}


def models(out):
    """The content of each fold's model, by the file's name."""
    return {path.name: content(path) for path in Path(out, "folds").glob("*.safetensors")}


@contextmanager
def commands_without_pictures():
    """Let commands draw no pictures, which take long and have their own tests, and put back what they set."""
    backend, term = tc.backend_name(), signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fer_demo.report.write_all", lambda results, images, labels, out, _: out)
        yield
    tc.backend(backend)
    signal.signal(signal.SIGTERM, term)


@pytest.fixture
def in_process(capsys):
    """Call a module's command in this process; return exit code, standard output and error."""

    def call(module, *arguments):
        code = exit_code(module, *arguments)
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
