"""As the paper trained: Adam and mirrored faces.

The paper prints neither learning rate nor batch size. Here they are 0.001 throughout, which is what Adam's
authors propose, and 64.
"""

from fer_demo.augment import HorizontalFlip
from fer_demo.models import MODELS
from fer_demo.recipes.recipe import Recipe

RECIPE = Recipe(
    name="paper",
    learning_rates=dict.fromkeys(MODELS, 1e-3),
    batch_size=64,
    augment=HorizontalFlip(),
)
