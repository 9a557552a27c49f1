"""For networks of so few weights that they cannot learn the training faces by heart, such as mini-Xception.

Changed faces as in `modern`, but labels as they are, smaller batches and Adam, which takes such a network
further in the same time. Made for `--teacher`: a larger network says more than smoothed labels do.
"""

import tinycnn as tc
from fer_demo.augment import Affine, Compose, HorizontalFlip
from fer_demo.recipes.recipe import Recipe

RECIPE = Recipe(
    name="small",
    learning_rates={
        "mini_xception": 1e-2,
        "alexnet": 1e-3,
        "alexnet_bn": 2e-3,
        "compact": 5e-3,
        "vggnet": 1e-3,
        "inception": 5e-3,
        "resnet": 5e-3,
    },
    batch_size=64,
    augment=Compose((HorizontalFlip(), Affine(degrees=10, scale=(0.9, 1.1), shift=4))),
    schedule=tc.OneCycle,
    weight_decay=0.01,
    ema_decay=0.999,
)
