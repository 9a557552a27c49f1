"""`python -m tests.fuzz csv --inputs 200000`: feed a loader with damaged files.

Where atheris is installed (pip install atheris) it is led by coverage; images are damaged at random. An input
that makes a loader fail is written to the folder given with --finds; what is worth keeping goes into
tests/fuzz/corpus, which every run of the tests replays. Fuzzing itself begins with valid files, since many
past finds are large once unpacked, and slow.
"""

import argparse
import importlib
import importlib.util
import os
import random
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")
#: Seconds for one input (on a machine that others use too), and bytes beyond those used at the start.
TIME, MEMORY = 120, 2 << 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=sorted(path.name for path in CORPUS.iterdir()))
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--finds", type=Path, default=Path("fuzz-finds"))
    options = parser.parse_args()
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(1 << 20)  # larger images would take most of the time
    options.finds.mkdir(parents=True, exist_ok=True)
    # OpenCV is not Python, so atheris sees no coverage in it and would keep next to no image.
    if options.target != "image" and importlib.util.find_spec("atheris"):
        run_atheris(options)
    else:
        run_at_random(options)


def run_atheris(options: argparse.Namespace) -> None:
    """Let libFuzzer choose: it keeps the inputs that reach new lines of the project, and mutates those."""
    import atheris

    with atheris.instrument_imports(include=["tinycnn", "fer_demo"]):
        targets = importlib.import_module("tests.fuzz.targets")
    from tests.fuzz.mutate import mutate

    def mutator(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        return (mutate(data, rng) if rng.random() < 0.7 else atheris.Mutate(data, max_size))[:max_size]

    check, seeds = targets.TARGETS[options.target]
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds()):
            Path(folder, f"seed{number}").write_bytes(seed)
        limits = [
            f"-timeout={TIME}",
            f"-rss_limit_mb={MEMORY >> 20}",
            "-max_len=40000",
            f"-seed={options.seed}",
        ]
        output = [f"-runs={options.inputs}", f"-artifact_prefix={options.finds}/{options.target}-"]
        arguments = [sys.argv[0], folder, *limits, *output]
        atheris.Setup(arguments, check, custom_mutator=mutator)
        atheris.Fuzz()


def run_at_random(options: argparse.Namespace) -> None:
    """Damage seeds, and what became of them, with nothing to lead the way."""
    from tests.fuzz.mutate import mutate
    from tests.fuzz.targets import TARGETS

    check, seeds = TARGETS[options.target]
    pool = seeds()
    rng, began, finds = random.Random(options.seed), time.monotonic(), 0
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    for number in range(1, options.inputs + 1):
        data = rng.choice(pool)
        for _ in range(rng.choice([1, 1, 2, 4])):
            data = mutate(data, rng)
        signal.alarm(TIME)  # ends the process, with what is being tried on the disk
        (options.finds / f"{options.target}-current").write_bytes(data)
        try:
            check(data)
        except Exception as error:
            finds += 1
            (options.finds / f"{options.target}-{number}").write_bytes(data)
            print(f"input {number}: {type(error).__name__}: {error}", flush=True)
        signal.alarm(0)
        if number % 10_000 == 0:
            print(f"{number} inputs, {finds} finds, {time.monotonic() - began:.0f} s", flush=True)
    sys.exit(1 if finds else 0)


if __name__ == "__main__":
    main()
