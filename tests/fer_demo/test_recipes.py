"""Every recipe trains, the default one as cross-validation does, and rare emotions can be made up for."""

import math
import pickle
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import tinycnn as tc
from fer_demo.cli import ModelName, RecipeName
from fer_demo.crossval import Protocol, run_fold, split
from fer_demo.cv import ModelChoice
from fer_demo.data.faces import synthetic_faces
from fer_demo.models import MODELS, mini_xception
from fer_demo.preprocess import Normalisation
from fer_demo.recipes import RECIPES, class_weights, oversample
from fer_demo.training import train_model
from tinycnn.errors import ConfigError

LABELS = np.repeat(np.arange(7), (10, 2, 10, 20, 12, 8, 12))


@pytest.fixture(scope="module")
def faces():
    return synthetic_faces(60)


def small_model(seed=0):
    return mini_xception(seed=seed, widths=(2, 2, 2, 3, 3))


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("balanced", [False, True])
def test_two_steps_of_every_recipe_move_the_weights_and_repeat_themselves(name, balanced, faces):
    recipe = replace(RECIPES[name], class_weights=balanced)
    normalise, weights = Normalisation.fit(faces.images), []
    for _ in range(2):
        model = small_model()
        before = {key: array.copy() for key, array in model.params.items()}
        arguments = recipe.fit_arguments("mini_xception", faces.labels, epochs=1, batch_size=30)
        history = model.fit(faces.images, faces.labels, prepare=normalise, progress=False, **arguments)
        assert arguments["optimizer"].steps == 2
        assert np.isfinite(history.loss).all()
        assert all((model.params[key] != before[key]).any() for key in before if key.endswith("kernel"))
        weights.append(np.concatenate([array.ravel() for array in model.params.values()]))
    np.testing.assert_array_equal(*weights)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_knows_every_model_and_crosses_processes(name):
    recipe = RECIPES[name]
    assert set(recipe.learning_rates) == set(MODELS)
    assert repr(pickle.loads(pickle.dumps(recipe))) == repr(recipe)  # partials compare by identity
    assert " at 0x" not in repr(recipe)  # an address would be another in every process
    assert recipe.name == name


def test_a_recipe_sets_the_dropout_of_the_models_that_it_names():
    small = {"widths": (2, 2, 2, 2, 2), "features": 4}
    rates = {
        name: [
            layer.rate
            for _, layer in RECIPES[name].network("alexnet", 0, **small).walk()
            if isinstance(layer, tc.Dropout)
        ]
        for name in ("default", "paper")
    }
    assert rates == {"default": [0, 0], "paper": [0.5, 0.5]}
    with pytest.raises(tc.ConfigError, match=r"rate=2\.0"):
        replace(RECIPES["default"], dropout={"alexnet": 2.0}).network("alexnet", 0, **small)


def test_the_command_line_knows_every_recipe_and_model():
    assert [str(name) for name in RecipeName] == list(RECIPES)
    assert [str(name) for name in ModelName] == list(MODELS)
    assert [str(name) for name in ModelChoice] == [*MODELS, "paper", "all"]


@pytest.mark.parametrize("name", RECIPES)
def test_cross_validation_does_what_the_recipe_says(faces, monkeypatch, name):
    monkeypatch.setitem(MODELS, "mini_xception", small_model)
    protocol = Protocol(folds=2, epochs=2, batch_size=16, seed=3, recipe=name)
    some = np.flatnonzero(np.isin(faces.labels, (0, 2, 3)))
    faces = replace(faces, images=faces.images[some], labels=faces.labels[some])
    indices = split(faces, protocol)[0]
    expected = run_fold(faces, "mini_xception", 0, indices, protocol)

    x, labels = faces.images[indices[0]], faces.labels[indices[0]]
    model, normalise = small_model(seed=3000), Normalisation.fit(x)
    arguments = RECIPES[name].fit_arguments("mini_xception", labels, epochs=2, batch_size=16)
    history = model.fit(x, labels, prepare=normalise, seed=3000, progress=False, **arguments)
    assert history.loss == expected.history.loss
    probabilities = model.predict(faces.images[indices[1]], prepare=normalise)
    np.testing.assert_array_equal(probabilities, expected.probabilities)


FLIP, MORE = "HorizontalFlip(p=0.5)", "Affine(degrees=10, scale=(0.9, 1.1), shift=4)"
STRONG = (
    "Affine(degrees=15, scale=(0.85, 1.15), shift=4), BrightnessContrast(brightness=0.3, contrast=0.3), "
    "RandomErasing(p=0.5, scale=(0.02, 0.2), ratio=(0.3, 3.3))"
)
FEW = "Affine(degrees=0, scale=(1.0, 1.0), shift=2)"


def adam(rate, warmup=0.3, decay=0.0):
    return tc.Adam(tc.OneCycle(rate, steps=6, warmup_fraction=warmup), weight_decay=decay)


def momentum(rate):
    return tc.SGD(tc.OneCycle(rate, steps=6), momentum=0.9, nesterov=True, weight_decay=5e-3)


@pytest.mark.parametrize(
    ("name", "optimizer", "alexnet", "compact", "batch_size", "augment", "smoothing", "decay"),
    [
        ("default", adam(0.01), 0.001, 0.005, None, FLIP, 0, None),
        ("brief", adam(0.01, 0.1), 0.001, 0.005, None, f"Compose(steps=({FLIP}, {FEW}))", 0, None),
        ("paper", tc.Adam(tc.Constant(0.001)), 0.001, 0.001, 64, FLIP, 0, None),
        ("modern", momentum(0.1), 0.01, 0.1, 128, f"Compose(steps=({FLIP}, {MORE}))", 0.1, 0.999),
        ("small", adam(0.01, decay=0.01), 0.001, 0.005, 64, f"Compose(steps=({FLIP}, {MORE}))", 0, 0.999),
        ("large", adam(0.01, 0.1, 0.1), 0.001, 0.005, 64, f"Compose(steps=({FLIP}, {MORE}))", 0, 0.999),
        ("strong", momentum(0.1), 0.01, 0.1, 128, f"Compose(steps=({FLIP}, {STRONG}))", 0.1, 0.999),
    ],
)
def test_a_recipe_is_what_its_table_says(
    name, optimizer, alexnet, compact, batch_size, augment, smoothing, decay
):
    recipe = RECIPES[name]
    arguments = recipe.fit_arguments("mini_xception", LABELS, epochs=3, batch_size=40)
    assert arguments["optimizer"].config() == optimizer.config()
    assert (recipe.learning_rates["alexnet"], recipe.learning_rates["compact"]) == (alexnet, compact)
    assert (recipe.batch_size, repr(arguments["augment"])) == (batch_size, augment)
    assert (arguments["loss"].label_smoothing, arguments["loss"].class_weights) == (smoothing, None)
    assert (arguments["ema"] and arguments["ema"].decay) == decay
    no_dropout = name in ("default", "brief", "small", "large")
    assert recipe.dropout == ({"alexnet": 0.0} if no_dropout else {})


def test_oversampling_shows_rare_emotions_more_often_and_trains_on_them(faces, monkeypatch):
    monkeypatch.setitem(MODELS, "mini_xception", small_model)
    batches = []
    spy = replace(
        RECIPES["paper"], oversample=math.inf, augment=lambda x, rng: batches.extend(x[:, 0, 0, 0]) or x
    )
    some = np.flatnonzero(np.isin(faces.labels, (0, 1, 3)))
    images, labels = faces.images[some], faces.labels[some]
    images[:, 0, 0, 0] = labels
    train_model("mini_xception", images, labels, recipe=spy, epochs=1, batch_size=16, seed=0)
    most = np.bincount(labels).max()
    assert np.bincount(batches).tolist() == [most, most, 0, most]
    assert spy.shown(labels, 0).tolist() != spy.shown(labels, 1).tolist()
    np.testing.assert_array_equal(RECIPES["paper"].shown(labels, 0), np.arange(len(labels)))


def test_the_paper_keeps_its_learning_rate_and_its_last_weights():
    arguments = RECIPES["paper"].fit_arguments("alexnet", LABELS, epochs=3, batch_size=64)
    assert isinstance(arguments["optimizer"], tc.Adam)
    assert {arguments["optimizer"].schedule(step) for step in (0, 3, 100)} == {1e-3}
    assert arguments["ema"] is None


def test_another_optimiser_and_schedule_fit_into_a_recipe():
    recipe = replace(
        RECIPES["modern"],
        optimizer=partial(tc.SGD, momentum=0.9),
        schedule=partial(tc.Cosine, warmup=1),
        class_weights=True,
    )
    arguments = recipe.fit_arguments("alexnet", LABELS, epochs=2, batch_size=74)
    assert arguments["optimizer"].momentum == 0.9
    assert arguments["optimizer"].schedule == tc.Cosine(0.01, steps=2, warmup=1)
    np.testing.assert_array_equal(arguments["loss"].class_weights, class_weights(LABELS))
    assert " at 0x" not in repr(recipe)


def test_a_model_without_a_learning_rate_is_refused():
    with pytest.raises(ConfigError, match=r"model='vgg': expected one that recipe 'paper' knows: mini"):
        RECIPES["paper"].fit_arguments("vgg", LABELS, epochs=1, batch_size=8)


def test_a_batch_of_no_images_is_refused():
    with pytest.raises(ConfigError, match=r"batch_size=0"):
        RECIPES["paper"].fit_arguments("alexnet", LABELS, epochs=1, batch_size=0)


def test_class_weights_make_emotions_count_the_same_and_images_1_on_average():
    weights = class_weights(LABELS)
    totals = np.bincount(LABELS, weights[LABELS])
    np.testing.assert_allclose(totals, len(LABELS) / 7)
    assert weights[LABELS].mean() == pytest.approx(1)


def test_an_emotion_that_does_not_occur_has_weight_0():
    weights = class_weights(LABELS[LABELS != 1])
    assert weights[1] == 0
    assert weights[LABELS[LABELS != 1]].mean() == pytest.approx(1)


def test_oversampling_shows_every_emotion_as_often_and_every_image_about_as_often_as_its_like():
    indices = oversample(LABELS, np.random.default_rng(0))
    np.testing.assert_array_equal(np.bincount(LABELS[indices]), 20)
    for label in range(7):
        times = Counter(indices[LABELS[indices] == label].tolist())
        assert set(times) == set(np.flatnonzero(label == LABELS).tolist())
        assert max(times.values()) - min(times.values()) <= 1
    np.testing.assert_array_equal(indices, oversample(LABELS, np.random.default_rng(0)))
    assert (indices != oversample(LABELS, np.random.default_rng(1))).any()


@pytest.mark.parametrize(
    ("limit", "counts"), [(1, (10, 2, 10, 20)), (1.5, (15, 3, 15, 20)), (4, (20, 8, 20, 20))]
)
def test_oversampling_stops_at_its_limit(limit, counts):
    indices = oversample(LABELS, np.random.default_rng(0), limit)
    np.testing.assert_array_equal(np.bincount(LABELS[indices])[:4], counts)


@pytest.mark.parametrize(
    "labels", [np.array([], int), np.array([7]), np.array([-1]), np.zeros((2, 2), int), [0, 1]]
)
def test_what_is_no_emotion_is_refused(labels):
    for balance in (class_weights, partial(oversample, rng=np.random.default_rng(0))):
        with pytest.raises(
            ConfigError, match=r"(?s)labels=.*expected an array \(N,\) of at least one integer"
        ):
            balance(labels)


@pytest.mark.parametrize("limit", [0.5, None, float("nan")])
def test_a_limit_below_1_is_refused(limit):
    with pytest.raises(ConfigError, match=r"limit=.*: expected a number of at least 1"):
        oversample(LABELS, np.random.default_rng(0), limit)
