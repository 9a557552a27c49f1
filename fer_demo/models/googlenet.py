"""GoogLeNet: modules that look at a map through several windows at once."""

from itertools import pairwise

import numpy as np

import tinycnn as tc
from fer_demo.data.dataset import EMOTIONS
from fer_demo.models.parts import FACE, convolution, score_layers


def inception(
    classes: int = len(EMOTIONS),
    seed: int = 0,
    stem: tuple[int, ...] = (16, 32),
    widths: tuple[int, ...] = (32, 64, 128),
    blocks: tuple[int, ...] = (1, 2, 1),
) -> tc.Sequential:
    """Return a small GoogLeNet (Szegedy et al. 2015) for 48x48 grey faces: 1,022,871 parameters.

    Convolutions and max-pools, then stages of Inception modules, each on a map half as large. A dense layer
    reads the mean of the last maps, behind dropout. As in the second version (Ioffe & Szegedy 2015, "Batch
    normalization", appendix) there is batch norm behind every convolution, and two 3x3 windows stand for one
    of 5x5, which costs less.

    Args:
        classes: number of outputs.
        seed: of the first weights and of dropout.
        stem: channels of the first convolutions; a max-pool follows each.
        widths: channels of the 1x1 windows in each stage's modules, which give four times as many.
        blocks: modules in each stage.

    >>> small = inception(stem=(8, 8), widths=(8, 8, 16))  # a small one, for a test
    >>> small.output_shape((48, 48, 1))
    (7,)
    """
    rng = np.random.default_rng(seed)
    layers: dict[str, tc.Layer] = {}
    for index, (channels, wider) in enumerate(pairwise((1, *stem)), start=1):
        layers |= convolution(channels, wider, 3, rng, str(index))
        layers[f"pool{index}"] = _halve()
    channels = stem[-1]
    for index, (width, count) in enumerate(zip(widths, blocks, strict=True), start=1):
        stage: dict[str, tc.Layer] = {} if index == 1 else {"pool": _halve()}
        for number in range(1, count + 1):
            module = stage[f"module{number}"] = _module(channels, width, rng)
            *_, channels = module.output_shape((1, 1, channels))
        layers[f"stage{index}"] = tc.Sequential(stage)
    return tc.Sequential(layers | score_layers(channels, classes, rng, dropout=0.4), input_shape=FACE)


def _halve() -> tc.MaxPool2D:
    return tc.MaxPool2D(3, stride=2, padding="same")


def _module(channels: int, width: int, rng: np.random.Generator) -> tc.Concat:
    """An Inception module in the proportions of the paper's first, (3a): 4 * width channels, if that is even.

    What the larger windows read is narrowed before by 1x1 convolutions, or they would cost too much.
    """
    half = max(width // 2, 1)
    branches = {
        "one": convolution(channels, width, 1, rng),
        "three": convolution(channels, width * 3 // 2, 1, rng, "1")
        | convolution(width * 3 // 2, 2 * width, 3, rng, "2"),
        "five": convolution(channels, half, 1, rng, "1")
        | convolution(half, half, 3, rng, "2")
        | convolution(half, half, 3, rng, "3"),
        "pool": {"pool": tc.MaxPool2D(3, stride=1, padding="same"), **convolution(channels, half, 1, rng)},
    }
    return tc.Concat({name: tc.Sequential(layers) for name, layers in branches.items()})
