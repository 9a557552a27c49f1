"""How models and histories look in a notebook: HTML and SVG in the page's own colours."""

import math
from collections.abc import Sequence
from html import escape

from tinycnn.layers import Concat, Layer, Residual, SeparableConv2D, Sequential
from tinycnn.layers.base import Shape

#: The style of a model's tree. Colours are the page's, only fainter, so that it fits light and dark themes.
_STYLE = """<style>
.tinycnn-model { font-family: monospace; font-size: 0.9em; line-height: 1.6; }
.tinycnn-model { max-width: 46em; overflow-x: auto; }
.tinycnn-model > * { min-width: 46ch; }
@media (max-width: 600px) { .tinycnn-model { font-size: 0.75em; } }
.tinycnn-model details .layer { margin-left: 1.2em; }
.tinycnn-model details details { margin-left: 1.2em; }
.tinycnn-model .layer, .tinycnn-model summary { display: flex; gap: 1em; list-style: none; }
.tinycnn-model summary { cursor: pointer; }
.tinycnn-model summary::-webkit-details-marker { display: none; }
.tinycnn-model .what::before { content: ""; display: inline-block; width: 1.2em; }
.tinycnn-model summary .what::before { content: "\\25B8"; }
.tinycnn-model details[open] > summary .what::before { content: "\\25BE"; }
.tinycnn-model .what { flex: 1; white-space: nowrap; }
.tinycnn-model .shape, .tinycnn-model .count { width: 11ch; text-align: right; }
.tinycnn-model .kind, .tinycnn-model .shape, .tinycnn-model .head { opacity: 0.7; }
</style>"""


def model_tree(model: Sequential, input_shape: Shape | None) -> str:
    """Return a model as a tree that can be folded: names, kinds, output shapes, numbers of parameters.

    Args:
        model: any `Sequential`.
        input_shape: of one image; None leaves the shapes out.
    """
    head = f'<div class="layer head">{_cells("layer", "output", "parameters")}</div>'
    return f'{_STYLE}<div class="tinycnn-model">{head}{_node("model", model, input_shape, "open")}</div>'


def _node(name: str, layer: Layer, shape: Shape | None, state: str = "") -> str:
    """Return a layer and all inside it, given its input's shape; state is "open" or ""."""
    count = sum(array.size for array in layer.params.values())
    row = _cells(
        f'{escape(name)} <span class="kind">{type(layer).__name__}</span>',
        "" if shape is None else "×".join(map(str, layer.output_shape(shape))),
        f"{count:,}" if count else "",
    )
    if not layer.children():
        return f'<div class="layer">{row}</div>'
    if not isinstance(layer, Sequential | SeparableConv2D | Residual | Concat):
        shape = None  # how data flow within it, only it knows
    inside = []
    for child_name, child in layer.children().items():
        inside.append(_node(child_name, child, shape))
        if shape is not None and not isinstance(layer, Residual | Concat):  # whose paths have one input
            shape = child.output_shape(shape)
    return f"<details {state}><summary>{row}</summary>{''.join(inside)}</details>"


def _cells(*cells: str) -> str:
    kinds = ("what", "shape", "count")
    return "".join(f'<span class="{kind}">{cell}</span>' for kind, cell in zip(kinds, cells, strict=True))


#: In pixels: one panel, and what surrounds its curves.
_WIDTH, _HEIGHT = 300, 150
_LEFT, _TOP, _BOTTOM = 44, 24, 22


def history_curves(measures: Sequence[tuple[str, Sequence[float], Sequence[float]]]) -> str:
    """Return one SVG for each measure: (name, training values, validation values).

    They stand side by side where there is room. A value per epoch; the validation's curve is dashed, and may
    be empty or stop early. Values that are not finite leave a gap.
    """
    panels = "".join(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" role="img" aria-label="{escape(measure[0])} by epoch" '
        f'style="max-width: 100%; height: auto; margin-right: 20px" font-family="sans-serif" '
        f'font-size="11" fill="currentColor" stroke="none">{_panel(*measure)}</svg>'
        for measure in measures
    )
    return f"<div>{panels}</div>"


def _panel(name: str, training: Sequence[float], validation: Sequence[float]) -> str:
    finite = [value for value in (*training, *validation) if math.isfinite(value)]
    if not finite:
        return f'<text x="{_LEFT}" y="14">{escape(name)}: nothing yet</text>'
    low, high = min(finite), max(finite)
    epochs = max(len(training), len(validation))
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - 8
    legend = "line: training, dashes: validation" if validation else "training"

    def place(epoch: int, value: float) -> str:
        x = _LEFT + (right - _LEFT) * (epoch / (epochs - 1) if epochs > 1 else 0.5)
        y = bottom - (bottom - _TOP) * ((value - low) / (high - low) if high > low else 0.5)
        return f"{x:.1f} {y:.1f}"

    def curve(values: Sequence[float], style: str) -> str:
        steps, pen = [], "M"  # a move begins a line; "h0" makes a dot of a lonely point
        for epoch, value in enumerate(values):
            if math.isfinite(value):
                steps.append(f"{pen}{place(epoch, value)} h0")
            pen = "L" if math.isfinite(value) else "M"
        return f'<path d="{" ".join(steps)}" fill="none" {style} stroke-width="2" stroke-linecap="round" />'

    return (
        f'<text x="{_LEFT}" y="14"><tspan font-weight="bold">{escape(name)}</tspan> {legend}</text>'
        f'<path d="M{_LEFT} {_TOP} V{bottom} H{right}" fill="none" stroke="currentColor" opacity="0.3" />'
        f'<text x="{_LEFT - 5}" y="{_TOP + 8}" text-anchor="end">{high:.3g}</text>'
        f'<text x="{_LEFT - 5}" y="{bottom}" text-anchor="end">{low:.3g}</text>'
        f'<text x="{right}" y="{_HEIGHT - 6}" text-anchor="end">epoch {epochs}</text>'
        + curve(training, 'stroke="#0072B2"')
        + (curve(validation, 'stroke="#D55E00" stroke-dasharray="5 5"') if validation else "")
    )
