"""The protocol is honest: stratified, every face held out once, nothing learnt from held-out faces."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

import tinycnn as tc
from fer_demo.classifier import EmotionClassifier
from fer_demo.crossval import Protocol, run_fold, split, summarise
from fer_demo.data.dataset import Dataset
from fer_demo.data.faces import synthetic_faces
from fer_demo.errors import DataError
from fer_demo.models import MODELS, PAPERS
from fer_demo.recipes import RECIPES
from fer_demo.trial_files import TrialFiles

PROTOCOL = Protocol(folds=2, epochs=1, batch_size=16)


@pytest.fixture(autouse=True)
def small_models(monkeypatch):
    small = {
        "mini_xception": {"widths": (2, 2, 2, 3, 3)},
        "alexnet": {"widths": (2, 3, 3, 3, 3), "features": 6},
    }
    for name, build in [(name, MODELS[name]) for name in PAPERS]:
        monkeypatch.setitem(
            MODELS, name, lambda seed=0, build=build, name=name: build(seed=seed, **small[name])
        )


@pytest.fixture(scope="module")
def faces():
    return synthetic_faces(140)


def run_folds(faces, name):
    folds = enumerate(split(faces, PROTOCOL))
    return [run_fold(faces, name, fold, indices, PROTOCOL) for fold, indices in folds]


def test_folds_are_stratified_and_hold_every_face_out_once():
    faces = synthetic_faces(700)
    folds = split(faces, Protocol(folds=5))
    np.testing.assert_array_equal(
        np.sort(np.concatenate([held_out for _, held_out in folds])), np.arange(700)
    )
    share = np.bincount(faces.labels) / 5
    for training, held_out in folds:
        assert not set(training) & set(held_out)
        assert np.abs(np.bincount(faces.labels[held_out], minlength=7) - share).max() <= 1


@pytest.mark.parametrize(("folds", "seed"), [(2, 0), (5, 0), (5, 1), (7, 2**32 - 1)])
def test_folds_are_those_of_scikit_learn(folds, seed):
    labels = np.random.default_rng(folds).choice([5, 2, 6, 0], 203, p=[0.1, 0.2, 0.3, 0.4])
    faces = Dataset(np.zeros((203, 48, 48, 1), np.uint8), labels, "grey", "0")
    ours = split(faces, Protocol(folds=folds, seed=seed))
    theirs = StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels)
    for indices, expected in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(indices[0], expected[0])
        np.testing.assert_array_equal(indices[1], expected[1])


def test_another_seed_cuts_other_folds():
    faces = synthetic_faces(140)
    first, other = (split(faces, Protocol(folds=2, seed=seed))[0][0] for seed in (0, 1))
    assert not np.array_equal(first, other)


def test_too_few_of_an_emotion_is_an_error_with_numbers():
    faces = synthetic_faces(20)
    with pytest.raises(DataError, match=r"found .*1 of disgust.*expected at least 5 .*fewer folds"):
        split(faces, Protocol(folds=5))


def test_an_emotion_that_does_not_occur_is_no_obstacle(faces):
    kept = faces.labels != 1
    some = Dataset(faces.images[kept], faces.labels[kept], "no disgust", "0")
    entry = summarise("mini_xception", run_folds(some, "mini_xception"))
    assert entry["per_class"]["disgust"] == {"precision": None, "recall": None, "f1": None, "support": 0}


@pytest.mark.parametrize("name", PAPERS)
def test_results_have_what_was_promised(faces, name):
    results = run_folds(faces, name)
    entry = summarise(name, results)
    assert len(entry["accuracy"]["folds"]) == len(entry["history"]) == 2
    assert entry["accuracy"]["mean"] == pytest.approx(np.mean(entry["accuracy"]["folds"]))
    assert np.sum(entry["confusion"]) == 140
    assert sum(row["support"] for row in entry["per_class"].values()) * 2 == 140
    assert entry["gap"]["folds"][0] == entry["train_accuracy"]["folds"][0] - entry["accuracy"]["folds"][0]
    assert {len(entry["history"][0][key]) for key in ("loss", "accuracy", "val_loss", "val_accuracy")} == {1}
    right = 0
    for (_, held_out), result in zip(split(faces, PROTOCOL), results, strict=True):
        assert result.probabilities.shape == (len(held_out), 7)
        np.testing.assert_allclose(result.probabilities.sum(axis=1), 1, rtol=1e-5)
        right += (result.probabilities.argmax(axis=1) == faces.labels[held_out]).sum()
    assert right == np.trace(entry["confusion"])


def test_the_last_weights_are_kept_and_scored_on_what_they_were_trained_on(faces, monkeypatch, tmp_path):
    fit, options = tc.Sequential.fit, []
    monkeypatch.setattr(
        tc.Sequential, "fit", lambda *args, **kwargs: options.append(kwargs) or fit(*args, **kwargs)
    )
    training, held_out = split(faces, PROTOCOL)[1]
    files = TrialFiles(tmp_path, "mini_xception", 1)
    result = run_fold(faces, "mini_xception", 1, (training, held_out), PROTOCOL, files=files)
    assert [one["keep_best"] for one in options] == [False]  # the held-out faces choose no epoch
    right = EmotionClassifier(files.model)(faces.images).argmax(axis=1) == faces.labels
    assert result.train_accuracy == pytest.approx(right[training].mean())
    assert result.metrics.accuracy == pytest.approx(right[held_out].mean())


def test_every_fold_has_weights_of_its_own_at_the_start(faces, monkeypatch):
    seeds, build = [], MODELS["mini_xception"]
    monkeypatch.setitem(
        MODELS, "mini_xception", lambda seed=0, **options: seeds.append(seed) or build(seed=seed, **options)
    )
    for fold, indices in enumerate(split(faces, PROTOCOL)):
        run_fold(faces, "mini_xception", fold, indices, replace(PROTOCOL, seed=3))
    assert seeds == [3000, 3001]


def test_speed_is_images_shown_by_wall_time(faces):
    result = run_folds(faces, "mini_xception")[0]
    history = replace(result.history, loss=[1.0, 1.0], seconds=[1.0, 2.0])
    timed = replace(result, history=history, shown=30)
    assert summarise("mini_xception", [timed, timed])["images_per_second"] == 20


def test_same_seed_same_result_and_another_seed_another(faces):
    def probabilities(seed):
        protocol = Protocol(folds=2, epochs=1, batch_size=16, seed=seed)
        return run_fold(faces, "alexnet", 0, split(faces, protocol)[0], protocol).probabilities

    np.testing.assert_array_equal(probabilities(0), probabilities(0))
    assert (probabilities(0) != probabilities(1)).any()


def test_held_out_faces_teach_nothing(faces, monkeypatch):
    """Other held-out pixels change neither the normalisation nor the trained weights."""
    indices = split(faces, PROTOCOL)[0]
    weights, evaluate = [], tc.Sequential.evaluate

    def spy(model, *args, **kwargs):
        weights.append({name: array.tobytes() for name, array in {**model.params, **model.state}.items()})
        return evaluate(model, *args, **kwargs)

    monkeypatch.setattr(tc.Sequential, "evaluate", spy)
    images = faces.images.copy()
    images[indices[1]] = 255 - images[indices[1]]
    changed = Dataset(images, faces.labels, "changed", "0")
    for data in (faces, changed):
        run_fold(data, "mini_xception", 0, indices, PROTOCOL)
    assert weights[0] == weights[1]


def test_augmentation_is_for_training_alone(faces, monkeypatch):
    sizes = []
    count = replace(RECIPES["default"], augment=lambda x, rng: sizes.append(len(x)) or x.copy())
    monkeypatch.setitem(RECIPES, "default", count)
    indices = split(faces, PROTOCOL)[0]
    run_fold(faces, "alexnet", 0, indices, PROTOCOL)
    assert sum(sizes) == len(indices[0])
