"""For networks of so few weights that they cannot learn the training faces by heart, such as mini-Xception.

Changed faces as in `modern`, but labels as they are, smaller batches and Adam, which takes such a network
further in the same time. Made for `--teacher`: a larger network says more than smoothed labels do, and keeps
even AlexNet from learning by heart without dropout.
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
