"""These tests compare with other libraries, others compare the backends: so there is nothing to compile."""

import pytest

import tinycnn as tc


@pytest.fixture(autouse=True, scope="module")
def _numpy():
    with tc.backend("numpy"):
        yield
