"""Inference in whole numbers: a trained network with int8 weights, a quarter of the size.

Read `numbers.py` first, then `program.py`. What the steps do is in `tinycnn.kernels.integer` and
`tinycnn.kernels.reference.integer`.
"""

from tinycnn.quantized.convert import quantize
from tinycnn.quantized.file import load_quantized
from tinycnn.quantized.model import QuantizedModel

__all__ = ["QuantizedModel", "load_quantized", "quantize"]
