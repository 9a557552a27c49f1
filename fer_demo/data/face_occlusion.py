"""What stands behind a face and what hides a part of it."""

from collections.abc import Callable

import cv2
import numpy as np

from fer_demo.data.face_drawing import CIRCLE, Person, Sketch, box, path


def draw_clutter(sketch: Sketch, rng: np.random.Generator) -> None:
    """A background of a few blurred patches."""
    for x, y in rng.uniform(-1, 1, (4, 2)):
        half_width, half_height = rng.uniform(0.1, 0.7, 2)
        sketch.ellipse(x, y, half_width, half_height, rng.uniform(10, 245))
    sketch.soften(int(rng.integers(5, 25)))


def _glasses(sketch: Sketch, person: Person, rng: np.random.Generator) -> None:
    """Rims, bridge and temples."""
    tone, width = rng.uniform(10, 90), rng.uniform(0.025, 0.05)
    for side in (-1, 1):
        x = side * person.eye_distance
        sketch.line(CIRCLE * (0.23, 0.17) + (x, -0.08), tone, width)
        sketch.line(path((x + side * 0.23, -0.1), (side * person.head_width, -0.12)), tone, width)
    sketch.line(path((-0.1, -0.1), (0, -0.14), (0.1, -0.1)), tone, width)


def _sunglasses(sketch: Sketch, person: Person, rng: np.random.Generator) -> None:
    """Dark lenses instead of eyes."""
    tone = rng.uniform(10, 60)
    for side in (-1, 1):
        sketch.ellipse(side * person.eye_distance, -0.08, 0.24, 0.17, tone)
    sketch.line(path((-person.head_width, -0.13), (person.head_width, -0.13)), tone, 0.05)


def _hat(sketch: Sketch, person: Person, rng: np.random.Generator) -> None:
    """A hat down to the forehead."""
    brim, edge = rng.uniform(-0.55, -0.38), person.head_width + 0.1
    sketch.fill(box(-edge, -1.4, edge, brim), rng.uniform(15, 230))


def _fringe(sketch: Sketch, person: Person, rng: np.random.Generator) -> None:
    """Hair over a brow."""
    side = rng.choice((-1, 1))
    for start in rng.uniform(-0.3, 0.6, 6):
        end = start + rng.uniform(-0.1, 0.3)
        sketch.line(path((side * start, -0.8), (side * end, rng.uniform(-0.25, -0.05))), person.hair, 0.08)


def _hand(sketch: Sketch, person: Person, rng: np.random.Generator) -> None:
    """Fingers on the cheek or before the mouth."""
    side, x, y = rng.choice((-1, 1)), rng.uniform(0.0, 0.5), rng.uniform(0.35, 0.75)
    for finger in range(4):
        tip = (side * (x + 0.05 * finger), y + 0.13 * finger - 0.2)
        knuckle = (side * 1.2, y + 0.15 * finger + 0.1)
        sketch.line(path(tip, knuckle), person.skin * 0.6, 0.17)
        sketch.line(path(tip, knuckle), person.skin * 0.95, 0.12)


def _bar(sketch: Sketch, person: Person, rng: np.random.Generator) -> None:
    """Something straight that stands before the face."""
    x, lean, width = rng.uniform(-0.9, 0.9), rng.uniform(-0.5, 0.5), rng.uniform(0.1, 0.25)
    sketch.line(path((x, -1.5), (x + lean, 1.5)), rng.uniform(10, 245), width)


def _watermark(sketch: Sketch, person: Person, rng: np.random.Generator) -> None:
    """Letters across the picture, as on agencies' previews."""
    text = "".join(rng.choice(list("ABDEHKMNORSTX"), 7))
    height = int(rng.uniform(0.3, 0.95) * sketch.pixels.shape[0])
    cv2.putText(sketch.pixels, text, (8, height), cv2.FONT_HERSHEY_DUPLEX, 1.3, rng.uniform(150, 255), 3)


#: The probability of each occlusion at difficulty 1, and what draws it.
OCCLUSIONS: tuple[tuple[float, Callable[[Sketch, Person, np.random.Generator], None]], ...] = (
    (0.08, _glasses),
    (0.01, _sunglasses),
    (0.04, _hat),
    (0.05, _fringe),
    (0.04, _hand),
    (0.02, _bar),
    (0.02, _watermark),
)
