"""From stored pixels to what a network takes, the same for training, scoring and the camera."""

from dataclasses import dataclass
from typing import Self

import numpy as np

__all__ = ["Normalisation"]


@dataclass(frozen=True)
class Normalisation:
    """Pixels to numbers with mean 0 and standard deviation 1 over the images that it was fitted on.

    Attributes:
        mean: of all pixels, in grey levels 0 to 255.
        std: standard deviation of all pixels, in grey levels.

    >>> images = np.array([50, 150], np.uint8).reshape(2, 1, 1, 1)
    >>> normalise = Normalisation.fit(images)
    >>> normalise
    Normalisation(mean=100.0, std=50.0)
    >>> normalise(images).ravel()
    array([-1.,  1.], dtype=float32)
    """

    mean: float
    std: float

    @classmethod
    def fit(cls, images: np.ndarray) -> Self:
        """Measure uint8 images (N, H, W, 1): the training part alone, so that no held-out face leaks in."""
        levels, counts = np.arange(256), np.bincount(images.ravel(), minlength=256)
        mean = float((counts * levels).sum() / images.size)
        std = float(np.sqrt((counts * (levels - mean) ** 2).sum() / images.size))
        return cls(mean, std or 1.0)  # images of one single grey have no spread to divide by

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return float32 (N, H, W, 1) for uint8 images of that shape."""
        x = images.astype(np.float32)
        x -= np.float32(self.mean)
        x *= np.float32(1 / self.std)
        return x
