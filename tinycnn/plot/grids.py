"""Many small pictures in one: a layer's filters, an image's feature maps."""

import math
from typing import TYPE_CHECKING

import numpy as np

from tinycnn.checks import check_positive, refuse
from tinycnn.errors import ShapeError
from tinycnn.layers import Conv2D, DepthwiseConv2D, Layer, SeparableConv2D
from tinycnn.plot.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def filters(layer: Layer) -> "Figure":
    """Draw a convolution's windows: red adds, blue subtracts, white ignores.

    Of a `Conv2D` with several input channels every row is one filter, with a window for each channel; the
    windows of others are simply side by side.

    Args:
        layer: a `Conv2D` or `DepthwiseConv2D`, or a `SeparableConv2D`, whose depthwise part is drawn.

    Raises:
        ConfigError: the layer is of another kind.
        MissingPackageError: Matplotlib is not installed.

    >>> filters(Conv2D(1, 16, 3, rng=0)).savefig("filters.png")
    """
    if isinstance(layer, SeparableConv2D):
        layer = layer.depthwise
    if not isinstance(layer, Conv2D | DepthwiseConv2D):
        refuse("layer", layer, "a Conv2D, DepthwiseConv2D or SeparableConv2D")
    kernel = layer.params["kernel"]
    columns = kernel.shape[2] if kernel.ndim == 4 and kernel.shape[2] > 1 else None
    windows = kernel.reshape(*kernel.shape[:2], -1) if columns is None else _by_filter(kernel)
    return _grid(windows, columns, signed=True)


def _by_filter(kernel: np.ndarray) -> np.ndarray:
    """Return the windows of a kernel (KH, KW, C, O) as (KH, KW, O * C)."""
    return kernel.transpose(0, 1, 3, 2).reshape(*kernel.shape[:2], -1)


def feature_grid(maps: np.ndarray, columns: int | None = None) -> "Figure":
    """Draw the maps that a layer makes of one image, on one scale of colours.

    Maps with negative numbers have white for 0, red above and blue below it.

    Args:
        maps: (H, W, C), such as ``explain.feature_maps(model, x)["conv1"][0]``.
        columns: how many stand in a row; by default about as many as there are rows.

    Raises:
        ShapeError: maps are not (H, W, C).
        ConfigError: `columns` is no whole number of at least 1.
        MissingPackageError: Matplotlib is not installed.

    >>> feature_grid(np.random.default_rng(0).standard_normal((8, 8, 6))).savefig("maps.png")
    """
    if np.ndim(maps) != 3 or 0 in np.shape(maps):
        raise ShapeError(f"feature_grid: expected one image's maps (H, W, C), found shape {np.shape(maps)}")
    if columns is not None:
        check_positive(columns=columns)
    return _grid(np.asarray(maps), columns, signed=bool(np.min(maps) < 0))


def _grid(tiles: np.ndarray, columns: int | None, signed: bool) -> "Figure":
    """Draw tiles (h, w, T) as one picture."""
    picture = mosaic(tiles, columns or math.ceil(math.sqrt(tiles.shape[2])))
    largest = float(np.abs(tiles).max()) or 1.0
    height, width = picture.shape
    inches = min(6.4 / max(height, width), 0.25)  # a pixel; small pictures stay small
    figure = new_figure(max(width * inches, 1.0) + 0.8, max(height * inches, 1.0))
    axes = figure.subplots()
    drawn = axes.imshow(
        picture,
        cmap="RdBu_r" if signed else "viridis",
        vmin=-largest if signed else 0,
        vmax=largest,
        interpolation="nearest",
    )
    axes.set_axis_off()
    figure.colorbar(drawn, ax=axes, shrink=0.8)
    return figure


def mosaic(tiles: np.ndarray, columns: int) -> np.ndarray:
    """Return tiles (h, w, T) side by side, row after row, with lines of NaN between: a 2-dimensional array.

    A line is as thick as an eighth of a tile, at least one pixel; the last row may end in NaN.
    """
    h, w, count = tiles.shape
    line = max(1, max(h, w) // 8)
    rows = math.ceil(count / columns)
    picture = np.full((rows * (h + line) - line, min(columns, count) * (w + line) - line), np.nan)
    for index in range(count):
        row, column = divmod(index, columns)
        top, left = row * (h + line), column * (w + line)
        picture[top : top + h, left : left + w] = tiles[:, :, index]
    return picture
