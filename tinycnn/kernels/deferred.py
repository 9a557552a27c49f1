"""What flows between fused kernels: arrays with some of their arithmetic still to be done.

A training step is bound by memory: a batch norm that reads its input and writes its output costs more than
the arithmetic of a small convolution. So batch norm and ReLU are not carried out but noted, and whoever needs
the result applies them while it loads the array. Backwards likewise.
"""

from typing import NamedTuple

import numpy as np

from tinycnn.kernels.padding import Pad, Pair


class Deferred(NamedTuple):
    """The array z * scale + shift, then ReLU if `relu`, not yet computed."""

    z: np.ndarray  # (N, H, W, C)
    mean: np.ndarray  # (C,), of z over the batch
    scale: np.ndarray  # (C,)
    shift: np.ndarray  # (C,)
    relu: bool = False


#: What a fused kernel takes: a finished array or a deferred one.
Input = np.ndarray | Deferred


def raw(x: Input) -> np.ndarray:
    """Return the array that lies in memory: x itself, or what its map is still to be applied to."""
    return x.z if isinstance(x, Deferred) else x


class Pooled(NamedTuple):
    """How a max-pool came to its values: what a gradient needs to find its way back."""

    winner: np.ndarray  # (N, OH, OW, C) of uint8: kh * KW + kw
    window: Pair
    stride: Pair
    pad: Pad


class Gradient(NamedTuple):
    """The gradient of a `Deferred`, already masked by its ReLU, with what batch norm's backward pass sums.

    Where `pooled` is set, g has the pooled size, and belongs at the winners' places.
    """

    g: np.ndarray  # (N, H, W, C)
    sum_g: np.ndarray  # (C,), float64
    sum_gz: np.ndarray  # (C,), float64: the sum of g * (z - mean)
    pooled: Pooled | None = None


class NormGradient(NamedTuple):
    """The gradient gain * g + slope * z + offset of a convolution's output z, not yet computed."""

    gradient: Gradient
    z: np.ndarray  # (N, H, W, C)
    gain: np.ndarray  # (C,)
    slope: np.ndarray  # (C,)
    offset: np.ndarray  # (C,)
