"""What `python -m fer_demo.cv` does if it is told nothing: quick to train in a few epochs.

AlexNet does without dropout: in eight epochs it does not learn the faces by heart, and dropout slows it down.
"""

import tinycnn as tc
from fer_demo.augment import HorizontalFlip
from fer_demo.recipes.recipe import Recipe

RECIPE = Recipe(
    name="default",
    learning_rates={
        "mini_xception": 1e-2,
        "alexnet": 1e-3,
        "alexnet_bn": 2e-3,
        "compact": 5e-3,
        "vggnet": 1e-3,
        "inception": 5e-3,
        "resnet": 5e-3,
    },
    batch_size=None,
    augment=HorizontalFlip(),
    schedule=tc.OneCycle,
    dropout={"alexnet": 0.0},
)
