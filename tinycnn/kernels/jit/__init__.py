"""The same operations as `tinycnn.kernels.reference`, compiled with numba: faster, and nothing else.

The only folder that imports numba. Each public function prepares arrays and splits images over threads; each
compiled one is a loop on flat arrays. Large matrix products stay with BLAS; small ones, in the fused kernels
and in inference, are taken where they lie (`product`). Where NumPy is already as fast, the reference serves.
"""

from tinycnn.kernels.jit.activation import add, dropout, relu, relu_backward
from tinycnn.kernels.jit.branches import concat, split
from tinycnn.kernels.jit.conv import conv2d, conv2d_backward
from tinycnn.kernels.jit.deferred import deferred_max_pool2d, finished, gradient_of
from tinycnn.kernels.jit.dense import bias_backward, dense, dense_backward
from tinycnn.kernels.jit.depthwise import depthwise_conv2d, depthwise_conv2d_backward
from tinycnn.kernels.jit.fused import conv_moments, fuses_conv2d
from tinycnn.kernels.jit.fused_backward import conv_moments_backward
from tinycnn.kernels.jit.inference import prepare_steps
from tinycnn.kernels.jit.integer import prepare_integer_steps
from tinycnn.kernels.jit.norm import batch_norm_apply, batch_norm_backward, batch_norm_statistics
from tinycnn.kernels.jit.optim import adam_step, sgd_step
from tinycnn.kernels.jit.pool import avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward
from tinycnn.kernels.reference import (
    global_avg_pool2d,
    global_avg_pool2d_backward,
    softmax,
    softmax_backward,
    softmax_cross_entropy,
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
