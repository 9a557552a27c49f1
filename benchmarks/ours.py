"""Our side of the comparisons, as a user of `fit`, `predict` and `compile_for_inference` gets it."""

from collections.abc import Callable
from contextlib import ExitStack

import numpy as np

import tinycnn as tc
from fer_demo.models import FACE, MODELS
from tinycnn.kernels import one_thread_pool
from tinycnn.kernels.memory import Arena, recycled_memory

CLASSES = 7

_whole_process = ExitStack()


def network(model: str, backend: str | None) -> tc.Sequential:
    """Return a model by its name, and select its backend, or leave the choice to tinycnn if None."""
    if backend is not None:
        tc.backend(backend)
    return MODELS[model]()


def faces(batch: int) -> np.ndarray:
    """Return random images, (batch, 48, 48, 1), float32."""
    return np.random.default_rng(0).standard_normal((batch, *FACE), dtype=np.float32)


def training_step(model: str, batch: int, backend: str | None) -> Callable[[], object]:
    """Return a training step of a model on a fixed random batch."""
    return our_training_step(network(model, backend), batch)


def our_training_step(model: tc.Sequential, batch: int) -> Callable[[], object]:
    """Return forward, loss, backward and Adam on one batch, surrounded as `fit` surrounds them."""
    x, labels = faces(batch), np.random.default_rng(1).integers(0, CLASSES, batch)
    loss, optimizer, arena = tc.SoftmaxCrossEntropy(), tc.Adam(), Arena()
    _whole_process.enter_context(one_thread_pool())  # as `fit` holds it around all of its steps

    def step() -> None:
        with recycled_memory(arena):
            tc.train_step(model, x, labels, loss, optimizer)

    return step


def predict(model: str, batch: int, backend: str | None) -> Callable[[], object]:
    """Return a call of `model.predict` on one batch."""
    plain, x = network(model, backend), faces(batch)
    return lambda: plain.predict(x)


def prepared(model: str, batch: int, backend: str | None) -> Callable[[], object]:
    """Return a call, on one batch, of what `compile_for_inference` makes of the model."""
    ready, x = tc.compile_for_inference(network(model, backend)), faces(batch)
    return lambda: ready(x)
