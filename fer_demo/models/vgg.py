"""VGGNet: nothing but small convolutions, one behind the other."""

from itertools import pairwise

import numpy as np

import tinycnn as tc
from fer_demo.data.dataset import EMOTIONS
from fer_demo.models.parts import FACE, convolution


def vggnet(
    classes: int = len(EMOTIONS),
    seed: int = 0,
    widths: tuple[int, ...] = (16, 32, 64, 128, 256),
    blocks: tuple[int, ...] = (1, 1, 2, 2, 2),
    features: int = 256,
    dropout: float = 0.25,
) -> tc.Sequential:
    """Return VGGNet (Simonyan & Zisserman 2015, configuration A) for 48x48 faces: 1,825,527 parameters.

    Eight 3x3 convolutions in five blocks, whose channels double from block to block, max-pools between them,
    and three dense layers, two of them with dropout. Channels are a quarter of the paper's, in the last block
    half; dense layers a sixteenth as wide, and half as much is dropped: without half of so few, training
    hardly begins. A max-pool behind the last block, as in the paper, would leave one pixel, and is left out.
    Batch norm behind every convolution is younger than the paper, and usual today.

    Args:
        classes: number of outputs.
        seed: of the first weights and of dropout.
        widths: channels of each block.
        blocks: convolutions in each block.
        features: outputs of the first two dense layers.
        dropout: share of them that is left out in training.

    >>> small = vggnet(widths=(8, 8, 8, 8, 8), features=16)  # a small one, for a test
    >>> small.output_shape((48, 48, 1))
    (7,)
    """
    rng = np.random.default_rng(seed)
    layers: dict[str, tc.Layer] = {}
    for index, ((channels, wider), count) in enumerate(
        zip(pairwise((1, *widths)), blocks, strict=True), start=1
    ):
        if index > 1:
            layers[f"pool{index - 1}"] = tc.MaxPool2D(2)
        block: dict[str, tc.Layer] = {}
        for number in range(1, count + 1):
            block |= convolution(channels if number == 1 else wider, wider, 3, rng, str(number))
        layers[f"block{index}"] = tc.Sequential(block)
    layers["flatten"] = tc.Flatten()
    side = FACE[0] >> (len(widths) - 1)
    for index, inputs in ((1, side * side * widths[-1]), (2, features)):
        layers[f"dense{index}"] = tc.Dense(inputs, features, rng=rng)
        layers[f"relu{index}"] = tc.ReLU()
        layers[f"dropout{index}"] = tc.Dropout(dropout, rng=rng.spawn(1)[0])
    layers["dense3"] = tc.Dense(features, classes, init="glorot", rng=rng)
    layers["softmax"] = tc.Softmax()
    return tc.Sequential(layers, input_shape=FACE)
