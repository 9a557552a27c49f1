"""The definition of every operation, in NumPy: executed, tested, and readable.

Shapes throughout: activations are (N, H, W, C), that is images, rows, columns, channels; convolution
kernels are (KH, KW, C, O) with O output channels; outputs are (N, OH, OW, O). No function changes its inputs,
except the optimisers' steps, whose purpose it is.
"""

from tinycnn.kernels.reference.activation import add, dropout, relu, relu_backward, softmax, softmax_backward
from tinycnn.kernels.reference.branches import concat, split
from tinycnn.kernels.reference.conv import (
    conv2d,
    conv2d_backward,
    depthwise_conv2d,
    depthwise_conv2d_backward,
)
from tinycnn.kernels.reference.dense import bias_backward, dense, dense_backward
from tinycnn.kernels.reference.fused import (
    conv_moments,
    conv_moments_backward,
    finished,
    fuses_conv2d,
    gradient_of,
)
from tinycnn.kernels.reference.fused_pool import deferred_max_pool2d
from tinycnn.kernels.reference.inference import prepare_steps
from tinycnn.kernels.reference.integer import prepare_integer_steps
from tinycnn.kernels.reference.loss import softmax_cross_entropy
from tinycnn.kernels.reference.norm import batch_norm_apply, batch_norm_backward, batch_norm_statistics
from tinycnn.kernels.reference.optim import adam_step, sgd_step
from tinycnn.kernels.reference.pool import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)

__all__ = [
    "adam_step",
    "add",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm_apply",
    "batch_norm_backward",
    "batch_norm_statistics",
    "bias_backward",
    "concat",
    "conv2d",
    "conv2d_backward",
    "conv_moments",
    "conv_moments_backward",
    "deferred_max_pool2d",
    "dense",
    "dense_backward",
    "depthwise_conv2d",
    "depthwise_conv2d_backward",
    "dropout",
    "finished",
    "fuses_conv2d",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "gradient_of",
    "max_pool2d",
    "max_pool2d_backward",
    "prepare_integer_steps",
    "prepare_steps",
    "relu",
    "relu_backward",
    "sgd_step",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "split",
]
