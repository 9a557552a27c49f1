"""`python -m fer_demo.live.demo`: draw a short animation of the camera's program on drawn faces."""

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from PIL import Image

from fer_demo import cli
from fer_demo.data.faces import draw_face
from fer_demo.detector import EmotionDetector
from fer_demo.live.session import Session
from fer_demo.live.sources import Source
from fer_demo.webcam import explainer, live_detector

#: Frames in all, frames a second, and how many frames a face takes from one emotion to the next.
FRAMES, RATE, CHANGE = 72, 8, 5
#: What two faces show, for so many frames each.
SHOWN = (("neutral", "happy", "surprise", "happy"), ("surprise", "surprise", "neutral", "sad"))
SIZE, FACE = (480, 360), 190
#: Frame -> key that is pressed in it.
KEYS = {44: "g"}
#: The animation's width in pixels, and its colours.
WIDTH, COLOURS = 560, 40

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Drawing:
    """A `fer_demo.live.sources.Capture` of faces that change what they express."""

    def __init__(self) -> None:
        self._count = 0

    def read(self) -> tuple[bool, np.ndarray | None]:
        """Return whether there is another frame, and it."""
        self._count += 1
        return (True, frame(self._count - 1)) if self._count <= FRAMES else (False, None)

    def get(self, prop: int, /) -> float:
        """Return a property, as OpenCV numbers them."""
        known = {cv2.CAP_PROP_FPS: RATE, cv2.CAP_PROP_FRAME_COUNT: FRAMES}
        known |= {cv2.CAP_PROP_FRAME_WIDTH: SIZE[0], cv2.CAP_PROP_FRAME_HEIGHT: SIZE[1]}
        return known.get(prop, 0.0)

    def release(self) -> None:
        """There is nothing to release."""


class Film:
    """A `fer_demo.live.window.Screen` that keeps what it is shown."""

    def __init__(self) -> None:
        self.pictures: list[np.ndarray] = []

    def show(self, picture: np.ndarray, wait: float) -> str:
        """Keep a picture, smaller, and press the next key."""
        height = round(picture.shape[0] * WIDTH / picture.shape[1])
        self.pictures.append(cv2.resize(picture, (WIDTH, height), interpolation=cv2.INTER_AREA))
        return KEYS.get(len(self.pictures), "")

    def close(self) -> None:
        """There is nothing to close."""


def frame(number: int) -> np.ndarray:
    """Return a picture, uint8 (360, 480, 3), with two drawn faces."""
    picture = np.full((SIZE[1], SIZE[0], 3), (104, 92, 84), np.uint8)
    for face, emotions in enumerate(SHOWN):
        each = FRAMES // len(emotions)
        turn, since = divmod(number, each)
        share = min(since / CHANGE, 1.0) if turn else 1.0
        before, after = (
            draw_face(name, np.random.default_rng(face + 5), 0)
            for name in (emotions[turn - 1], emotions[turn])
        )
        mixed = cv2.addWeighted(before, 1 - share, after, share, 0)
        side = FACE - 40 * face
        left = 20 + 250 * face + round(10 * np.sin(number / 9 + face))
        top = 80 + round(8 * np.cos(number / 7 + face))
        large = cv2.resize(mixed, (side, side), interpolation=cv2.INTER_CUBIC)
        picture[top : top + side, left : left + side] = large[..., np.newaxis]
    return picture


@app.command()
def main(
    out: Annotated[Path, typer.Argument(metavar="OUT.gif", dir_okay=False, help="The animation to write.")],
) -> None:
    """Run a session over the drawing, and write what it shows."""
    detector, film = EmotionDetector(faces=live_detector("haar")), Film()
    session = Session(detector, film, None, None, explainer(detector))
    session.run(Source(Drawing(), "drawn faces", live=False))
    pictures = [Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)) for picture in film.pictures]
    palette = pictures[len(pictures) * 3 // 4].quantize(COLOURS)
    frames = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=1000 // RATE, loop=0)


if __name__ == "__main__":
    cli.run(app)
