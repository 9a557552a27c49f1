"""A training that is cut short anywhere ends with the bits that it would have had."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import files
from tinycnn.sealed import read_sealed, write_sealed

ROOT = Path(__file__).parents[2]
EPOCHS, BATCHES = 3, 4


def build():
    rng = np.random.default_rng(0)
    layers = {
        "conv": tc.Conv2D(1, 3, 3, bias=False, rng=rng),
        "bn": tc.BatchNorm(3),
        "relu": tc.ReLU(),
        "flatten": tc.Flatten(),
        "dropout": tc.Dropout(0.3, rng=1),
        "dense": tc.Dense(3 * 16, 3, rng=rng),
    }
    return tc.Sequential(layers, input_shape=(6, 6, 1))


def images(n=26, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 6, 6, 1)).astype(np.uint8), np.arange(n) % 3


def scale(batch):
    return batch.astype(np.float32) / 255


def noise(batch, rng):
    return (batch + rng.integers(0, 9, batch.shape)).astype(np.uint8)


def fit(model, checkpoint=None, augment=noise, **options):
    """Train with all that has a state."""
    x, labels = images()
    given = {
        "labels": labels,
        "epochs": EPOCHS,
        "batch_size": 7,
        "optimizer": tc.Adam(tc.ReduceOnPlateau(0.1, patience=0, threshold=0.5)),
        "validation": images(9, 1),
        "ema": tc.ExponentialMovingAverage(0.9),
        **options,
    }
    return model.fit(x, prepare=scale, augment=augment, checkpoint=checkpoint, progress=False, **given)


def outcome(model, history):
    """All that a training leaves behind, but for the time it took."""
    return weights(model), {name: values for name, values in vars(history).items() if name != "seconds"}


def weights(model):
    return {name: array.tobytes() for name, array in {**model.params, **model.state}.items()}


class Cut(Exception):
    """Ends a training as a kill would."""


def cut_after(batches):
    """An augmentation that lets so many batches pass."""
    calls = iter(range(batches))

    def noise_or_cut(batch, rng):
        if next(calls, None) is None:
            raise Cut
        return noise(batch, rng)

    noise_or_cut.__qualname__ = noise.__qualname__  # a checkpoint tells functions apart by their names
    return noise_or_cut


def train_in_parts(path, parts, **options):
    """Train a new model each time, as a new process would, cut after so many batches; then to the end."""
    for batches in parts:
        with pytest.raises(Cut):
            fit(build(), tc.Checkpoint(path, every=0), cut_after(batches), **options)
    model = build()
    return outcome(model, fit(model, tc.Checkpoint(path, every=0), **options))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.checkpoint"


def test_cut_after_any_batch_the_end_is_the_same(backend, path):
    model = build()
    whole = outcome(model, fit(model))
    assert len(set(whole[1]["learning_rate"])) > 1  # the schedule has something to remember
    for batches in range(EPOCHS * BATCHES):
        assert train_in_parts(path, [batches]) == whole, f"cut after {batches} batches"
        tc.Checkpoint(path).remove()


def test_cut_again_and_again_the_end_is_the_same(backend, path):
    model = build()
    assert train_in_parts(path, [1] * (EPOCHS * BATCHES - 1)) == outcome(model, fit(model))


@pytest.mark.parametrize(
    "options",
    [
        {"ema": None, "validation": None, "optimizer": None},
        {"keep_best": False, "optimizer": tc.SGD(tc.Cosine(0.1, 12), momentum=0.9)},
        {"callbacks": [lambda model, history: None], "ema": None, "seed": 5},
    ],
)
def test_other_options_are_remembered_too(path, options):
    model = build()
    if options.get("optimizer"):
        start = options["optimizer"].state_dict()
    whole = outcome(model, fit(model, **options))
    if options.get("optimizer"):
        options["optimizer"].load_state_dict(start)
    assert train_in_parts(path, [2, 3], **options) == whole


class Centred(tc.layers.Layer):
    """Puts another array in the place of its state, as one would write it."""

    def __init__(self):
        super().__init__()
        self.state["mean"] = np.zeros(36, np.float32)

    def _forward(self, x, train):
        if train:
            self.state["mean"] = np.float32(0.9) * self.state["mean"] + np.float32(0.1) * x.mean(axis=0)
        return x - self.state["mean"], None

    def _backward(self, dy, cache):
        return dy, {}


def centred():
    return tc.Sequential([tc.Flatten(), Centred(), tc.Dense(36, 3, rng=0)])


def test_a_state_that_is_replaced_is_kept_too(path, monkeypatch):
    model = centred()
    whole = outcome(model, fit(model))
    monkeypatch.setitem(globals(), "build", centred)
    assert train_in_parts(path, [2, 3]) == whole
    scored = model.evaluate(*images(9, 1), prepare=scale)
    assert scored.loss == pytest.approx(min(whole[1]["val_loss"]), rel=1e-6)  # that of the best epoch


def test_a_state_that_is_replaced_is_as_before_a_step_that_fails():
    model = centred()
    before = weights(model)
    with pytest.raises(tc.NonFiniteError):
        fit(model, ema=None, augment=lambda batch, rng: batch * np.float32(np.nan))
    assert weights(model) == before


def test_after_a_batch_that_failed_it_goes_on_as_if_that_had_not_been_begun(path):
    def noise_and_nan(batch, rng):
        noisy = noise(batch, rng).astype(np.float32)
        return noisy * np.float32(np.nan) if next(calls, None) is None else noisy

    model, calls = build(), iter(range(BATCHES + 1))
    whole = outcome(model, fit(model))
    noise_and_nan.__qualname__ = noise.__qualname__
    with pytest.raises(tc.NonFiniteError):
        fit(build(), tc.Checkpoint(path), noise_and_nan)
    model = build()
    assert outcome(model, fit(model, tc.Checkpoint(path))) == whole


def test_arguments_of_an_optimiser_and_a_schedule_of_one_s_own_count(path):
    class Lion(tc.Optimizer):
        slot_names = ("m",)

        def __init__(self, learning_rate, beta):
            super().__init__(learning_rate, 0.0)
            self.beta = beta

        def _move(self, param, grad, slots, lr, decay):
            param -= np.float32(lr * self.beta) * np.sign(grad)

    class Slower(tc.Schedule):
        def __init__(self, start):
            self.start = start

        def __call__(self, step):
            return self.start / (1 + step)

    fit(build(), tc.Checkpoint(path, every=0), optimizer=Lion(Slower(0.1), 0.9))
    for start, beta in ((0.2, 0.9), (0.1, 0.8)):
        with pytest.raises(tc.ConfigError, match="belongs to another run: optimizer was"):
            fit(build(), tc.Checkpoint(path), optimizer=Lion(Slower(start), beta))


def test_a_finished_training_is_given_back_at_once(path):
    model = build()
    whole = outcome(model, fit(model, tc.Checkpoint(path)))
    again = build()
    assert outcome(again, fit(again, tc.Checkpoint(path), cut_after(0))) == whole


def test_a_stop_is_remembered(path):
    def stop(model, history):
        raise tc.StopTraining

    first, again = build(), build()
    whole = outcome(first, fit(first, tc.Checkpoint(path), callbacks=[stop]))
    assert outcome(again, fit(again, tc.Checkpoint(path), callbacks=[stop])) == whole
    assert len(whole[1]["loss"]) == 1


@pytest.mark.parametrize("kind", ["MT19937", "Philox", "SFC64", "PCG64DXSM"])
def test_every_kind_of_generator_is_kept(path, kind):
    def model():
        made = build()
        made.children()["dropout"].rng = np.random.Generator(getattr(np.random, kind)(3))
        return made

    whole, part = model(), model()
    expected = outcome(whole, fit(whole))
    with pytest.raises(Cut):
        fit(model(), tc.Checkpoint(path, every=0), cut_after(5))
    assert outcome(part, fit(part, tc.Checkpoint(path))) == expected


def test_time_is_added_up(path):
    train_in_parts(path, [5])
    assert all(seconds > 0 for seconds in read_sealed(path)[1]["history"]["seconds"])


def test_nothing_is_written_before_it_is_time(path):
    with pytest.raises(Cut):
        fit(build(), tc.Checkpoint(path, every=1000), cut_after(5))
    assert read_sealed(path)[1]["history"]["loss"] == []
    assert "epoch/order" in read_sealed(path)[0]


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"seed": 1}, "seed was '0', is '1'"),
        ({"batch_size": 8}, "batch_size was '7', is '8'"),
        ({"epochs": 9}, "epochs was '3', is '9'"),
        ({"optimizer": tc.SGD(0.1)}, "optimizer was"),
        ({"augment": scale}, "augment was '<function noise>', is '<function scale>'"),
        ({"validation": images(9, 2)}, "validation x was 'uint8 (9, 6, 6, 1) with SHA-256"),
        ({"ema": None}, "ema was '0.9', is 'None'"),
    ],
)
def test_another_training_is_refused_with_what_differs(path, options, difference):
    fit(build(), tc.Checkpoint(path))
    before = path.read_bytes()
    with pytest.raises(tc.ConfigError) as error:
        fit(build(), tc.Checkpoint(path), **options)
    assert difference in str(error.value)
    assert f"{path} belongs to another run" in str(error.value)
    assert "delete it to start from the beginning" in str(error.value)
    assert path.read_bytes() == before


def test_a_file_that_says_nothing_of_its_training_is_another_ones(path):
    tc.Checkpoint(path).write({"w": np.zeros(1)}, {})
    with pytest.raises(tc.ConfigError, match="belongs to another run: "):
        fit(build(), tc.Checkpoint(path))


def test_probabilities_as_labels_are_trained_on_in_parts_and_told_apart(path):
    labels, others = np.random.default_rng(0).dirichlet(np.ones(3), (2, 26))
    model = build()
    whole = outcome(model, fit(model, labels=labels))
    assert train_in_parts(path, [5], labels=labels) == whole
    for wrong in (others, labels.argmax(axis=1), labels.astype(np.float32)):
        with pytest.raises(tc.ConfigError, match=r"labels was 'float64 \(26, 3\) with SHA-256"):
            fit(build(), tc.Checkpoint(path), labels=wrong)


def test_another_model_is_refused(path):
    fit(build(), tc.Checkpoint(path))
    model = build()
    model.children()["dropout"].rate = 0.4
    with pytest.raises(tc.ConfigError, match=r"layer dropout was 'Dropout\(rate=0.3\)', is .*0.4"):
        fit(model, tc.Checkpoint(path))


def test_another_backend_is_refused(path):
    pytest.importorskip("numba", reason="the numba backend needs numba")
    with tc.backend("numpy"):
        fit(build(), tc.Checkpoint(path))
    with tc.backend("numba"), pytest.raises(tc.ConfigError, match="backend was 'numpy', is 'numba'"):
        fit(build(), tc.Checkpoint(path))


def damages(data):
    """Cut off at several places, and with single bits flipped all over the file."""
    yield from (data[:size] for size in (0, 5, 100, len(data) // 2, len(data) - 1))
    yield data + b"\0"
    for place in [*range(0, 400, 13), *range(400, len(data), 997), len(data) - 1]:
        yield data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :]


def test_any_damage_is_found_and_the_one_before_is_used(path):
    model = build()
    whole = outcome(model, fit(model))
    with pytest.raises(Cut):
        fit(build(), tc.Checkpoint(path, every=0), cut_after(6))
    checkpoint = tc.Checkpoint(path)
    last, before = path.read_bytes(), checkpoint.previous.read_bytes()
    for number, damaged in enumerate(damages(last)):
        path.write_bytes(damaged)
        checkpoint.previous.write_bytes(before)
        with pytest.warns(tc.CheckpointWarning, match=r"run.checkpoint is damaged .*used the one before"):
            checkpoint.read()
        assert path.read_bytes() == before  # it has taken its place, so that it cannot be overwritten
        if number % 20 == 0:
            model = build()
            assert outcome(model, fit(model, tc.Checkpoint(path))) == whole
    path.write_bytes(last)
    checkpoint.read()


def test_both_damaged_is_an_error_that_names_both(path):
    checkpoint = tc.Checkpoint(path, every=0)
    fit(build(), checkpoint)
    for file in (path, checkpoint.previous):
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(tc.FileFormatError, match=r"checkpoint is damaged.*checkpoint.previous is damaged"):
        fit(build(), checkpoint)


def test_a_file_of_another_kind_is_an_error(path):
    tc.save(build(), path)
    with pytest.raises(tc.FileFormatError, match=r"its format is 'tinycnn-1', expected 'tinycnn-sealed-1'"):
        fit(build(), tc.Checkpoint(path))


@pytest.mark.parametrize("moment", ["writing", "fsync", "first rename", "second rename"])
def test_killed_while_writing_there_is_always_a_whole_one(path, moment, monkeypatch):
    model = build()
    whole = outcome(model, fit(model))
    with pytest.raises(Cut):
        fit(build(), tc.Checkpoint(path, every=0), cut_after(5))

    renames = iter(["first rename", "second rename"])
    rename = Path.replace

    def killed_at(now, function):
        def call(*args):
            if moment == (now or next(renames)):
                raise Cut
            return function(*args)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", killed_at("fsync", os.fsync))
        patch.setattr(Path, "replace", killed_at(None, rename))
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # a killed process tidies nothing up
        if moment == "writing":
            patch.setattr(files.Path, "open", killed_at("writing", Path.open))
        with pytest.raises(Cut):
            tc.Checkpoint(path).write({"weights/x": np.zeros(3)}, {})
    model = build()
    assert outcome(model, fit(model, tc.Checkpoint(path))) == whole
    tc.Checkpoint(path).remove()
    assert list(path.parent.iterdir()) == []


def test_a_full_disk_is_a_warning_and_the_earlier_checkpoint_stays(path, monkeypatch):
    model, other = build(), build()
    whole = outcome(model, fit(model))
    write, calls = files.os.fsync, iter(range(4))

    def full(*args):
        if next(calls, None) is None:
            raise OSError(28, "No space left on device")
        return write(*args)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.warns(tc.CheckpointWarning, match=r"no checkpoint written .*No space.*training goes on"):
        assert outcome(other, fit(other, tc.Checkpoint(path, every=0))) == whole
    monkeypatch.undo()
    assert len(read_sealed(path)[0]["epoch/results"]) == 3  # the start, and three batches
    again = build()
    assert outcome(again, fit(again, tc.Checkpoint(path))) == whole
    assert len(list(path.parent.iterdir())) == 2


def test_a_path_that_cannot_be_written_is_an_error_at_once(tmp_path):
    with pytest.raises(FileNotFoundError):
        fit(build(), tc.Checkpoint(tmp_path / "nowhere" / "run"), cut_after(0))


LIMITED = """
import resource, sys, warnings
sys.path[:0] = sys.argv[2:]
import test_checkpoint as t
import tinycnn as tc
warnings.simplefilter("always")
checkpoint = tc.Checkpoint(sys.argv[1], every=0)
model = t.build()
def limit(model, history):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
t.fit(model, checkpoint, callbacks=[limit])
print(len(checkpoint.read()[1]["history"]["loss"]))
"""


def test_a_file_that_may_not_grow_is_like_a_full_disk(path):
    pytest.importorskip("resource", reason="file sizes are limited so on Unix alone")
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, path, ROOT, Path(__file__).parent],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TINYCNN_BACKEND": "numpy"},
    )
    assert run.returncode == 0, run.stderr
    assert "no checkpoint written" in run.stderr
    assert run.stdout == "0\n"  # the last one before the first epoch ended


def test_weights_can_be_taken_out(path):
    first = build()
    fit(first, tc.Checkpoint(path), ema=None, validation=None)
    other = build()
    tc.Checkpoint(path).load_weights(other)
    assert weights(other) == weights(first)
    with pytest.raises(tc.ConfigError, match="in the model but not in"):
        tc.Checkpoint(path).load_weights(tc.Sequential([tc.Dense(3, 2)]))
    tc.Checkpoint(path).remove()
    with pytest.raises(tc.FileFormatError, match="does not exist: no checkpoint to go on from"):
        tc.Checkpoint(path).load_weights(other)


def test_every_must_be_a_time(path):
    with pytest.raises(tc.ConfigError, match="every=-1"):
        tc.Checkpoint(path, every=-1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_after_the_batch_with_a_checkpoint(path, number):
    model, part, again = build(), build(), build()
    whole = outcome(model, fit(model))

    def noise_and_ctrl_c(batch, rng):
        if len(seen) == 5:
            signal.raise_signal(number)
        seen.append(0)
        return noise(batch, rng)

    noise_and_ctrl_c.__qualname__ = noise.__qualname__
    seen, before = [], signal.getsignal(number)
    signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(part, tc.Checkpoint(path, every=1000), noise_and_ctrl_c)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert len(seen) == 6
    assert len(read_sealed(path)[0]["epoch/results"]) == 2  # one epoch of four, and two
    assert outcome(again, fit(again, tc.Checkpoint(path))) == whole


def test_a_second_ctrl_c_does_not_wait(path):
    def ctrl_c_twice(batch, rng):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it waited")

    with pytest.raises(KeyboardInterrupt):
        fit(build(), tc.Checkpoint(path), ctrl_c_twice)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_handlers_of_the_users_own_stay(path):
    seen = []

    def noise_and_term(batch, rng):
        signal.raise_signal(signal.SIGTERM)
        return noise(batch, rng)

    before = signal.signal(signal.SIGTERM, lambda *_: seen.append(0))
    try:
        fit(build(), tc.Checkpoint(path), noise_and_term, epochs=1)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(seen) == BATCHES


def test_the_bar_begins_where_the_checkpoint_does(path, capsys):
    pytest.importorskip("rich", reason="the bar needs rich")
    with pytest.raises(Cut):
        fit(build(), tc.Checkpoint(path, every=0), cut_after(6))
    capsys.readouterr()
    x, labels = images()
    shown = []

    class Spy(tc.Progress):
        def resumed(self, epochs, images):
            shown.append((epochs, images))

    fit_options = {"ema": tc.ExponentialMovingAverage(0.9), "validation": images(9, 1), "batch_size": 7}
    optimizer = tc.Adam(tc.ReduceOnPlateau(0.1, patience=0, threshold=0.5))
    for progress in (Spy(), True):
        build().fit(
            x,
            labels,
            epochs=EPOCHS,
            prepare=scale,
            augment=noise,
            optimizer=optimizer,
            checkpoint=tc.Checkpoint(path, every=1000),
            progress=progress,
            **fit_options,
        )
    assert shown == [(1, 14)]
    assert "epoch 3/3" in capsys.readouterr().out


def test_a_sealed_file_has_the_same_bytes_in_every_process(tmp_path):
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
import numpy as np, pathlib
from tinycnn.sealed import write_sealed
write_sealed(pathlib.Path(sys.argv[1]), {{"b": np.arange(3), "a": np.array(2.5)}}, {{"x": [1, "é"]}})
"""
    contents = set()
    for seed in range(3):
        file = tmp_path / str(seed)
        subprocess.run([sys.executable, "-c", code, file], check=True)
        contents.add(file.read_bytes())
    assert len(contents) == 1
    arrays, info = read_sealed(file)
    assert arrays["a"] == 2.5
    assert info == {"x": [1, "é"]}


def test_a_header_that_lies_about_sizes_is_refused(tmp_path):
    file = tmp_path / "file"
    write_sealed(file, {"a": np.zeros(4)}, {})
    header = json.dumps({"__metadata__": {"format": "tinycnn-sealed-1", "info": "{}", "sha256": "0" * 64}})
    for length in (len(header), 2**62):
        file.write_bytes(length.to_bytes(8, "little") + header.encode())
        with pytest.raises(tc.FileFormatError, match="is damaged"):
            read_sealed(file)


def test_a_name_is_no_pattern(tmp_path):
    litter = tmp_path / ".run[1].ck.999.1.tmp"
    others = tmp_path / ".run1.ck.999.1.tmp"
    litter.touch(), others.touch()
    tc.Checkpoint(tmp_path / "run[1].ck").remove()
    assert not litter.exists()
    assert others.exists()


def test_every_is_a_number():
    with pytest.raises(tc.ConfigError, match="every"):
        tc.Checkpoint("run.ck", every="60")


def test_through_a_link_all_files_are_beside_the_real_one(tmp_path):
    (tmp_path / "disk").mkdir()
    link, real = tmp_path / "link.ck", tmp_path / "disk" / "real.ck"
    link.symlink_to(real)
    fit(build(), tc.Checkpoint(link, every=0))
    assert link.is_symlink()
    assert sorted(path.name for path in real.parent.iterdir()) == ["real.ck", "real.ck.previous"]
    (real.parent / ".real.ck.999.1.tmp").touch()
    tc.Checkpoint(link).remove()
    assert list(real.parent.iterdir()) == []


def test_a_seed_is_a_number_however_it_is_written(path):
    history = fit(build(), tc.Checkpoint(path), seed=3)
    assert fit(build(), tc.Checkpoint(path), seed=np.int64(3)).seconds == history.seconds


@pytest.mark.parametrize("other", [1 + 1e-9, 50])
def test_class_weights_are_told_apart_to_the_last_bit(path, other):
    """Among so many that NumPy would not print them all."""
    weights = np.ones(1200)
    model = tc.Sequential([tc.Dense(3, 1200, rng=0)])
    x, labels = np.ones((2, 3), np.float32), np.array([600, 5])

    def train():
        loss = tc.SoftmaxCrossEntropy(class_weights=weights)
        model.fit(x, labels, epochs=1, loss=loss, checkpoint=tc.Checkpoint(path), progress=False)

    train()
    with np.printoptions(precision=2):
        train()
    weights[600] = other
    with pytest.raises(tc.ConfigError, match="loss was"):
        train()


def test_objects_are_refused_and_dates_are_not(path):
    x, labels = np.array([np.zeros(2), np.ones(3)], object), np.array([0, 1])
    model = tc.Sequential([tc.Dense(1, 2, rng=0)])
    options = {"epochs": 1, "checkpoint": tc.Checkpoint(path), "progress": False}
    with pytest.raises(tc.DTypeError, match="x is an array of objects, which a checkpoint cannot tell"):
        model.fit(x, labels, prepare=lambda b: np.array([[len(a)] for a in b], np.float32), **options)
    days = np.array(["2020-01-01", "2021-01-01"], "M8[D]")
    model.fit(days, labels, prepare=lambda b: (b.astype(np.float32) / 2e4)[:, np.newaxis], **options)
    assert path.exists()
