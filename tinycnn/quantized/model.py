"""A network in whole numbers, ready to be used."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn.checks import check_positive, check_shape
from tinycnn.errors import DTypeError, NonFiniteError, ShapeError
from tinycnn.files import replace_file
from tinycnn.finite import all_finite
from tinycnn.inference import as_map
from tinycnn.kernels import active, backend_name
from tinycnn.kernels.integer import HIGH, LOW, Run
from tinycnn.model import Sequential
from tinycnn.quantized.outline import outline
from tinycnn.quantized.program import assemble, split_softmax
from tinycnn.save import INT8_FORMAT, checked_labels, model_bytes
from tinycnn.summary import ruled

_ENDS = np.array([LOW, HIGH], np.int8)


class QuantizedModel:
    """A network with int8 weights that computes with whole numbers: made by `quantize` or `load_quantized`.

    Only its ends know real numbers: images become int8, and the last step's sums become scores, of which a
    softmax in float32 makes probabilities. Both backends give the same bits.

    Args:
        architecture: the float network's layers, whose weights do not matter, with its `input_shape`.
        arrays: those of `tinycnn.quantized.program.array_kinds`, by name: int8 ``kernel``, float32 ``scale``
            and int32 ``bias`` of every convolution and dense layer, and float32 ``ranges`` (V, 2), the least
            and the greatest number of the input and of each result.

    Attributes:
        architecture: the same.
        arrays: the same.
        input_shape: of one image.
        steps: what is done, one `IntegerStep` after another.

    Raises:
        ConfigError: a layer has no form in whole numbers, or 32 bits do not suffice for its sums.

    >>> images = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
    >>> tc.quantize(tc.Sequential([tc.Conv2D(1, 2, 3, rng=0), tc.ReLU()]), images)
    QuantizedModel(1 steps, 18 int8 weights, 50 bytes)
    """

    def __init__(self, architecture: Sequential, arrays: Mapping[str, np.ndarray]) -> None:
        self.architecture, self.arrays = architecture, dict(arrays)
        self.input_shape = check_shape(architecture.input_shape, "input_shape")
        self._named, self._softmax = split_softmax(outline(architecture, self.input_shape))
        self._program = assemble(self._named, self.arrays, as_map(self.input_shape))
        self._runs: dict[str, Run] = {}  # by backend
        self.steps = self._program.steps

    def __reduce__(self) -> tuple[Any, ...]:
        return QuantizedModel, (self.architecture, self.arrays)  # what is compiled cannot be pickled

    def predict(self, x: np.ndarray, batch_size: int = 64) -> np.ndarray:
        """Return the outputs for x, usually probabilities (N, K), float32.

        Args:
            x: float32, (N, H, W, C), of the size that the model was calibrated for, and finite.
            batch_size: images that go through the network together.

        Raises:
            ShapeError, DTypeError: x is something else.
            ConfigError: the batch size is no whole number of at least 1.
            NonFiniteError: x holds NaN or infinity, for which there are no whole numbers.
        """
        check_positive(batch_size=batch_size)
        if not isinstance(x, np.ndarray) or x.dtype != np.float32:
            raise DTypeError(f"images are {getattr(x, 'dtype', type(x).__name__)}: expected float32")
        if isinstance(x, np.ma.MaskedArray):
            raise DTypeError("images have a mask: use x.filled(0)")
        if x.shape[1:] != self.input_shape or not len(x):
            wanted = ", ".join(map(str, self.input_shape))
            raise ShapeError(f"expected at least one image, (N, {wanted}), found {x.shape}")
        if not all_finite(x):
            raise NonFiniteError("the images hold NaN or infinity: expected finite numbers")
        return np.concatenate([self._batch(x[i : i + batch_size]) for i in range(0, len(x), batch_size)])

    def _batch(self, x: np.ndarray) -> np.ndarray:
        scales, steps, scale, zero = self._program
        shape = as_map(self.input_shape)
        if backend_name() not in self._runs:
            self._runs[backend_name()] = active().prepare_integer_steps(steps, shape)
        result = self._runs[backend_name()](scales[0](x).reshape(len(x), *shape))
        outputs = (result - zero).astype(np.float32) * scale
        outputs = outputs.reshape(len(x), *self.architecture.output_shape(self.input_shape))
        return active().softmax(outputs) if self._softmax else outputs

    def save(self, path: str | os.PathLike, *, labels: Sequence[str] = (), **extra: Any) -> None:
        """Write the model so that `tinycnn.load_quantized` needs nothing but the file.

        Args:
            path: usually ending in ``.safetensors``.
            labels: names of the K outputs.
            extra: further metadata, such as ``preprocessing={"mean": 129.5, "std": 65.1}``, for
                `tinycnn.load_info`.

        Raises:
            ConfigError: there are not K labels, or the metadata are too long or not what JSON can hold.
            OSError: the file cannot be written.
        """
        info = {**extra, "labels": checked_labels(labels, self.architecture)}
        replace_file(Path(path), model_bytes(INT8_FORMAT, self.architecture, self.arrays, info))

    def summary(self) -> str:
        """Return a table of the steps: kinds, shapes, weights, and ranges of the results in real numbers."""
        lines: list[tuple[str, ...]] = [("step", "kind", "output", "int8 weights", "least", "greatest")]
        for (name, _), step, scale in zip(self._named, self.steps, self._program.scales[1:], strict=True):
            ends = ["", ""] if step.gives_sums else [f"{end:.3g}" for end in scale.real(_ENDS)]
            shape, weights = "x".join(map(str, step.shape)), 0 if step.kernel is None else step.kernel.size
            lines.append((name, step.kind, shape, f"{weights:,}", *ends))
        lines.append(("total", "", "", f"{self._weights():,}", "", ""))
        return ruled(lines, words=3)

    def _weights(self) -> int:
        return sum(array.size for array in self.arrays.values() if array.dtype == np.int8)

    def __repr__(self) -> str:
        size = sum(array.nbytes for array in self.arrays.values())
        return f"QuantizedModel({len(self.steps)} steps, {self._weights():,} int8 weights, {size:,} bytes)"
