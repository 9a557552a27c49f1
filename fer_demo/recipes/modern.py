"""What has become usual since: for long trainings, of 30 epochs or more.

Mirrored, turned, scaled and shifted faces, labels that are not taken for certain, a learning rate that rises
and falls, weights that decay, and an average of them at the end.
"""

from functools import partial

import tinycnn as tc
from fer_demo.augment import Affine, Compose, HorizontalFlip
from fer_demo.recipes.recipe import Recipe

RECIPE = Recipe(
    name="modern",
    learning_rates={
        "mini_xception": 0.1,
        "alexnet": 0.01,
        "alexnet_bn": 0.05,
        "compact": 0.1,
        "vggnet": 0.05,
        "inception": 0.1,
        "resnet": 0.1,
    },
    batch_size=128,
    augment=Compose((HorizontalFlip(), Affine(degrees=10, scale=(0.9, 1.1), shift=4))),
    schedule=tc.OneCycle,
    optimizer=partial(tc.SGD, momentum=0.9, nesterov=True),
    weight_decay=5e-3,
    label_smoothing=0.1,
    ema_decay=0.999,
)
