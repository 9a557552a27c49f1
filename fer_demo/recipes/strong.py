"""`modern` with faces changed more: for networks large enough to learn the training faces by heart.

Faces are also turned and scaled further, brightened or darkened, and lose a random rectangle.
"""

from dataclasses import replace

from fer_demo.augment import Affine, BrightnessContrast, Compose, HorizontalFlip, RandomErasing
from fer_demo.recipes import modern

RECIPE = replace(
    modern.RECIPE,
    name="strong",
    augment=Compose(
        (
            HorizontalFlip(),
            Affine(degrees=15, scale=(0.85, 1.15), shift=4),
            BrightnessContrast(0.3, 0.3),
            RandomErasing(p=0.5, scale=(0.02, 0.2)),
        )
    ),
)
