"""Copies of faces: planted ones are found, and unlike faces are left apart."""

import os
import time

import cv2
import numpy as np
import pytest

from fer_demo.data import load
from fer_demo.data.dataset import Dataset
from fer_demo.data.duplicates import fingerprints, groups, keep_together, near
from fer_demo.data.extra import with_extra
from fer_demo.errors import DataError


def pictures(n: int, seed: int = 0, offset: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Random clouds, coarse and fine, seen through a window that may be moved, (N, 48, 48, 1)."""
    rng = np.random.default_rng(seed)
    top, left = 8 + offset[0], 8 + offset[1]
    result = np.empty((n, 48, 48, 1), np.uint8)
    for image in result:
        scene = sum(
            sigma**1.5 * cv2.GaussianBlur(rng.standard_normal((64, 64)), (0, 0), sigma)
            for sigma in (1, 2, 4, 8)
        )
        scene = cv2.normalize(scene, None, 20, 200, cv2.NORM_MINMAX)
        image[..., 0] = scene[top : top + 48, left : left + 48]
    return result


def mirrored(image: np.ndarray) -> np.ndarray:
    return image[:, ::-1]


def brightened(image: np.ndarray) -> np.ndarray:
    return np.clip(image * 1.2 + 15, 0, 255).astype(np.uint8)


def compressed(image: np.ndarray) -> np.ndarray:
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1]
    return cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE)[..., None]


def enlarged(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image[1:-1, 1:-1], (48, 48), interpolation=cv2.INTER_CUBIC)[..., None]


def marked(image: np.ndarray) -> np.ndarray:
    image = image.copy()
    return cv2.putText(image, "(c)", (24, 30), cv2.FONT_HERSHEY_PLAIN, 0.6, 200)


CHANGES = [np.copy, mirrored, brightened, compressed, enlarged, marked]


@pytest.mark.parametrize("change", CHANGES)
def test_a_planted_copy_joins_the_group_of_its_original(change):
    images = pictures(40)
    copies = np.stack([change(images[index]) for index in (3, 17, 30)])
    found = groups(np.concatenate([images, copies]))
    np.testing.assert_array_equal(found, [*range(40), 3, 17, 30])
    np.testing.assert_array_equal(near(images[10:], copies), [False, True, True])


@pytest.mark.parametrize("offset", [(1, 0), (0, -2), (2, 1)])
def test_a_photograph_that_is_cut_a_little_differently_is_a_copy(offset):
    images, moved = pictures(20), pictures(20, offset=offset)
    np.testing.assert_array_equal(groups(np.concatenate([images, moved])), [*range(20)] * 2)
    np.testing.assert_array_equal(groups(np.concatenate([images, moved[:, :, ::-1]])), [*range(20)] * 2)


def test_unlike_faces_are_left_apart():
    images = pictures(400, seed=1)
    np.testing.assert_array_equal(groups(images), np.arange(400))
    assert not near(images[:200], images[200:]).any()


def test_flat_images_are_copies_only_if_they_are_equal():
    images = np.concatenate(
        [np.full((1, 48, 48, 1), grey, np.uint8) for grey in (0, 90, 0, 255, 90)] + [pictures(3)]
    )
    np.testing.assert_array_equal(groups(images), [0, 1, 0, 3, 1, 5, 6, 7])
    np.testing.assert_array_equal(near(images[:1], images), np.array([1, 0, 1, 0, 0, 0, 0, 0], bool))


def test_a_similar_fingerprint_alone_is_no_copy():
    image = pictures(1)[0].astype(float)
    fine = 50 * (-1.0) ** np.indices((48, 48)).sum(axis=0)[..., None]  # a chessboard: the highest frequency
    images = np.stack([image, 0.4 * (image - 110) + 110 + fine]).astype(np.uint8)
    one, two = fingerprints(images)
    assert one @ two > 0.75
    np.testing.assert_array_equal(groups(images), [0, 1])


def test_fingerprints_know_neither_brightness_nor_contrast_and_mirror_by_signs():
    images = pictures(50)
    straight, mirror = fingerprints(images), fingerprints(images[:, :, ::-1])
    assert straight.shape == (50, 36)
    np.testing.assert_allclose(np.linalg.norm(straight, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(mirror, straight * ([1] * 18 + [-1] * 18), atol=1e-4)
    np.testing.assert_allclose(fingerprints(images // 4 * 2 + 30), straight, atol=0.1)


def test_no_faces_at_all():
    none = pictures(1)[:0]
    assert groups(none).shape == (0,)
    assert near(none, pictures(2)).tolist() == [False, False]
    assert near(pictures(2), none).shape == (0,)


def test_groups_are_kept_in_the_fold_of_their_first_face():
    held_out_in = np.array([0, 1, 2, 0, 1, 2, 0])
    together = keep_together(held_out_in, np.array([0, 1, 2, 1, 4, 1, 0]))
    np.testing.assert_array_equal(together, [0, 1, 2, 1, 1, 1, 0])
    np.testing.assert_array_equal(held_out_in, [0, 1, 2, 0, 1, 2, 0])
    np.testing.assert_array_equal(keep_together(held_out_in, np.arange(7)), held_out_in)


def test_folds_stay_nearly_equal():
    rng = np.random.default_rng(0)
    group_of = rng.integers(0, 4000, 5000)
    together = keep_together(rng.permutation(np.arange(5000) % 5), group_of)
    assert all(len(set(together[group_of == group])) == 1 for group in np.unique(group_of)[:200])
    assert np.abs(np.bincount(together) - 1000).max() < 100


def test_a_fold_that_loses_all_its_faces_is_an_error():
    with pytest.raises(DataError, match=r"fold 2 is empty .* of 3 faces only 2 differ; use more data"):
        keep_together(np.array([0, 1, 2]), np.array([0, 0, 2]))


def dataset(images: np.ndarray, label: int) -> Dataset:
    return Dataset(images, np.full(len(images), label), "test", "")


def test_extra_faces_follow_the_training_part_without_copies_of_held_out_faces():
    own, new = pictures(12), pictures(3, seed=1)
    extra = dataset(np.stack([new[0], mirrored(own[11]), new[1], own[0], new[2]]), 1)
    training, held_out = np.arange(8), np.arange(8, 12)
    images, labels = with_extra(dataset(own, 5), training, held_out, extra)
    np.testing.assert_array_equal(images, np.concatenate([own[:8], new[:2], own[:1], new[2:]]))
    assert labels.tolist() == [5] * 8 + [1] * 4
    assert len(training) + len(extra) - len(labels) == 1


@pytest.mark.skipif("FER2013_CSV" not in os.environ, reason="FER2013_CSV does not name a FER2013 file")
def test_fer2013_holds_thousands_of_copies():
    faces = load(os.environ["FER2013_CSV"])
    began = time.process_time()  # whatever else the machine does
    found = groups(faces.images)
    assert time.process_time() - began < 60
    sizes = np.bincount(found)
    assert 0.1 < 1 - (sizes > 0).sum() / len(faces) < 0.15
    assert sizes.max() < 40
