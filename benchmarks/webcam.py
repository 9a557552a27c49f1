"""The camera's program without a camera: frames a second, and milliseconds of a frame.

Run as ``python -m benchmarks.webcam``. Drawn faces move about in a video of 640x480 pixels, and the session
of ``python -m fer_demo.webcam`` goes over it, round and round, with and without a picture to show. With
``--minutes 60`` it goes on for so long each time, and tells whether memory grows. The last line is one JSON
object; `benchmarks/README.md` explains its keys.
"""

import resource
import tempfile
import time
from collections import deque
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from benchmarks import cli
from benchmarks.machine import pause
from benchmarks.resident import Watch
from fer_demo.data.dataset import EMOTIONS
from fer_demo.data.faces import draw_face
from fer_demo.detector import EmotionDetector
from fer_demo.live.session import Session, Speed
from fer_demo.live.sources import open_source
from fer_demo.webcam import explainer, live_detector
from tinycnn import set_threads

COLUMNS = {
    "window": "window",
    "frames/s": "frames_per_s",
    "frame": "ms_median",
    "detection": "detection_ms_median",
    "prediction": "prediction_ms_median",
    "faces": "faces_per_frame",
    "grown, MB": "grown_mb",
    "MB/h": "mb_per_hour",
}
#: Frames of the video, and a second; those of the first round are not counted.
FRAMES, RATE = 150, 30
SIZE, FACE = (640, 480), 150

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Nowhere:
    """A window that nobody looks at."""

    def show(self, picture: np.ndarray, wait: float) -> str:
        """No key is ever pressed."""
        return ""

    def close(self) -> None:
        """There is nothing to close."""


class Record(Speed):
    """Keeps the times of the last frames, so many: all of them would be memory that grows."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.times: deque[tuple[float, float, float]] = deque(maxlen=frames)

    def add(self, detection: float, prediction: float) -> None:
        """Count a frame that ends now."""
        super().add(detection, prediction)
        self.times.append((time.perf_counter(), detection, prediction))


@app.command()
def main(
    faces: Annotated[int, typer.Option(min=0, max=3, help="In every frame.")] = 3,
    rounds: Annotated[int, typer.Option(min=1, help="How often the video is gone through.")] = 4,
    minutes: Annotated[float, typer.Option(min=0, help="Go on for so long, and tell how memory grows.")] = 0,
    weights: Annotated[str, typer.Option(help="A shipped model, or a file.")] = "mini_xception",
    threads: cli.Threads = 2,
    save: cli.JsonFile = None,
) -> None:
    """Measure the camera's program."""
    set_threads(threads)
    cv2.setNumThreads(threads)
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "faces.avi"
        write_video(video, faces)
        rows = [row(video, window, rounds, minutes, weights) for window in (False, True)]
    cli.show(f"Webcam at {SIZE[0]}x{SIZE[1]}, milliseconds, {threads} threads", rows, COLUMNS)
    cli.finish("webcam", rows, threads, None, save)


def write_video(path: Path, faces: int) -> None:
    """Draw so many faces, which move and change what they express."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE, SIZE)
    for number in range(FRAMES):
        writer.write(frame(number / RATE, faces))
    writer.release()


def frame(seconds: float, faces: int) -> np.ndarray:
    """Return a picture, uint8 (480, 640, 3)."""
    picture = np.full((SIZE[1], SIZE[0], 3), (90, 80, 70), np.uint8)
    for face in range(faces):
        emotion = EMOTIONS[(int(seconds / 2) + 3 * face) % len(EMOTIONS)]
        drawn = draw_face(emotion, np.random.default_rng(3 + face), 0)
        left = round(30 + 205 * face + 12 * np.sin(seconds + face))
        top = round(150 + 20 * np.cos(1.3 * seconds + face))
        enlarged = cv2.resize(drawn, (FACE, FACE), interpolation=cv2.INTER_CUBIC)
        picture[top : top + FACE, left : left + FACE] = enlarged[..., np.newaxis]
    return picture


def row(video: Path, window: bool, rounds: int, minutes: float, weights: str) -> dict[str, Any]:
    """Go through the video and return the figures; those of time are the last rounds'."""
    detector = EmotionDetector(weights, live_detector("haar"))
    screen = Nowhere() if window else None
    session = Session(detector, screen, None, None, explainer(detector))
    session.speed = record = Record(rounds * FRAMES)
    go_through(session, video)
    pause()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    record.times.clear()
    session.faces = record.frames = 0
    watch, end = Watch(), time.monotonic() + 60 * minutes
    while record.frames < rounds * FRAMES or time.monotonic() < end:
        go_through(session, video)
        watch.note()
    ends, detection, prediction = zip(*record.times, strict=True)
    frames = np.diff(ends)
    return {
        "window": "yes" if window else "no",
        "frames": record.frames,
        "frames_per_s": 1 / median(frames),
        "ms_median": 1e3 * median(frames),
        "detection_ms_median": 1e3 * median(detection),
        "prediction_ms_median": 1e3 * median(prediction),
        "faces_per_frame": session.faces / record.frames,
        "grown_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024,
        "minutes": minutes,
        **watch.figures(),
    }


def go_through(session: Session, video: Path) -> None:
    """Show the session every frame once."""
    with open_source(str(video)) as source:
        session.run(source)


if __name__ == "__main__":
    app()
