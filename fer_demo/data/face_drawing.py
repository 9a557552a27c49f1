"""A face drawn from action units: geometry that muscles bend, filled with OpenCV.

Face coordinates: the origin is the middle of the head, x points to the right of the image, y down, and 1 is
the head's half height. Everything is drawn four times too large and reduced at the end, which smooths edges.
"""

from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

from fer_demo.data.dataset import IMAGE_SIZE

#: Canvas pixels per image pixel, each way.
SUPERSAMPLING = 4

_CANVAS_SIZE = IMAGE_SIZE * SUPERSAMPLING
_FRACTION = 16  # OpenCV takes points as integers in sixteenths of a pixel:
_FRACTION_BITS = 4
_HEAD_DEPTH = 0.8  # half depth of the head, in half heights

_SPAN = np.linspace(-1, 1, 13)  # left to right along an eyelid or a lip
_BULGE = 1 - _SPAN**2  # a parabola over the span: 0 at both ends, 1 in the middle
_BEZIER = np.array([((1 - t) ** 2, 2 * t * (1 - t), t**2) for t in np.linspace(0, 1, 9)])


def arc(start: float, stop: float, points: int) -> np.ndarray:
    """(points, 2) on the unit circle, from one angle to another; y points down: π to 2π is above."""
    angles = np.linspace(start, stop, points)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


#: (25, 2) points on the unit circle, the first again at the end.
CIRCLE = arc(0, 2 * np.pi, 25)


@dataclass(frozen=True)
class Person:
    """What stays in one person's face: tones, 0 black to 255 white, and lengths in face coordinates."""

    skin: float
    hair: float
    iris: float
    head_width: float
    jaw_taper: float
    eye_size: float
    eye_distance: float
    brow_height: float
    brow_thickness: float
    nose_length: float
    mouth_height: float
    mouth_width: float
    lip_thickness: float
    hairline: float
    parting: float
    hair_length: float
    wrinkles: float
    beard: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Somebody, whose features say nothing of a mood."""
        skin = rng.uniform(110, 215)
        return cls(
            skin=skin,
            hair=rng.uniform(15, 80) if rng.random() < 0.75 else rng.uniform(80, 190),
            iris=rng.uniform(20, 90),
            head_width=rng.uniform(0.70, 0.82),
            jaw_taper=rng.uniform(0.0, 0.22),
            eye_size=rng.uniform(0.9, 1.15),
            eye_distance=rng.uniform(0.29, 0.33),
            brow_height=rng.uniform(-0.33, -0.28),
            brow_thickness=rng.uniform(0.035, 0.07),
            nose_length=rng.uniform(0.22, 0.30),
            mouth_height=rng.uniform(0.52, 0.57),
            mouth_width=rng.uniform(0.24, 0.30),
            lip_thickness=rng.uniform(0.03, 0.06),
            hairline=rng.uniform(-0.85, -0.58),
            parting=rng.uniform(-0.5, 0.5),
            hair_length=rng.uniform(0.5, 1.2) if rng.random() < 0.4 else 0.0,
            wrinkles=rng.uniform(0.5, 1.0),
            beard=rng.uniform(0.1, 0.4) if rng.random() < 0.15 else 0.0,
        )


@dataclass(frozen=True)
class Pose:
    """Where the head is and where it turns; angles in radians, lengths in image pixels."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    half_height: float = 24.0
    centre: tuple[float, float] = (IMAGE_SIZE / 2, 23.5)


class Sketch:
    """A canvas on which face coordinates are drawn as the head's pose shows them.

    Attributes:
        pixels: uint8, (192, 192).
    """

    def __init__(self, background: float, head_width: float, pose: Pose) -> None:
        self.pixels = np.full((_CANVAS_SIZE, _CANVAS_SIZE), background, np.uint8)
        self._unit = pose.half_height * SUPERSAMPLING
        self._origin = np.array(pose.centre) * SUPERSAMPLING * _FRACTION
        self._outline = np.array([head_width**-2, 1.0])
        turn = np.array(
            [[np.cos(pose.yaw), 0], [0, np.cos(pose.pitch)], [np.sin(pose.yaw), np.sin(pose.pitch)]]
        )
        roll = np.array([[np.cos(pose.roll), np.sin(pose.roll)], [-np.sin(pose.roll), np.cos(pose.roll)]])
        self._projection = self._unit * _FRACTION * turn @ roll

    def fill(self, points: np.ndarray, tone: float) -> None:
        """Fill a polygon, (K, 2) points in face coordinates."""
        cv2.fillPoly(self.pixels, [self._project(points)], tone, shift=_FRACTION_BITS)

    def line(self, points: np.ndarray, tone: float, width: float) -> None:
        """Draw through (K, 2) points in face coordinates, `width` in the same unit."""
        thickness = max(1, round(width * self._unit))
        cv2.polylines(self.pixels, [self._project(points)], False, tone, thickness, shift=_FRACTION_BITS)

    def ellipse(self, x: float, y: float, half_width: float, half_height: float, tone: float) -> None:
        """Fill an upright ellipse in face coordinates."""
        self.fill(CIRCLE * (half_width, half_height) + (x, y), tone)

    def soften(self, size: int) -> None:
        """Blur what has been drawn so far with a box of `size` × `size` canvas pixels, twice."""
        for _ in range(2):
            cv2.blur(self.pixels, (size, size), dst=self.pixels)

    def _project(self, points: np.ndarray) -> np.ndarray:
        """(K, 2) face coordinates as OpenCV's fixed-point pixels.

        The head is an ellipsoid: a point within its outline lies in front and moves as the head turns; the
        outline, and what is beyond it, such as hair, stays.
        """
        depth = _HEAD_DEPTH * np.sqrt(np.maximum(0.0, 1 - points**2 @ self._outline))
        pixels = points @ self._projection[:2] + depth[:, None] * self._projection[2] + self._origin
        return pixels.astype(np.int32)


def draw_head(sketch: Sketch, person: Person, units: dict[int, float]) -> None:
    """Draw a whole face.

    Args:
        sketch: the canvas; what it holds is the background.
        person: whose face it is.
        units: intensity, 0 to 1, of every action unit in `ACTION_UNITS`.
    """
    _draw_skull(sketch, person, units)
    _draw_folds(sketch, person, units)
    sketch.soften(5)
    _draw_hair(sketch, person)
    _draw_nose(sketch, person, units)
    for side in (-1, 1):
        _draw_eye(sketch, person, units, side)
        _draw_brow(sketch, person, units, side)
    _draw_mouth(sketch, person, units)


def path(*points: tuple[float, float]) -> np.ndarray:
    """(9, 2) on the quadratic Bézier curve of three points, or two points as they are."""
    return np.array(points) if len(points) == 2 else _BEZIER @ points


def between(x: np.ndarray, top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """(2K, 2) outline of what lies between two curves over the same x, each (K,)."""
    return np.array((np.append(x, x[::-1]), np.append(top, bottom[::-1]))).T


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """(4, 2) corners."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _draw_skull(sketch: Sketch, person: Person, units: dict[int, float]) -> None:
    """Hair behind the head, neck, ears, and the head with its jaw."""
    width = person.head_width
    if person.hair_length > 0:
        sketch.ellipse(0, -0.1, width + 0.17, 1.1, person.hair)
        sketch.fill(box(-width - 0.17, -0.1, width + 0.17, person.hair_length), person.hair)
    sketch.fill(box(-0.42, 0.6, 0.42, 1.6), person.skin * 0.7)
    for side in (-1, 1):
        sketch.ellipse(side * width, 0.02, 0.09, 0.2, person.skin * 0.85)
    x, y = CIRCLE.T
    below = np.maximum(0, y)
    x = width * x * (1 - person.jaw_taper * below**2)
    sketch.fill(np.array((x, y + 0.12 * units[26] * below)).T, person.skin)


def _draw_folds(sketch: Sketch, person: Person, units: dict[int, float]) -> None:
    """The soft shadows of a face, and the wrinkles that its muscles press into it."""
    skin, chin = person.skin, 0.8 + 0.1 * units[26]

    def wrinkle(strength: float, *points: tuple[float, float]) -> None:
        if strength > 0.05:
            sketch.line(path(*points), skin * (1 - 0.5 * person.wrinkles * strength), 0.035)

    for side in (-1, 1):
        x = side * person.eye_distance
        sketch.ellipse(x, -0.12, 0.19, 0.13, skin * 0.88)
        sketch.ellipse(side * 0.06, 0.12, 0.02, 0.12, skin * 0.92)
        cheek = max(units[6], units[9], units[10], units[12])
        corner = side * (0.32 + 0.1 * units[12])
        wrinkle(0.15 + 0.85 * cheek, (side * 0.15, 0.2), (corner, 0.28), (corner, 0.5))
        wrinkle(
            0.2 + 0.6 * units[6], (x - side * 0.14, 0.04), (x, 0.1 - 0.03 * units[6]), (x + side * 0.14, 0.03)
        )
        wrinkle(units[6], (x + side * 0.17, -0.06), (x + side * 0.26, 0.0))
        wrinkle(0.8 * units[4], (side * 0.05, -0.32), (side * 0.06, -0.2))
        wrinkle(units[9], (side * 0.03, -0.06), (side * 0.13, 0.0))
        wrinkle(units[9], (side * 0.03, 0.02), (side * 0.14, 0.08))
        wrinkle(units[15], (side * 0.32, 0.62), (side * 0.36, 0.74))
    for y in (-0.46, -0.6):
        wrinkle(0.6 * units[1], (-0.3, y), (0, y - 0.05), (0.3, y))
    wrinkle(0.2 + 0.8 * units[17], (-0.13, chin), (0, chin - 0.06), (0.13, chin))
    if person.beard:
        sketch.ellipse(0, 0.68, 0.66 * person.head_width, 0.3, skin * (1 - person.beard))


def _draw_hair(sketch: Sketch, person: Person) -> None:
    """The hair above the forehead, down to the temples."""
    width, line = person.head_width, person.hairline
    forehead = path((width * 0.88, -0.3), (person.parting, 2 * line + 0.3), (-width * 0.88, -0.3))
    crown = arc(np.pi, 2 * np.pi, 17) * (width + 0.06, 1.08)
    sketch.fill(np.concatenate([forehead, crown]), person.hair)


def _draw_nose(sketch: Sketch, person: Person, units: dict[int, float]) -> None:
    """Nostrils and the shadow under the tip; disgust draws them up and apart."""
    tip = person.nose_length - 0.05 * units[9]
    spread = 0.08 + 0.025 * max(units[9], units[10])
    underside = [(-spread - 0.04, tip - 0.03), (0, tip + 0.09), (spread + 0.04, tip - 0.03)]
    sketch.line(path(*underside), person.skin * 0.72, 0.03)
    for side in (-1, 1):
        sketch.ellipse(side * spread * 0.8, tip + 0.005, 0.033, 0.02, person.skin * 0.4)


def _draw_eye(sketch: Sketch, person: Person, units: dict[int, float], side: int) -> None:
    """One eye between its lids."""
    half_width = 0.155 * person.eye_size
    closed = 0.5 * units[43] + 0.25 * units[7] + 0.25 * units[6] + 0.2 * units[9]
    upper = 0.085 * person.eye_size * max(0.1, 1 + 0.75 * units[5] - closed)
    lower = 0.045 * person.eye_size * max(0.0, 1 + 0.3 * units[5] - 0.8 * units[7] - 0.9 * units[6])
    x, y = side * person.eye_distance, -0.1
    # The inner brow pulls the inner half of the lid along, up in sadness and down in anger.
    slant = 0.03 * (units[1] - units[2] * 0.7 - units[4] * 0.9) * side * _SPAN
    top, bottom = -upper * _BULGE + slant * _BULGE, lower * _BULGE
    lids = x + half_width * _SPAN
    sketch.fill(between(lids, y + top, y + bottom), min(245, person.skin * 0.5 + 125))
    for radius, tone in ((0.085, person.iris), (0.04, 10)):
        disc = CIRCLE * radius * person.eye_size - (0, 0.015)
        spots = disc[:, 0] / half_width
        disc[:, 1] = np.maximum(disc[:, 1], np.interp(spots, _SPAN, top))
        disc[:, 1] = np.minimum(disc[:, 1], np.interp(spots, _SPAN, bottom))
        sketch.fill(disc + np.array((x, y)), tone)
    sketch.line(np.array((lids, y + bottom)).T, person.skin * 0.65, 0.015)
    sketch.line(np.array((lids, y + top)).T, person.skin * 0.25, 0.035)


def _draw_brow(sketch: Sketch, person: Person, units: dict[int, float], side: int) -> None:
    """One eyebrow: three muscles move its inner end, its arch and its outer end."""
    frown = max(units[4], 0.6 * units[9])
    inner = (0.13 - 0.05 * frown, 0.01 - 0.13 * units[1] + 0.12 * frown)
    arch = (0.30, -0.05 - 0.03 * units[1] - 0.13 * units[2] + 0.06 * frown)
    outer = (0.50, 0.03 - 0.08 * units[2] + 0.01 * frown)
    points = [(side * x, person.brow_height + y) for x, y in (inner, arch, outer)]
    sketch.line(path(*points), min(person.hair, 0.55 * person.skin), person.brow_thickness)


def _draw_mouth(sketch: Sketch, person: Person, units: dict[int, float]) -> None:
    """Lips, and between them the dark of the mouth with the upper teeth."""
    stretch = 1 + 0.4 * units[12] + 0.3 * units[20] - 0.3 * units[26] * (1 - units[12]) - 0.15 * units[23]
    x = person.mouth_width * stretch * _SPAN
    corners = 0.15 * units[12] - 0.13 * units[15] - 0.03 * units[20]
    middle = person.mouth_height - 0.04 * units[17] - 0.06 * units[10] + 0.03 * units[26] + 0.3 * corners
    seam = middle - corners * _SPAN**2 - 0.03 * units[15] * _BULGE
    opening = np.sqrt(_BULGE)
    upper = seam - (0.03 * units[25] + 0.06 * units[26] + 0.05 * units[10] * units[25]) * opening
    lower = seam + (0.07 * units[25] + 0.24 * units[26]) * opening
    lip = person.lip_thickness * (1 - 0.6 * units[23]) * _BULGE**0.7
    snarl = 0.05 * units[10] * _BULGE**2
    sketch.fill(between(x, upper - lip - snarl, lower + 1.2 * lip), person.skin * 0.66)
    sketch.fill(between(x, upper, np.maximum(lower, upper + 0.02)), person.skin * 0.2)
    teeth = 0.11 * max(units[10], units[12], units[20])
    sketch.fill(between(0.9 * x, upper, np.minimum(lower, upper + teeth)), min(250, person.skin * 0.4 + 140))
