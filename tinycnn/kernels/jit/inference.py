"""Inference in one compiled call, its work shared among the threads.

A batch of many images is cut into blocks, each of which goes through the whole network while it is in cache.
A single block is instead shared piece by piece: when all pieces of the steps before are done, one thread
begins with the first of a step and another with the last, so that each core keeps to its part of the maps.
"""

import sys
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from tinycnn.kernels import one_thread_pool
from tinycnn.kernels.jit.atomic import add, idle, load_now
from tinycnn.kernels.jit.compile import compiled, part
from tinycnn.kernels.jit.inference_layout import SLACK, layout_of
from tinycnn.kernels.jit.inference_steps import pieces, run_piece
from tinycnn.kernels.jit.team import CHUNKS, DONE, is_first, its_turn, own, share_call, take
from tinycnn.kernels.jit.together import together
from tinycnn.kernels.memory import scratch
from tinycnn.kernels.steps import Step, run_steps

#: Batches of at least the second number are not run in blocks through more weights than the first (AlexNet,
#: not mini-Xception), which each block would read again: the kernels of training are quicker, one by one.
HEAVY, MANY = 1 << 20, 16


def prepare_steps(
    steps: Sequence[Step], shape: tuple[int, ...], dtype: np.dtype
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function of x (N, H, W, C) that gives the last step's result; see the reference."""
    layout = layout_of(steps, shape, dtype)
    p, block, size = layout.program, layout.block, layout.size

    @cache
    def weights() -> np.ndarray:
        return layout.pack(steps, dtype)

    @cache
    def pieces_for(images: int) -> int:
        return int((-(-images * p["oh"] // p["rows"]) * -(-p["o"] // p["channels"])).sum())

    def run(x: np.ndarray) -> np.ndarray:
        if layout.length > HEAVY and len(x) >= MANY:
            return _one_by_one(steps, x)
        n, y = len(x), np.empty((len(x), *layout.out), dtype)
        if not x.flags.writeable:  # to compiled code a type of its own
            x = x.copy()
        length, each = min(n, block) * size + SLACK, layout.own
        if n <= block:
            chunks = pieces_for(n)
            common = scratch(length, dtype, "inference")
        else:
            chunks, common, each = -(-n // block), np.empty(0, dtype), length + each
        arguments = (x.reshape(-1), y.reshape(-1), p, weights(), common, n, length, size)
        share_call(_run, arguments, (each, dtype), chunks, n * size + layout.length)
        return y

    return run


def _one_by_one(steps: Sequence[Step], x: np.ndarray) -> np.ndarray:
    with one_thread_pool():
        return run_steps(steps, x, sys.modules["tinycnn.kernels.jit"])


@compiled
def _run(x, y, program, weights, common, n, length, size, memory, queue, mailbox):
    arguments = (x, y, program, weights, common, n, length, size, memory, queue)
    together(_run_part, arguments, mailbox)


@part
def _run_part(x, y, program, weights, common, n, length, size, memory, queue, member):
    memory, zero = own(memory, queue, member), np.int64(0)
    if common.size:
        before = zero
        for s in range(len(program)):
            count, finished = pieces(program[s], n), zero
            while load_now(queue, np.intp(DONE)) < before:
                idle()
            for turn in range(count):
                piece = its_turn(queue, member, turn, count)
                if is_first(queue, before + piece):
                    run_piece(program[s], piece, x, y, zero, n, common, size, weights, memory, zero)
                    finished += 1
            add(queue, np.intp(DONE), finished)
            before += count
    else:
        chunk = take(queue)
        while chunk >= 0:
            first, stop = chunk * n // queue[CHUNKS], (chunk + 1) * n // queue[CHUNKS]
            images = stop - first
            for s in range(len(program)):
                for piece in range(pieces(program[s], images)):
                    run_piece(program[s], piece, x, y, first, images, memory, size, weights, memory, length)
            chunk = take(queue)
