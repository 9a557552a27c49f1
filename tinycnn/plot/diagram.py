"""A model as a diagram in SVG: boxes from top to bottom; what has several paths is drawn as branches."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from tinycnn.checks import check_shape, refuse
from tinycnn.layers import (
    AvgPool2D,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    GlobalAvgPool2D,
    Layer,
    MaxPool2D,
    ReLU,
    Residual,
    SeparableConv2D,
    Softmax,
)
from tinycnn.layers import Sequential as Chain
from tinycnn.layers.base import Shape, joined

#: Layers that stand in the box of the layer before them.
_FOLLOWERS = (BatchNorm, ReLU, Dropout, Softmax)
_COLOURS: dict[tuple[type[Layer], ...], str] = {
    (Conv2D, DepthwiseConv2D, SeparableConv2D): "#0072B2",
    (MaxPool2D, AvgPool2D, GlobalAvgPool2D): "#009E73",
    (Dense,): "#E69F00",
}
#: All lengths are in pixels: a line of text, space around it, an arrow, a letter, and so on.
_LINE, _PAD, _GAP, _LETTER, _NARROWEST, _MARGIN = 16, 8, 30, 6.5, 220, 12
_RADIUS = 9  # of the circle that stands for a sum


class Svg(str):
    """The text of an SVG picture; a notebook shows the picture.

    >>> Svg("<svg></svg>").startswith("<svg")
    True
    """

    def _repr_html_(self) -> str:
        return str(self)


@dataclass(frozen=True)
class _Drawing:
    """A part of the picture; its input and output are at x = 0, at the top and at the bottom.

    Attributes:
        left: how far it reaches to the left of its axis, in pixels, as all lengths here.
        right: how far it reaches to the right.
        height: from input to output.
        svg: its elements.
        forks: whether it begins with lines that part, and not with a box.
    """

    left: float
    right: float
    height: float
    svg: str
    forks: bool = False

    def at(self, x: float, y: float) -> str:
        return f'<g transform="translate({x:g} {y:g})">{self.svg}</g>'


def architecture(model: Chain, input_shape: Shape | None = None) -> Svg:
    """Return a diagram of a model as the text of an SVG picture, which a notebook shows.

    Data flow from top to bottom; between two boxes stands the shape of what flows. Batch norm, ReLU, dropout
    and softmax share the box of the layer before them. Text and lines take the page's own colour.

    Args:
        model: any `Sequential`.
        input_shape: of one image, (H, W, C) or (features,); by default the model's own. Where neither is
            known, no shapes are shown.

    Raises:
        ConfigError: the model is no `Sequential`, or the shape is none.
        ShapeError: a layer cannot take what it is given.

    >>> model = tc.Sequential([tc.Flatten(), tc.Dense(4, 2, rng=0)])
    >>> architecture(model, input_shape=(2, 2, 1))[:5]
    '<svg '
    """
    if not isinstance(model, Chain):
        refuse("model", model, "a Sequential")
    shape = getattr(model, "input_shape", None)
    if input_shape is not None:
        shape = check_shape(input_shape, "input_shape")
    body, after = _chain(model, "", shape)
    top = _LINE + _PAD
    end = top + _GAP + body.height + _GAP
    width, height = body.left + body.right + 2 * _MARGIN, end + top
    picture = _Drawing(
        body.left,
        body.right,
        height,
        _text(0, _LINE, "input", weight="bold")
        + _link(top, shape, body)
        + body.at(0, top + _GAP)
        + _link(end - _GAP, after)
        + _text(0, end + _LINE, "output", weight="bold"),
    )
    return Svg(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" aria-label="architecture" style="max-width: 100%; height: auto" '
        'font-family="sans-serif" font-size="12" fill="currentColor" stroke="none">'
        f"{picture.at(body.left + _MARGIN, 0)}</svg>"
    )


def _draw(layer: Layer, path: str, shape: Shape | None) -> tuple[_Drawing, Shape | None]:
    """Return a layer's drawing and its output shape."""
    if isinstance(layer, Residual):
        return _residual(layer, path, shape)
    if isinstance(layer, Concat):
        return _concat(layer, path, shape)
    if isinstance(layer, Chain):
        return _chain(layer, path, shape)
    return _box([(path, layer)]), _after(layer, shape)


def _after(layer: Layer, shape: Shape | None) -> Shape | None:
    return None if shape is None else layer.output_shape(shape)


def _chain(model: Chain, path: str, shape: Shape | None) -> tuple[_Drawing, Shape | None]:
    """Draw layers one below the other, an arrow between two."""
    parts: list[_Drawing] = []
    height, svg = 0.0, ""
    for group in _groups(model, path):
        before = shape
        if len(group) == 1:
            part, shape = _draw(group[0][1], group[0][0], shape)
        else:
            part = _box(group)
            for _, layer in group:
                shape = _after(layer, shape)
        if parts:
            svg += _link(height, before, part)
            height += _GAP
        svg += part.at(0, height)
        height += part.height
        parts.append(part)
    left, right = max(part.left for part in parts), max(part.right for part in parts)
    return _Drawing(left, right, height, svg, forks=parts[0].forks), shape


def _groups(model: Chain, path: str) -> Iterator[list[tuple[str, Layer]]]:
    """Yield the layers that share a box, or a single module, as pairs of path and layer."""
    group: list[tuple[str, Layer]] = []
    for name, layer in model.children().items():
        full = joined(path, name)
        if group and not (
            isinstance(layer, _FOLLOWERS) and not isinstance(group[0][1], Residual | Concat | Chain)
        ):
            yield group
            group = []
        group.append((full, layer))
    yield group


def _box(group: list[tuple[str, Layer]]) -> _Drawing:
    path, first = group[0]
    title, name = _description(first), path.rpartition(".")[2]
    followers = " · ".join(type(layer).__name__ for _, layer in group[1:])
    width = max(_NARROWEST, _LETTER * max(len(title) + len(name) + 2, len(followers)) + 2 * _PAD)
    height = _LINE * (2 if followers else 1) + 2 * _PAD
    colour = next((c for kinds, c in _COLOURS.items() if isinstance(first, kinds)), "currentColor")
    edge, baseline = width / 2 - _PAD, _PAD + 12
    svg = (
        f"<title>{escape(', '.join(path for path, _ in group))}</title>"
        f'<rect x="{-width / 2:g}" y="0" width="{width:g}" height="{height}" rx="6" fill="{colour}" '
        f'fill-opacity="0.12" stroke="{colour}" />'
        + _text(-edge, baseline, title, anchor="start", weight="bold")
        + _text(edge, baseline, name, anchor="end", opacity=0.65)
    )
    if followers:
        svg += _text(-edge, baseline + _LINE, followers, anchor="start")
    return _Drawing(width / 2, width / 2, height, svg)


def _description(layer: Layer) -> str:
    """Return a layer's kind, with window, outputs and stride where it has them."""
    own = not layer.children() or isinstance(layer, SeparableConv2D)
    config: dict[str, Any] = layer.config() if own else {}
    text = type(layer).__name__
    if "kernel_size" in config:
        text += " " + "×".join(map(str, _pair(config["kernel_size"])))
    outputs = config.get("out_channels", config.get("out_features"))
    if outputs is not None:
        text += f" → {outputs}"
    down, right = _pair(config.get("stride", 1))
    if (down, right) != (1, 1):
        text += f", stride {down}" if down == right else f", stride {down}×{right}"
    return text


def _pair(size: Any) -> Any:
    """Return (height, width); layers of one's own may keep a single number for both."""
    return (size, size) if isinstance(size, int) else size


def _residual(layer: Residual, path: str, shape: Shape | None) -> tuple[_Drawing, Shape | None]:
    """Draw the main path straight down, the other to its right, and the sum where they meet."""
    main, after = _draw(layer.main, f"{path}.main", shape)
    if layer.shortcut is None:
        detour = _Drawing(0, _PAD, 0, "")
    else:
        detour, _ = _draw(layer.shortcut, f"{path}.shortcut", shape)
    meeting = _GAP + max(main.height, detour.height) + _GAP  # where both paths end: the circle's top
    centre = meeting + _RADIUS
    axis, start = main.right + 20 + detour.left, (meeting - detour.height) / 2
    svg = (
        f"<title>{escape(path)}</title>"
        + _link(0, None, main)
        + main.at(0, _GAP)
        + _arrow(0, _GAP + main.height, meeting)
        + f'<path d="M0 0 H{axis:g} V{start:g}" fill="none" stroke="currentColor" />'
        + detour.at(axis, start)
        + f'<path d="M{axis:g} {start + detour.height:g} V{centre:g} H{_RADIUS + 6}" fill="none" '
        'stroke="currentColor" />'
        + f'<path d="M{_RADIUS} {centre:g} l7 -4 v8 z" />'
        + f'<path d="M-5 {centre:g} h10 m-5 -5 v10" stroke="currentColor" />'
        + f'<circle cx="0" cy="{centre:g}" r="{_RADIUS}" fill="none" stroke="currentColor" />'
    )
    return _Drawing(main.left, axis + detour.right, centre + _RADIUS, svg, forks=True), after


def _concat(layer: Concat, path: str, shape: Shape | None) -> tuple[_Drawing, Shape | None]:
    """Draw the branches beside one another, and below them the box that joins them."""
    branches = [_draw(child, f"{path}.{name}", shape)[0] for name, child in layer.children().items()]
    width = sum(branch.left + branch.right for branch in branches) + 20 * (len(branches) - 1)
    box, meeting = _box([(path, layer)]), _GAP + max(branch.height for branch in branches) + _GAP / 2
    svg, edge, axes = "", -width / 2, []
    for branch in branches:
        axes.append(edge + branch.left)
        bottom = _GAP + branch.height
        svg += (
            _arrow(axes[-1], 0, _GAP, head=not branch.forks)
            + branch.at(axes[-1], _GAP)
            + _arrow(axes[-1], bottom, meeting, head=False)
        )
        edge += branch.left + branch.right + 20
    for height in (0, meeting):
        ends = min(axes[0], 0), max(axes[-1], 0)  # data come and go at 0
        svg += f'<path d="M{ends[0]:g} {height:g} H{ends[1]:g}" stroke="currentColor" />'
    svg += _arrow(0, meeting, meeting + _GAP / 2) + box.at(0, meeting + _GAP / 2)
    half = max(width / 2, box.left)
    return _Drawing(half, half, meeting + _GAP / 2 + box.height, svg, forks=True), _after(layer, shape)


def _link(top: float, shape: Shape | None, below: _Drawing | None = None) -> str:
    """Draw an arrow from `top` to the next part, and beside it the shape; a line if that part forks."""
    forks = below is not None and below.forks
    label = "" if shape is None else "×".join(map(str, shape))
    return (
        _arrow(0, top, top + _GAP, head=not forks)
        + _text(8, top + _GAP / 2 + 2, label, anchor="start", opacity=0.65, size=11)
    )  # fmt: skip


def _arrow(x: float, top: float, bottom: float, head: bool = True) -> str:
    line = f'<path d="M{x:g} {top:g} V{bottom - 6 * head:g}" stroke="currentColor" />'
    return line + (f'<path d="M{x:g} {bottom:g} l-4 -7 h8 z" />' if head else "")


def _text(
    x: float,
    y: float,
    text: str,
    anchor: str = "middle",
    weight: str = "normal",
    opacity: float = 1,
    size: int = 12,
) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-weight="{weight}" font-size="{size}" '
        f'opacity="{opacity:g}">{escape(text)}</text>'
    )
