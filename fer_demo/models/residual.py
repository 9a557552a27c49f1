"""Residual networks: every block adds what it has learnt to what it was given."""

from itertools import pairwise

import numpy as np

import tinycnn as tc
from fer_demo.data.dataset import EMOTIONS
from fer_demo.models.parts import FACE, convolution, score_layers


def resnet(
    classes: int = len(EMOTIONS),
    seed: int = 0,
    widths: tuple[int, ...] = (16, 32, 64, 128),
    blocks: tuple[int, ...] = (2, 2, 2, 2),
) -> tc.Sequential:
    """Return ResNet-18 (He et al. 2016, table 1), a quarter as wide, for 48x48 faces: 700,791 parameters.

    A convolution and a max-pool, then four stages of residual blocks; the first block of each but the first
    halves the map by a stride of 2. A dense layer reads the mean of the last maps. The first window is 3x3
    where the paper's, for larger pictures, is 7x7 with a stride.

    Args:
        classes: number of outputs.
        seed: of the first weights.
        widths: channels of each stage; the first convolution has as many as the first.
        blocks: residual blocks in each stage.

    >>> small = resnet(widths=(8, 8, 16, 16), blocks=(1, 1, 1, 1))  # a small one, for a test
    >>> small.output_shape((48, 48, 1))
    (7,)
    """
    rng = np.random.default_rng(seed)
    layers = convolution(1, widths[0], 3, rng)
    layers["pool1"] = tc.MaxPool2D(3, stride=2, padding="same")
    for index, ((channels, wider), count) in enumerate(
        zip(pairwise((widths[0], *widths)), blocks, strict=True), start=1
    ):
        stage: dict[str, tc.Layer] = {}
        for number in range(1, count + 1):
            first = number == 1
            stride = 2 if first and index > 1 else 1
            stage[f"block{number}"] = _block(channels if first else wider, wider, rng, stride)
            stage[f"relu{number}"] = tc.ReLU()
        layers[f"stage{index}"] = tc.Sequential(stage)
    return tc.Sequential(layers | score_layers(widths[-1], classes, rng), input_shape=FACE)


def compact(
    classes: int = len(EMOTIONS),
    seed: int = 0,
    widths: tuple[int, ...] = (32, 48, 96, 192),
    blocks: tuple[int, ...] = (1, 2, 1),
) -> tc.Sequential:
    """Return a small residual network (He, Zhang, Ren & Sun 2016) for 48x48 grey faces: 851,207 parameters.

    A convolution at full size, then three stages that halve the map and widen it. Max-pools halve it, since a
    convolution with stride 1 is the faster one here. A dense layer reads the mean of the last maps.

    Args:
        classes: number of outputs.
        seed: of the first weights and of dropout.
        widths: channels of the first convolution, then of each stage.
        blocks: residual blocks in each stage.

    >>> small = compact(widths=(8, 8, 16, 16))  # a small one, for a test
    >>> small.output_shape((48, 48, 1))
    (7,)
    """
    rng = np.random.default_rng(seed)
    layers = convolution(1, widths[0], 3, rng)
    for index, ((channels, wider), count) in enumerate(zip(pairwise(widths), blocks, strict=True), start=1):
        stage: dict[str, tc.Layer] = {"pool": tc.MaxPool2D(3, stride=2, padding="same")}
        for number in range(1, count + 1):
            stage[f"block{number}"] = _block(channels if number == 1 else wider, wider, rng)
            stage[f"relu{number}"] = tc.ReLU()
        layers[f"stage{index}"] = tc.Sequential(stage)
    return tc.Sequential(layers | score_layers(widths[-1], classes, rng, dropout=0.2), input_shape=FACE)


def _block(channels: int, wider: int, rng: np.random.Generator, stride: int = 1) -> tc.Residual:
    """Two 3x3 convolutions, and a 1x1 shortcut around them if they change the shape."""
    main = {
        "conv1": tc.Conv2D(channels, wider, 3, stride, padding="same", bias=False, rng=rng),
        "bn1": tc.BatchNorm(wider),
        "relu": tc.ReLU(),
        "conv2": tc.Conv2D(wider, wider, 3, padding="same", bias=False, rng=rng),
        "bn2": tc.BatchNorm(wider),
    }
    if (channels, stride) == (wider, 1):
        return tc.Residual(tc.Sequential(main))
    shortcut = {"conv": tc.Conv2D(channels, wider, 1, stride, bias=False, rng=rng), "bn": tc.BatchNorm(wider)}
    return tc.Residual(tc.Sequential(main), tc.Sequential(shortcut))
