"""From an image file to grey pixels, and from these to a face of 48 x 48."""

import re
from pathlib import Path

import cv2
import numpy as np

from fer_demo.data.dataset import IMAGE_SIZE
from fer_demo.errors import DataError

#: No image's file is larger. How many pixels OpenCV unpacks is limited too; see `fer_demo.__init__`.
MAX_BYTES = 1 << 28

#: How a HEIC file names its kind, from byte 4 on: what phones make, and OpenCV cannot read.
_HEIC = re.compile(rb"ftyp(heic|heix|hevc|hevx|heim|heis|mif1|msf1)")

#: What an AVIF file says of how to turn its picture: by so many quarters, counter-clockwise; and then to
#: exchange top and bottom (0), or left and right (1).
_TURNS, _MIRROR = re.compile(rb"\0\0\0\x09irot([\0-\x03])"), re.compile(rb"\0\0\0\x09imir([\0\x01])")
_LONGEST_HEADER = 4096

#: Left, top, width and height in pixels, counted from the upper left corner.
Box = tuple[int, int, int, int]


def read_grey(path: Path) -> np.ndarray | str:
    """Read any image that OpenCV can read; of a moving picture, the first frame.

    The picture is turned upright if a camera has noted how it was held. Transparency is ignored.

    Returns:
        uint8, (H, W); or, in words, what is wrong with the file.
    """
    return _read(path, cv2.IMREAD_GRAYSCALE)


def read_colour(path: Path) -> np.ndarray | str:
    """Read an image like `read_grey`, as uint8, (H, W, 3), in the order blue, green, red."""
    return _read(path, cv2.IMREAD_COLOR)


def _read(path: Path, flags: int) -> np.ndarray | str:
    try:
        if path.is_dir():
            return "not a file but a folder; put its images into the folder around it"
        if not path.is_file():
            return "not a file"  # but a link to nothing, or a pipe, which might never end
        if path.stat().st_size > MAX_BYTES:
            return f"the file has {path.stat().st_size} bytes, expected at most {MAX_BYTES}"
        # Not cv2.imread, which cannot open every name on Windows and may return half of a damaged picture.
        content = np.fromfile(path, np.uint8)
        if not content.size:
            return "the file is empty"
        image = cv2.imdecode(content, flags)
    except OSError as error:
        return f"cannot be read ({error})"
    except cv2.error as error:
        return "it claims too many pixels" if "CV_IO_MAX_IMAGE" in str(error) else _unread(content)
    if image is not None:
        return _upright(image, content)
    if _HEIC.match(content[4:12].tobytes()):
        return "is a HEIC picture, which OpenCV cannot read; save it as JPEG"
    return _unread(content)


def _upright(image: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Turn an AVIF file's picture as it says; of all other formats OpenCV has done so."""
    begin = content[:_LONGEST_HEADER].tobytes()
    if begin[4:12] != b"ftypavif":
        return image
    if turns := _TURNS.search(begin):
        image = np.rot90(image, turns[1][0])
    if mirror := _MIRROR.search(begin):
        image = np.flip(image, mirror[1][0])
    return np.ascontiguousarray(image)


def _unread(content: np.ndarray) -> str:
    """Say why a file's content was not read as a picture of 8 bits."""
    try:
        deep = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        deep = None
    if deep is None or deep.dtype in (np.uint8, np.uint16):
        return "damaged, or no image"
    return f"its pixels are {deep.dtype}; save it with 8 or 16 bits"


def write_image(path: Path, image: np.ndarray) -> None:
    """Write a picture, uint8 (H, W) or (H, W, 3), in the format that the name's ending says.

    Raises:
        DataError: OpenCV knows no such format, or it has no room for so large a picture.
        OSError: the file cannot be written.
    """
    try:
        done, content = cv2.imencode(path.suffix, image)
    except cv2.error as error:
        raise DataError(f"{path}: expected a name that ends in .png, .jpg or another format") from error
    if not done:
        raise DataError(f"{path}: no such file can be of {image.shape[1]}x{image.shape[0]} pixels; use .png")
    try:
        content.tofile(path)  # not cv2.imwrite, which cannot open every name on Windows
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({error.strerror or error})") from error


def to_grey(image: np.ndarray) -> np.ndarray:
    """Return a picture, uint8, (H, W) or blue, green, red (H, W, 3), as (H, W)."""
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


def square_around(box: Box, image_shape: tuple[int, ...]) -> Box:
    """Return the square with the box's centre and longer side, moved and shrunk as far as the image demands.

    Args:
        box: a rectangle; it may reach beyond the image.
        image_shape: (H, W) of the image.
    """
    x, y, width, height = box
    image_height, image_width = image_shape
    side = min(max(width, height), image_width, image_height)
    left = min(max(x + (width - side) // 2, 0), image_width - side)
    top = min(max(y + (height - side) // 2, 0), image_height - side)
    return left, top, side, side


def cut_face(image: np.ndarray, box: Box | None = None) -> np.ndarray:
    """Cut out a square and resize it: by averaging areas if it must shrink, by cubic curves if it must grow.

    Args:
        image: uint8, (H, W).
        box: what the square shall go around, see `square_around`; None for the whole image, of which the
            square in the middle is taken.

    Returns:
        uint8, (48, 48).
    """
    height, width = image.shape
    left, top, side, _ = square_around(box or (0, 0, width, height), image.shape)
    square = image[top : top + side, left : left + side]
    method = cv2.INTER_AREA if side >= IMAGE_SIZE else cv2.INTER_CUBIC
    return cv2.resize(square, (IMAGE_SIZE, IMAGE_SIZE), interpolation=method)
