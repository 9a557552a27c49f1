"""How fast a FER2013 CSV file is read: `fer_demo.data.load`, against `pandas.read_csv` and `str.split`.

Run as ``python -m benchmarks.load_csv --data fer2013.csv``. The readers take turns, so that a busy machine
slows all of them alike. The last line is one JSON object.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

from fer_demo.data import load


def read_with_pandas(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images as uint8, (N, 48, 48, 1), and labels, (N,), as a short script would read them."""
    table = pd.read_csv(path)
    pixels = [np.array(text.split(), dtype=np.uint8) for text in table["pixels"]]
    return np.stack(pixels).reshape(-1, 48, 48, 1), table["emotion"].to_numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a CSV file of FER2013")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each reader; the median counts")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TINYCNN_CACHE"] = folder
        check_equal(arguments.data)
        seconds = measure(arguments.data, arguments.repeat)
    print(f"{arguments.data.name}, {arguments.data.stat().st_size / 1e6:.0f} MB, {os.cpu_count()} cores")
    for reader, value in seconds.items():
        print(f"{reader:8} {value:8.3f} s {seconds['pandas'] / value:8.1f} x")
    print(json.dumps({"seconds": seconds, "ratio": seconds["pandas"] / seconds["cold"]}))


def check_equal(path: Path) -> None:
    """Fill the cache, and make sure that every reader delivers the same bytes."""
    images, labels = read_with_pandas(path)
    for dataset in (load(path), load(path)):
        assert np.array_equal(dataset.images, images)
        assert np.array_equal(dataset.labels, labels)


def measure(path: Path, repeat: int) -> dict[str, float]:
    """Median seconds of each reader: pandas, a first load without cache, and one from the cache."""
    readers: dict[str, Callable[[], object]] = {
        "pandas": lambda: read_with_pandas(path),
        "cold": lambda: load(path, cache=False),
        "cached": lambda: load(path),
    }
    runs: dict[str, list[float]] = {reader: [] for reader in readers}
    for _ in range(repeat):
        for reader, read in readers.items():
            start = time.perf_counter()
            read()
            runs[reader].append(time.perf_counter() - start)
    return {reader: median(times) for reader, times in runs.items()}


if __name__ == "__main__":
    main()
