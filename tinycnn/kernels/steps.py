"""Inference as a list of steps: what is left of a network when nobody asks for its gradients.

A step is a whole group of layers: a convolution, the batch norm folded into its weights, the ReLU after it.
Values are numbered: 0 is the input, k + 1 the result of the k-th step. All are maps (N, H, W, C); a vector
of features is a map of one pixel.
"""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Literal, NamedTuple

import numpy as np

from tinycnn.kernels.padding import NO_PAD, Pad, Pair


class Step(NamedTuple):
    """One operation, then an addition, then a ReLU.

    The kinds: "window" is a depthwise convolution with `taps`, then an ordinary one with `kernel`, then a
    `bias`. Each may be missing, and the window belongs to the first that is there. "pool" is the largest
    value of each window, "mean" that of each map, "softmax" runs along the channels, "same" changes only the
    shape, and "concat" puts `others` behind the source, channel by channel.
    """

    kind: Literal["window", "pool", "mean", "softmax", "same", "concat"]
    source: int
    shape: tuple[int, ...]  # of the result: (H, W, C)
    taps: np.ndarray | None = None  # (KH, KW, C)
    kernel: np.ndarray | None = None  # (KH, KW, C, O)
    bias: np.ndarray | None = None
    window: Pair = (1, 1)
    stride: Pair = (1, 1)
    pad: Pad = NO_PAD
    others: tuple[int, ...] = ()  # values that a "concat" takes besides the source
    extra: int | None = None  # the value to be added; only to what "pool" and "same" make
    relu: bool = False

    @property
    def reads(self) -> tuple[int, ...]:
        """Numbers of all values that it needs."""
        return (self.source, *self.others, *([] if self.extra is None else [self.extra]))


def run_steps(steps: Sequence[Step], x: np.ndarray, kernels: ModuleType) -> np.ndarray:
    """Return the last step's result for x (N, H, W, C), a new array, by calling one kernel after another."""
    values = {0: x}
    last_use = {number: i for i, step in enumerate(steps) for number in step.reads}
    for i, step in enumerate(steps):
        values[i + 1] = run_step(step, values, kernels)
        values = {number: value for number, value in values.items() if last_use.get(number, i + 1) > i}
    y = values[len(steps)]
    return y.copy() if np.may_share_memory(x, y) else y


def run_step(step: Step, values: Mapping[int, np.ndarray], kernels: ModuleType) -> np.ndarray:
    """Return one step's result, given by number the values that it reads."""
    x = values[step.source]
    if step.kind == "concat":
        y = kernels.concat([values[number] for number in step.reads])
    else:
        y = _operation(step, x, kernels).reshape(len(x), *step.shape)
    if step.extra is not None:
        y = kernels.add(y, values[step.extra])
    return kernels.relu(y) if step.relu else y


def _operation(step: Step, x: np.ndarray, kernels: ModuleType) -> np.ndarray:
    geometry = (step.stride, step.pad)
    if step.kind == "pool":
        return kernels.max_pool2d(x, step.window, *geometry)[0]
    if step.kind == "mean":
        return kernels.global_avg_pool2d(x)
    if step.kind == "softmax":
        return kernels.softmax(x)
    if step.taps is not None:
        x = kernels.depthwise_conv2d(x, step.taps, step.bias if step.kernel is None else None, *geometry)
        geometry = ((1, 1), NO_PAD)
    if step.kernel is None:
        return x
    if x.shape[1:3] == step.kernel.shape[:2] == (1, 1):
        return kernels.dense(x[:, 0, 0], step.kernel[0, 0], step.bias)
    return kernels.conv2d(x, step.kernel, step.bias, *geometry)
