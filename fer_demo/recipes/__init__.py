"""Recipes: all that is decided about a training, one small file each.

>>> sorted(RECIPES)
['brief', 'default', 'large', 'modern', 'paper', 'small', 'strong']
"""

from fer_demo.recipes import brief, default, large, modern, paper, small, strong
from fer_demo.recipes.balance import class_weights, oversample
from fer_demo.recipes.recipe import Recipe

__all__ = ["RECIPES", "Recipe", "class_weights", "oversample"]

#: Recipes by name.
RECIPES = {
    module.RECIPE.name: module.RECIPE for module in (default, brief, paper, modern, small, large, strong)
}
