"""As the paper trained: Adam and mirrored faces.

The paper prints neither learning rate nor batch size. Here they are 0.001 throughout, which is what Adam's
authors propose, and 64.
"""

from fer_demo.augment import HorizontalFlip
from fer_demo.recipes.recipe import Recipe

RECIPE = Recipe(
    name="paper",
    learning_rates={
        "mini_xception": 1e-3,
        "alexnet": 1e-3,
        "alexnet_bn": 1e-3,
        "compact": 1e-3,
        "vggnet": 1e-3,
        "inception": 1e-3,
        "resnet": 1e-3,
    },
    batch_size=64,
    augment=HorizontalFlip(),
)
