"""What convolutions and the dense layer share: a kernel, perhaps a bias, perhaps L2 regularisation."""

from typing import Any

import numpy as np

from tinycnn.checks import check_flag, is_number, refuse
from tinycnn.errors import DTypeError
from tinycnn.kernels import active
from tinycnn.layers.base import Arrays, Layer, check_array
from tinycnn.layers.initializers import Seed, constant, initial_kernel


class KernelLayer(Layer):
    """A layer with ``params["kernel"]``, whose last axis is the outputs, and maybe ``params["bias"]``."""

    def __init__(
        self, shape: tuple[int, ...], fan: tuple[int, int], bias: bool, init: str, l2: float, rng: Seed
    ) -> None:
        super().__init__()
        check_flag(bias=bias)
        if not (is_number(l2) and l2 >= 0):
            refuse("l2", l2, "a finite number of at least 0")
        self.l2, self._shape = l2, shape
        self.params["kernel"] = initial_kernel(init, rng, shape, *fan)
        if bias:
            self.params["bias"] = constant(0, shape[-1])

    def _checked_input(self, x: np.ndarray) -> np.ndarray:
        x = super()._checked_input(x)
        self.check_arrays(x.dtype)
        return x

    def check_arrays(self, dtype: np.dtype) -> None:
        """Check that kernel and bias, which anybody may exchange, are still what kernels trust them to be.

        Raises:
            ShapeError: one is not.
            DTypeError: one is not of the input's dtype.
        """
        for name, shape in (("kernel", self._shape), ("bias", self._shape[-1:])):
            if (array := self.params.get(name)) is None:
                continue
            check_array(self, name, array, shape)
            if array.dtype != dtype:
                raise DTypeError(f"{self!r}: its {name} is {array.dtype}, the input is {dtype}")

    def _grads(self, dkernel: np.ndarray, dy: np.ndarray) -> Arrays:
        """Return the parameters' gradients, given the kernel's without L2, and the output's."""
        if self.l2:
            dkernel += 2 * self.l2 * self.params["kernel"]
        grads = {"kernel": dkernel}
        if "bias" in self.params:
            grads["bias"] = active().bias_backward(dy)
        return grads

    def penalty(self) -> float:
        """Return l2 * sum(kernel ** 2)."""
        return self.l2 * float(np.square(self.params["kernel"]).sum()) if self.l2 else 0.0

    def config(self) -> dict[str, Any]:
        """Return the arguments that every layer with a kernel has."""
        return {"bias": "bias" in self.params, "l2": self.l2}
