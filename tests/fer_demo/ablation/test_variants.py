"""Each variant changes what it says and nothing else."""

import math
from dataclasses import replace

import pytest

from fer_demo.ablation.__main__ import Change
from fer_demo.ablation.variants import CHANGES, variants
from fer_demo.augment import Affine, Compose, HorizontalFlip, VerticalFlip
from fer_demo.recipes import RECIPES

MODERN = RECIPES["modern"]
FLIP, AFFINE = MODERN.augment.steps


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("no_flip", {"augment": AFFINE}),
        ("no_augmentation", {"augment": None}),
        ("vertical_flip", {"augment": Compose((FLIP, AFFINE, VerticalFlip()))}),
        ("class_weights", {"class_weights": True}),
        ("oversampling", {"oversample": math.inf}),
        ("extra", {}),
    ],
)
def test_one_thing_is_changed(name, change):
    baseline, variant = variants(MODERN, (name,), extra=True)
    assert baseline.recipe == MODERN
    assert variant.recipe == replace(MODERN, **change)
    assert (baseline.extra, variant.extra) == (False, name == "extra")


def test_every_augmentation_is_there():
    variant = variants(MODERN, ("every_augmentation",))[1]
    kinds = {type(step).__name__ for step in variant.recipe.augment.steps}
    assert kinds == {"HorizontalFlip", "Affine", "BrightnessContrast", "GaussianNoise", "RandomErasing"}


def test_what_changes_nothing_is_left_out():
    flip_alone = replace(MODERN, augment=HorizontalFlip())
    assert [v.name for v in variants(flip_alone, ("no_flip", "no_augmentation"))] == ["baseline", "no_flip"]
    no_flip = replace(MODERN, augment=Affine(degrees=10))
    assert [v.name for v in variants(no_flip, ("no_flip", "extra"))] == ["baseline"]


def test_the_command_line_knows_every_change():
    assert [str(change) for change in Change] == list(CHANGES)
