"""ONNX, which ONNX Runtime, OpenCV and many others run: `export` writes it, `load` reads it.

Images are (N, C, H, W) there, as ONNX's operators and OpenCV's ``blobFromImage`` have it. Operators:
onnx.ai/onnx/operators.
"""

from tinycnn.interop.onnx.reader import load
from tinycnn.interop.onnx.writer import export

__all__ = ["export", "load"]
