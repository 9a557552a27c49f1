"""Convolution, ordinary and depthwise. (As everywhere in deep learning: cross-correlation, no flip.)"""

import numpy as np

from tinycnn.kernels.padding import Pad, Pair, output_size
from tinycnn.kernels.reference.windows import crop, pad_map, sliding_windows, window_offsets


def conv2d(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None, stride: Pair, pad: Pad) -> np.ndarray:
    """Return y[n,i,j,o] = sum over kh, kw, c of x[n, i*SH+kh, j*SW+kw, c] * kernel[kh,kw,c,o], plus bias[o].

    Args:
        x: (N, H, W, C).
        kernel: (KH, KW, C, O).
        bias: (O,) or None.
        stride: (SH, SW).
        pad: ((top, bottom), (left, right)) zeros around each map.

    Returns:
        (N, OH, OW, O).
    """
    windows = sliding_windows(pad_map(x, pad), kernel.shape[:2], stride)
    y = np.tensordot(windows, kernel, axes=([4, 5, 3], [0, 1, 2]))
    return y if bias is None else y + bias


def conv2d_backward(
    dy: np.ndarray, x: np.ndarray, kernel: np.ndarray, stride: Pair, pad: Pad
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradients of x and of the kernel, given dy (N, OH, OW, O), the gradient of y.

    Each product x * kernel of the forward pass sends dy * kernel to x and dy * x to the kernel. So with
    `seen`, what position (kh, kw) of every window has seen, dkernel[kh,kw] = seen.T @ dy, and
    dy @ kernel[kh,kw].T is added to the input's gradient at the same places.

    Returns:
        dx (N, H, W, C) and dkernel (KH, KW, C, O).
    """
    x_padded = pad_map(x, pad)
    dx_padded, dkernel = np.zeros_like(x_padded), np.empty_like(kernel)
    c, o = kernel.shape[2:]
    for kh, kw, where in window_offsets(kernel.shape[:2], stride, dy.shape[1:3]):
        dkernel[kh, kw] = x_padded[where].reshape(-1, c).T @ dy.reshape(-1, o)
        dx_padded[where] += dy @ kernel[kh, kw].T
    return crop(dx_padded, pad), dkernel


def depthwise_conv2d(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None, stride: Pair, pad: Pad
) -> np.ndarray:
    """Return y[n,i,j,c] = sum over kh, kw of x[n, i*SH+kh, j*SW+kw, c] * kernel[kh,kw,c], plus bias[c].

    Args:
        x: (N, H, W, C).
        kernel: (KH, KW, C): one window for each channel, and no sum over channels.
        bias: (C,) or None.
        stride: (SH, SW).
        pad: ((top, bottom), (left, right)) zeros around each map.

    Returns:
        (N, OH, OW, C).
    """
    x_padded, window = pad_map(x, pad), kernel.shape[:2]
    y = np.zeros((len(x), *output_size(x.shape[1:3], window, stride, pad), x.shape[3]), x.dtype)
    for kh, kw, where in window_offsets(window, stride, y.shape[1:3]):
        y += x_padded[where] * kernel[kh, kw]
    return y if bias is None else y + bias


def depthwise_conv2d_backward(
    dy: np.ndarray, x: np.ndarray, kernel: np.ndarray, stride: Pair, pad: Pad
) -> tuple[np.ndarray, np.ndarray]:
    """Return dx (N, H, W, C) and dkernel (KH, KW, C), given dy (N, OH, OW, C), the gradient of y."""
    x_padded = pad_map(x, pad)
    dx_padded, dkernel = np.zeros_like(x_padded), np.empty_like(kernel)
    for kh, kw, where in window_offsets(kernel.shape[:2], stride, dy.shape[1:3]):
        dkernel[kh, kw] = np.einsum("nijc,nijc->c", x_padded[where], dy)
        dx_padded[where] += dy * kernel[kh, kw]
    return crop(dx_padded, pad), dkernel
