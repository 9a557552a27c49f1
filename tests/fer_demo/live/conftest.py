"""Frames with drawn faces, and videos of them."""

import cv2
import numpy as np
import pytest

from fer_demo.data.faces import draw_face
from fer_demo.detection.cascades import CascadeDetector
from fer_demo.detector import EmotionDetector

RATE = 10


def frame(*emotions: str, left: int = 20) -> np.ndarray:
    """A picture, uint8 (160, 320, 3), with a face for each emotion beside one another."""
    picture = np.full((160, 320, 3), (90, 80, 70), np.uint8)
    for number, emotion in enumerate(emotions):
        face = draw_face(emotion, np.random.default_rng(3), 0)
        x = left + 150 * number
        picture[20:140, x : x + 120] = cv2.resize(face, (120, 120), interpolation=cv2.INTER_CUBIC)[..., None]
    return picture


def write(path, frames, codec: str, rate: float = RATE):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, frames[0].shape[1::-1])
    assert writer.isOpened()
    for image in frames:
        writer.write(image)
    writer.release()
    return path


@pytest.fixture(scope="session")
def detector():
    return EmotionDetector(faces=CascadeDetector(min_size=0.5, quick=True), unsure=0, align=False)


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    """Twelve frames, 1.2 seconds: two faces, of which one is away in frames 4 to 7."""
    frames = [frame("happy") if 4 <= n < 8 else frame("happy", "surprise") for n in range(12)]
    return write(tmp_path_factory.mktemp("video") / "zwei Gesichter ü.avi", frames, "MJPG")
