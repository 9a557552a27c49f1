"""Strokes that every picture here is made of. Lengths are in units: a picture is about 480 of them high."""

import cv2
import numpy as np

from fer_demo.palette import COLOURS

#: Blue, green, red.
Colour = tuple[int, int, int]

PAPER, INK, FAINT, ALARM = (30, 26, 24), (240, 240, 240), (150, 150, 150), (60, 60, 230)
#: A picture of this height is drawn with a unit of one pixel.
BASE_HEIGHT = 480
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def colour_of(label: str) -> Colour:
    """The colour of an emotion, or of `fer_demo.detector.UNSURE`."""
    red, green, blue = bytes.fromhex(COLOURS[label][1:])
    return blue, green, red


def ink_on(colour: Colour) -> Colour:
    """Black or white, whatever can be read on a colour of this luma (ITU-R BT.601)."""
    blue, green, red = colour
    return (0, 0, 0) if 0.114 * blue + 0.587 * green + 0.299 * red > 110 else (255, 255, 255)


def text(
    image: np.ndarray,
    words: str,
    place: tuple[float, float],
    unit: float,
    colour: Colour = INK,
    size: float = 0.42,
    right: bool = False,
) -> None:
    """Write a line of ASCII.

    Args:
        image: uint8, (H, W, 3), changed.
        words: what to write.
        place: pixels of the line's left end (or of its right end), on the line that letters stand on.
        unit: pixels a unit.
        colour: of the letters.
        size: 1 gives capitals 21 units high.
        right: `place` is the right end.
    """
    thickness = max(1, round(unit))
    x, y = place
    if right:
        x -= text_width(words, unit, size)
    cv2.putText(image, words, (round(x), round(y)), _FONT, size * unit, colour, thickness, cv2.LINE_AA)


def text_width(words: str, unit: float, size: float = 0.42) -> int:
    """Pixels that a line of `text` takes."""
    return cv2.getTextSize(words, _FONT, size * unit, max(1, round(unit)))[0][0]


def shade(image: np.ndarray, left: float, top: float, right: float, bottom: float) -> None:
    """Darken a rectangle, so that words on it can be read; it is cut to the picture."""
    part = image[max(round(top), 0) : max(round(bottom), 0), max(round(left), 0) : max(round(right), 0)]
    part[:] = part // 4
