"""Finding faces in pictures: what every detector does, and the ones that OpenCV brings."""

from typing import Protocol

import numpy as np

from fer_demo.data.images import Box


class FaceDetector(Protocol):
    """Anything that finds faces, such as `fer_demo.detection.cascades.CascadeDetector`, or a function."""

    def __call__(self, image: np.ndarray, /) -> list[Box]:
        """Find the faces of a picture.

        Args:
            image: uint8, (H, W) or, in the order blue, green, red, (H, W, 3). It is not changed.

        Returns:
            A box around each, cut as FER2013's faces are: from eyebrows to chin. The largest comes first.
        """
