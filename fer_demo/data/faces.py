"""The default data: faces that this project draws itself, so that everything runs with no download.

They have FER2013's format, its seven emotions and its imbalance, and many are hard to tell apart. But a
program drew them: a score on them says nothing about how well a model reads the faces of people.
"""

import hashlib
from numbers import Integral, Real
from pathlib import Path

import cv2
import numpy as np

from fer_demo.data.dataset import EMOTIONS, IMAGE_SIZE, Dataset, content_digest
from fer_demo.data.face_drawing import Person, Pose, Sketch, draw_head
from fer_demo.data.face_expression import express
from fer_demo.data.face_occlusion import OCCLUSIONS, draw_clutter
from tinycnn.errors import ConfigError

__all__ = ["draw_face", "synthetic_faces"]

#: How many of FER2013's 35,887 faces show each emotion, in the order of `EMOTIONS`.
FER2013_COUNTS = (4953, 547, 5121, 8989, 6077, 4002, 6198)

#: At difficulty 1, the probability that a face is drawn with an emotion other than its label.
LABEL_NOISE = 0.03

# What difficulty 1 does to the photograph; a lower difficulty does proportionally less.
_CLUTTER = 0.3  # probability of a background that is not plain
_TURN = np.radians((4, 2, 2))  # standard deviations of yaw, pitch and roll
_SHIFT = 0.3  # standard deviation of the head's place, in pixels
_ZOOM = 0.015  # standard deviation of the logarithm of its size
_SHADE = 0.2  # the largest addition to the share of directed light, which is 0.25 in clean faces
_FADING = 0.2  # the largest loss of contrast
_EXPOSURE = 12.0  # standard deviation of brightness, in grey levels
_BLUR = 0.4  # the largest sigma, in pixels
_NOISE = 3.0  # the largest standard deviation of the sensor's noise, in grey levels
_JPEG_LOSS = 30.0  # the largest distance from JPEG quality 95

_GRID = (np.arange(IMAGE_SIZE, dtype=np.float32) + 0.5) / (IMAGE_SIZE / 2) - 1  # pixel centres, −1 to 1


def synthetic_faces(n: int = 480, seed: int = 0, difficulty: float = 1.0) -> Dataset:
    """Draw a data set of faces in FER2013's format.

    The labels have FER2013's proportions, rounded by largest remainder, with every emotion present from n = 7
    and at least five times from n = 350; the seed decides their order. Image i depends on the seed, i and
    label i alone, but the labels depend on n: a smaller data set is no prefix of a larger one. As FER2013 has
    wrong labels, a face shows an emotion other than its label with probability `LABEL_NOISE` × difficulty.

    Args:
        n: number of faces, at least 1.
        seed: not negative; the same seed gives the same faces under the same versions of NumPy and OpenCV.
        difficulty: from 0, clean frontal faces that show their emotion fully, to 1, faces that are weak or
            mixed in expression, turned, unevenly lit, blurred, noisy and partly hidden.

    Raises:
        ConfigError: if an argument is out of range.

    >>> data = synthetic_faces(n=14, seed=1)
    >>> data.images.shape, np.bincount(data.labels).tolist()
    ((14, 48, 48, 1), [2, 1, 2, 3, 2, 2, 2])
    """
    _check_integer("n", n, 1)
    _check_integer("seed", seed, 0)
    _check_difficulty(difficulty)
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(EMOTIONS)), _class_counts(n))).astype(np.int64)
    images = np.empty((n, IMAGE_SIZE, IMAGE_SIZE, 1), np.uint8)
    for image, label, face_rng in zip(images, labels, rng.spawn(n), strict=True):
        wrong = face_rng.random() < LABEL_NOISE * difficulty
        shown = (label + wrong * face_rng.integers(1, len(EMOTIONS))) % len(EMOTIONS)
        image[:, :, 0] = draw_face(EMOTIONS[shown], face_rng, difficulty)
    content = content_digest(images, labels)
    return Dataset(images, labels, "synthetic faces", content, synthetic=True, content=content)


def program_digest() -> str:
    """SHA-256 of all that decides what `synthetic_faces` draws: this folder's code, and NumPy and OpenCV."""
    digest = hashlib.sha256(f"NumPy {np.__version__}, OpenCV {cv2.__version__}".encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def draw_face(emotion: str, rng: np.random.Generator, difficulty: float = 1.0) -> np.ndarray:
    """Draw one face.

    Args:
        emotion: one of `EMOTIONS`.
        rng: decides who it is and all that varies.
        difficulty: 0 clean to 1, see `synthetic_faces`.

    Returns:
        uint8, (48, 48).

    Raises:
        ConfigError: if the emotion is unknown or the difficulty out of range.

    >>> draw_face("happy", np.random.default_rng(0)).shape
    (48, 48)
    """
    if emotion not in EMOTIONS:
        raise ConfigError(f"emotion is {emotion!r}; expected one of {', '.join(EMOTIONS)}")
    _check_difficulty(difficulty)
    person = Person.sample(rng)
    units = express(emotion, rng, difficulty)
    pose = _sample_pose(rng, difficulty)
    sketch = Sketch(rng.uniform(20, 235), person.head_width, pose)
    if rng.random() < _CLUTTER * difficulty:
        draw_clutter(sketch, rng)
    draw_head(sketch, person, units)
    for probability, occlude in OCCLUSIONS:
        if rng.random() < probability * difficulty:
            occlude(sketch, person, rng)
    size = (IMAGE_SIZE, IMAGE_SIZE)
    return _photograph(cv2.resize(sketch.pixels, size, interpolation=cv2.INTER_AREA), rng, difficulty)


def _class_counts(n: int) -> np.ndarray:
    """(7,) FER2013's proportions of n faces, rounded by largest remainder; none is 0 from n = 7."""
    quotas = n * np.array(FER2013_COUNTS) / sum(FER2013_COUNTS)
    counts = quotas.astype(int)
    largest_remainders = np.argsort(counts - quotas, kind="stable")
    counts[largest_remainders[: n - counts.sum()]] += 1
    if n >= len(EMOTIONS):
        for empty in np.flatnonzero(counts == 0):
            counts[counts.argmax()] -= 1
            counts[empty] = 1
    return counts


def _sample_pose(rng: np.random.Generator, difficulty: float) -> Pose:
    """Where the head is and where it turns."""
    yaw, pitch, roll = difficulty * _TURN * rng.standard_normal(3)
    frontal = Pose()
    x, y = frontal.centre + difficulty * _SHIFT * rng.standard_normal(2)
    size = frontal.half_height * np.exp(difficulty * _ZOOM * rng.standard_normal())
    return Pose(yaw, pitch, roll, size, (x, y))


def _photograph(face: np.ndarray, rng: np.random.Generator, difficulty: float) -> np.ndarray:
    """A (48, 48) uint8 drawing as a camera gives it: lit from somewhere, blurred, noisy and compressed."""
    direction, share = rng.uniform(0, 2 * np.pi), 0.25 + _SHADE * difficulty * rng.random()
    # Lambert's law on a ball: the normal (x, y, z) times a light at 45°, less about its mean.
    x, y = np.cos(direction) * _GRID, np.sin(direction) * _GRID[:, None]
    z = np.sqrt(np.maximum(0.1, 1 - 0.6 * (_GRID**2 + _GRID[:, None] ** 2)))
    light = 1 + share * (0.7 * (x + y + z) - 0.55)
    contrast = 1 - _FADING * difficulty * rng.random()
    brightness = 128 + _EXPOSURE * difficulty * rng.standard_normal()
    picture = brightness + contrast * (face * light - 128)
    sigma = _BLUR * difficulty * rng.random()
    if sigma > 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    picture += _NOISE * difficulty * rng.random() * rng.standard_normal(picture.shape, np.float32)
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    quality = int(95 - _JPEG_LOSS * difficulty * rng.random())
    _, jpeg = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, quality))
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE))


def _check_integer(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ConfigError(f"{name} is {value!r}; expected an integer of at least {least}")


def _check_difficulty(difficulty: float) -> None:
    if not isinstance(difficulty, Real) or not 0 <= difficulty <= 1:
        raise ConfigError(
            f"difficulty is {difficulty!r}; expected a number from 0 (clean) to 1 (the default)"
        )
