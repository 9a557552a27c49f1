"""A model as a table: what each layer makes, what it costs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinycnn.layers import Concat, Layer, Residual, SeparableConv2D, Sequential
from tinycnn.layers.base import Shape, joined


@dataclass(frozen=True)
class Row:
    """One layer of a model.

    Attributes:
        path: the layer's name inside the model.
        kind: its class.
        output_shape: of one image, without the batch axis.
        parameters: trained numbers.
        state: saved but untrained numbers, such as running statistics.
        multiply_adds: of convolutions and matrix products, for one image.
    """

    path: str
    kind: str
    output_shape: Shape
    parameters: int
    state: int
    multiply_adds: int


def rows(model: Layer, input_shape: Shape) -> list[Row]:
    """Return one row per layer that computes, in the order of computation.

    A composite of a kind that is not known here has one row: how data flow within it, only it knows.

    Args:
        model: any layer.
        input_shape: of one image: (H, W, C) or (features,).

    Raises:
        ShapeError: a layer cannot take what it is given.
    """
    return list(_rows(model, "", input_shape))


def _rows(layer: Layer, path: str, shape: Shape) -> Iterator[Row]:
    if isinstance(layer, Residual | Concat):
        for name, child in layer.children().items():
            yield from _rows(child, joined(path, name), shape)  # all paths start at the same input
        end = "add" if isinstance(layer, Residual) else "concat"
        yield Row(joined(path, end), type(layer).__name__, layer.output_shape(shape), 0, 0, 0)
    elif isinstance(layer, Sequential | SeparableConv2D):
        for name, child in layer.children().items():
            yield from _rows(child, joined(path, name), shape)
            shape = child.output_shape(shape)
    else:
        parameters, state = (sum(a.size for a in arrays.values()) for arrays in (layer.params, layer.state))
        out = layer.output_shape(shape)
        yield Row(path, type(layer).__name__, out, parameters, state, layer.multiply_adds(shape))


def summary(model: Sequential, input_shape: Shape) -> str:
    """Return the table as text; see `rows` for arguments and errors."""
    table = rows(model, input_shape)
    lines = [("layer", "kind", "output", "parameters", "multiply-adds")]
    for row in table:
        shape = "x".join(map(str, row.output_shape))
        lines.append((row.path, row.kind, shape, f"{row.parameters:,}", f"{row.multiply_adds:,}"))
    total = sum(row.parameters for row in table)
    lines.append(("total", "", "", f"{total:,}", f"{sum(row.multiply_adds for row in table):,}"))
    state = sum(row.state for row in table)
    note = f"and {state:,} numbers of state (running statistics), {total + state:,} in all" if state else ""
    return "\n".join([ruled(lines, words=3), *([note] if note else [])])


def ruled(lines: Sequence[Sequence[str]], words: int) -> str:
    """Return cells in columns, a rule below the first line and above the last.

    Args:
        lines: cells, equally many in each.
        words: so many columns are words, to be ranged left, and the rest numbers.
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(
            cell.ljust(width) if index < words else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    rule = "-" * max(map(len, text))
    return "\n".join([text[0], rule, *text[1:-1], rule, text[-1]])
