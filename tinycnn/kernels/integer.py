"""Integer inference as a list of steps: what one is made of, and the arithmetic that both backends do.

A map of real numbers r is kept as int8 numbers q with one scale and one zero point for the whole map:
r = scale * (q - zero), so that 0, and with it padding, is a whole number (Jacob et al. 2018, "Quantization
and training of neural networks for efficient integer-arithmetic-only inference", equation 1). Values are
numbered as in `tinycnn.kernels.steps`.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from tinycnn.kernels.padding import NO_PAD, Pad, Pair

#: The least and the greatest int8 number.
LOW, HIGH = -128, 127
#: What a shift may be: products of int32 numbers shifted right by so many bits.
SHIFTS = (1, 62)


class IntegerStep(NamedTuple):
    """One operation in whole numbers.

    First come int32 sums: of products for "conv" and "depthwise", of a map's pixels for "mean", and of two
    values, or one, each times a whole number, for "add". Then `requantise` makes int8 numbers of them. "pool"
    takes the largest int8 number of each window, "same" changes only the shape.
    """

    kind: Literal["conv", "depthwise", "mean", "add", "pool", "same"]
    source: int
    shape: tuple[int, ...]  # of the result: (H, W, C)
    source_zero: int = 0  # the source's zero point
    zero: int = 0  # the result's
    kernel: np.ndarray | None = None  # int8: (KH, KW, C, O), or (KH, KW, C) for "depthwise"
    bias: np.ndarray | None = None  # int32, (O,)
    multiplier: np.ndarray | None = None  # int32, (O,); of "add", one for each source; None: sums are wanted
    shift: int = 1
    window: Pair = (1, 1)
    stride: Pair = (1, 1)
    pad: Pad = NO_PAD
    extra: int | None = None  # the second source of "add"
    extra_zero: int = 0

    @property
    def gives_sums(self) -> bool:
        """Whether the result is int32 sums, as they are."""
        return self.multiplier is None and self.kind in ("conv", "depthwise", "mean")


#: What a backend makes of steps: int8 (N, H, W, C) to the last step's result, int32 (N, OH, OW, O).
Run = Callable[[np.ndarray], np.ndarray]


def requantise(sums: np.ndarray, multiplier: np.ndarray | int, shift: int, zero: int) -> np.ndarray:
    """Return int8 numbers: zero + sums * multiplier / 2**shift, rounded, halves up, and clipped to int8.

    The real factor between two scales, mostly below 1, becomes a whole number and a shift of bits, since
    a processor without floating point has nothing else (Jacob et al. 2018, section 2.2). Clipping is also the
    ReLU, where zero is the least int8 number.

    Args:
        sums: int32, (..., O).
        multiplier: int32, (O,), or one number for all.
        shift: within `SHIFTS`.
        zero: the result's zero point.
    """
    products = sums.astype(np.int64) * multiplier
    rounded = (products + (1 << (shift - 1))) >> shift
    return np.clip(rounded + zero, LOW, HIGH).astype(np.int8)
