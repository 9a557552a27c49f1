"""A realistic run of cross-validation, made up from random numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fer_demo.data.dataset import EMOTIONS
from fer_demo.metrics import fold_metrics, over_folds, summarise_folds
from fer_demo.report import Results, environment

FOLDS, EPOCHS = 5, 8
COUNTS = (99, 11, 102, 180, 121, 80, 124)  # FER2013's proportions


@dataclass
class Run:
    results: Results
    images: np.ndarray
    labels: np.ndarray
    probabilities: dict[str, np.ndarray]


@pytest.fixture
def run() -> Run:
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(len(EMOTIONS)), COUNTS))
    images = rng.integers(0, 256, (len(labels), 48, 48, 1), dtype=np.uint8)
    probabilities = {
        "mini_xception": _guess(rng, labels, certainty=1.6),
        "alexnet": _guess(rng, labels, certainty=2.0),
    }
    models = {
        "mini_xception": {
            "parameters": 56_951,
            "multiply_adds": 5_312_448,
            "seconds": 412.7,
            "images_per_second": 3_350.2,
        },
        "alexnet": {
            "parameters": 8_412_103,
            "multiply_adds": 106_512_384,
            "seconds": 3_120.4,
            "images_per_second": 443.0,
        },
    }
    for name, model in models.items():
        model |= _scores(rng, labels, probabilities[name])
    results = {
        "protocol": {
            "folds": FOLDS,
            "epochs": EPOCHS,
            "seed": 0,
            "batch_size": 64,
            "optimizer": "Adam",
            "learning_rate": 0.001,
            "schedule": "one cycle",
            "augmentation": "horizontal flip",
            "normalisation": "mean and sd of the training part",
            "backend": "numba",
            "threads": 2,
        },
        "data": {
            "name": "fer2013.csv",
            "sha256": "9f" * 32,
            "images": len(labels),
            "synthetic": False,
            "class_counts": dict(zip(EMOTIONS, COUNTS, strict=True)),
        },
        "environment": environment(),
        "models": models,
        "seconds": 3_561.9,
    }
    return Run(results, images, labels, probabilities)


def _guess(rng: np.random.Generator, labels: np.ndarray, certainty: float) -> np.ndarray:
    logits = rng.normal(size=(len(labels), len(EMOTIONS)))
    logits[np.arange(len(labels)), labels] += certainty
    odds = np.exp(2 * logits)
    return odds / odds.sum(axis=1, keepdims=True)


def _scores(rng: np.random.Generator, labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    parts = np.array_split(np.arange(len(labels)), FOLDS)
    summary = summarise_folds(
        [fold_metrics(labels[part], probabilities[part].argmax(axis=1)) for part in parts]
    )
    held_out = summary["accuracy"]["folds"]
    train = [accuracy + rng.uniform(0.03, 0.08) for accuracy in held_out]
    gap = [a - b for a, b in zip(train, held_out, strict=True)]
    history = [_history(rng, *ends) for ends in zip(train, held_out, strict=True)]
    return summary | {"train_accuracy": over_folds(train), "gap": over_folds(gap), "history": history}


def _history(rng: np.random.Generator, train: float, held_out: float) -> dict[str, list[float]]:
    rise = 1 - np.exp(-np.arange(1, EPOCHS + 1) / 2.5)
    noise = rng.normal(0, 0.012, (2, EPOCHS))
    accuracy, val_accuracy = train * rise + noise[0] / 3, held_out * rise + noise[1]
    return {
        "loss": (2.1 - 1.8 * accuracy).tolist(),
        "accuracy": accuracy.tolist(),
        "val_loss": (2.1 - 1.75 * val_accuracy).tolist(),
        "val_accuracy": val_accuracy.tolist(),
    }
