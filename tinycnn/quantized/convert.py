"""Post-training quantisation: a trained network, and some images that show how large its numbers get."""

from collections.abc import Sequence

import numpy as np

from tinycnn.checks import refuse
from tinycnn.errors import ConfigError, DTypeError, NonFiniteError
from tinycnn.finite import all_finite
from tinycnn.inference import as_map
from tinycnn.kernels import active, one_thread_pool
from tinycnn.kernels.steps import run_step
from tinycnn.layers.base import Arrays
from tinycnn.layers.initializers import placeholders
from tinycnn.model import Sequential
from tinycnn.quantized.model import QuantizedModel
from tinycnn.quantized.numbers import Weights
from tinycnn.quantized.outline import Named, outline
from tinycnn.quantized.program import have_range, split_softmax, value_scales
from tinycnn.save import build, spec_of

#: Images that go through the network together while their numbers are looked at.
_BATCH = 64


def quantize(model: Sequential, images: np.ndarray) -> QuantizedModel:
    """Return a model's counterpart with int8 weights and arithmetic in whole numbers.

    Batch norm is folded into the weights, which get a scale for each output channel. Every map gets one
    scale, so that its 256 numbers span all that it holds for any of the images, from the least to the
    greatest number. Nothing is trained. See Jacob et al. 2018, "Quantization and training of neural networks
    for efficient integer-arithmetic-only inference", section 2.

    Args:
        model: a trained one; it is not changed.
        images: float32, (N, H, W, C), as `predict` takes them; some hundred of the training part.

    Raises:
        ConfigError: a layer has no form in whole numbers; the message names it.
        ShapeError, DTypeError: the images do not fit the model.
        NonFiniteError: the images, or numbers in the network, are NaN or infinite.

    >>> import tinycnn as tc
    >>> images = np.random.default_rng(0).standard_normal((32, 8, 8, 1)).astype(np.float32)
    >>> features = [tc.Conv2D(1, 4, 3, rng=0), tc.ReLU(), tc.GlobalAvgPool2D()]
    >>> model = tc.Sequential([*features, tc.Dense(4, 2, rng=0), tc.Softmax()])
    >>> small = tc.quantize(model, images)
    >>> small
    QuantizedModel(3 steps, 44 int8 weights, 116 bytes)
    >>> bool(abs(small.predict(images) - model.predict(images)).max() < 0.02)
    True
    """
    if not isinstance(model, Sequential):
        raise ConfigError(f"model is a {type(model).__name__}: expected a tinycnn.Sequential")
    if not isinstance(images, np.ndarray) or images.ndim < 2 or not len(images):
        refuse("images", getattr(images, "shape", images), "an array of at least one image, (N, H, W, C)")
    if images.dtype != np.float32:
        raise DTypeError(f"images are {images.dtype}: expected float32: use images.astype(np.float32)")
    model = model.astype(np.float32)
    model._checked_input(images)
    named, _ = split_softmax(outline(model, images.shape[1:]))
    ranges = _ranges(named, images)
    arrays: Arrays = {"ranges": ranges}
    scales = value_scales(named, ranges)
    for name, step in named:
        kernel = step.taps if step.kernel is None else step.kernel
        if kernel is not None:
            weights = Weights.of(kernel, step.bias, scales[step.source])
            arrays |= {f"{name}.{key}": array for key, array in weights._asdict().items()}
    with placeholders():
        architecture = build(spec_of(model))
    architecture.input_shape = images.shape[1:]
    return QuantizedModel(architecture, arrays)


def _ranges(named: Sequence[Named], images: np.ndarray) -> np.ndarray:
    """Return the least and the greatest number of each value that has a range of its own: float32 (V, 2)."""
    ends = np.zeros((1 + len(named), 2), np.float32)  # 0 is to be inside of every range
    for first in range(0, len(images), _BATCH):
        values = {0: images[first : first + _BATCH].reshape(-1, *as_map(images.shape[1:]))}
        with one_thread_pool():
            for number, (_, step) in enumerate(named, 1):
                values[number] = run_step(step, values, active())
        for number, value in values.items():
            if not all_finite(value):
                where = f"what layer {named[number - 1].name!r} makes of " if number else ""
                raise NonFiniteError(f"NaN or infinity in {where}the images: expected finite numbers")
            low, high = ends[number]
            ends[number] = min(low, value.min()), max(high, value.max())
    return ends[have_range(named)]
