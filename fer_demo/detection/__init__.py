"""Finding faces in pictures: what every detector does, and the ones that OpenCV brings."""

from typing import Protocol

import numpy as np

from fer_demo.data.images import Box


class FaceDetector(Protocol):
    """Anything that finds faces, such as `fer_demo.detection.cascades.CascadeDetector`, or a function.

    >>> def middle(image):
    ...     height, width = image.shape[:2]
    ...     return [(width // 4, height // 4, width // 2, height // 2)]
    >>> from fer_demo import EmotionDetector
    >>> len(EmotionDetector(faces=middle).faces(np.zeros((100, 100, 3), np.uint8)))
    1
    """

    def __call__(self, image: np.ndarray, /) -> list[Box]:
        """Find the faces of a picture.

        Args:
            image: uint8, (H, W) or, in the order blue, green, red, (H, W, 3). It is not changed.

        Returns:
            A box around each, cut as FER2013's faces are: from eyebrows to chin. The largest comes first.
        """
