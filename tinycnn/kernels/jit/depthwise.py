"""Depthwise convolution: no matrix product in it, so loops, arranged to fill SIMD registers.

The kernel is repeated along a whole row, once for each output column. With stride 1, position (kh, kw) of
every window in a row is then one run of OW*C neighbours in the input, the output and the repeated kernel.
With a larger stride the runs are C long, one for each output column.
"""

import numpy as np

from tinycnn.kernels.jit.compile import compiled, folded
from tinycnn.kernels.jit.team import for_images, for_parts
from tinycnn.kernels.memory import empty
from tinycnn.kernels.padding import Pad, Pair, output_size
from tinycnn.kernels.threads import chunk_count


def depthwise_conv2d(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None, stride: Pair, pad: Pad
) -> np.ndarray:
    """Return y (N, OH, OW, C); see the reference for the definition."""
    out_size = output_size(x.shape[1:3], kernel.shape[:2], stride, pad)
    y = empty((len(x), *out_size, x.shape[3]), x.dtype)
    taps = _repeated(kernel, out_size[1])

    def work(start: int, stop: int) -> None:
        y[start:stop] = 0 if bias is None else bias
        _forward(x[start:stop], taps, y[start:stop], *kernel.shape[:2], *stride, pad[0][0], pad[1][0])

    for_parts(y, work)
    return y


def depthwise_conv2d_backward(
    dy: np.ndarray, x: np.ndarray, kernel: np.ndarray, stride: Pair, pad: Pad
) -> tuple[np.ndarray, np.ndarray]:
    """Return dx (N, H, W, C) and dkernel (KH, KW, C); see the reference for the derivation."""
    taps = _repeated(kernel, dy.shape[2])
    dx = empty(x.shape, x.dtype)
    partial = np.zeros((chunk_count(len(x)), *taps.shape), x.dtype)

    def work(chunk: int, start: int, stop: int) -> None:
        dx[start:stop] = 0
        images = (dy[start:stop], x[start:stop], taps, dx[start:stop], partial[chunk])
        _backward(*images, *kernel.shape[:2], *stride, pad[0][0], pad[1][0])

    for_images(dy, work)
    return dx, folded(partial.sum(axis=0), x.shape[3]).reshape(kernel.shape)


def _repeated(kernel: np.ndarray, out_width: int) -> np.ndarray:
    """Return the kernel (KH, KW, C) as (KH*KW, OW*C), repeated along a row of outputs."""
    kh, kw, c = kernel.shape
    return np.tile(kernel.reshape(kh * kw, c), (1, out_width))


@compiled
def _columns_inside(kw, width, out_width, stride, left):
    """Range of output columns whose window has its position kw inside the map."""
    first = max(0, -((kw - left) // stride))  # ceil((left - kw) / stride)
    stop = min(out_width, (width - 1 + left - kw) // stride + 1)
    return first, max(first, stop)


@compiled
def _forward(x, taps, y, kh, kw, sh, sw, top, left):
    n, h, w, c = x.shape
    _, oh, ow, _ = y.shape
    x_flat, y_flat, taps_flat = x.reshape(-1), y.reshape(-1), taps.reshape(-1)
    for image in range(n):
        for i in range(oh):
            for tap in range(kh * kw):
                row, column = i * sh + tap // kw - top, tap % kw
                if not 0 <= row < h:
                    continue
                first, stop = _columns_inside(column, w, ow, sw, left)
                step = max(stop - first, 1) if sw == 1 else 1
                for j in range(first, stop, step):
                    x_at = np.uintp(((image * h + row) * w + j * sw + column - left) * c)
                    y_at = np.uintp(((image * oh + i) * ow + j) * c)
                    tap_at = np.uintp((tap * ow + j) * c)
                    for k in range(np.uintp(step * c)):
                        y_flat[y_at + k] += x_flat[x_at + k] * taps_flat[tap_at + k]


@compiled
def _backward(dy, x, taps, dx, dtaps, kh, kw, sh, sw, top, left):
    n, h, w, c = x.shape
    _, oh, ow, _ = dy.shape
    x_flat, dx_flat, dy_flat = x.reshape(-1), dx.reshape(-1), dy.reshape(-1)
    taps_flat, dtaps_flat = taps.reshape(-1), dtaps.reshape(-1)
    for image in range(n):
        for i in range(oh):
            for tap in range(kh * kw):
                row, column = i * sh + tap // kw - top, tap % kw
                if not 0 <= row < h:
                    continue
                first, stop = _columns_inside(column, w, ow, sw, left)
                step = max(stop - first, 1) if sw == 1 else 1
                for j in range(first, stop, step):
                    x_at = np.uintp(((image * h + row) * w + j * sw + column - left) * c)
                    y_at = np.uintp(((image * oh + i) * ow + j) * c)
                    tap_at = np.uintp((tap * ow + j) * c)
                    # Two loops, each with three arrays: LLVM gives up on SIMD where too many might overlap.
                    for k in range(np.uintp(step * c)):
                        dx_flat[x_at + k] += dy_flat[y_at + k] * taps_flat[tap_at + k]
                    for k in range(np.uintp(step * c)):
                        dtaps_flat[tap_at + k] += dy_flat[y_at + k] * x_flat[x_at + k]
