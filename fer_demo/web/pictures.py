"""Pictures that come from the page and go to it."""

from base64 import b64encode

import cv2
import numpy as np
from fastapi import HTTPException

from fer_demo.data.dataset import IMAGE_SIZE

#: The one format that is read. The page turns whatever the browser can show into it, and OpenCV's many
#: other readers stay out of reach.
JPEG = "image/jpeg"


def decode(body: bytes, content_type: str) -> np.ndarray:
    """Return a JPEG's picture, uint8 (H, W, 3), in the order blue, green, red.

    Raises:
        HTTPException: with status 400 for nothing, 415 for another format, 422 for damage or too many pixels.
    """
    if not body:
        raise HTTPException(400, "the request has no picture: send a JPEG as its body")
    kind = content_type.partition(";")[0].strip().lower()
    if kind != JPEG or not body.startswith(b"\xff\xd8\xff"):
        found = kind if kind != JPEG else "something else under that name"
        raise HTTPException(415, f"expected a picture as {JPEG}, found {found or 'no content type'}")
    try:
        image = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # OpenCV has a limit of pixels; see `fer_demo.__init__`
        raise HTTPException(422, "the picture claims too many pixels: send a smaller one") from None
    if image is None:
        raise HTTPException(422, "the picture is damaged, or cut short")
    return image


def decode_face(body: bytes) -> np.ndarray:
    """Return a face that the page sends back as it got it: uint8, (48, 48).

    Raises:
        HTTPException: with status 422 if these are not 48 x 48 bytes.
    """
    if len(body) != IMAGE_SIZE**2:
        raise HTTPException(422, f"expected {IMAGE_SIZE**2} bytes, a grey face of 48x48; found {len(body)}")
    return np.frombuffer(body, np.uint8).reshape(IMAGE_SIZE, IMAGE_SIZE)


def pixels(grey: np.ndarray) -> str:
    """Return grey pixels, uint8 of any shape, as text for JSON: base64 of the bytes, row by row."""
    return b64encode(grey.tobytes()).decode("ascii")
