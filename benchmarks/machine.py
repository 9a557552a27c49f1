"""The machine: what it is, and whether it was idle but for us."""

import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import fmean
from typing import Any

#: Seconds of a pause: first the last contender's threads cease to spin, then the machine should be idle.
SETTLE, LISTEN = 0.15, 0.1

_heard: list[float] = []


def pause() -> None:
    """Let the machine come to rest, and note how much other programs use it all the same.

    Threads that wait by spinning, as PyTorch's do, become many times slower as soon as another program takes
    a core from one of them: only an otherwise idle machine gives a fair comparison.
    """
    time.sleep(SETTLE)
    if Path("/proc/stat").exists():  # Linux
        busy, total = _processor_ticks()
        time.sleep(LISTEN)
        busy_later, total_later = _processor_ticks()
        _heard.append((busy_later - busy) / max(total_later - total, 1))


def _processor_ticks() -> tuple[int, int]:
    """Return the busy time of all cores, and their whole time, since the system started."""
    line = Path("/proc/stat").read_text().partition("\n")[0]
    ticks = [
        int(word) for word in line.split()[1:9]
    ]  # user, nice, system, idle, I/O wait, interrupts, stolen
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def others_busy() -> float | None:
    """Return the share of the processor, 0 to 1, that other programs used in the pauses; None if unknown."""
    return fmean(_heard) if _heard else None


def environment(threads: int, backend: str | None) -> dict[str, Any]:
    """Return processor, cores, versions (None if not installed), threads, backend, and `others_busy`."""
    from fer_demo.report import environment as of_this_run  # not before the measurements: it is heavy
    from tinycnn import backend_name

    return {
        **of_this_run(),
        "torch": _version("torch"),
        "onnxruntime": _version("onnxruntime"),
        "threads": threads,
        "backend": backend or backend_name(),
        "others_busy": others_busy(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
