"""tinycnn: convolutional networks from hand-written layers.

>>> import numpy as np
>>> import tinycnn as tc
>>> features = [tc.Conv2D(1, 8, 3, rng=0), tc.ReLU(), tc.GlobalAvgPool2D()]
>>> model = tc.Sequential([*features, tc.Dense(8, 7, rng=1), tc.Softmax()])
>>> model.predict(np.zeros((2, 48, 48, 1), np.float32)).shape
(2, 7)
"""

from tinycnn._version import __version__
from tinycnn.averaging import ExponentialMovingAverage
from tinycnn.checkpoint import Checkpoint
from tinycnn.errors import (
    BackendError,
    CacheError,
    CheckpointWarning,
    ConfigError,
    DTypeError,
    FileFormatError,
    MissingPackageError,
    NonFiniteError,
    ShapeError,
    TinyCNNError,
)
from tinycnn.gradcheck import gradcheck
from tinycnn.inference import Prepared, compile_for_inference
from tinycnn.interop.onnx import export as export_onnx
from tinycnn.interop.onnx import load as import_onnx
from tinycnn.kernels import backend, backend_name
from tinycnn.kernels.threads import get_threads, set_threads
from tinycnn.layers import (
    AvgPool2D,
    BatchNorm,
    Composite,
    Concat,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Layer,
    MaxPool2D,
    ReLU,
    Residual,
    SeparableConv2D,
    Softmax,
    glorot,
    he,
)
from tinycnn.losses import SoftmaxCrossEntropy
from tinycnn.model import Sequential
from tinycnn.optimizers import SGD, Adam, Optimizer
from tinycnn.progress import Progress
from tinycnn.quantized import QuantizedModel, load_quantized, quantize
from tinycnn.save import is_quantized, load, load_info, register, save
from tinycnn.schedules import Constant, Cosine, OneCycle, ReduceOnPlateau, Schedule
from tinycnn.train import Evaluation, History, StopTraining, train_step

__all__ = [
    "SGD",
    "Adam",
    "AvgPool2D",
    "BackendError",
    "BatchNorm",
    "CacheError",
    "Checkpoint",
    "CheckpointWarning",
    "Composite",
    "Concat",
    "ConfigError",
    "Constant",
    "Conv2D",
    "Cosine",
    "DTypeError",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Evaluation",
    "ExponentialMovingAverage",
    "FileFormatError",
    "Flatten",
    "GlobalAvgPool2D",
    "History",
    "Layer",
    "MaxPool2D",
    "MissingPackageError",
    "NonFiniteError",
    "OneCycle",
    "Optimizer",
    "Prepared",
    "Progress",
    "QuantizedModel",
    "ReLU",
    "ReduceOnPlateau",
    "Residual",
    "Schedule",
    "SeparableConv2D",
    "Sequential",
    "ShapeError",
    "Softmax",
    "SoftmaxCrossEntropy",
    "StopTraining",
    "TinyCNNError",
    "__version__",
    "backend",
    "backend_name",
    "compile_for_inference",
    "export_onnx",
    "get_threads",
    "glorot",
    "gradcheck",
    "he",
    "import_onnx",
    "is_quantized",
    "load",
    "load_info",
    "load_quantized",
    "quantize",
    "register",
    "save",
    "set_threads",
    "train_step",
]
