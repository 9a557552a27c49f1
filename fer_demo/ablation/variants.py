"""What an ablation changes about a recipe: one thing at a time."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from fer_demo.augment import (
    Affine,
    Augmentation,
    BrightnessContrast,
    Compose,
    GaussianNoise,
    HorizontalFlip,
    RandomErasing,
    VerticalFlip,
)
from fer_demo.recipes import Recipe

#: The recipe as it is, with which all others are compared.
BASELINE = "baseline"


@dataclass(frozen=True)
class Variant:
    """A recipe with one thing changed.

    Attributes:
        name: as on the command line.
        says: what is changed, for people.
        recipe: how to train.
        extra: whether extra faces are trained on.
    """

    name: str
    says: str
    recipe: Recipe
    extra: bool = False


def _steps(augment: Augmentation | None) -> tuple[Augmentation, ...]:
    if isinstance(augment, Compose):
        return augment.steps
    return () if augment is None else (augment,)


def _augmented(recipe: Recipe, steps: tuple[Augmentation, ...]) -> Recipe:
    if len(steps) < 2:
        return replace(recipe, augment=steps[0] if steps else None)
    return replace(recipe, augment=Compose(steps))


def _without_flip(recipe: Recipe) -> Recipe:
    steps = _steps(recipe.augment)
    return _augmented(recipe, tuple(step for step in steps if not isinstance(step, HorizontalFlip)))


EVERY_AUGMENTATION = (
    HorizontalFlip(),
    Affine(degrees=10, scale=(0.9, 1.1), shift=4),
    BrightnessContrast(),
    GaussianNoise(),
    RandomErasing(),
)

#: What is changed, and how, by name. Extra faces change no recipe.
CHANGES: dict[str, tuple[str, Callable[[Recipe], Recipe]]] = {
    "no_flip": ("without horizontal flip", _without_flip),
    "no_augmentation": ("without augmentation", lambda recipe: replace(recipe, augment=None)),
    "every_augmentation": ("every augmentation", lambda recipe: _augmented(recipe, EVERY_AUGMENTATION)),
    "vertical_flip": (
        "with vertical flip",
        lambda recipe: _augmented(recipe, (*_steps(recipe.augment), VerticalFlip())),
    ),
    "extra": ("with extra faces", lambda recipe: recipe),
    "class_weights": ("with class weights", lambda recipe: replace(recipe, class_weights=True)),
    "oversampling": ("with oversampling", lambda recipe: replace(recipe, oversample=math.inf)),
}


def variants(recipe: Recipe, names: tuple[str, ...] = tuple(CHANGES), extra: bool = False) -> list[Variant]:
    """Return the baseline and then the named variants, without those that change nothing.

    Args:
        recipe: the baseline.
        names: keys of `CHANGES`.
        extra: whether there are extra faces.
    """
    found = [Variant(BASELINE, f"recipe {recipe.name}", recipe)]
    for name in names:
        says, change = CHANGES[name]
        variant = Variant(name, says, change(recipe), extra=name == "extra")
        known = {repr(other.recipe) for other in found}
        if extra if variant.extra else repr(variant.recipe) not in known:
            found.append(variant)
    return found
