"""Compiled code never leaves its arrays: numba checks every index, in a process of its own.

Here the smallest tests of the compiled kernels pass so; CONTRIBUTING says how the others do.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba", reason="bounds are those of compiled code")

HERE = Path(__file__).parent

PLANTED = """
import numpy as np
from tinycnn.kernels.jit.compile import compiled, part
from tinycnn.kernels.jit.simd import load, store, zeros

@part
def number_at(array, index):
    return array[index]

@compiled
def read(array, index):
    return number_at(array, index)

@compiled
def copy(array, index):
    store(array, np.uintp(0), load(array, np.uintp(index), zeros(array)))

array = np.zeros(32, np.float32)
read(array, np.uintp(31))
copy(array, 16)
for kernel, index in ((read, np.uintp(32)), (copy, 17), (copy, -1)):
    try:
        kernel(array, index)
    except IndexError:
        print("caught")
"""


def checked(folder, *command):
    """Run Python with numba's bounds checking, and with a cache for machine code that has the checks."""
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(folder)}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        env=environment,
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_planted_error_is_caught(tmp_path):
    script = tmp_path / "planted.py"
    script.write_text(PLANTED)
    assert checked(tmp_path, script).stdout.split() == ["caught"] * 3


def test_fused_kernels_stay_in_bounds(tmp_path):
    file = HERE / "test_fused.py"
    run = checked(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", file, "-k", "numba")
    assert run.returncode == 0, run.stdout[-3000:]
    assert " passed" in run.stdout
