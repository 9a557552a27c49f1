"""Compiled code never leaves its arrays: numba checks every index, in a process of its own.

Here tests pass so that call every compiled kernel, in float32; CONTRIBUTING says how the others do.
"""

import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba", reason="bounds are those of compiled code")
from numba.core.dispatcher import Dispatcher

from tinycnn.kernels import jit

HERE = Path(__file__).parent

#: Tests that run at the same time in two processes, since compiling takes long.
SHARES = (
    [
        "test_fused.py::test_conv_moments_backward",
        "test_backends.py::test_convolutions",
        "test_backends.py::test_winograd_convolutions",
        "test_backends.py::test_pooling",
        "test_backends.py::test_normalisation_and_element_by_element",
        "test_backends.py::test_dense",
    ],
    [
        "test_fused.py::test_conv_moments",
        "test_fused.py::test_finished_and_its_gradient",
        "test_fused.py::test_deferred_max_pool",
        "test_inference.py::test_outputs_are_those_of_forward[numba-float32]",
        "test_inference.py::test_random_models[numba]",
        "test_optimizers.py::test_steps_work_in_place_and_leave_gradients_alone",
        "test_quantized.py::test_both_backends_give_the_same_bits",
        "test_quantized.py::test_both_backends_give_the_same_bits_for_whole_networks",
    ],
)

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


#: Runs tests, and says at the end which kernels they have had compiled.
RUN = """
import sys
import pytest
from tests.tinycnn.test_bounds import kernels

code = pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]])
print("compiled:", *(name for name, kernel in kernels().items() if kernel.overloads))
sys.exit(code)
"""


def start(folder, *command):
    """Start Python with numba's bounds checking, and with a cache for machine code that has the checks."""
    environment = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(folder), "TESTED_DTYPES": "float32"}
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        env=os.environ | environment,
        cwd=HERE.parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kernels():
    """All functions that are compiled, alone or as parts of others, by name."""
    names = [module.name for module in pkgutil.iter_modules(jit.__path__, f"{jit.__name__}.")]
    return {
        f"{kernel.__module__}.{kernel.__name__}": kernel
        for name in names
        for kernel in vars(importlib.import_module(name)).values()
        if isinstance(kernel, Dispatcher) and kernel.targetoptions.get("inline") != "always"
    }


def test_a_planted_error_is_caught(tmp_path):
    script = tmp_path / "planted.py"
    script.write_text(PLANTED)
    output, _ = start(tmp_path, script).communicate()
    assert output.split() == ["caught"] * 3


def test_every_kernel_stays_in_bounds(tmp_path):
    runs = [start(tmp_path, "-c", RUN, *(HERE / test for test in tests)) for tests in SHARES]
    outputs = [run.communicate()[0] for run in runs]
    compiled = set()
    for run, output in zip(runs, outputs, strict=True):
        assert run.returncode == 0, output[-3000:]
        compiled |= set(output.splitlines()[-1].split())
    assert kernels().keys() - compiled == set()  # else SHARES needs a test that calls them
