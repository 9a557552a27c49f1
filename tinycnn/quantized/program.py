"""From a network's steps and its int8 arrays to the steps in whole numbers that a backend runs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinycnn.errors import ConfigError
from tinycnn.kernels.integer import HIGH, LOW, IntegerStep
from tinycnn.kernels.steps import Step
from tinycnn.layers.base import Shape
from tinycnn.quantized.numbers import Scale, fixed_point
from tinycnn.quantized.outline import Named

#: Bits of the largest multiplier. An int32 sum times 30 bits is an int64 number; of an addition's two factors
#: with 21 bits, times numbers of 9 bits each, the sum is one of int32.
_BITS, _ADD_BITS = 30, 21


class Program(NamedTuple):
    """A network in whole numbers.

    Attributes:
        scales: of the input and of each step's result.
        steps: what is done with int8 images.
        scale, zero: the outputs are scale * (result - zero), scale being float32 (O,).
    """

    scales: list[Scale]
    steps: list[IntegerStep]
    scale: np.ndarray
    zero: int


def split_softmax(named: Sequence[Named]) -> tuple[Sequence[Named], bool]:
    """Return the steps but for a softmax at the end, which stays in float32, and whether there was one."""
    softmax = named[-1].step.kind == "softmax"
    return (named[:-1] if softmax else named), softmax


def have_range(named: Sequence[Named]) -> list[bool]:
    """Tell of the input, and of each step's result, whether it has a range of its own.

    Pooling and reshaping make no new numbers. And the sums at the network's end stay int32: their scale is
    known without a range, and nothing is gained by rounding them to int8.
    """
    own = [True, *(_makes_numbers(step) for _, step in named)]
    return [*own[:-1], own[-1] and not _ends_in_sums(named)]


def _ends_in_sums(named: Sequence[Named]) -> bool:
    last = named[-1].step
    return last.kind in ("window", "mean") and not last.relu  # which only int8's clipping carries out


def _makes_numbers(step: Step) -> bool:
    return step.kind in ("window", "mean") or step.extra is not None or step.relu


def value_scales(named: Sequence[Named], ranges: np.ndarray) -> list[Scale]:
    """Return the scale of each value, given (V, 2) the least and greatest real numbers where they are own."""
    sources = [0, *(step.source for _, step in named)]
    rows, scales = iter(ranges.tolist()), list[Scale]()
    for own, source in zip(have_range(named), sources, strict=True):
        scales.append(Scale.over(*next(rows)) if own else scales[source])
    return scales


def array_kinds(named: Sequence[Named]) -> dict[str, tuple[np.dtype, Shape]]:
    """Return dtype and shape of each array that a network in whole numbers has, by name."""
    kinds: dict[str, tuple[np.dtype, Shape]] = {"ranges": (np.dtype(np.float32), (sum(have_range(named)), 2))}
    for name, step in named:
        kernel = step.taps if step.kernel is None else step.kernel
        if kernel is not None:
            kinds[f"{name}.kernel"] = np.dtype(np.int8), kernel.shape
            kinds[f"{name}.scale"] = np.dtype(np.float32), kernel.shape[-1:]
            kinds[f"{name}.bias"] = np.dtype(np.int32), kernel.shape[-1:]
    return kinds


def assemble(named: Sequence[Named], arrays: Mapping[str, np.ndarray], input_shape: Shape) -> Program:
    """Return the program of a network without its softmax.

    Args:
        named: its steps; of their weights only the shapes count.
        arrays: those that `array_kinds` lists.
        input_shape: (H, W, C).

    Raises:
        ConfigError: whole numbers of 32 bits do not suffice for a layer; the message names it.
    """
    scales = value_scales(named, arrays["ranges"])
    shapes = [input_shape, *(step.shape for _, step in named)]
    steps, unit = [], np.empty(0)  # unit: what a 1 in the last sums means
    for (name, step), result in zip(named, scales[1:], strict=True):
        source = scales[step.source]
        new = IntegerStep(_kind(step), step.source, step.shape, source.zero, result.zero, extra=step.extra)
        new = new._replace(window=step.window, stride=step.stride, pad=step.pad)
        if new.kind in ("conv", "depthwise"):
            new = new._replace(kernel=arrays[f"{name}.kernel"], bias=arrays[f"{name}.bias"])
            unit = source.scale * arrays[f"{name}.scale"].astype(np.float64)
            new = _rescaled(new, name, unit / result.scale, _BITS)
        elif new.kind == "mean":
            unit = np.full(step.shape[2], source.scale / math.prod(shapes[step.source][:2]))
            new = _rescaled(new, name, unit / result.scale, _BITS)
        elif new.kind == "add":
            extra = source if step.extra is None else scales[step.extra]
            new = new._replace(extra_zero=extra.zero)
            new = _rescaled(new, name, np.array([source.scale, extra.scale]) / result.scale, _ADD_BITS)
        steps.append(new)
        _check_sums(new, name, shapes[step.source])
    if not _ends_in_sums(named):
        return Program(scales, steps, np.full(shapes[-1][2], scales[-1].scale, np.float32), scales[-1].zero)
    steps[-1] = steps[-1]._replace(multiplier=None)
    return Program(scales, steps, unit.astype(np.float32), 0)


def _kind(step: Step) -> Any:
    if step.kind == "window":
        return "depthwise" if step.kernel is None else "conv"
    return "add" if step.kind == "same" and _makes_numbers(step) else step.kind


def _rescaled(step: IntegerStep, name: str, factors: np.ndarray, bits: int) -> IntegerStep:
    """Let a step bring its sums to the scale of its result."""
    try:
        multiplier, shift = fixed_point(factors, bits)
    except OverflowError as error:
        raise ConfigError(f"layer {name!r} needs {error}: expected ranges of about the same size") from None
    return step._replace(multiplier=multiplier, shift=shift)


def _check_sums(step: IntegerStep, name: str, source: Shape) -> None:
    """Refuse what might reach 2**31: numbers are at most 255 away from their zero point."""
    largest = (HIGH - LOW) * math.prod(source[:2]) if step.kind == "mean" else 0
    if step.kernel is not None and step.bias is not None:
        inputs = tuple(range(step.kernel.ndim - 1))
        products = (HIGH - LOW) * np.abs(step.kernel.astype(np.int64)).sum(axis=inputs)
        largest = int((products + np.abs(step.bias.astype(np.int64))).max())
    if largest >= 2**31:
        raise ConfigError(
            f"layer {name!r}: its sums may reach {largest}, expected less than 2**31, int32's range"
        )
