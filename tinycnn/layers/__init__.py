"""Floor 2: layers hold parameters and state, and call kernels to do the arithmetic."""

from tinycnn.layers.activation import Dropout, ReLU, Softmax
from tinycnn.layers.base import Composite, Layer
from tinycnn.layers.containers import Concat, Residual, Sequential
from tinycnn.layers.conv import Conv2D, DepthwiseConv2D, SeparableConv2D
from tinycnn.layers.dense import Dense, Flatten
from tinycnn.layers.initializers import glorot, he
from tinycnn.layers.norm import BatchNorm
from tinycnn.layers.pool import AvgPool2D, GlobalAvgPool2D, MaxPool2D

__all__ = [
    "AvgPool2D",
    "BatchNorm",
    "Composite",
    "Concat",
    "Conv2D",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2D",
    "Layer",
    "MaxPool2D",
    "ReLU",
    "Residual",
    "SeparableConv2D",
    "Sequential",
    "Softmax",
    "glorot",
    "he",
]
