"""What stands beside and below the camera's picture: one face's numbers, and its last half minute."""

import cv2
import numpy as np

from fer_demo.data.dataset import EMOTIONS
from fer_demo.detector import Face
from fer_demo.live.drawing import FAINT, INK, PAPER, colour_of, text
from fer_demo.live.timeline import SPAN

#: Width of the panel and height of the timeline, in units.
PANEL_WIDTH, STRIP_HEIGHT = 200, 64
_COLOURS = np.array([*map(colour_of, EMOTIONS), PAPER], np.uint8)
_INSET = 144


def draw_panel(
    panel: np.ndarray, unit: float, face: Face | None, title: str, inset: np.ndarray, figures: list[str]
) -> None:
    """Draw what the network sees, seven bars, and figures.

    Args:
        panel: uint8, (480 units, 200 units, 3), drawn anew.
        unit: pixels a unit.
        face: whose probabilities the bars show; None for empty bars.
        title: stands below the inset.
        inset: uint8, (48, 48, 3): what the network sees.
        figures: lines at the bottom.
    """
    panel[:] = PAPER
    side, edge = round(_INSET * unit), round(28 * unit)
    top = round(12 * unit)
    panel[top : top + side, edge : edge + side] = cv2.resize(
        inset, (side, side), interpolation=cv2.INTER_NEAREST
    )
    text(panel, title, (14 * unit, 174 * unit), unit, FAINT, 0.36)
    for row, emotion in enumerate(EMOTIONS):
        share = 0.0 if face is None else float(face.probabilities[row])
        _draw_bar(panel, unit, (198 + 24 * row) * unit, emotion, share)
    for row, line in enumerate(figures):
        text(panel, line, (14 * unit, (388 + 20 * row) * unit), unit, FAINT, 0.38)


def _draw_bar(panel: np.ndarray, unit: float, y: float, emotion: str, share: float) -> None:
    """One row; y is in pixels, share from 0 to 1."""
    text(panel, emotion, (14 * unit, y + 5 * unit), unit)
    begin, end = 82 * unit, 150 * unit
    top, bottom = round(y - 6 * unit), round(y + 8 * unit)
    panel[top:bottom, round(begin) : round(end)] = (58, 54, 52)
    panel[top:bottom, round(begin) : round(begin + share * (end - begin))] = colour_of(emotion)
    text(panel, f"{share:.0%}", (190 * unit, y + 5 * unit), unit, INK, right=True)


def draw_strip(strip: np.ndarray, unit: float, columns: np.ndarray) -> None:
    """Draw the timeline: at each moment, the seven probabilities on top of one another.

    Args:
        strip: uint8, (64 units, W, 3), drawn anew.
        unit: pixels a unit.
        columns: float32, (T, 7), the oldest at the left, NaN where there was no face.
    """
    strip[:] = PAPER
    top, bottom = round(4 * unit), strip.shape[0] - round(16 * unit)
    levels = (np.arange(bottom - top, dtype=np.float32)[:, np.newaxis] + 0.5) / (bottom - top)
    # The number of an emotion is how many sums lie below the level; all seven, where there is no face.
    sums = np.cumsum(np.nan_to_num(columns, nan=0.0)[:, :-1], axis=1)
    emotions = (levels[:, :, np.newaxis] >= sums).sum(axis=2)
    emotions[:, np.isnan(columns[:, 0])] = len(EMOTIONS)
    picture = _COLOURS[emotions]
    size = strip.shape[1], bottom - top
    strip[top:bottom] = cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST)
    base = strip.shape[0] - 4 * unit
    for seconds in range(0, round(SPAN), 10):
        x = strip.shape[1] * (1 - seconds / SPAN)
        strip[bottom : bottom + max(1, round(4 * unit)), min(round(x), strip.shape[1] - 1)] = FAINT
        words = f"{seconds} s ago" if seconds else "now"
        text(strip, words, (x - 6 * unit * bool(not seconds), base), unit, FAINT, 0.34, right=True)
