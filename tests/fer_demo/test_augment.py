"""Every augmentation does what its name says, from the generator alone, and leaves its input as it was."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_demo import augment_sheet
from fer_demo.augment import (
    Affine,
    Augmentation,
    BrightnessContrast,
    Compose,
    GaussianNoise,
    HorizontalFlip,
    RandomErasing,
    VerticalFlip,
    affine_matrices,
    warp,
)
from fer_demo.data import contact_sheet
from tinycnn.errors import ConfigError, DTypeError, ShapeError

EACH = [
    HorizontalFlip(),
    VerticalFlip(),
    Affine(degrees=10),
    Affine(scale=(0.9, 1.1)),
    Affine(shift=4),
    Affine(degrees=10, scale=(0.9, 1.1), shift=4),
    BrightnessContrast(),
    GaussianNoise(),
    RandomErasing(),
]
ALL = Compose(tuple(EACH))
augmentations = pytest.mark.parametrize("augment", [*EACH, ALL], ids=str)


def faces(n=20, height=48, width=48, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, 1), dtype=np.uint8)


def applied(augment, images, seed=0):
    return augment(images, np.random.default_rng(seed))


@augmentations
def test_changes_a_copy_by_the_generator_alone(augment):
    images = faces()
    before = images.copy()
    changed = applied(augment, images)
    np.testing.assert_array_equal(images, before)
    assert not np.shares_memory(changed, images)
    assert (changed.dtype, changed.shape) == (np.uint8, images.shape)
    assert changed.flags.c_contiguous
    assert (changed != images).any()
    np.testing.assert_array_equal(changed, applied(augment, images))
    assert (changed != applied(augment, images, seed=1)).any()


@augmentations
def test_takes_any_memory_layout_and_an_empty_batch(augment):
    images = faces(8, 30, 20)
    expected = applied(augment, images[:, ::-1, ::2])
    np.testing.assert_array_equal(expected, applied(augment, images[:, ::-1, ::2].copy()))
    np.testing.assert_array_equal(applied(augment, images), applied(augment, np.asfortranarray(images)))
    assert applied(augment, images[:0]).shape == (0, 30, 20, 1)


@augmentations
def test_comes_back_from_a_pickle_and_has_a_repr_that_makes_it_again(augment):
    assert pickle.loads(pickle.dumps(augment)) == augment
    assert eval(repr(augment)) == augment


PROGRAM = """
import pickle, sys, zlib
import cv2, numpy as np
augment, images = pickle.load(sys.stdin.buffer)
cv2.setNumThreads(int(sys.argv[1]))
print(zlib.crc32(augment(images, np.random.default_rng(0)).tobytes()), augment)
"""


@pytest.mark.parametrize("size", [48, 600])  # OpenCV shares out large images alone
def test_other_processes_with_any_number_of_threads_give_the_same_bits_and_repr(size):
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM, threads],
            input=pickle.dumps((ALL, faces(3, size, size))),
            capture_output=True,
            check=True,
            cwd=Path(__file__).parents[2],
        ).stdout.decode()
        for threads in ("1", "4")
    }
    (output,) = outputs
    assert output.rstrip().endswith(f" {ALL}")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted through Linux's /proc")
def test_opencv_starts_no_threads():
    before = len(os.listdir("/proc/self/task"))
    applied(ALL, faces(64))
    assert len(os.listdir("/proc/self/task")) == before


@pytest.mark.parametrize(("flip", "axis"), [(HorizontalFlip, 2), (VerticalFlip, 1)])
def test_flips_mirror_about_as_many_as_they_should(flip, axis):
    images = faces(400)
    np.testing.assert_array_equal(applied(flip(p=1), images), np.flip(images, axis))
    np.testing.assert_array_equal(applied(flip(p=0), images), images)
    flipped = applied(flip(p=0.3), images)
    mirrored = (flipped == np.flip(images, axis)).all(axis=(1, 2, 3))
    assert (mirrored ^ (flipped == images).all(axis=(1, 2, 3))).all()
    assert 85 < mirrored.sum() < 155


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_quarter_turn_is_a_quarter_turn(turns):
    images = faces(3)
    matrices = affine_matrices(np.full(3, 90 * turns), np.ones(3), np.zeros((3, 2)), 48, 48)
    np.testing.assert_array_equal(warp(images, matrices), np.rot90(images, turns, axes=(1, 2)))


@given(x=st.integers(-9, 9), y=st.integers(-9, 9))
def test_a_shift_by_whole_pixels_changes_no_grey_level_and_mirrors_the_rest(x, y):
    images = faces(1, 20, 30)
    shifted = warp(images, affine_matrices(np.zeros(1), np.ones(1), np.array([[x, y]]), 20, 30))
    padded = np.pad(images[0], ((9, 9), (9, 9), (0, 0)), mode="symmetric")
    np.testing.assert_array_equal(shifted[0], padded[9 - y : 29 - y, 9 - x : 39 - x])


def test_shifts_reach_every_whole_number_of_pixels_within_bounds():
    images = np.zeros((500, 21, 21, 1), np.uint8)
    images[:, 10, 10] = 255
    shifted = applied(Affine(shift=2), images)
    np.testing.assert_array_equal(np.sort(shifted.ravel())[-500:], 255)  # one whole pixel in each
    _, rows, columns, _ = np.nonzero(shifted)
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == {
        (row, column) for row in range(8, 13) for column in range(8, 13)
    }


def test_a_scale_above_1_makes_the_face_grow():
    images = np.zeros((2, 48, 48, 1), np.uint8)
    images[:, 14:34, 14:34] = 200
    warped = warp(images, affine_matrices(np.zeros(2), np.array([1.2, 0.8]), np.zeros((2, 2)), 48, 48))
    areas = (warped > 100).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(areas / 400, [1.2**2, 0.8**2], rtol=0.05)


def test_one_warp_equals_rotation_then_scale_then_shift_up_to_interpolation():
    x, y = np.meshgrid(np.arange(48), np.arange(48))
    images = np.rint(128 + 60 * np.sin(x / 5) + 60 * np.cos(y / 7)).astype(np.uint8)[None, :, :, None]
    angle, scale, shift = np.array([17.0]), np.array([1.1]), np.array([[3.0, -2.0]])
    no_angle, no_scale, no_shift = np.zeros(1), np.ones(1), np.zeros((1, 2))
    at_once = warp(images, affine_matrices(angle, scale, shift, 48, 48))
    one_by_one = images
    for step in ((angle, no_scale, no_shift), (no_angle, scale, no_shift), (no_angle, no_scale, shift)):
        one_by_one = warp(one_by_one, affine_matrices(*step, 48, 48))
    inner = np.s_[:, 12:36, 12:36]  # free of what was mirrored
    assert np.abs(at_once[inner].astype(int) - one_by_one[inner]).max() <= 3
    assert np.abs(at_once[inner].astype(int) - images[inner]).max() > 30


def test_angles_and_scales_stay_within_bounds(monkeypatch):
    drawn = {}

    def spy(angles, scales, shifts, height, width):
        drawn.update(angles=angles, scales=scales, shifts=shifts)
        return affine_matrices(angles, scales, shifts, height, width)

    monkeypatch.setattr("fer_demo.augment.affine_matrices", spy)
    applied(Affine(degrees=10, scale=(0.9, 1.2), shift=4), faces(300, 8, 8))
    for name, least, greatest in (("angles", -10, 10), ("scales", 0.9, 1.2), ("shifts", -4, 4)):
        slack = (greatest - least) * 0.05
        assert least <= drawn[name].min() < least + slack
        assert greatest - slack < drawn[name].max() <= greatest


def test_brightness_and_contrast_follow_the_formula():
    image = faces(1)
    many = np.repeat(image, 50, axis=0)
    rng = np.random.default_rng(3)
    b, c = rng.uniform(0.7, 1.3, 50), rng.uniform(0.5, 1.5, 50)
    mean = image.mean()
    expected = b[:, None, None, None] * (mean + c[:, None, None, None] * (image - mean))
    changed = applied(BrightnessContrast(brightness=0.3, contrast=0.5), many, seed=3)
    assert np.abs(changed - np.clip(expected, 0, 255)).max() <= 0.51


def test_noise_has_the_standard_deviation_that_was_asked_for():
    grey = np.full((100, 48, 48, 1), 128, np.uint8)
    difference = applied(GaussianNoise(std=12), grey) - 128.0
    assert difference.mean() == pytest.approx(0, abs=0.1)
    assert difference.std() == pytest.approx(np.sqrt(144 + 1 / 12), rel=0.01)  # and rounding's


def test_noise_stops_at_black_and_white_instead_of_wrapping_round():
    for level in (0, 255):
        noisy = applied(GaussianNoise(std=20), np.full((10, 48, 48, 1), level, np.uint8))
        assert np.abs(noisy - float(level)).max() < 128
        assert (noisy == level).mean() > 0.45


@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    shares=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
    seed=st.integers(0, 99),
)
def test_erased_area_is_one_rectangle_within_bounds(height, width, shares, seed):
    shares = min(shares), max(shares)
    # One image in black and one in white, with the same draws: what is not kept in either was erased.
    kept = np.ones((5, height, width), bool)
    for level in (0, 255):
        images = np.full((5, height, width, 1), level, np.uint8)
        kept &= (applied(RandomErasing(p=1, scale=shares), images, seed) == level)[..., 0]
    for erased in ~kept:
        rows, columns = erased.any(axis=1).sum(), erased.any(axis=0).sum()
        # Each side is rounded to whole pixels, at least 1.
        assert (rows - 0.5) * (columns - 0.5) <= shares[1] * height * width + 1
        assert (rows + 0.5) * (columns + 0.5) >= shares[0] * height * width


def test_erasing_fills_a_rectangle_with_all_greys_and_spares_the_others():
    images = np.full((300, 48, 48, 1), 7, np.uint8)
    erased = applied(RandomErasing(p=0.4, scale=(0.2, 0.3)), images)[..., 0]
    touched = erased != 7
    hit = touched.any(axis=(1, 2))
    assert 90 < hit.sum() < 150
    ratios = []
    for mask in touched[hit]:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        rectangle = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert rectangle.mean() > 0.95  # random grey is 7 in one of 256
        ratios.append(len(rows) / len(columns))
        assert 0.18 < rectangle.size / 48**2 < 0.32
    assert 0.28 < min(ratios) < 0.4
    assert 2.5 < max(ratios) < 3.6
    assert 0.8 < np.median(ratios) < 1.25
    counts = np.bincount(erased[touched], minlength=256)
    assert (np.delete(counts, 7) > 0).all()


def test_compose_applies_its_steps_in_turn():
    steps = (HorizontalFlip(), RandomErasing())
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(applied(Compose(steps), faces()), steps[1](steps[0](faces(), rng), rng))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HorizontalFlip(p=1.5), r"p=1.5: expected a number from 0 to 1"),
        (lambda: VerticalFlip(p=None), r"p=None"),
        (lambda: Affine(degrees=-1), r"degrees=-1: expected a number from 0 to 180"),
        (lambda: Affine(degrees=float("nan")), r"degrees=nan"),
        (lambda: Affine(scale=(1.1, 0.9)), r"scale=\(1.1, 0.9\): expected a tuple \(least, greatest\)"),
        (lambda: Affine(scale=0.1), r"scale=0.1"),
        (lambda: Affine(scale=[0.9, 1.1]), r"scale=\[0.9, 1.1\]"),
        (lambda: Affine(scale=(0, 1)), r"scale=\(0, 1\)"),
        (lambda: Affine(shift=0.5), r"shift=0.5: expected a whole number of pixels"),
        (lambda: Affine(shift=True), r"shift=True"),
        (lambda: BrightnessContrast(brightness=2), r"brightness=2"),
        (lambda: BrightnessContrast(contrast="0.2"), r"contrast='0.2'"),
        (lambda: GaussianNoise(std=-1), r"std=-1: expected a number from 0 to 255"),
        (lambda: RandomErasing(p=-0.1), r"p=-0.1"),
        (lambda: RandomErasing(scale=(0.1, 1.2)), r"scale=\(0.1, 1.2\).*up to 1$"),
        (lambda: RandomErasing(ratio=(0.3, float("inf"))), r"ratio=\(0.3, inf\)"),
        (lambda: Compose(()), r"steps=\(\): expected a tuple of augmentations"),
        (lambda: Compose((HorizontalFlip,)), r"steps=.*HorizontalFlip"),
        (lambda: Compose([HorizontalFlip()]), r"steps=\[HorizontalFlip"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@augmentations
def test_other_images_are_refused(augment: Augmentation):
    with pytest.raises(DTypeError, match=r"found images of float32, expected an array of uint8"):
        applied(augment, faces().astype(np.float32))
    with pytest.raises(DTypeError, match=r"found images of list"):
        applied(augment, faces().tolist())
    for shape in ((48, 48), (2, 48, 48), (2, 48, 48, 3), (2, 0, 48, 1), (1, 2**15, 1, 1)):
        with pytest.raises(ShapeError, match=r"found images .*, expected grey ones \(N, H, W, 1\)"):
            applied(augment, np.zeros(shape, np.uint8))


def test_the_picture_shows_every_augmentation_on_every_emotion():
    rows = {type(step) for row in augment_sheet.ROWS.values() for step in getattr(row, "steps", (row,))}
    assert rows == {type(augment) for augment in EACH}
    figure = augment_sheet.augmentation_sheet()
    assert len(figure.axes) == (len(augment_sheet.ROWS) + 1) * 7


@pytest.mark.parametrize("module", [augment_sheet, contact_sheet])
def test_a_sheet_is_a_png_file_whatever_its_name(run_command, module, tmp_path):
    code, _, _ = run_command(module, str(tmp_path / "sheet.foo"))
    assert (code, (tmp_path / "sheet.foo").read_bytes()[:4]) == (0, b"\x89PNG")


@pytest.mark.parametrize("module", [augment_sheet, contact_sheet])
@pytest.mark.parametrize("arguments", [[], ["."]])
def test_a_sheet_without_a_file_says_so(run_command, module, arguments):
    code, _, error = run_command(module, *arguments)
    assert (code, "OUT.png" in error) == (2, True)
