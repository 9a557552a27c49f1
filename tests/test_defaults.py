"""Defaults that users rely on without a word: who changes one changes everybody's training."""

import inspect

import numpy as np
import pytest

import tinycnn as tc
from fer_demo import augment
from tinycnn import train


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (tc.Adam, {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0}),
        (tc.SGD, {"momentum": 0, "nesterov": False, "weight_decay": 0}),
        (tc.OneCycle, {"warmup_fraction": 0.3, "start_div": 25, "final_div": 1e4}),
        (tc.ReduceOnPlateau, {"factor": 0.5, "patience": 2, "min_lr": 0, "threshold": 1e-4}),
        (tc.ExponentialMovingAverage, {"decay": 0.999}),
        (tc.BatchNorm, {"momentum": 0.9, "eps": 1e-3}),
        (tc.Dropout, {"rate": 0.5}),
        (tc.Conv2D, {"stride": 1, "padding": "valid", "bias": True, "init": "he", "l2": 0}),
        (tc.Dense, {"bias": True, "init": "he", "l2": 0}),
        (tc.gradcheck, {"tolerance": 1e-7, "directions": 3}),
        (train.fit, {"epochs": 10, "batch_size": 64, "keep_best": True, "seed": 0}),
        (augment.HorizontalFlip, {"p": 0.5}),
        (augment.BrightnessContrast, {"brightness": 0.2, "contrast": 0.2}),
        (augment.GaussianNoise, {"std": 8}),
        (augment.RandomErasing, {"p": 0.5, "scale": (0.02, 0.33), "ratio": (0.3, 3.3)}),
    ],
)
def test_a_default_stays(what, expected):
    parameters = inspect.signature(what).parameters
    assert {name: parameters[name].default for name in expected} == expected


def test_kernels_begin_as_he_says():
    kernel = tc.Dense(1000, 1000, rng=0).params["kernel"]
    assert kernel.std() == pytest.approx(np.sqrt(2 / 1000), rel=0.01)
