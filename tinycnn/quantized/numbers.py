"""Real numbers as whole ones: scales, zero points, kernels, and factors without floating point."""

from typing import NamedTuple

import numpy as np

from tinycnn.kernels.integer import HIGH, LOW, SHIFTS

#: Bits of the largest bias: a sum of products has the rest of 32.
_BIAS_BITS = 24
_TINY = float(np.finfo(np.float32).tiny)


class Scale(NamedTuple):
    """What the int8 numbers of a map mean: r = scale * (q - zero)."""

    scale: float
    zero: int

    @classmethod
    def over(cls, low: float, high: float) -> "Scale":
        """Return the scale whose 256 numbers span a range, which must contain 0.

        The zero point is rounded, so that 0 itself is one of them (Jacob et al. 2018, section 2.1). Where
        nothing is below 0, behind a ReLU, it is the least number, and clipping to int8 does the ReLU.
        """
        scale = max((high - low) / (HIGH - LOW), _TINY)
        return cls(scale, int(np.clip(np.rint(LOW - low / scale), LOW, HIGH)))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the int8 numbers nearest to x, float32 of any shape; halves go to the even one."""
        with np.errstate(over="ignore"):  # infinity is clipped as well
            q = np.rint(x / np.float32(self.scale)) + np.float32(self.zero)
        return np.clip(q, LOW, HIGH).astype(np.int8)

    def real(self, q: np.ndarray) -> np.ndarray:
        """Return what int8 numbers mean, float32."""
        return (q.astype(np.float32) - np.float32(self.zero)) * np.float32(self.scale)


class Weights(NamedTuple):
    """A kernel as int8, each of its output channels with a scale of its own, and 0 as 0.

    With batch norm folded into them, channels differ widely in size: one scale for all would leave the
    small ones a few numbers (Krishnamoorthi 2018, "Quantizing deep convolutional networks for efficient
    inference", section 3.1).
    """

    kernel: np.ndarray  # int8, (KH, KW, C, O) or (KH, KW, O)
    scale: np.ndarray  # float32, (O,)
    bias: np.ndarray  # int32, (O,), in units of the input's scale times the channel's

    @classmethod
    def of(cls, kernel: np.ndarray, bias: np.ndarray | None, source: Scale) -> "Weights":
        """Quantise a kernel (..., O) and a bias (O,) that are applied to a map of some scale."""
        real_bias = np.zeros(kernel.shape[-1]) if bias is None else bias.astype(np.float64)
        largest = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1))).astype(np.float64)
        # A channel whose weights are next to nothing may have a bias all the same.
        scale = np.maximum(largest / HIGH, np.abs(real_bias) / (source.scale * 2.0**_BIAS_BITS))
        scale = np.maximum(scale, _TINY).astype(np.float32)
        whole = np.clip(np.rint(kernel / scale), -HIGH, HIGH).astype(np.int8)
        return cls(
            whole, scale, np.rint(real_bias / (source.scale * scale.astype(np.float64))).astype(np.int32)
        )


def fixed_point(factors: np.ndarray, bits: int) -> tuple[np.ndarray, int]:
    """Return whole numbers and a shift: factors are about numbers / 2**shift.

    Args:
        factors: float64, (O,), above 0.
        bits: of the largest number.

    Raises:
        OverflowError: the largest factor needs more bits.
    """
    _, exponent = np.frexp(factors.max())
    least, most = SHIFTS
    if bits - exponent < least:
        raise OverflowError(f"a factor of {factors.max():g} between two scales")
    shift = min(int(bits - exponent), most)
    return np.rint(factors * 2.0**shift).astype(np.int32), shift
