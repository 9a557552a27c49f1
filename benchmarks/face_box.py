"""How a found face should be cut: accuracy by the margin around its box, and with tilted heads set upright.

Run as ``python -m benchmarks.face_box --data fer2013.csv``. FER2013's PublicTest faces are enlarged, tilted
and laid onto larger pictures, found there, cut out again and classified; so the
figures tell what finding and cutting costs. The last line is one JSON object.
"""

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

import tinycnn as tc
from benchmarks import cli
from fer_demo.classifier import EmotionClassifier
from fer_demo.data import load
from fer_demo.data.images import Box, cut_face
from fer_demo.detection.cascades import LONGEST_SIDE
from fer_demo.detection.choose import face_detector
from fer_demo.detection.eyes import cut_upright, tilt

MARGINS = [-0.1, -0.05, 0.0, 0.05, 0.1, 0.2]
DEGREES = [0, 5, 10, 15]
#: Pixels of a face's side, and of the larger picture.
SIDE, WIDTH, HEIGHT = 144, 320, 240

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    data: Annotated[Path, typer.Option(help="FER2013 as a CSV file.")],
    weights: Annotated[str, typer.Option(help="A shipped model, or a file.")] = "mini_xception",
    finder: Annotated[str, typer.Option("--faces", help="haar, or YuNet's .onnx file.")] = "haar",
    limit: Annotated[int, typer.Option(min=1, help="Faces of PublicTest.")] = 3589,
    save: cli.JsonFile = None,
) -> None:
    """Compare ways to cut out a face that was found."""
    dataset = load(data)
    chosen = np.flatnonzero(dataset.usage == "PublicTest")[:limit]
    faces, labels = dataset.images[chosen, :, :, 0], dataset.labels[chosen]
    classifier = EmotionClassifier(weights)
    rows = [row(classifier, finder, faces, labels, degrees) for degrees in DEGREES]
    columns = {"tilt": "degrees", "found": "found", "as\ngiven": "given", "both\neyes": "eyes"}
    columns |= {f"margin\n{margin:g}": str(margin) for margin in MARGINS} | {"set\nupright": "upright"}
    cli.show(f"Accuracy of {classifier.name} on those that are found", rows, columns)
    more = {"weights": classifier.name, "finder": finder, "faces": len(faces)}
    cli.finish("face_box", rows, tc.get_threads(), tc.backend_name(), save, **more)


def row(
    classifier: EmotionClassifier, finder: str, faces: np.ndarray, labels: np.ndarray, degrees: int
) -> dict[str, float]:
    """Return the accuracies for heads tilted by so many degrees, half of them to each side."""
    find, pictures, boxes, found = face_detector(finder, LONGEST_SIDE), [], list[Box](), []
    for index, face in enumerate(faces):
        picture = larger(face, degrees * (-1) ** index)
        if squares := find(picture):
            pictures.append(picture)
            boxes.append(squares[0])
            found.append(index)

    def accuracy(crops: list[np.ndarray]) -> float:
        return float((classifier(np.stack(crops)[..., np.newaxis]).argmax(axis=1) == labels[found]).mean())

    tilts = [tilt(picture, box) for picture, box in zip(pictures, boxes, strict=True)]
    upright = [cut_upright(*case) for case in zip(pictures, boxes, tilts, strict=True)]
    by_margin = {
        str(margin): accuracy(
            [cut_face(picture, widened(box, margin)) for picture, box in zip(pictures, boxes, strict=True)]
        )
        for margin in MARGINS
    }
    return {
        "degrees": degrees,
        "found": len(found) / len(faces),
        "given": accuracy([faces[index] for index in found]),
        "eyes": float(np.mean(np.array(tilts) != 0)),
        **by_margin,
        "upright": accuracy(upright),
    }


def larger(face: np.ndarray, degrees: float) -> np.ndarray:
    """Lay a face onto a picture whose background goes on as the face's edge ends, and tilt all of it."""
    enlarged = cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    above, beside = (HEIGHT - SIDE) // 2, (WIDTH - SIDE) // 2
    picture = cv2.copyMakeBorder(enlarged, above, above, beside, beside, cv2.BORDER_REPLICATE)
    turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), degrees, 1.0)
    return cv2.warpAffine(picture, turn, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)


def widened(box: Box, margin: float) -> Box:
    """Return the box with a margin, a share of its side."""
    left, top, side, _ = box
    more = margin * side
    return round(left - more), round(top - more), round(side + 2 * more), round(side + 2 * more)


if __name__ == "__main__":
    app()
