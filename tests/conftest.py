"""What all tests share: both backends, and hypothesis without a clock (shared machines are slow at times)."""

import signal

import pytest
from hypothesis import HealthCheck, settings

import tinycnn as tc

settings.register_profile("tinycnn", deadline=None, derandomize=True, max_examples=15)
settings.register_profile(
    "thorough", deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tinycnn")


def pytest_configure():
    """Let Ctrl-C interrupt tests, and what they start: a shell's background jobs are begun deaf to it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["numpy", "numba"], scope="module")
def backend(request):
    """Run a test on each backend; numba's skips with a reason where it is not installed."""
    if request.param == "numba":
        pytest.importorskip("numba", reason="the numba backend needs numba")
    with tc.backend(request.param):
        yield request.param
