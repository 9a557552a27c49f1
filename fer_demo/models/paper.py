"""The paper's two networks, as lists of layers."""

from itertools import pairwise

import numpy as np

import tinycnn as tc
from fer_demo.data.dataset import EMOTIONS
from fer_demo.models.parts import FACE


def mini_xception(
    classes: int = len(EMOTIONS), seed: int = 0, widths: tuple[int, ...] = (8, 16, 32, 64, 128)
) -> tc.Sequential:
    """Return mini-Xception (Arriaga, Valdenegro-Toro & Plöger 2017, figure 3): 58,423 numbers.

    Two convolutions, four residual modules of separable convolutions, and no dense layer: a last convolution
    makes one map per class, and its mean is the class's score. Takes grey images of 48x48 or larger.
    56,951 of the numbers are trained, the rest are batch norm's running statistics.

    Args:
        classes: number of outputs.
        seed: of the first weights.
        widths: channels of the first two convolutions, then of each module.

    >>> mini_xception().output_shape((48, 48, 1))
    (7,)
    >>> sum(array.size for array in mini_xception().params.values())
    56951
    """
    rng = np.random.default_rng(seed)
    layers: dict[str, tc.Layer] = {}
    for index, channels in ((1, 1), (2, widths[0])):
        layers[f"conv{index}"] = tc.Conv2D(channels, widths[0], 3, bias=False, rng=rng)
        layers[f"bn{index}"] = tc.BatchNorm(widths[0])
        layers[f"relu{index}"] = tc.ReLU()
    for index, (channels, wider) in enumerate(pairwise(widths), start=1):
        layers[f"module{index}"] = _xception_module(channels, wider, rng)
    layers["head"] = tc.Conv2D(widths[-1], classes, 3, padding="same", rng=rng)
    layers["pool"] = tc.GlobalAvgPool2D()
    layers["softmax"] = tc.Softmax()
    return tc.Sequential(layers, input_shape=FACE)


def _xception_module(channels: int, wider: int, rng: np.random.Generator) -> tc.Residual:
    """Two separable convolutions and a max-pool that halves the map, around them a 1x1 shortcut."""
    main = {
        "sep1": tc.SeparableConv2D(channels, wider, 3, padding="same", bias=False, rng=rng),
        "bn1": tc.BatchNorm(wider),
        "relu": tc.ReLU(),
        "sep2": tc.SeparableConv2D(wider, wider, 3, padding="same", bias=False, rng=rng),
        "bn2": tc.BatchNorm(wider),
        "pool": tc.MaxPool2D(3, stride=2, padding="same"),
    }
    shortcut = {
        "conv": tc.Conv2D(channels, wider, 1, stride=2, bias=False, rng=rng),
        "bn": tc.BatchNorm(wider),
    }
    return tc.Residual(tc.Sequential(main), tc.Sequential(shortcut))


def alexnet(
    classes: int = len(EMOTIONS),
    seed: int = 0,
    widths: tuple[int, ...] = (64, 192, 256, 256, 256),
    features: int = 960,
    batch_norm: bool = False,
) -> tc.Sequential:
    """Return AlexNet (Krizhevsky, Sutskever & Hinton 2012) cut to 48x48 grey faces: 5,073,927 parameters.

    Five convolutions, three max-pools, three dense layers, two of them behind dropout. Glorot's
    initialisation keeps the first scores small: without batch norm, He's and three max-pools let them grow.

    Args:
        classes: number of outputs.
        seed: of the first weights and of dropout.
        widths: channels of the five convolutions.
        features: outputs of the first two dense layers.
        batch_norm: put one behind every convolution, in place of its bias (5,074,951 parameters). The paper's
            AlexNet has none.

    >>> small = alexnet(widths=(8, 8, 8, 8, 8), features=16)  # a small one, for a test
    >>> small.output_shape((48, 48, 1))
    (7,)
    """
    rng = np.random.default_rng(seed)
    layers: dict[str, tc.Layer] = {}
    windows = [(5, 2), (5, 1), (3, 1), (3, 1), (3, 1)]  # kernel size, stride
    for index, ((channels, wider), (size, stride)) in enumerate(
        zip(pairwise((1, *widths)), windows, strict=True), start=1
    ):
        layers[f"conv{index}"] = tc.Conv2D(
            channels, wider, size, stride, padding="same", bias=not batch_norm, init="glorot", rng=rng
        )
        if batch_norm:
            layers[f"bn{index}"] = tc.BatchNorm(wider)
        layers[f"relu{index}"] = tc.ReLU()
        if index in (1, 2, 5):
            layers[f"pool{index}"] = tc.MaxPool2D(3, stride=2, padding="same")
    layers["flatten"] = tc.Flatten()  # 48 halved four times: 3x3 maps
    for index, inputs in ((6, 3 * 3 * widths[-1]), (7, features)):
        layers[f"dropout{index}"] = tc.Dropout(0.5, rng=rng.spawn(1)[0])
        layers[f"dense{index}"] = tc.Dense(inputs, features, init="glorot", rng=rng)
        layers[f"relu{index}"] = tc.ReLU()
    layers["dense8"] = tc.Dense(features, classes, init="glorot", rng=rng)
    layers["softmax"] = tc.Softmax()
    return tc.Sequential(layers, input_shape=FACE)
