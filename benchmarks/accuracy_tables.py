"""The tables about what answers are worth, not how quick: shipped weights, int8, found and mirrored faces."""

from collections.abc import Callable

from benchmarks.markdown import Row, table
from benchmarks.record import command


def _shipped(result: Row) -> str:
    return "\n".join(
        [
            _shipped_scores(result["rows"], result["part"]),
            _shipped_emotions(result["rows"]),
            _shipped_calibration(result["rows"]),
            _shipped_commands(result["rows"]),
        ]
    )


def _shipped_scores(rows: list[Row], part: str) -> str:
    def share(found: Row) -> str:
        low, high = found["interval"]
        return f"{found['accuracy']:.3f} ({low:.3f} to {high:.3f})"

    new = rows[0]["without_copies"]["images"]
    heads = [
        f"accuracy on {part} (95 % interval)",
        "trained numbers",
        f"all {rows[0]['images']:,} faces",
        f"the {new:,} that are no copies",
        "mean with the mirror image",
        "macro F1",
        "training part",
    ]
    return table(
        heads,
        [
            [
                f"`{row['name']}`",
                f"{row['parameters']:,}",
                *(share(found) for found in (row, row["without_copies"], row["flip_average"])),
                f"{row['macro_f1']:.3f}",
                f"{row['train_accuracy']:.3f}",
            ]
            for row in rows
        ],
    )


def _shipped_emotions(rows: list[Row]) -> str:
    heads = ["per emotion", "faces"]
    heads += [f"`{row['name']}` {score}" for row in rows for score in ("precision", "recall")]
    lines = []
    for emotion, first in rows[0]["per_class"].items():
        scores = [row["per_class"][emotion][score] for row in rows for score in ("precision", "recall")]
        lines.append([emotion, f"{first['support']:,}", *(f"{score:.2f}" for score in scores)])
    return table(heads, lines)


def _shipped_calibration(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        found = row["calibration"] or {}
        cells = [found.get(key) for key in ("temperature", "ece_before", "ece_after")]
        lines.append([f"`{row['name']}`", *("–" if cell is None else f"{cell:.3f}" for cell in cells)])
    return table(["expected calibration error", "temperature", "at temperature 1", "at its own"], lines)


def _shipped_commands(rows: list[Row]) -> str:
    return "".join(["```sh\n", *(command(row["training"], row["name"]) for row in rows), "```\n"])


def _quantized(result: Row) -> str:
    """Two tables: what answers are worth, and what they cost; the peer has no float32 side."""
    scores, costs = [], []
    for row in [*result["rows"], *filter(None, [result["tflite"]])]:
        name = f"`{row['name']}`"
        shares = map(row.get, ("accuracy", "float_accuracy", "agreement", "largest_change"))
        scores.append([name, *("–" if share is None else f"{share:.2%}" for share in shares)])
        sizes = [f"{row[key]:,}" if key in row else "–" for key in ("bytes", "float_bytes")]
        costs.append([name, *sizes, *(_milliseconds(row, key) for key in ("ms", "prepared_ms", "float_ms"))])
    heads = [
        "PublicTest",
        "accuracy, int8",
        "accuracy, float32",
        "same label",
        "largest change of a probability",
    ]
    tables = table(heads, scores)
    heads = [
        "1 face / 64 faces",
        "bytes, int8",
        "bytes, float32",
        "ms, int8",
        "ms, prepared",
        "ms, `predict`",
    ]
    where = result["environment"]
    return (
        f"{tables}\n{table(heads, costs)}\n{result['faces']:,} faces, ranges from "
        f"{result['calibration_faces']} training faces. Milliseconds are processor time of one thread, "
        f"medians. {where['cpu']}, NumPy {where['numpy']}, numba {where['numba']}; "
        f"`python -m benchmarks.{result['benchmark']}`.\n"
    )


def _milliseconds(row: Row, key: str) -> str:
    times = [row.get(f"{key}_{faces}") for faces in (1, 64)]
    return "–" if None in times else " / ".join(f"{ms:.3g}" for ms in times)


def _face_box(result: Row) -> str:
    """A row per tilt: how many faces are found, and how many of those are read rightly when cut so."""
    margins = [
        key for key in result["rows"][0] if key not in ("degrees", "found", "given", "eyes", "upright")
    ]
    heads = ["tilted by", "found", "both eyes", "as given", f"margin {float(margins[0]):g}"]
    heads += [f"{float(margin):g}" for margin in margins[1:]] + ["0, upright"]
    lines = [
        [
            f"{row['degrees']}°",
            *(f"{row[key]:.1%}" for key in ("found", "eyes", "given", *margins, "upright")),
        ]
        for row in result["rows"]
    ]
    how = f"python -m benchmarks.face_box --data FILE --weights {result['weights']}"
    return f"{table(heads, lines)}\n{result['faces']:,} faces of PublicTest; `{how}`.\n"


def _mirror_leak(result: Row) -> str:
    """A row per model: what a test says of which faces, when mirror images were stored before it."""
    keys = ("accuracy", "accuracy_learnt", "accuracy_held_out", "accuracy_training")
    lines = [[f"`{row['name']}`", *(f"{row[key]:.3f}" for key in keys)] for row in result["rows"]]
    heads = ["accuracy on", "all held-out images", "those whose mirror image was learnt"]
    heads += ["those whose mirror image is held out too", "training part"]
    how = f"recipe {result['recipe']}, epochs: {result['epochs']}, seed {result['seed']}"
    return f"{table(heads, lines)}\nFER2013, {how}; `python -m benchmarks.mirror_leak --data fer2013.csv`.\n"


#: How each saved result is shown.
TABLES: dict[str, Callable[[Row], str]] = {
    "shipped": _shipped,
    "quantized": _quantized,
    "face_box": _face_box,
    "mirror_leak": _mirror_leak,
}
