"""`small` with faces changed as in `strong`: for a large network, such as AlexNet, with a teacher and time.

The more the faces are changed, the longer such a network takes to learn them by heart, and the more of what
it learns is the teacher's.
"""

from dataclasses import replace

from fer_demo.recipes import small, strong

RECIPE = replace(small.RECIPE, name="taught", batch_size=32, augment=strong.RECIPE.augment)
