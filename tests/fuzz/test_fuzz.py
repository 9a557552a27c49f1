"""Past finds of the fuzzer, and a few fresh inputs: valid, or refused with an error of the project's own."""

import random
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutate import mutate
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).with_name("corpus")
FINDS = sorted(CORPUS.glob("*/*"))

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:zipfile")  # of names that stand twice


@pytest.mark.parametrize("path", FINDS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_past_finds(path):
    check, _ = TARGETS[path.parent.name]
    check(path.read_bytes())


REPLAY = """
import resource, sys
from pathlib import Path
from tests.fuzz.targets import TARGETS
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (600 << 20), used + (600 << 20)))
for path in map(Path, sys.argv[1:]):
    print(path, flush=True)
    TARGETS[path.parent.name][0](path.read_bytes())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is Linux's")
def test_no_past_find_takes_much_memory():
    command = [sys.executable, "-c", REPLAY, *map(str, FINDS)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=CORPUS.parents[2], check=False)
    assert result.returncode == 0, (result.stdout.splitlines()[-1:], result.stderr[-2000:])


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_are_valid(target, monkeypatch):
    monkeypatch.setattr("tests.fuzz.targets.REFUSED", ())
    check, _ = TARGETS[target]
    for seed in seeds(target):
        check(seed)


@cache
def seeds(target):
    return TARGETS[target][1]()


@pytest.mark.parametrize("target", TARGETS)
@given(content=st.binary(max_size=200))
def test_any_bytes(target, content):
    TARGETS[target][0](content)


@pytest.mark.parametrize("target", TARGETS)
@given(number=st.integers(0, 9), seed=st.integers(0, 2**32), rounds=st.integers(1, 3))
def test_damaged_files(target, number, seed, rounds):
    check, _ = TARGETS[target]
    valid, rng = seeds(target), random.Random(seed)
    content = valid[number % len(valid)]
    for _ in range(rounds):
        content = mutate(content, rng)
    check(content)


def test_the_command_runs(tmp_path):
    command = [sys.executable, "-m", "tests.fuzz", "image", "--inputs", "50", "--finds", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=CORPUS.parents[2], check=False)
    assert result.returncode == 0, result.stdout + result.stderr
