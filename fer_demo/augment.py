"""Random changes of training images that leave the emotion as it is, so that the network sees more faces.

Each augmentation is called with a batch, uint8 (N, H, W, 1), and a Generator, and returns a changed copy of
it. The generator alone decides what happens: the same state gives the same bits under the same version of
OpenCV, on any number of threads. Arguments are checked when the object is made. Its ``repr`` names all of
them, so that two runs can be compared by it, and it can be pickled for another process.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np

from tinycnn.checks import is_number, refuse
from tinycnn.errors import DTypeError, ShapeError

__all__ = [
    "Affine",
    "Augmentation",
    "BrightnessContrast",
    "Compose",
    "GaussianNoise",
    "HorizontalFlip",
    "RandomErasing",
    "VerticalFlip",
    "affine_matrices",
    "warp",
]

_LARGEST = 2**15 - 1  # pixels a side, OpenCV's limit for a warp


class Augmentation:
    """Base of the augmentations: it checks the images.

    >>> class Negative(Augmentation):
    ...     def _apply(self, images, rng):
    ...         return 255 - images
    >>> Negative()(np.zeros((1, 1, 2, 1), np.uint8), np.random.default_rng(0)).ravel()
    array([255, 255], dtype=uint8)
    """

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a changed copy of images, uint8 (N, H, W, 1).

        Raises:
            ShapeError, DTypeError: they are something else.
        """
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
            found = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
            raise DTypeError(f"{self}: found images of {found}, expected an array of uint8")
        if images.ndim != 4 or images.shape[3] != 1 or not all(0 < n <= _LARGEST for n in images.shape[1:]):
            raise ShapeError(f"{self}: found images {images.shape}, expected grey ones (N, H, W, 1)")
        return self._apply(images, rng)

    def _apply(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        raise NotImplementedError


@dataclass(frozen=True)
class Compose(Augmentation):
    """Several augmentations, one after the other.

    >>> Compose((HorizontalFlip(), Affine(degrees=10)))
    Compose(steps=(HorizontalFlip(p=0.5), Affine(degrees=10, scale=(1.0, 1.0), shift=0)))

    Args:
        steps: at least one augmentation.

    Raises:
        ConfigError: `steps` is something else.
    """

    steps: tuple[Augmentation, ...]

    def __post_init__(self) -> None:
        ours = isinstance(self.steps, tuple) and all(isinstance(step, Augmentation) for step in self.steps)
        if not ours or not self.steps:
            refuse("steps", self.steps, "a tuple of augmentations, such as (HorizontalFlip(), Affine(10))")

    def _apply(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        for step in self.steps:
            images = step(images, rng)
        return images


@dataclass(frozen=True)
class _Flip(Augmentation):
    """Mirror an image along `_axis` with probability `p`."""

    p: float = 0.5
    _axis: ClassVar[int]

    def __post_init__(self) -> None:
        _check_range("p", self.p, 0, 1)

    def _apply(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        flipped, chosen = images.copy(), rng.random(len(images)) < self.p
        flipped[chosen] = np.flip(images[chosen], self._axis)
        return flipped


class HorizontalFlip(_Flip):
    """Mirror an image left to right with probability `p`; a ConfigError if that is no probability.

    >>> face = np.array([1, 2, 3], np.uint8).reshape(1, 1, 3, 1)
    >>> HorizontalFlip(p=1)(face, np.random.default_rng(0)).ravel()
    array([3, 2, 1], dtype=uint8)
    """

    _axis = 2


class VerticalFlip(_Flip):
    """Mirror it top to bottom: a lesson, since nobody is seen that way and training on it should hurt.

    >>> face = np.array([1, 2, 3], np.uint8).reshape(1, 3, 1, 1)
    >>> VerticalFlip(p=1)(face, np.random.default_rng(0)).ravel()
    array([3, 2, 1], dtype=uint8)
    """

    _axis = 1


@dataclass(frozen=True)
class Affine(Augmentation):
    """Rotate, scale and shift an image at random, in one warp: three would blur it three times.

    A shift is a whole number of pixels, so that it alone changes no grey level. It is also what a random crop
    does to an image that was padded by `shift` pixels.

    Args:
        degrees: the angle lies between minus and plus this many, 0 to 180.
        scale: the least and the greatest magnification; above 1 the face grows.
        shift: most pixels to the left, right, up or down.

    Raises:
        ConfigError: an argument is out of range.

    >>> face = np.arange(5, dtype=np.uint8).reshape(1, 1, 5, 1)
    >>> Affine(shift=2)(face, np.random.default_rng(1)).ravel()
    array([2, 3, 4, 4, 3], dtype=uint8)
    """

    degrees: float = 0
    scale: tuple[float, float] = (1.0, 1.0)
    shift: int = 0

    def __post_init__(self) -> None:
        _check_range("degrees", self.degrees, 0, 180)
        _check_pair("scale", self.scale)
        if type(self.shift) is not int or not 0 <= self.shift <= _LARGEST:
            refuse("shift", self.shift, f"a whole number of pixels, 0 to {_LARGEST}")

    def _apply(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        n = len(images)
        angles = _uniform(rng, (-self.degrees, self.degrees), n)
        scales = _uniform(rng, self.scale, n)
        shifts = rng.integers(-self.shift, self.shift, (n, 2), endpoint=True)
        return warp(images, affine_matrices(angles, scales, shifts, *images.shape[1:3]))


def affine_matrices(
    angles: np.ndarray, scales: np.ndarray, shifts: np.ndarray, height: int, width: int
) -> np.ndarray:
    """Return what `warp` needs to rotate and scale images about their centres, then shift them.

    Args:
        angles: (N,), in degrees, counter-clockwise.
        scales: (N,), magnifications.
        shifts: (N, 2), pixels to the right and down.
        height: of the images, in pixels.
        width: likewise.

    Returns:
        (N, 2, 3). A matrix [A | b] tells where a pixel q = (x, y) of the result comes from: A q + b.

    >>> matrices = affine_matrices(np.zeros(1), np.ones(1), np.array([[2, 0]]), 48, 48)
    >>> matrices[0, :, 2]  # 2 to the right: from x - 2
    array([-2.,  0.])
    """
    cos, sin = np.cos(np.radians(angles)), np.sin(np.radians(angles))
    a = np.array([[cos, -sin], [sin, cos]]).transpose(2, 0, 1) / np.reshape(scales, (-1, 1, 1))
    centre = np.array([(width - 1) / 2, (height - 1) / 2])  # (0, 0) is the middle of the first pixel
    b = centre - np.einsum("nij,nj->ni", a, centre + shifts)
    return np.concatenate([a, b[:, :, None]], axis=2)


def warp(images: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Return images (N, H, W, 1), each warped by its matrix of (N, 2, 3), with bilinear interpolation.

    Past its border an image goes on mirrored. Black would draw an edge and repeated pixels would draw
    streaks, which tell a network how the image was warped; mirrored skin is still skin.

    >>> face = np.arange(5, dtype=np.uint8).reshape(1, 1, 5, 1)
    >>> to_the_right = affine_matrices(np.zeros(1), np.ones(1), np.array([[2, 0]]), 1, 5)
    >>> warp(face, to_the_right).ravel()
    array([1, 0, 0, 1, 2], dtype=uint8)
    """
    warped, size = np.empty_like(images, order="C"), (images.shape[2], images.shape[1])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for image, matrix, out in zip(images, matrices, warped, strict=True):
        # Below 2^16 pixels OpenCV stays on this thread; above, the bits are the same.
        cv2.warpAffine(image, matrix, size, out, flags, cv2.BORDER_REFLECT)
    return warped


@dataclass(frozen=True)
class BrightnessContrast(Augmentation):
    """Make images brighter or darker, and their contrast higher or lower.

    A grey level v of an image with mean m becomes b (m + c (v - m)), with its own factors b and c. These are
    torchvision's ``ColorJitter(brightness, contrast)``, rounded and clipped once instead of twice.

    Args:
        brightness: b lies between 1 - brightness and 1 + brightness, 0 to 1.
        contrast: the same for c.

    Raises:
        ConfigError: an argument is out of range.

    >>> faces = np.full((3, 1, 1, 1), 100, np.uint8)
    >>> BrightnessContrast(brightness=0.5)(faces, np.random.default_rng(0)).ravel()
    array([114,  77,  54], dtype=uint8)
    """

    brightness: float = 0.2
    contrast: float = 0.2

    def __post_init__(self) -> None:
        _check_range("brightness", self.brightness, 0, 1)
        _check_range("contrast", self.contrast, 0, 1)

    def _apply(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        b, c = (
            _uniform(rng, (1 - most, 1 + most), len(images)).astype(np.float32)[:, None, None, None]
            for most in (self.brightness, self.contrast)
        )
        mean = images.mean(axis=(1, 2, 3), keepdims=True, dtype=np.float32)
        levels = images * (b * c)
        levels += b * (1 - c) * mean
        return _rounded(levels)


@dataclass(frozen=True)
class GaussianNoise(Augmentation):
    """Add to every pixel a number of its own from a normal distribution with mean 0.

    Args:
        std: standard deviation in grey levels, 0 to 255.

    Raises:
        ConfigError: `std` is out of range.

    >>> faces = np.full((1, 1, 5, 1), 100, np.uint8)
    >>> GaussianNoise(std=10)(faces, np.random.default_rng(0)).ravel()
    array([111,  86,  96,  92, 106], dtype=uint8)
    """

    std: float = 8.0

    def __post_init__(self) -> None:
        _check_range("std", self.std, 0, 255)

    def _apply(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        levels = rng.standard_normal(images.shape, np.float32)
        levels *= np.float32(self.std)
        levels += images
        return _rounded(levels)


@dataclass(frozen=True)
class RandomErasing(Augmentation):
    """Replace a random rectangle of an image by random grey levels (Zhong et al. 2017).

    Names and values as in torchvision. Where a rectangle would be longer than the image, the paper draws
    another; here its ratio is brought nearer to the image's, which keeps the area.

    Args:
        p: probability that an image loses a rectangle.
        scale: least and greatest share of the image's area, up to 1.
        ratio: least and greatest ratio of the rectangle's height to its width.

    Raises:
        ConfigError: an argument is out of range.

    >>> faces = np.zeros((1, 48, 48, 1), np.uint8)
    >>> erased = RandomErasing(p=1, scale=(0.25, 0.25))(faces, np.random.default_rng(0))
    >>> round(float((erased > 0).mean()), 2)
    0.25
    """

    p: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)

    def __post_init__(self) -> None:
        _check_range("p", self.p, 0, 1)
        _check_pair("scale", self.scale, most=1)
        _check_pair("ratio", self.ratio)

    def _apply(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        n, (height, width) = len(images), images.shape[1:3]
        chosen = rng.random(n) < self.p
        area = _uniform(rng, self.scale, n) * height * width
        ratio = np.exp(_uniform(rng, np.log(self.ratio), n))  # 1:2 and 2:1 are equally likely
        ratio = np.clip(ratio, area / width**2, height**2 / area)
        rows = _random_span(np.sqrt(area * ratio), height, rng)
        columns = _random_span(np.sqrt(area / ratio), width, rng)
        erased = chosen[:, None, None] & rows[:, :, None] & columns[:, None, :]
        noise = rng.integers(0, 256, images.shape, dtype=np.uint8)
        return np.where(erased[..., None], noise, images)


def _uniform(rng: np.random.Generator, limits: tuple[float, float] | np.ndarray, n: int) -> np.ndarray:
    least, greatest = limits
    return rng.uniform(least, greatest, n)


def _random_span(lengths: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """(N, size), True along one random stretch of each row; lengths (N,) are rounded to 1 to `size`."""
    whole = np.clip(np.rint(lengths), 1, size).astype(int)[:, None]
    start = rng.integers(0, size - whole, endpoint=True)
    place = np.arange(size)
    return (start <= place) & (place < start + whole)


def _rounded(levels: np.ndarray) -> np.ndarray:
    """Float grey levels as uint8; changes its argument."""
    np.rint(levels, out=levels)
    return np.clip(levels, 0, 255, out=levels).astype(np.uint8)


def _check_range(name: str, value: Any, least: float, most: float) -> None:
    if not (is_number(value) and least <= value <= most):
        refuse(name, value, f"a number from {least} to {most}")


def _check_pair(name: str, pair: Any, most: float = 100) -> None:
    numbers = isinstance(pair, tuple) and len(pair) == 2 and all(map(is_number, pair))
    if not (numbers and 0 < pair[0] <= pair[1] <= most):
        refuse(name, pair, f"a tuple (least, greatest) of numbers above 0 and up to {most}")
