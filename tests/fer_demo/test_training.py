"""Which faces a training keeps for scoring."""

from dataclasses import replace

import numpy as np
import pytest

from fer_demo.data.faces import synthetic_faces
from fer_demo.errors import DataError
from fer_demo.recipes import RECIPES
from fer_demo.training import default_batch_size, describe_data, hold_out, part_to_score, was_trained_on
from tinycnn.errors import ConfigError

FACES = synthetic_faces(70)


def test_a_share_is_taken_of_each_emotion():
    training, held_out = hold_out(FACES, "0.3", seed=0)
    np.testing.assert_array_equal(np.sort(np.concatenate([training, held_out])), np.arange(70))
    counts = np.bincount(FACES.labels)
    np.testing.assert_array_equal(np.bincount(FACES.labels[held_out]), np.round(0.3 * counts))


def test_batches_are_smaller_where_images_are_few():
    sizes = [default_batch_size(RECIPES["default"], count) for count in (4999, 5000)]
    assert [*sizes, default_batch_size(RECIPES["small"], 10)] == [24, 32, 64]


def test_the_part_to_score_is_the_first_there_is_or_a_fifth():
    assert part_to_score(FACES, "PrivateTest", "PublicTest") == "0.2"
    marked = replace(FACES, usage=np.array(["Training", "PublicTest"] * 35))
    assert part_to_score(marked, "PrivateTest", "PublicTest") == "PublicTest"


def test_the_seed_decides_which():
    first, again, other = (hold_out(FACES, "0.3", seed)[1].tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_no_share_holds_out_nothing():
    training, held_out = hold_out(FACES, "0", seed=0)
    assert (len(training), len(held_out)) == (70, 0)


def test_a_share_of_no_face_is_refused():
    with pytest.raises(ConfigError, match="a share of these 70 faces that is one face at least"):
        hold_out(FACES, "0.01", seed=0)


def test_a_share_that_copies_swallow_is_refused_with_a_remedy():
    faces = replace(FACES, images=np.repeat(FACES.images[:1], 70, axis=0))
    with pytest.raises(
        DataError, match=r"a share of 0\.3 leaves nothing .* leave out --keep-copies-together"
    ):
        hold_out(faces, "0.3", seed=0, keep_copies_together=True)


def test_an_emotion_with_one_face_keeps_it():
    labels = np.array([0, *[1] * 69])
    training, _ = hold_out(replace(FACES, labels=labels), "0.9", seed=0)
    assert 0 in training


def test_a_usage_is_held_out_and_the_third_left_alone():
    usage = np.repeat(["PublicTest", "Training", "PrivateTest"], [20, 40, 10])
    training, held_out = hold_out(replace(FACES, usage=usage), "PublicTest", seed=0)
    np.testing.assert_array_equal(training, np.arange(20, 60))
    np.testing.assert_array_equal(held_out, np.arange(20))


@pytest.mark.parametrize("usage", [None, np.full(70, "Training"), np.full(70, "PublicTest")])
def test_a_usage_needs_faces_to_train_on_and_to_score(usage):
    with pytest.raises(DataError, match="expected both: hold out a share instead"):
        hold_out(replace(FACES, usage=usage), "PublicTest", seed=0)


@pytest.mark.parametrize("validation", ["1", "-0.1", "nan", "Training", "half", ""])
def test_anything_else_is_refused(validation):
    with pytest.raises(ConfigError, match="or one of PublicTest, PrivateTest"):
        hold_out(FACES, validation, seed=0)


def test_faces_are_known_in_another_file(tmp_path):
    """Of the content in a model's file, of those that it was trained on and of those besides."""
    known = replace(FACES, sha256="a file", content="1" * 64)
    again = replace(FACES, sha256="the same, packed", content="1" * 64)
    for data, extra in ((known, None), (replace(FACES, sha256="b", content="2" * 64), known)):
        info = {
            "training": {"data": data.sha256, "extra": extra and f"c+{extra.sha256}"},
            "data": describe_data(data),
            "extra": extra and {**describe_data(extra), "content": f"{'3' * 64}+{extra.content}"},
        }
        assert was_trained_on(info, again)
        assert was_trained_on(info, known.subset(np.arange(9)))
        assert not was_trained_on(info, replace(FACES, sha256="", content="4" * 64))
        assert not was_trained_on(info, replace(FACES, sha256="", content=""))


@pytest.mark.parametrize("key", ["validation", "held_out"])
def test_a_model_knows_what_was_not_held_out(key):
    """`train` and `cv` write one key into their files, `ablation` and `paper` the other."""
    marked = replace(FACES, usage=np.array(["Training"] * 40 + ["PublicTest"] * 30))
    info = {"training": {"data": marked.sha256, key: "PublicTest"}}
    assert was_trained_on(info, marked.subset(np.arange(40)))
    assert not was_trained_on(info, marked.subset(np.arange(40, 70)))
