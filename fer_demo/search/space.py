"""What a search chooses: how deep and wide a network is, and how it is trained."""

import inspect
from dataclasses import dataclass, replace
from typing import Any

from fer_demo.models import MODELS
from fer_demo.recipes import RECIPES, Recipe

#: Networks made of stages that may be longer or wider.
FAMILIES = ("compact", "vggnet", "inception", "resnet")

#: Times the recipe's own learning rate for the network as it is; drawn evenly on a logarithmic scale.
RATES = (0.25, 4.0)
BATCH_SIZES = (32, 64, 128)
#: Blocks more in every stage, which keeps at least one.
DEPTHS = (-1, 1)
#: Times the network's own channels, and the step from one to the next.
WIDTHS, WIDTH_STEP = (0.5, 1.5), 0.25
#: Channels come in multiples of it, which vectors hold.
CHANNELS = 8


@dataclass(frozen=True)
class Choice:
    """A point of the space.

    Attributes:
        model: one of `FAMILIES`.
        recipe: a key of `RECIPES`.
        rate: times that recipe's learning rate.
        batch_size: images a step.
        depth: blocks more in every stage than the network has by default.
        width: times the channels that it has by default.
    """

    model: str
    recipe: str
    rate: float
    batch_size: int
    depth: int
    width: float

    @property
    def network(self) -> dict[str, Any]:
        """Arguments for the function in `MODELS`."""
        own = inspect.signature(MODELS[self.model]).parameters
        widths, blocks = own["widths"].default, own["blocks"].default
        return {
            "widths": tuple(max(round(self.width * width / CHANNELS), 1) * CHANNELS for width in widths),
            "blocks": tuple(max(count + self.depth, 1) for count in blocks),
        }

    @property
    def learning_rate(self) -> float:
        """The schedule's highest."""
        return self.rate * RECIPES[self.recipe].learning_rates[self.model]

    def changed(self) -> Recipe:
        """Return the recipe with this learning rate and batch size."""
        rates = {self.model: self.learning_rate}
        return replace(RECIPES[self.recipe], learning_rates=rates, batch_size=self.batch_size)


def choose(trial: Any, model: str, recipes: tuple[str, ...]) -> Choice:
    """Return the point that an Optuna trial stands for, the same however often it is asked."""
    return Choice(
        model,
        recipe=trial.suggest_categorical("recipe", recipes),
        rate=trial.suggest_float("rate", *RATES, log=True),
        batch_size=trial.suggest_categorical("batch_size", BATCH_SIZES),
        depth=trial.suggest_int("depth", *DEPTHS),
        width=trial.suggest_float("width", *WIDTHS, step=WIDTH_STEP),
    )
