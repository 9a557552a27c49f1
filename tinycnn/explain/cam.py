"""Grad-CAM: where in the last maps is the evidence?"""

from collections.abc import Iterator

import numpy as np

from tinycnn.checks import check_positive
from tinycnn.errors import ConfigError, DTypeError, ShapeError
from tinycnn.explain.twin import ClassIndex, Twin, check_model, score_gradient
from tinycnn.kernels import one_thread_pool
from tinycnn.layers import AvgPool2D, Dropout, Layer, MaxPool2D, Sequential
from tinycnn.layers.base import Shape, joined


def grad_cam(
    model: Sequential,
    x: np.ndarray,
    class_index: ClassIndex,
    layer: str | None = None,
    upsample: bool = False,
) -> np.ndarray:
    """Return where in a layer's maps the evidence for a class is: (N, h, w), at least 0.

    With A (h, w, C) a layer's output for one image and s the class's score, each map's weight is its mean
    gradient, a[k] = mean over i, j of ds / dA[i, j, k], and the result is max(sum_k a[k] * A[:, :, k], 0)
    (Selvaraju et al. 2017, "Grad-CAM", equations 1 and 2). Where the score is the mean of a map, as in
    mini-Xception, this is that very map where it is positive, divided by h * w.

    Args:
        model: a classifier; a final `Softmax` is left out.
        x: (N, H, W, C), of the parameters' dtype.
        class_index: from 0 to K - 1, one for all images or one for each.
        layer: path of a layer that gives maps, as `model.walk()` names it. By default the last one, before
            the network takes a mean or lays the numbers in a row; dropout after it is passed over, and so is
            pooling, for it only makes the picture coarser.
        upsample: enlarge the result to (N, H, W).

    Raises:
        ShapeError, DTypeError, ConfigError: x, the class or the layer does not fit the model, or it has no
            map larger than 1x1.

    >>> features = {"conv": tc.Conv2D(1, 4, 3, rng=0), "relu": tc.ReLU(), "mean": tc.GlobalAvgPool2D()}
    >>> model = tc.Sequential({**features, "dense": tc.Dense(4, 2, rng=1)})
    >>> x = np.ones((3, 8, 8, 1), np.float32)
    >>> grad_cam(model, x, class_index=1).shape
    (3, 6, 6)
    >>> grad_cam(model, x, class_index=1, upsample=True).shape
    (3, 8, 8)
    """
    check_model(model)
    layer = _last_map(model, np.shape(x)[1:]) if layer is None else layer
    twin = Twin(model, [layer])
    with one_thread_pool():
        score_gradient(twin, x, class_index)
    maps, gradients = twin.outputs[layer], twin.gradients[layer]
    if maps.ndim != 4:
        raise ShapeError(f"layer {layer!r} gives {maps.shape}: expected one that gives maps (N, H, W, C)")
    cam = weigh(maps, gradients)
    return resize(cam, x.shape[1], x.shape[2]) if upsample else cam


def weigh(maps: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Return Grad-CAM (N, h, w), given maps (N, h, w, C) and a score's gradients with respect to them."""
    weights = gradients.mean(axis=(1, 2))
    return np.maximum(np.einsum("nhwc,nc->nhw", maps, weights), 0)


def split(model: Sequential, input_shape: Shape) -> tuple[Sequential, Sequential]:
    """Return a model in two: up to the layer that `grad_cam` explains by default, and what comes after it.

    For several classes of one image the first, and larger, part is needed once and without a gradient. Both
    parts share their layers with the model.

    Args:
        model: a classifier.
        input_shape: (H, W, C) of an image.

    Raises:
        ConfigError: it has no map larger than 1x1.
    """
    stations = [*_stations(model, "", input_shape)]
    after = [path for path, _, _ in stations].index(_last_map(model, input_shape)) + 1
    layers = [layer for _, layer, _ in stations]
    return Sequential(layers[:after]), Sequential(layers[after:])


def _last_map(model: Sequential, input_shape: Shape) -> str:
    """Return the path of the last layer with maps, pooling at the end passed over."""
    paths = [path for path, layer, shape in _stations(model, "", input_shape) if _is_map(layer, shape)]
    if not paths:
        raise ConfigError("the model has no map larger than 1x1: expected a convolutional network")
    return paths[-1]


def _stations(layer: Layer, path: str, shape: Shape) -> Iterator[tuple[str, Layer, Shape]]:
    """Yield (path, layer, its output shape) along the main line; what has several paths is one station."""
    if not isinstance(layer, Sequential):
        yield path, layer, layer.output_shape(shape)
        return
    for name, child in layer.children().items():
        yield from _stations(child, joined(path, name), shape)
        shape = child.output_shape(shape)


def _is_map(layer: Layer, shape: Shape) -> bool:
    passed_over = isinstance(layer, MaxPool2D | AvgPool2D | Dropout)
    return len(shape) == 3 and shape[:2] != (1, 1) and not passed_over


def resize(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return maps (N, h, w) enlarged to (N, height, width) by linear interpolation between pixels' centres.

    Beyond the outermost centres the outermost value goes on.

    Args:
        maps: float, (N, h, w).
        height: of the result, in pixels.
        width: of the result, in pixels.

    Raises:
        ShapeError: maps are not (N, h, w).
        DTypeError: they are not floats, or none.
        ConfigError: a length is no whole number of at least 1.

    >>> resize(np.array([[[0.0, 1.0]]]), 1, 4)
    array([[[0.  , 0.25, 0.75, 1.  ]]])
    """
    if isinstance(maps, np.ma.MaskedArray):
        raise DTypeError("resize: maps have a mask: use maps.filled(0)")
    maps = np.asarray(maps)
    if maps.ndim != 3:
        raise ShapeError(f"resize: expected maps (N, h, w), found shape {maps.shape}")
    check_positive(height=height, width=width)
    if not np.issubdtype(maps.dtype, np.floating) or not maps.size:
        raise DTypeError(f"resize: expected maps of floats, at least one number, found {maps.dtype}")
    rows, columns = _interpolation(maps.shape[1], height), _interpolation(maps.shape[2], width)
    return (rows @ maps @ columns.T).astype(maps.dtype)


def _interpolation(length: int, wanted: int) -> np.ndarray:
    """Return the matrix (wanted, length) that interpolates a line of numbers."""
    centres, places = (np.arange(length) + 0.5) / length, (np.arange(wanted) + 0.5) / wanted
    return np.stack([np.interp(places, centres, unit) for unit in np.eye(length)], axis=1)
