"""Integer inference in one compiled call; a thread takes the next image and leads it through all steps."""

import math
from collections.abc import Sequence

import numpy as np

from tinycnn.kernels.integer import IntegerStep, Run
from tinycnn.kernels.jit.compile import compiled, part
from tinycnn.kernels.jit.integer_steps import ADD, CONV, DEPTHWISE, LANES, MEAN, POOL, SAME, STEP, run_step
from tinycnn.kernels.jit.team import CHUNKS, own, share_call, take
from tinycnn.kernels.jit.together import together
from tinycnn.kernels.memory import CACHE_LINE

KINDS = {"conv": CONV, "depthwise": DEPTHWISE, "mean": MEAN, "add": ADD, "pool": POOL, "same": SAME}
#: Images that a thread takes at once: one only, but of a large batch there is no more than this many turns.
_TURNS = 256


def prepare_integer_steps(steps: Sequence[IntegerStep], shape: tuple[int, ...]) -> Run:
    """Return a function of int8 images (N, H, W, C) that gives the last step's result; see the reference."""
    layout = _Layout(steps, shape)
    program, weights, numbers = layout.program, layout.weights, layout.numbers
    sizes, out = layout.sizes, steps[-1].shape
    elements = sum(layout.sizes)

    def run(x: np.ndarray) -> np.ndarray:
        y = np.empty((len(x), *out), np.int32)
        arguments = (
            x.ravel(),
            y.ravel(),
            program,
            weights,
            numbers,
            len(x),
            *sizes,
        )
        share_call(_run, arguments, (elements, np.dtype(np.int8)), min(len(x), _TURNS), len(x) * sizes[0])
        return y

    return run


class _Layout:
    """Where values and weights lie: what compiled code is told.

    Attributes:
        program: of `STEP`.
        weights: int16, kernels in the order in which they are read.
        numbers: int32, biases, multipliers, and where windows begin.
        sizes: bytes of the values, of a padded map in int16, and of sums in int32.
    """

    def __init__(self, steps: Sequence[IntegerStep], shape: tuple[int, ...]) -> None:
        self._weights, self._numbers = [np.empty(0, np.int16)], [np.empty(0, np.int32)]
        shapes = [shape, *(step.shape for step in steps)]
        self._starts = np.cumsum([0, *(_room(math.prod(map_shape)) for map_shape in shapes)]).tolist()
        records = [self._record(step, shapes, i) for i, step in enumerate(steps, 1)]
        self.program = np.array(
            [tuple(record.get(key, 0) for key in STEP.names or ()) for record in records], STEP
        )
        # A vector that is longer than what is left reads beyond it.
        self.weights = np.concatenate([*self._weights, np.zeros(CACHE_LINE, np.int16)])
        self.numbers = np.concatenate([*self._numbers, np.zeros(CACHE_LINE, np.int32)])
        row = max(w * c for _, w, c in shapes)
        padded = max(record["ph"] * record["pw"] * record["c"] for record in records)
        sums = max(row, math.prod(shapes[-1]))
        self.sizes = self._starts[-1] + _room(row), _room(2 * padded), _room(4 * sums)

    def _record(self, step: IntegerStep, shapes: list[tuple[int, ...]], i: int) -> dict[str, int]:
        """Return a step's fields, and note its weights and numbers."""
        (h, w, c), (oh, ow, o) = shapes[step.source], step.shape
        (kh, kw), (sh, sw), ((top, bottom), (left, right)) = step.window, step.stride, step.pad
        extra = self._starts[step.source if step.extra is None else step.extra]
        record = {"kind": KINDS[step.kind], "h": h, "w": w, "c": c, "oh": oh, "ow": ow, "o": o}
        record |= {"kh": kh, "kw": kw, "sh": sh, "sw": sw, "top": top, "left": left}
        record |= {"ph": top + h + bottom, "pw": left + w + right, "shift": step.shift, "zero": step.zero}
        record |= {"source_at": self._starts[step.source], "source_zero": step.source_zero}
        record |= {"extra_at": self._starts[-1] if step.kind == "pool" else extra}
        record |= {"extra_zero": step.extra_zero, "target_at": self._starts[i]}
        record |= {"pairs": -(-kw * c // 2), "sums_only": int(step.gives_sums)}
        if step.kind == "conv":
            places = np.add.outer(np.arange(oh) * sh * record["pw"], np.arange(ow) * sw) * c
            record["offsets_at"] = _note(self._numbers, places)
        repeats = ow if step.kind == "depthwise" else 1  # along a row
        if step.kernel is not None and step.bias is not None:
            taps = step.kernel.reshape(kh * kw, -1)
            kernel = (
                np.tile(taps, (1, ow)) if step.kind == "depthwise" else _panels(step.kernel, record["pairs"])
            )
            record["weights_at"] = _note(self._weights, kernel)
            record["bias_at"] = _note(self._numbers, np.tile(step.bias, repeats))
        if step.multiplier is not None:
            alone = step.kind == "add" and step.extra is None  # the source itself is the second one, times 0
            factors = step.multiplier * [1, 0] if alone else np.tile(step.multiplier, repeats)
            record["multiplier_at"] = _note(self._numbers, factors)
        return record


def _note(arrays: list[np.ndarray], array: np.ndarray) -> int:
    """Put an array behind others; return where it begins."""
    start = sum(map(len, arrays))
    arrays.append(array.ravel().astype(arrays[0].dtype))
    return start


def _panels(kernel: np.ndarray, pairs: int) -> np.ndarray:
    """Return a kernel (KH, KW, C, O) as panels of `LANES` outputs, the last perhaps of half as many.

    A panel is (KH, pairs, outputs, 2): weights that are multiplied and added together stand together.
    """
    kh, kw, c, o = kernel.shape
    half = LANES // 2
    filled = np.zeros((kh, 2 * pairs, -(-o // half) * half), np.int8)
    filled[:, : kw * c, :o] = kernel.reshape(kh, kw * c, o)
    panels = [filled[:, :, first : first + LANES] for first in range(0, o, LANES)]
    return np.concatenate([p.reshape(kh, pairs, 2, -1).swapaxes(2, 3).ravel() for p in panels])


def _room(size: int) -> int:
    """Return the bytes for so many, with as many more as a vector may reach beyond them."""
    return (size // CACHE_LINE + 2) * CACHE_LINE


@compiled
def _run(x, y, program, weights, numbers, n, values_size, padded_size, sums_size, memory, queue, mailbox):
    arguments = (x, y, program, weights, numbers, n, values_size, padded_size, sums_size, memory, queue)
    together(_run_part, arguments, mailbox)


@part
def _run_part(x, y, program, weights, numbers, n, values_size, padded_size, sums_size, memory, queue, member):
    memory = own(memory, queue, member)
    values = memory[:values_size]
    padded = memory[values_size : values_size + padded_size].view(np.int16)
    sums = memory[values_size + padded_size : values_size + padded_size + sums_size].view(np.int32)
    first, last = program[0], program[-1]
    size, out = first.h * first.w * first.c, last.oh * last.ow * last.o
    chunk = take(queue)
    while chunk >= 0:
        for image in range(chunk * n // queue[CHUNKS], (chunk + 1) * n // queue[CHUNKS]):
            here, there = np.uintp(image * size), np.uintp(image * out)
            for k in range(np.uintp(size)):
                values[k] = x[here + k]
            for s in range(len(program)):
                run_step(program[s], values, padded, sums, weights, numbers)
            target = np.uintp(last.target_at)
            for k in range(np.uintp(out)):
                y[there + k] = sums[k] if last.sums_only else values[target + k]
        chunk = take(queue)
