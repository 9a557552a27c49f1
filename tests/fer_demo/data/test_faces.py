from collections.abc import Callable

import numpy as np
import pytest

from fer_demo.data.contact_sheet import contact_sheet
from fer_demo.data.dataset import EMOTIONS, content_digest
from fer_demo.data.face_drawing import Person, Pose, Sketch, draw_head
from fer_demo.data.face_expression import ACTION_UNITS, PROTOTYPES, express
from fer_demo.data.face_occlusion import OCCLUSIONS, draw_clutter
from fer_demo.data.faces import FER2013_COUNTS, LABEL_NOISE, draw_face, synthetic_faces
from tinycnn.errors import ConfigError, TinyCNNError


def test_format() -> None:
    faces = synthetic_faces(20)
    assert faces.images.shape == (20, 48, 48, 1)
    assert faces.images.dtype == np.uint8
    assert faces.labels.shape == (20,)
    assert faces.labels.dtype == np.int64
    assert faces.synthetic
    assert faces.name == "synthetic faces"
    assert faces.usage is None
    assert faces.sha256 == content_digest(faces.images, faces.labels)


def test_no_face_is_flat() -> None:
    images = synthetic_faces(50).images
    assert images.std(axis=(1, 2, 3)).min() > 8


def test_the_seed_decides_every_byte() -> None:
    first, again, other = synthetic_faces(30, 1), synthetic_faces(30, 1), synthetic_faces(30, 2)
    assert first.images.tobytes() == again.images.tobytes()
    assert first.labels.tobytes() == again.labels.tobytes()
    assert first.sha256 == again.sha256 != other.sha256


def test_a_face_depends_on_its_index_and_label_alone() -> None:
    few, many = synthetic_faces(50), synthetic_faces(60)
    same = np.flatnonzero(few.labels == many.labels[:50])
    assert len(same) > 0
    np.testing.assert_array_equal(few.images[same], many.images[same])


def test_no_two_faces_are_alike() -> None:
    assert len(np.unique(synthetic_faces(50, difficulty=0).images, axis=0)) == 50


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The emotions that faces are asked to show, which nobody draws: a test of labels alone need not wait."""
    emotions: list[str] = []

    def pretend(emotion: str, rng: np.random.Generator, difficulty: float) -> np.ndarray:
        emotions.append(emotion)
        return np.zeros((48, 48), np.uint8)

    monkeypatch.setattr("fer_demo.data.faces.draw_face", pretend)
    return emotions


@pytest.mark.usefixtures("shown")
@pytest.mark.parametrize("n", [*range(1, 60), 100, 350, 351, 600, 5000])
def test_proportions(n: int) -> None:
    counts = np.bincount(synthetic_faces(n).labels, minlength=7)
    assert counts.sum() == n
    if n >= 7:
        assert counts.min() >= 1
    if n >= 350:
        assert counts.min() >= 5
    if n >= 100:
        np.testing.assert_allclose(counts, n * np.array(FER2013_COUNTS) / 35887, atol=1)


@pytest.mark.usefixtures("shown")
def test_remainders_go_to_the_largest() -> None:
    # The quotas are 82.81, 9.15, 85.62, 150.29, 101.60, 66.91 and 103.63.
    assert list(synthetic_faces(600).class_counts().values()) == [83, 9, 86, 150, 101, 67, 104]


@pytest.mark.usefixtures("shown")
def test_labels_are_shuffled() -> None:
    assert (np.diff(synthetic_faces(100).labels) < 0).sum() > 20


def test_faces_show_their_label_but_for_label_noise(shown: list[str]) -> None:
    labels = synthetic_faces(2000, difficulty=0).labels
    assert shown == [EMOTIONS[label] for label in labels]
    shown.clear()
    labels = synthetic_faces(2000, difficulty=1).labels
    wrong = np.mean([emotion != EMOTIONS[label] for emotion, label in zip(shown, labels, strict=True)])
    assert abs(wrong - LABEL_NOISE) < 0.015


def nearest_centroid_accuracy(difficulty: float) -> float:
    train, test = synthetic_faces(350, 0, difficulty), synthetic_faces(150, 1, difficulty)

    def features(images: np.ndarray) -> np.ndarray:
        """Vertical and horizontal edges: who it is and how it is lit matter less to them."""
        pixels = images[..., 0].astype(float)
        pixels = np.stack(np.gradient(pixels, axis=(1, 2)), axis=-1).reshape(len(images), -1)
        return pixels / np.linalg.norm(pixels, axis=1, keepdims=True)

    x, queries = features(train.images), features(test.images)
    centroids = np.stack([x[train.labels == label].mean(axis=0) for label in range(len(EMOTIONS))])
    distances = ((queries[:, None] - centroids) ** 2).sum(axis=2)
    return float((distances.argmin(axis=1) == test.labels).mean())


def test_clean_faces_are_told_apart_and_default_ones_less() -> None:
    clean, default = nearest_centroid_accuracy(0), nearest_centroid_accuracy(1)
    assert clean > 0.85
    assert 0.3 < default < clean - 0.15


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_expressions_stay_within_the_units_range(emotion: str) -> None:
    rng = np.random.default_rng(0)
    for difficulty in (0, 0.5, 1):
        units = express(emotion, rng, difficulty)
        assert units.keys() == ACTION_UNITS.keys()
        assert all(0 <= intensity <= 1 for intensity in units.values())


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_a_clean_expression_is_a_prototype(emotion: str) -> None:
    units = express(emotion, np.random.default_rng(0), 0)
    assert {unit: intensity for unit, intensity in units.items() if intensity} in PROTOTYPES[emotion]


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_every_action_unit_moves_the_face(unit: int) -> None:
    person = Person.sample(np.random.default_rng(0))
    rest = dict.fromkeys(ACTION_UNITS, 0.0)
    faces = []
    for units in (rest, rest | {unit: 1.0}):
        sketch = Sketch(128, person.head_width, Pose())
        draw_head(sketch, person, units)
        faces.append(sketch.pixels.astype(int))
    assert np.count_nonzero(faces[0] != faces[1]) > 50


@pytest.mark.parametrize(("height", "least", "most"), [(0.2, 10, 40), (-1.1, -0.5, 0.5)])
def test_a_turning_head_moves_its_face_and_not_its_hair(height: float, least: float, most: float) -> None:
    columns = []
    for yaw in (0.0, 0.3):
        sketch = Sketch(0, 0.8, Pose(yaw=yaw, centre=(24, 28)))
        sketch.ellipse(0, height, 0.05, 0.05, 255)
        columns.append(np.nonzero(sketch.pixels)[1].mean())
    assert least <= columns[1] - columns[0] <= most


@pytest.mark.parametrize("occlude", [occlude for _, occlude in OCCLUSIONS])
def test_occlusions_hide_something(occlude: Callable[[Sketch, Person, np.random.Generator], None]) -> None:
    rng = np.random.default_rng(0)
    person = Person.sample(rng)
    sketch = Sketch(128, person.head_width, Pose())
    draw_head(sketch, person, dict.fromkeys(ACTION_UNITS, 0.0))
    before = sketch.pixels.copy()
    occlude(sketch, person, rng)
    assert 100 < np.count_nonzero(before != sketch.pixels) < before.size / 2


def test_clutter_fills_the_background() -> None:
    sketch = Sketch(128, 0.8, Pose())
    draw_clutter(sketch, np.random.default_rng(0))
    assert sketch.pixels.std() > 10


@pytest.mark.parametrize("n", [0, -5, 2.5, True, "600", None])
def test_bad_number_of_faces(n: int) -> None:
    with pytest.raises(ConfigError, match=r"n is .*; expected an integer of at least 1"):
        synthetic_faces(n)


@pytest.mark.parametrize("seed", [-1, 1.5, None, False])
def test_bad_seed(seed: int) -> None:
    with pytest.raises(ConfigError, match=r"seed is .*; expected an integer of at least 0"):
        synthetic_faces(7, seed)


@pytest.mark.parametrize("difficulty", [-0.1, 1.1, float("nan"), float("inf"), "hard", None])
def test_bad_difficulty(difficulty: float) -> None:
    with pytest.raises(TinyCNNError, match=r"difficulty is .*; expected a number from 0"):
        synthetic_faces(7, difficulty=difficulty)


def test_unknown_emotion() -> None:
    with pytest.raises(ConfigError, match="emotion is 'bored'; expected one of angry, disgust"):
        draw_face("bored", np.random.default_rng(0))


@pytest.mark.parametrize("n", [np.int64(8), np.uint8(8)])
def test_numpy_integers_are_integers(n: int) -> None:
    assert len(synthetic_faces(n, seed=n)) == 8


def test_contact_sheet_names_every_emotion_and_says_synthetic() -> None:
    clean, default = contact_sheet(columns=2).subfigs
    assert [axes.get_ylabel() for axes in clean.axes[::2]] == list(EMOTIONS)
    assert len(clean.axes) == len(default.axes) == 14
    for half in (clean, default):
        assert "synthetic" in half.get_suptitle()
