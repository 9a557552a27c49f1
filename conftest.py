"""What examples in docstrings share: `np`, `tc`, and a folder of their own for the files that they write."""

from collections.abc import Iterator

import numpy as np
import pytest

import tinycnn as tc
from tinycnn.save import REGISTRY


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """Forget the layers that a test or an example registers: a second one may call its own the same."""
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


@pytest.fixture(autouse=True)
def example(request: pytest.FixtureRequest) -> Iterator[None]:
    """Prepare an example, and take back what it sets for the whole process."""
    if not isinstance(request.node, pytest.DoctestItem):
        yield
        return
    request.getfixturevalue("doctest_namespace").update(np=np, tc=tc)
    request.getfixturevalue("monkeypatch").chdir(request.getfixturevalue("tmp_path"))
    threads = tc.get_threads()
    yield
    tc.set_threads(threads)
