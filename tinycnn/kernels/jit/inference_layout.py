"""Where an inference keeps its values and weights, and how its work is cut: what follows from sizes."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tinycnn.kernels.jit.inference_steps import LOAD, MEAN, POOL, SAME, SOFTMAX, STEP, STORE, WINDOW
from tinycnn.kernels.memory import aligned
from tinycnn.kernels.steps import Step

#: Weights of more elements are read once for several images, since they do not stay in cache.
MANY_WEIGHTS = 1 << 17
#: So many images, then.
BLOCK = 8
#: A window with more weights than this is split by output channels, others by rows.
LARGE_KERNEL = 1 << 14
#: Pieces that a step is cut into, about, and the pixels that a piece has at least.
PIECES, PIXELS = 8, 6
#: Elements behind all values: whole vectors are read even where fewer channels are left.
SLACK = 64

KINDS = {"window": WINDOW, "pool": POOL, "mean": MEAN, "softmax": SOFTMAX, "same": SAME}


class _Place(NamedTuple):
    """A value, and where it lies in an image's memory."""

    shape: tuple[int, ...]
    pixel: int  # elements of a pixel: C, or more so that vectors fill it; the rest is zero
    margins: tuple[int, ...] = (0, 0, 0, 0)  # above, below, left, right, in pixels
    last: int = 0  # the last that reads it
    start: int = 0

    @property
    def row(self) -> int:
        """Elements of a row with its margins."""
        return (self.shape[1] + sum(self.margins[2:])) * self.pixel

    @property
    def stop(self) -> int:
        return self.start + -(-(self.shape[0] + sum(self.margins[:2])) * self.row // 16) * 16

    @property
    def at(self) -> int:
        """Place of the first pixel."""
        return self.start + self.margins[0] * self.row + self.margins[2] * self.pixel


class Layout(NamedTuple):
    """What the compiled function is told, besides the weights themselves."""

    program: np.ndarray  # of `STEP`
    out: tuple[int, ...]  # shape of the result, (H, W, C)
    size: int  # elements of an image's values
    own: int  # elements of each thread's own memory
    block: int  # images that go through the network together
    panels: list["_Panels"]  # the weights
    length: int  # elements of all weights

    def pack(self, steps: Sequence[Step], dtype: np.dtype) -> np.ndarray:
        """Return the weights in the order in which they are read."""
        flat = aligned(self.length * dtype.itemsize).view(dtype)
        for panels in self.panels:
            step = steps[panels.step - 1]
            weights: Any = step.taps if panels.of_taps else step.kernel
            bias = None if panels.of_taps and step.kernel is not None else step.bias
            panels.pack(weights, bias, flat)
        return flat


class _Panels(NamedTuple):
    """Weights cut into panels of as many outputs as a vector is long, or half as many at the end.

    A panel is a vector of biases, then one of weights for each input.
    """

    step: int
    of_taps: bool
    start: int
    inputs: int
    outputs: int
    lanes: int

    @property
    def stop(self) -> int:
        return self.start + (1 + self.inputs) * self.outputs

    def pack(self, weights: np.ndarray, bias: np.ndarray | None, flat: np.ndarray) -> None:
        """Write weights (..., O) and bias (O,); zeros for inputs and outputs that only fill vectors."""
        c, o = weights.shape[-2:]
        if self.of_taps:
            weights = weights.reshape(-1, o)
        elif self.inputs * o != weights.size:  # the input's pixels are filled up
            pixels = weights.size // (c * o)
            filled = np.zeros((pixels, self.inputs // pixels, o), flat.dtype)
            filled[:, :c] = weights.reshape(pixels, c, o)
            weights = filled
        weights = weights.reshape(self.inputs, o)
        if o != self.outputs:
            weights = np.pad(weights, ((0, 0), (0, self.outputs - o)))
            bias = None if bias is None else np.pad(bias, (0, self.outputs - o))
        whole = self.outputs // self.lanes * self.lanes
        middle = self.start + (1 + self.inputs) * whole
        for columns, lanes, part in (
            (slice(0, whole), self.lanes, flat[self.start : middle]),
            (slice(whole, None), self.lanes // 2, flat[middle : self.stop]),
        ):
            panels = part.reshape(-1, 1 + self.inputs, lanes)
            panels[:, 0] = 0 if bias is None else bias[columns].reshape(-1, lanes)
            panels[:, 1:] = weights[:, columns].reshape(self.inputs, -1, lanes).swapaxes(0, 1)


def layout_of(steps: Sequence[Step], shape: tuple[int, ...], dtype: np.dtype) -> Layout:
    """Return the layout for steps on inputs (H, W, C); sizes that were seen lately are remembered."""
    sizes = tuple(
        step._replace(taps=_shape(step.taps), kernel=_shape(step.kernel), bias=None) for step in steps
    )
    return _layout_of(sizes, shape, 64 // dtype.itemsize)


def _shape(weights: np.ndarray | None) -> Any:
    return None if weights is None else weights.shape


@lru_cache(maxsize=64)
def _layout_of(steps: tuple[Step, ...], shape: tuple[int, ...], lanes: int) -> Layout:
    """Return the layout for steps that hold shapes in place of weights, and vectors of so many lanes."""
    panels: list[_Panels] = []

    def reserve(step: int, of_taps: bool, inputs: int, outputs: int) -> int:
        start = panels[-1].stop if panels else 0
        panels.append(_Panels(step, of_taps, start, inputs, outputs, lanes))
        return start

    places = _places(steps, shape, lanes // 2)
    first, last = (_Place(place.shape, place.shape[2]) for place in (places[0], places[-1]))
    records = [_record(LOAD, first, places[0])]
    for i, step in enumerate(steps, 1):
        if step.kind == "concat":
            records += _copies(step, places, i)
        else:
            records.append(_step_record(step, places, i, lanes, reserve))
    records.append(_record(STORE, places[-1], last))
    program = np.array([tuple(record.get(name, 0) for name in STEP.names or ()) for record in records], STEP)
    length = panels[-1].stop if panels else 0
    block = BLOCK if length > MANY_WEIGHTS else 1
    size, own = max(place.stop for place in places), int(program["between"].max()) + SLACK
    return Layout(program, last.shape, size, own, block, panels, length)


def _places(steps: tuple[Step, ...], shape: tuple[int, ...], lanes: int) -> list[_Place]:
    """Find a place for each value; one that is no longer needed makes room for others."""
    margins = np.zeros((len(steps) + 1, 4), int)
    last = [*range(len(steps)), len(steps) + 1]
    for i, step in enumerate(steps, 1):
        if step.kind == "window":
            margins[step.source] = np.maximum(margins[step.source], np.ravel(step.pad))
        for number in step.reads:
            last[number] = max(last[number], i)
    # An ordinary convolution takes its input's elements one by one, so these need not fill vectors.
    single = all(step.kernel is not None and step.taps is None for step in steps if 0 in step.reads)
    found: list[_Place] = []
    for i, map_shape in enumerate([shape, *(step.shape for step in steps)]):
        pixel = map_shape[2] if i == 0 and single else _rounded(map_shape[2], lanes)
        place = _Place(map_shape, pixel, tuple(margins[i].tolist()), last[i])
        for other in sorted((p for p in found if p.last >= i), key=lambda p: p.start):
            if place.stop <= other.start:
                break
            place = place._replace(start=max(place.start, other.stop))
        found.append(place)
    return found


def _rounded(count: int, unit: int) -> int:
    return -(-count // unit) * unit


def _record(kind: int, source: _Place, target: _Place) -> dict[str, int]:
    """Return the fields of a step that copies, which are part of any other's."""
    (h, w, c), (oh, ow, _) = source.shape, target.shape
    above, below, left, right = target.margins
    record = {
        **{"kind": kind, "h": h, "w": w, "c": source.pixel, "oh": oh, "ow": ow, "o": target.pixel},
        **{
            "source_at": source.at,
            "source_row": source.row,
            "target_at": target.at,
            "target_row": target.row,
        },
        **{"above": above, "below": below, "before": left * target.pixel, "after": right * target.pixel},
        **{"extra_at": -1, "taps_at": -1, "kernel_at": -1, "rows": BLOCK * oh, "channels": target.pixel},
    }
    if source.shape == target.shape and source.pixel == target.pixel and kind != SOFTMAX:
        return record | {"spans": 1, "span": w * c if kind == STORE else w * source.pixel}
    pixel = target.pixel if source.shape == target.shape else c
    spans = {"spans": w, "span": c, "source_span": source.pixel, "target_span": pixel}
    return (
        record
        | spans
        | {"incomplete": int(kind in (LOAD, SOFTMAX, SAME) and target.pixel != target.shape[2])}
    )


def _copies(step: Step, places: list[_Place], i: int) -> list[dict[str, int]]:
    """Return a copying step for each part of a "concat"; the first one clears what lies around."""
    target, channel, records = places[i], 0, []
    for number in step.reads:
        source = places[number]
        record = _record(SAME, source, target) | {"relu": int(step.relu)}
        record |= {"spans": source.shape[1], "span": source.shape[2]}
        record |= {"source_span": source.pixel, "target_span": target.pixel}
        record["target_at"] += channel
        if channel:
            record |= dict.fromkeys(("above", "below", "before", "after", "incomplete"), 0)
        channel += source.shape[2]
        records.append(record)
    return records


def _step_record(
    step: Step, places: list[_Place], i: int, lanes: int, reserve: Callable[[int, bool, int, int], int]
) -> dict[str, int]:
    source, target = places[step.source], places[i]
    record = _record(KINDS[step.kind], source, target) | {"relu": int(step.relu)}
    (kh, kw), (sh, sw), ((top, _), (left, _)) = step.window, step.stride, step.pad
    record |= {"kh": kh, "kw": kw, "sh": sh, "sw": sw, "top": top, "left": left}
    if step.extra is not None:
        record |= {"extra_at": places[step.extra].at, "extra_row": places[step.extra].row}
    if step.kind == "same" and target.shape != source.shape:  # flattened: one pixel after another
        record |= dict.fromkeys(("target_row", "extra_row"), source.shape[1] * source.shape[2])
    if step.taps is not None:
        record["taps_at"] = reserve(i, True, kh * kw, source.pixel)
    inputs = (1 if step.taps is not None else kh * kw) * source.pixel
    if step.kernel is not None:
        record["kernel_at"] = reserve(i, False, inputs, target.pixel)
    if step.kernel is not None and step.taps is None and inputs * target.pixel > LARGE_KERNEL:
        record["channels"] = lanes
    elif step.kind in ("window", "pool"):
        record["rows"] = max(-(-target.shape[0] // PIECES), -(-PIXELS // target.shape[1]))
    if step.taps is not None and step.kernel is not None:
        record["between"] = record["rows"] * target.shape[1] * source.pixel
    return record
