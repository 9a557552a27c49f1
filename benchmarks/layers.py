"""Times of single layers, measured in a process of their own for `benchmarks/kernels.py`."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import numpy as np

import tinycnn as tc
from benchmarks.ours import network
from benchmarks.timing import WARM_UP
from fer_demo.models import FACE
from tinycnn.kernels import one_thread_pool
from tinycnn.kernels.memory import Arena, recycled_memory
from tinycnn.layers.base import Layer, Shape

#: Adam reads weight, gradient and two slots, and writes weight and slots.
ADAM_ARRAYS = 7


@dataclass
class Operation:
    """One pass of one layer.

    Attributes:
        layer: its path in the network.
        direction: "forward", "backward" or "update".
        run: does it once.
        flops: the least floating-point operations it has to do; those of multiply-adds only.
        traffic: the least bytes it has to read and write.
        seconds: of each run.
    """

    layer: str
    direction: str
    run: Callable[[], object]
    flops: int
    traffic: int
    seconds: list[float] = field(default_factory=list)


def layer_times(model: str, batch: int, backend: str | None, rounds: int) -> list[dict[str, Any]]:
    """Return layer, pass, ms_median, flops and bytes of every operation of a training step, in its order."""
    step, arena = operations(network(model, backend), batch), Arena()
    with one_thread_pool():
        for _ in range(WARM_UP + rounds):
            with recycled_memory(arena):
                for operation in step:
                    start = time.perf_counter()
                    operation.run()
                    operation.seconds.append(time.perf_counter() - start)
    return [
        {
            "layer": operation.layer,
            "pass": operation.direction,
            "ms_median": 1e3 * median(operation.seconds[WARM_UP:]),
            "flops": operation.flops,
            "bytes": operation.traffic,
        }
        for operation in step
    ]


def operations(model: tc.Sequential, batch: int) -> list[Operation]:
    """Return every layer's forward, every layer's backward from last to first, and Adam, on random arrays."""
    rng = np.random.default_rng(0)
    forward, backward = [], []
    for path, layer, shape in leaves(model, FACE):
        if isinstance(layer, tc.Flatten | tc.Softmax):
            continue  # the one is a view, the other no part of training
        x = rng.standard_normal((batch, *shape), dtype=np.float32)
        dy = rng.standard_normal((batch, *layer.output_shape(shape)), dtype=np.float32)
        weights = sum(array.nbytes for array in layer.params.values())
        flops, traffic = 2 * batch * layer.multiply_adds(shape), x.nbytes + dy.nbytes + weights
        forward.append(Operation(path, "forward", partial(layer.forward, x, train=True), flops, traffic))
        # Besides, the backward pass writes the gradients of x and of the weights.
        traffic += x.nbytes + weights
        backward.append(Operation(path, "backward", partial(layer.backward, dy), 2 * flops, traffic))
    params = model.params
    grads = {name: rng.standard_normal(array.shape, dtype=np.float32) for name, array in params.items()}
    traffic = ADAM_ARRAYS * sum(array.nbytes for array in params.values())
    adam = Operation("adam", "update", partial(tc.Adam().step, params, grads), 0, traffic)
    return [*forward, *reversed(backward), adam]


def leaves(layer: Layer, shape: Shape, path: str = "") -> Iterator[tuple[str, Layer, Shape]]:
    """Yield path, layer and input shape, without the batch axis, of every layer that holds no others."""
    if not layer.children():
        yield path, layer, shape
    for name, child in layer.children().items():
        yield from leaves(child, shape, f"{path}.{name}" if path else name)
        if not isinstance(layer, tc.Residual | tc.Concat):  # whose paths start at the same input
            shape = child.output_shape(shape)
