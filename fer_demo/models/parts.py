"""What several networks are made of."""

import numpy as np

import tinycnn as tc
from fer_demo.data.dataset import IMAGE_SIZE

#: (H, W, C) of what all networks take.
FACE = (IMAGE_SIZE, IMAGE_SIZE, 1)


def convolution(
    channels: int, wider: int, size: int, rng: np.random.Generator, name: str = ""
) -> dict[str, tc.Layer]:
    """Return a convolution, its batch norm and a ReLU, which leave the map its size.

    Args:
        channels: of the input.
        wider: channels of the output.
        size: of the window, in pixels.
        rng: draws the kernel: He's initialisation.
        name: is put behind the layers' names.
    """
    return {
        f"conv{name}": tc.Conv2D(channels, wider, size, padding="same", bias=False, rng=rng),
        f"bn{name}": tc.BatchNorm(wider),
        f"relu{name}": tc.ReLU(),
    }


def score_layers(
    features: int, classes: int, rng: np.random.Generator, dropout: float = 0.0
) -> dict[str, tc.Layer]:
    """Return what gives the probabilities, from the mean of maps (H, W, features)."""
    layers: dict[str, tc.Layer] = {"pool": tc.GlobalAvgPool2D()}
    if dropout:
        layers["dropout"] = tc.Dropout(dropout, rng=rng.spawn(1)[0])
    layers["dense"] = tc.Dense(features, classes, init="glorot", rng=rng)
    layers["softmax"] = tc.Softmax()
    return layers
