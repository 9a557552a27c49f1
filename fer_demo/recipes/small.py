"""For networks of so few weights that they cannot learn the training faces by heart, such as mini-Xception.

Changed faces as in `modern`, but labels as they are, smaller batches and Adam, which takes such a network
further in the same time. Made for `--teacher`: another network says more than smoothed labels do. AlexNet,
which is slow to learn with dropout, does without, as in `default`: changed faces and a teacher replace it.
"""

import tinycnn as tc
from fer_demo.recipes import default, modern
from fer_demo.recipes.recipe import Recipe

RECIPE = Recipe(
    name="small",
    learning_rates=default.RECIPE.learning_rates,
    batch_size=64,
    augment=modern.RECIPE.augment,
    schedule=tc.OneCycle,
    weight_decay=0.01,
    ema_decay=0.999,
    dropout=default.RECIPE.dropout,
)
