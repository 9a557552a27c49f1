"""The whole picture that a user sees: the camera's, with faces marked, a panel and a timeline."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from fer_demo.data.dataset import IMAGE_SIZE
from fer_demo.detector import Face
from fer_demo.live.drawing import ALARM, BASE_HEIGHT, INK, shade, text
from fer_demo.live.overlay import draw_faces, hide, mirrored, warm
from fer_demo.live.panel import PANEL_WIDTH, STRIP_HEIGHT, draw_panel, draw_strip
from fer_demo.live.timeline import Timeline
from fer_demo.live.tracks import Track

#: Keys and what they do, as the help lists them.
KEYS = {
    "q": "quit (or Esc)",
    "s": "save a snapshot",
    "r": "begin or end a recording",
    "m": "mirror",
    "g": "evidence for the emotion (Grad-CAM)",
    "b": "hide faces",
    "h": "this help",
}
_NO_INSET = np.full((IMAGE_SIZE, IMAGE_SIZE, 3), 40, np.uint8)

#: Of a face, where the evidence for its most probable emotion is: uint8, (48, 48).
Explain = Callable[[Face], np.ndarray]


@dataclass
class Options:
    """What the keys switch on and off."""

    mirror: bool = False
    heat: bool = False
    blur: bool = False
    help: bool = False


@dataclass(frozen=True, eq=False)
class Moment:
    """What there is to show of one frame.

    Attributes:
        image: uint8, (H, W, 3): the frame as it came.
        tracks: the faces to mark.
        focus: the one that the panel is about.
        timeline: of that face.
        figures: lines about speed; none before the first face was looked for.
        notice: a line that is shown for a moment; empty for none.
        recording: whether it is.
    """

    image: np.ndarray
    tracks: list[Track]
    focus: Track | None
    timeline: Timeline
    figures: list[str]
    notice: str
    recording: bool


def compose(moment: Moment, options: Options, explain: Explain) -> np.ndarray:
    """Return the picture, uint8, (H', W', 3)."""
    zoom = max(1.0, BASE_HEIGHT / moment.image.shape[0])
    unit = moment.image.shape[0] * zoom / BASE_HEIGHT
    height, width = (round(zoom * side) for side in moment.image.shape[:2])
    panel, strip = round(PANEL_WIDTH * unit), round(STRIP_HEIGHT * unit)
    canvas = np.empty((height + strip, width + panel, 3), np.uint8)

    heat = explain(moment.focus.face) if options.heat and moment.focus is not None else None
    picture = _picture(moment, options, heat)
    canvas[:height, :width] = picture if zoom == 1 else cv2.resize(picture, (width, height))
    inset, title = _inset(moment.focus, options, heat) if moment.figures else (_NO_INSET, "")
    face = moment.focus.face if moment.focus is not None else None
    draw_panel(canvas[:height, width:], unit, face, title, inset, moment.figures)
    draw_strip(canvas[height:], unit, moment.timeline.columns())
    _draw_words(canvas[:height, :width], unit, moment, options)
    return canvas


def _picture(moment: Moment, options: Options, heat: np.ndarray | None) -> np.ndarray:
    """The frame with its faces marked."""
    picture = cv2.flip(moment.image, 1) if options.mirror else moment.image.copy()
    marked = []
    for track in moment.tracks:
        face = mirrored(track.face, picture.shape[1]) if options.mirror else track.face
        marked.append((face, str(track.number)))
        if options.blur:
            hide(picture, face.box)
        if heat is not None and track is moment.focus:
            warm(picture, face.box, cv2.flip(heat, 1) if options.mirror else heat)
    draw_faces(picture, marked)
    return picture


def _inset(focus: Track | None, options: Options, heat: np.ndarray | None) -> tuple[np.ndarray, str]:
    """What the network sees of the face in focus, uint8, (48, 48, 3), and the line below it."""
    if focus is None:
        return _NO_INSET, "no face found"
    inset = cv2.cvtColor(focus.face.crop, cv2.COLOR_GRAY2BGR)
    title = f"face {focus.number}, as the network sees it"
    if options.blur:
        hide(inset, (0, 0, IMAGE_SIZE, IMAGE_SIZE))
        title = f"face {focus.number}, hidden"
    if heat is not None:
        warm(inset, (0, 0, IMAGE_SIZE, IMAGE_SIZE), heat)
        title = f"face {focus.number}: evidence for {focus.face.emotion}"
    return inset, title


def _draw_words(picture: np.ndarray, unit: float, moment: Moment, options: Options) -> None:
    """Recording, notice and help, over the camera's picture."""
    if moment.recording:
        centre = round(18 * unit), round(18 * unit)
        cv2.circle(picture, centre, round(7 * unit), ALARM, cv2.FILLED, cv2.LINE_AA)
        text(picture, "REC", (30 * unit, 23 * unit), unit, ALARM, 0.5)
    if moment.notice:
        bottom = picture.shape[0]
        shade(picture, 0, bottom - 28 * unit, picture.shape[1], bottom)
        text(picture, moment.notice, (10 * unit, bottom - 9 * unit), unit)
    if options.help:
        left, top = 40 * unit, 60 * unit
        shade(picture, left, top, left + 380 * unit, top + (30 + 26 * len(KEYS)) * unit)
        for row, (key, words) in enumerate(KEYS.items()):
            y = top + (32 + 26 * row) * unit
            text(picture, key, (left + 20 * unit, y), unit, INK, 0.5)
            text(picture, words, (left + 52 * unit, y), unit, INK, 0.5)
