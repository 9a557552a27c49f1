"""A teacher sets a share of the targets, and knows nothing about the faces that are held out."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tinycnn as tc
from fer_demo import cv, train
from fer_demo.classifier import EmotionClassifier
from fer_demo.data.faces import synthetic_faces
from fer_demo.distillation import Teaching
from fer_demo.models import MODELS, mini_xception
from fer_demo.preprocess import Normalisation
from fer_demo.report.results import read_results
from fer_demo.training import save_model
from tests.fer_demo.conftest import commands_without_pictures

FACES = synthetic_faces(42)
EVEN = replace(FACES, labels=np.arange(42) % 7)
TINY = partial(mini_xception, widths=(2, 2, 2, 2, 2))


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Two files of weights, untrained."""
    paths = [tmp_path_factory.mktemp("teachers") / f"{seed}.safetensors" for seed in (0, 1)]
    for seed, path in enumerate(paths):
        save_model(TINY(seed=seed), path, Normalisation(100, 50), FACES, {}, {}, tc.train.History())
    return [str(path) for path in paths]


def test_a_target_is_part_label_and_part_teachers(teachers):
    first, second = (EmotionClassifier(path, flip_average=True)(FACES.images) for path in teachers)
    one_hot = np.eye(7, dtype=np.float32)[FACES.labels]
    for share, given in ((0, one_hot), (1, first), (0.3, 0.3 * first + 0.7 * one_hot)):
        targets = Teaching((teachers[0],), share).targets(FACES.images, FACES.labels)
        np.testing.assert_allclose(targets, given, atol=1e-6)
        assert targets.dtype == np.float32
    both = Teaching(tuple(teachers), 1).targets(FACES.images, FACES.labels)
    np.testing.assert_allclose(both, (first + second) / 2, atol=1e-6)


@pytest.mark.parametrize("temperature", [4, 0.5, 0.01])
def test_temperature_evens_out_or_sharpens(teachers, temperature):
    plain, tempered = (
        Teaching((teachers[0],), 1, t).targets(FACES.images, FACES.labels) for t in (1, temperature)
    )
    np.testing.assert_allclose(tempered.sum(axis=1), 1, rtol=1e-5)
    odds = [np.log(p[:, 0] / p[:, 3]) for p in (plain, np.maximum(tempered, 1e-38))]
    if temperature > 0.1:
        np.testing.assert_allclose(odds[1], odds[0] / temperature, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(tempered.argmax(axis=1), plain.argmax(axis=1))


@pytest.mark.parametrize(("name", "value"), [("share", 1.1), ("share", np.nan), ("temperature", 0)])
def test_what_is_out_of_range_is_refused(name, value):
    with pytest.raises(tc.ConfigError, match=f"{name}=.*: expected a number from"):
        Teaching(("weights",), **{name: value})


@pytest.fixture
def call(in_process, monkeypatch, tmp_path):
    """Call the command in this process, with a tiny model; return exit code and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(MODELS, "mini_xception", TINY)
    monkeypatch.setattr("fer_demo.data.load", lambda source: FACES)
    backend = tc.backend_name()

    def call(*arguments):
        common = ["--epochs", "1", "--validation", "0.2", "--backend", "numpy"]
        code, _, error = in_process(train, *common, *arguments)
        return code, error

    yield call
    tc.backend(backend)


def test_a_student_learns_from_its_teacher_and_says_so(call):
    assert call("--out", "teacher")[0] == 0
    student = ["--teacher", "teacher", "--teacher-share", "0.9", "--out", "student"]
    assert call(*student)[0] == 0
    taught, alone = tc.load_info("student"), tc.load_info("teacher")
    assert alone["training"]["teacher"] is None
    assert taught["training"]["teacher"] == Teaching(("teacher",), 0.9).describe()
    assert taught["history"]["loss"] != alone["history"]["loss"]
    assert call(*student, "--resume") == (0, "")
    code, error = call(*student, "--resume", "--teacher-temperature", 2)
    assert code == 2
    assert "teacher was {" in error


def test_a_teacher_that_has_seen_the_held_out_faces_is_refused(call):
    assert call("--out", "teacher", "--seed", 1)[0] == 0
    code, error = call("--teacher", "teacher", "--out", "student")
    assert code == 2
    assert "teacher has trained on faces that are held out here" in error
    assert call("--teacher", "teacher", "--out", "student", "--validation", "0")[0] == 0


@pytest.mark.parametrize(
    ("then", "now", "allowed"),
    [
        ({"validation": "PublicTest", "seed": 3}, "PublicTest", True),
        ({"validation": "PrivateTest", "seed": 0}, "PublicTest", True),  # it, too, has trained on "Training"
        ({"validation": "0.1", "seed": 0}, "PublicTest", False),
        ({"fold": 0}, "PublicTest", False),
        ({"validation": "0", "data": "another"}, "PublicTest", True),
        ({"validation": "0", "data": "another", "extra": "this"}, "PublicTest", False),
        ({"validation": "0.1", "seed": 0}, "0.1", True),
        ({"validation": "0.1", "seed": 1}, "0.1", False),
        ({"validation": "0.1", "seed": 0, "keep_copies_together": True}, "0.1", False),
        ({"validation": "PublicTest", "data": "the same, packed"}, "0.1", False),
    ],
)
def test_who_has_seen_what(monkeypatch, then, now, allowed):
    monkeypatch.setattr(tc, "load_info", lambda path: {"training": {"data": "this", **then}})
    options = {"data": "this", "validation": now, "seed": 0, "keep_copies_together": False}
    marks = np.resize(["Training", "PublicTest"] if now == "0.1" else ["PublicTest"], len(FACES))
    held_out = replace(FACES, sha256="this", usage=marks)
    if allowed:
        Teaching(("weights",)).check_unseen(options, held_out)
    else:
        with pytest.raises(tc.ConfigError, match=f"with --validation {now} too"):
            Teaching(("weights",)).check_unseen(options, held_out)


def test_a_teacher_that_is_not_there_is_named(call):
    code, error = call("--teacher", "nobody", "--out", "student")
    assert code == 2
    assert "nobody" in error


@pytest.fixture
def cross_validate(in_process, monkeypatch, tmp_path):
    """Call cross-validation in this process, with a tiny model; return exit code and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(MODELS, "mini_xception", TINY)
    monkeypatch.setattr("fer_demo.data.load", lambda source: EVEN)

    def call(out, *arguments):
        common = ["--epochs", "1", "--folds", "2", "--backend", "numpy", "--model", "mini_xception"]
        code, _, error = in_process(cv, "--out", out, *common, *arguments)
        return code, error

    with commands_without_pictures():
        yield call


def test_each_fold_learns_from_its_own(cross_validate, monkeypatch):
    seen, targets = [], Teaching.targets
    monkeypatch.setattr(
        Teaching, "targets", lambda self, x, labels: (seen.append(self), targets(self, x, labels))[1]
    )
    assert cross_validate("teachers") == (0, "")
    taught_by = ["--teacher", "teachers", "--teacher-share", "0.9", "--teacher-temperature", "2"]
    assert cross_validate("taught", *taught_by) == (0, "")
    paths = [f"teachers/folds/mini_xception-{fold}.safetensors" for fold in (1, 2)]
    assert seen == [Teaching((path,), 0.9, 2) for path in paths]
    told = read_results(Path("taught/results.json"))["protocol"]["teacher"]
    described = [teaching.describe() for teaching in seen]
    assert told["sha256"] == [fold["sha256"][0] for fold in described]
    assert (told["share"], told["temperature"]) == (0.9, 2)
    for fold, expected in enumerate(described, 1):
        name = f"folds/mini_xception-{fold}.safetensors"
        taught, alone = (tc.load_info(Path(folder, name)) for folder in ("taught", "teachers"))
        assert taught["training"]["teacher"] == expected
        assert alone["training"]["teacher"] is None
        assert taught["history"]["loss"] != alone["history"]["loss"]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--seed", "1"], "its seed was 0, here it is 1"),
        (["--folds", "3"], "its folds was 2, here it is 3"),
        (["--keep-copies-together"], "its keep_copies_together was False, here it is True"),
    ],
)
def test_folds_that_were_cut_otherwise_do_not_teach(cross_validate, options, found):
    assert cross_validate("teachers") == (0, "")
    code, error = cross_validate("taught", "--teacher", "teachers", *options)
    assert code == 2
    assert "mini_xception-1.safetensors may have learnt faces that are held out here" in error
    assert found in error
    assert not Path("taught").exists()


def test_folds_of_other_faces_or_of_another_place_do_not_teach(cross_validate, monkeypatch):
    assert cross_validate("teachers") == (0, "")
    first, second = (Path(f"teachers/folds/mini_xception-{fold}.safetensors") for fold in (1, 2))
    second.write_bytes(first.read_bytes())
    code, error = cross_validate("taught", "--teacher", "teachers")
    assert code == 2
    assert f"{second} may have learnt faces that are held out here: its fold was 0, here it is 1" in error
    monkeypatch.setattr("fer_demo.data.load", lambda source: replace(EVEN, sha256="other"))
    code, error = cross_validate("taught", "--teacher", "teachers")
    assert code == 2
    assert f"its data was '{EVEN.sha256}', here it is 'other'" in error


def test_a_folder_without_finished_folds_does_not_teach(cross_validate):
    code, error = cross_validate("taught", "--teacher", "nobody")
    assert code == 2
    assert "teacher='nobody': expected the folder of an earlier cross-validation's results" in error
    assert cross_validate("teachers") == (0, "")
    Path("teachers/folds/mini_xception-2.safetensors").rename("second")
    code, error = cross_validate("taught", "--teacher", "teachers")
    assert code == 2
    assert "mini_xception-2.safetensors: no such file: a network of this cross-validation is missing" in error
    Path("second").rename("teachers/folds/mini_xception-2.safetensors")
    path = Path("teachers/results.json")
    path.write_text(path.read_text().replace('"finished": true', '"finished": false'))
    code, error = cross_validate("taught", "--teacher", "teachers")
    assert code == 2
    assert "teachers: this cross-validation is not finished; end it with --resume" in error


def test_a_run_with_another_teacher_is_not_gone_on_with(cross_validate):
    for epochs, out in ((1, "first"), (2, "second")):
        assert cross_validate(out, "--epochs", epochs) == (0, "")
    assert cross_validate("taught", "--teacher", "first") == (0, "")
    assert cross_validate("taught", "--teacher", "first", "--resume") == (0, "")
    code, error = cross_validate("taught", "--teacher", "second", "--resume")
    assert code == 2
    assert "teacher was {" in error
