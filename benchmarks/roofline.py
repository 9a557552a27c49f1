"""How fast this machine can be at all: the rates that ours are held against.

F floating-point operations on B bytes take at least max(F / sgemm rate, B / copy rate) seconds: the roofline
model (Williams, Waterman & Patterson 2009).
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

import tinycnn as tc
from benchmarks.timing import Contender, Rounds, median_seconds
from fer_demo.models import FACE, MODELS
from tinycnn.summary import rows

GEMM_SIZE = 2048
#: Of each of the two arrays: far more than a cache holds.
COPY_BYTES = 2**28
#: A training step in forward passes: the backward pass makes two products for each of the forward's.
TRAINING = 3


def sgemm() -> Callable[[], object]:
    """Return a product of two float32 matrices of 2048x2048, by the BLAS that NumPy brings."""
    a, b = np.random.default_rng(0).standard_normal((2, GEMM_SIZE, GEMM_SIZE), dtype=np.float32)
    out = np.empty_like(a)
    return lambda: np.matmul(a, b, out=out)


def copy() -> Callable[[], object]:
    """Return a copy of 256 MiB, a part by each thread."""
    threads = tc.get_threads()
    pool = ThreadPoolExecutor(threads)
    source, target = (np.array_split(np.ones(COPY_BYTES, np.uint8), threads) for _ in range(2))
    return lambda: list(pool.map(np.copyto, target, source))


def contender(name: str, threads: int) -> Contender:
    """Return "sgemm" or "copy" as a contender, to take turns with those that it is compared with."""
    return Contender(f"benchmarks.roofline:{name}", {}, threads)


def sgemm_share(model: str, images: int, ours: Rounds, sgemm: Rounds) -> dict[str, float]:
    """Return what a model's multiply-adds amount to, beside what this machine's matrix product reaches.

    Args:
        model: its name.
        images: forward passes of one image in a step; three times the batch in training.
        ours: times of steps.
        sgemm: times of the matrix product.
    """
    multiply_adds = sum(row.multiply_adds for row in rows(MODELS[model](), FACE))
    gflops = 2e-9 * multiply_adds * images / median_seconds(ours)
    limit = 2e-9 * GEMM_SIZE**3 / median_seconds(sgemm)
    return {"gflops": gflops, "sgemm_gflops": limit, "share_of_sgemm": gflops / limit}


@dataclass(frozen=True)
class Machine:
    """Rates of this machine: floating-point operations a second, and bytes read or written a second."""

    flops: float
    bandwidth: float

    @classmethod
    def from_times(cls, times: Mapping[str, Rounds]) -> "Machine":
        """Return the rates, given the times of "sgemm" and "copy"."""
        sgemm, copy = median_seconds(times["sgemm"]), median_seconds(times["copy"])
        return cls(2 * GEMM_SIZE**3 / sgemm, 2 * COPY_BYTES / copy)

    def fewest_seconds(self, flops: float, traffic: float) -> float:
        """Return the roofline's limit for so many operations on so many bytes."""
        return max(flops / self.flops, traffic / self.bandwidth)

    def described(self) -> dict[str, float]:
        """Return the rates in GFLOP/s and GB/s."""
        return {"sgemm_gflops": self.flops / 1e9, "copy_gb_per_s": self.bandwidth / 1e9}
