"""The tables of `README.md` and of pages in `docs/`, written from the saved JSON of the other scripts.

Run as ``python -m benchmarks.tables`` after saving new figures with ``--json benchmarks/results/NAME.json``,
or with ``python -m benchmarks.record``, whose files are in `docs/results/`.
It replaces what stands between the marks ``<!-- NAME -->`` and ``<!-- end -->``; a test makes sure that
nobody edits a figure by hand.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

from benchmarks import accuracy_tables, result_tables
from benchmarks.cli import TOO_BUSY
from benchmarks.markdown import Row, table
from fer_demo.models import FACE, MODELS
from tinycnn import summary

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
PAGES = (
    ROOT / "README.md",
    *(
        ROOT / "docs" / f"{name}.md"
        for name in ("speed", "model_card", "models", "results", "application", "web", "quantization")
    ),
)


def main() -> None:
    """Write the tables into the pages."""
    for page in PAGES:
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
        print(page.relative_to(ROOT))


def with_tables(text: str) -> str:
    """Return a page's text with every marked table made anew."""
    return re.sub(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", _replaced, text, flags=re.DOTALL)


def _replaced(match: re.Match[str]) -> str:
    return f"{match[1]}{TABLES[match[2]](load(match[2]))}{match[3]}"


def load(name: str) -> Row:
    """Return the saved last line of a script, or what `benchmarks.record` has collected."""
    folder = result_tables.RESULTS if name in result_tables.TABLES else RESULTS
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def _training(result: Row) -> str:
    rows = [
        [row["model"], str(row["batch"]), f"{row['images_per_s_median']:,.0f}", f"{row['ratio']:.2f}"]
        for row in result["rows"]
    ]
    eager = all(row["peer"].endswith("eager") for row in result["rows"])
    peer = f"times as fast as PyTorch{' (eager)' if eager else ''}"
    return table(["training", "batch", "images/s", peer], rows) + _source(result)


def _modes(result: Row) -> str:
    """Every way in which PyTorch can run the same step, beside ours."""
    lines = []
    for row in result["rows"]:
        times = {"tinycnn": row["ms_median"]} | {
            f"PyTorch, {k}": v for k, v in row["modes_ms_median"].items()
        }
        for name, ms in times.items():
            lines.append([row["model"], str(row["batch"]), name, f"{ms:.1f}", f"{ms / row['ms_median']:.2f}"])
    heads = ["training", "batch", "by", "a step, ms", "times ours"]
    return table(heads, lines) + _source(result, " --modes all")


def _networks(result: Row) -> str:
    """Every model: its size, and what is recorded of its accuracy and of its speed."""
    speed = {row["model"]: row for row in result["rows"]}
    folds = {row["model"]: row for row in load("folds")["rows"] if _is_comparison(row)}
    lines = []
    for name, make in MODELS.items():
        layers = summary.rows(make(), FACE)
        size = sum(row.parameters for row in layers), sum(row.multiply_adds for row in layers)
        accuracy = folds[name]["accuracy"] if name in folds else None
        found = "–" if accuracy is None else f"{accuracy['mean']:.4f} ± {accuracy['std']:.4f}"
        rate = f"{speed[name]['images_per_s_median']:,.0f}" if name in speed else "–"
        lines.append([f"`{name}`", *(f"{number:,}" for number in size), found, rate])
    heads = ["network", "trained numbers", "multiply-adds of a face", "accuracy of 5 folds, 8 epochs"]
    return table([*heads, "images/s in training"], lines) + (_source(result) if speed else "")


def _is_comparison(row: Row) -> bool:
    """Whether a cross-validation is one of those that compare the networks."""
    decided = ("folds", "epochs", "recipe", "keep_copies_together", "teacher", "extra")
    return [row[key] for key in decided] == [5, 8, "default", False, None, None]


def _scaling(result: Row) -> str:
    rows = [
        [
            row["model"],
            str(row["batch"]),
            f"{row['us_per_image_one_thread']:,.0f}",
            f"{row['us_per_image']:,.0f}",
            f"{row['speedup']:.2f}",
        ]
        for row in result["rows"]
    ]
    heads = ["training, microseconds an image", "batch", "1 thread", "2 threads", "ratio"]
    return table(heads, rows) + _source(result)


def _end_to_end(result: Row) -> str:
    lines = []
    for row in result["rows"]:
        ours, theirs = row["command_s"] / 60, row["peer_s"] / 60
        share = f"{row['command_s'] / row['peer_s']:.2f}"
        images = f"{row['images_trained']:,}"
        lines.append([row["model"], str(row["batch"]), images, f"{ours:.1f}", f"{theirs:.1f}", share])
    heads = ["a whole cross-validation", "batch", "images trained on", "`fer_demo.cv`, minutes"]
    heads += ["PyTorch's steps alone, minutes", "share"]
    return table(heads, lines) + _source(result, " --data fer2013.csv --model all", "one run each")


def _inference(result: Row) -> str:
    rows = []
    for row in result["rows"]:
        times = (
            row["ms_median"],
            row["predict_ms_median"],
            row["onnxruntime_ms_median"],
            row["opencv_ms_median"],
            row["torch_ms_median"],
        )
        rows.append([row["model"], str(row["batch"]), *(f"{ms:.3g}" for ms in times)])
    heads = [
        "inference, milliseconds", "faces", "prepared", "`predict`", "ONNX Runtime", "OpenCV", "PyTorch",
    ]  # fmt: skip
    return table(heads, rows) + _source(result)


def _memory(result: Row) -> str:
    rows = [
        [
            row["model"],
            str(row["batch"]),
            f"{row['peak_mb']:.0f}",
            f"{row['peer_peak_mb']:.0f}",
            f"{row['ratio']:.2f}",
        ]
        for row in result["rows"]
    ]
    return table(["peak memory, MB", "batch", "tinycnn", "PyTorch", "ratio"], rows) + _source(result)


def _cold_start(result: Row) -> str:
    heads = ["seconds to", "first run", "later runs"]
    first_step = [
        "the first training step of `python -m fer_demo.cv`",
        f"{result['cold_s']:.1f}",
        f"{result['warm_s']:.1f}",
    ]
    return table(heads, [first_step, ["`import tinycnn`", "", f"{result['import_s']:.2f}"]]) + _source(result)


def _webcam(result: Row) -> str:
    keys = ("frames_per_s", "ms_median", "detection_ms_median", "prediction_ms_median", "grown_mb")
    rows = [
        [
            "shown" if row["window"] == "yes" else "headless",
            f"{row['faces_per_frame']:.3g}",
            *(f"{row[key]:.3g}" for key in keys),
        ]
        for row in result["rows"]
    ]
    heads = [
        "640x480",
        "faces a frame",
        "frames/s",
        "a frame, ms",
        "finding faces, ms",
        "prediction, ms",
        "memory grown, MB",
    ]
    return table(heads, rows) + _source(result)


def _webcam_hour(result: Row) -> str:
    rows = []
    for row in result["rows"]:
        low, high = row["mb_per_hour_interval"]
        growth = f"{row['mb_per_hour']:.2g} ({low:.2g} to {high:.2g})"
        name = "shown" if row["window"] == "yes" else "headless"
        files = f"{row['files_grown']:+d}" if row["files_grown"] else "0"
        rows.append([name, f"{row['minutes']:g}", f"{row['frames']:,}", growth, files])
    heads = ["memory", "minutes", "frames", "grown, MB an hour (95 % interval)", "files left open"]
    how = "a line fitted to the later half" + _busy(result, ", ")
    return table(heads, rows) + _source(result, f" --minutes {result['minutes']:g}", how)


def _web(result: Row) -> str:
    heads = ["page at 640x480", "frames/s", "an answer, ms", "finding faces, ms", "prediction, ms"]
    keys = ("frames_per_s", "ms_median", "detection_ms_median", "prediction_ms_median")
    name = f"{result['faces_per_frame']:.3g} faces a frame"
    figures = [result[key] for key in keys]
    cells = [f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}" for figure in figures]
    return table(heads, [[name, *cells]]) + _source(result, how=_busy(result) or "medians")


def _busy(result: Row, before: str = "") -> str:
    """Say how busy other programs kept the processor, if so much that it matters."""
    busy = result["environment"]["others_busy"] or 0.0
    return f"{before}while other programs kept {busy:.0%} of the processor busy" if busy > TOO_BUSY else ""


def _source(result: Row, options: str = "", how: str = "medians") -> str:
    where = result["environment"]
    threads = "1 thread" if where["threads"] == 1 else f"{where['threads']} threads"
    peers = "".join(f", {name} {where[key]}" for name, key in PEERS.items() if where.get(key))
    return (
        f"\n{where['cpu']}, {where['cores']} cores, {threads}, NumPy {where['numpy']}, "
        f"numba {where['numba']}{peers}; `python -m benchmarks.{result['benchmark']}{options}`, {how}.\n"
    )


PEERS = {"PyTorch": "torch", "ONNX Runtime": "onnxruntime"}
#: How each saved result is shown.
TABLES: dict[str, Callable[[Row], str]] = {
    "train_step": _training,
    "train_step_xeon": _training,
    "train_step_modes": _modes,
    "train_step_numpy": _training,
    "train_step_scaling": _scaling,
    "networks": _networks,
    "end_to_end": _end_to_end,
    "inference": _inference,
    "inference_xeon": _inference,
    "memory": _memory,
    "cold_start": _cold_start,
    "webcam": _webcam,
    "webcam_hour": _webcam_hour,
    "web": _web,
    **accuracy_tables.TABLES,
    **result_tables.TABLES,
}


if __name__ == "__main__":
    main()
