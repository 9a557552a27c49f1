"""Integer inference, one step after another."""

from collections.abc import Mapping, Sequence

import numpy as np

from tinycnn.kernels.integer import IntegerStep, Run, requantise
from tinycnn.kernels.reference.conv import conv2d, depthwise_conv2d
from tinycnn.kernels.reference.pool import max_pool2d


def prepare_integer_steps(steps: Sequence[IntegerStep], shape: tuple[int, ...]) -> Run:
    """Return a function of int8 images (N, H, W, C) that gives the last step's result in int32.

    Args:
        steps: what to do; see `IntegerStep`. No sum may reach 2**31.
        shape: (H, W, C).
    """

    def run(x: np.ndarray) -> np.ndarray:
        values = {0: x}
        for number, step in enumerate(steps, 1):
            values[number] = _result(step, values).reshape(len(x), *step.shape)
        return values[len(steps)].astype(np.int32)

    return run


def _result(step: IntegerStep, values: Mapping[int, np.ndarray]) -> np.ndarray:
    x = values[step.source]
    if step.kind == "same":
        return x
    if step.kind == "pool":
        return max_pool2d(x.astype(np.float32), step.window, step.stride, step.pad)[0].astype(np.int8)
    if step.kind == "add":
        return _add(step, x, None if step.extra is None else values[step.extra])
    sums = _sums(step, x)
    return sums if step.multiplier is None else requantise(sums, step.multiplier, step.shift, step.zero)


def _sums(step: IntegerStep, x: np.ndarray) -> np.ndarray:
    """Return the int32 sums of a step, which are exact.

    They are taken in float64, which holds whole numbers up to 2**53 and for which there is BLAS.
    """
    centred = x.astype(np.float64) - step.source_zero
    if step.kind == "mean":
        return centred.sum(axis=(1, 2)).astype(np.int32)
    assert step.kernel is not None
    assert step.bias is not None
    convolve = conv2d if step.kind == "conv" else depthwise_conv2d
    sums = convolve(
        centred, step.kernel.astype(np.float64), step.bias.astype(np.float64), step.stride, step.pad
    )
    return sums.astype(np.int32)


def _add(step: IntegerStep, x: np.ndarray, extra: np.ndarray | None) -> np.ndarray:
    """Bring two values, or one, to the scale of the result, and add them."""
    assert step.multiplier is not None
    sums = (x.astype(np.int32) - step.source_zero) * step.multiplier[0]
    if extra is not None:
        sums += (extra.astype(np.int32) - step.extra_zero) * step.multiplier[1]
    return requantise(sums, 1, step.shift, step.zero)
