"""`small` for long trainings of networks that can learn the training faces by heart, such as AlexNet.

Weights decay ten times as fast, and the rate begins to fall sooner. Made for `--teacher` too.
"""

from dataclasses import replace
from functools import partial

import tinycnn as tc
from fer_demo.recipes import small

RECIPE = replace(
    small.RECIPE,
    name="large",
    schedule=partial(tc.OneCycle, warmup_fraction=0.1),
    weight_decay=0.1,
)
