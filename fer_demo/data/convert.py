"""From a list of pictures to faces as FER2013 has them, and to a file of them."""

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_demo.data.archives import MAX_TEXT
from fer_demo.data.dataset import EMOTIONS, IMAGE_SIZE
from fer_demo.data.images import Box, cut_face, read_grey, square_around
from fer_demo.data.pixels import PIXELS
from fer_demo.data.sources import Fault, Picture
from fer_demo.detection.cascades import largest_face
from fer_demo.errors import DataError
from tinycnn.files import replace_file
from tinycnn.kernels.threads import get_threads

#: No file has more faces, so that `fer_demo.data.load` can read what `write_csv` wrote.
MAX_FACES = MAX_TEXT // (4 * PIXELS + 100)

#: Why a picture gave no face; others look for it among the reasons.
NO_FACE = "no face found"

#: Pictures that are under way at a time: whoever interrupts waits for no more.
_BATCH = 256
_NUMBERS = [str(value) for value in range(256)]


@dataclass(frozen=True)
class Choice:
    """Which pictures are to be used, and how.

    Attributes:
        only: the emotions to keep.
        limit: at most so many faces of each emotion; None for all.
        seed: of the random choice that a limit makes.
        detect: whether to find the largest face where the data set does not say where it is; if not, the
            square in the middle is the face. None: find it in all pictures but those of 48x48 pixels, which
            are faces already.
        min_size: the least side of a face, in pixels of the picture.
    """

    only: tuple[str, ...] = EMOTIONS
    limit: int | None = None
    seed: int = 0
    detect: bool | None = False
    min_size: int = 20


@dataclass(frozen=True)
class Converted:
    """What has become of the pictures.

    Attributes:
        images: uint8, (N, 48, 48, 1), in the order of the pictures.
        labels: int64, (N,), indices into `EMOTIONS`.
        left_out: places of pictures that were left out though nothing was wrong with the file, by reason.
        faults: those that could not be read, sorted.
    """

    images: np.ndarray
    labels: np.ndarray
    left_out: dict[str, list[str]]
    faults: list[Fault]


def convert(
    pictures: list[Picture], choice: Choice, on_picture: Callable[[], object] = lambda: None
) -> Converted:
    """Read the chosen pictures and cut out their faces.

    Args:
        pictures: what there is.
        choice: what to use.
        on_picture: called once for every picture, when it is known what becomes of it.

    Raises:
        DataError: more than `MAX_FACES` are asked for.
    """
    faces, faults = dict[int, np.ndarray](), list[Fault]()
    left_out = defaultdict[str, list[str]](list)
    for index, result in _results(pictures, choice):
        if isinstance(result, np.ndarray):
            faces[index] = result
        elif isinstance(result, Fault):
            faults.append(result)
        else:
            left_out[result].append(pictures[index].place)
        on_picture()
    order = sorted(faces)
    return Converted(
        np.array([faces[index] for index in order], np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 1),
        np.array([EMOTIONS.index(pictures[index].emotion) for index in order], np.int64),
        {reason: sorted(places) for reason, places in sorted(left_out.items())},
        sorted(faults),
    )


def write_csv(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Write faces as FER2013's CSV file, without a usage: whoever trains on them says what is held out.

    The file is complete or not there at all, and the same faces give the same bytes.

    Args:
        path: compressed with gzip if the name ends in ``.gz``.
        images: uint8, (N, 48, 48, 1).
        labels: integers, (N,), indices into `EMOTIONS`.

    Raises:
        OSError: it cannot be written.
    """
    lines = _lines(images, labels)
    replace_file(path, _compressed(lines) if path.suffix.lower() == ".gz" else lines)


def _lines(images: np.ndarray, labels: np.ndarray) -> Iterator[bytes]:
    yield b"emotion,pixels\n"
    for image, label in zip(images, labels, strict=True):
        pixels = " ".join(map(_NUMBERS.__getitem__, image.tobytes()))
        yield f"{label},{pixels}\n".encode()


def _compressed(parts: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(wbits=31)  # gzip's format, without a time or a name
    for part in parts:
        yield packer.compress(part)
    yield packer.flush()


#: A face (48, 48), what is wrong with a file, or why a picture is left out.
_Result = np.ndarray | Fault | str


def _results(pictures: list[Picture], choice: Choice) -> Iterator[tuple[int, _Result]]:
    """What becomes of each picture, by its index."""
    queues = defaultdict[str, list[int]](list)
    for index, picture in enumerate(pictures):
        if picture.emotion not in EMOTIONS:
            yield index, f"labelled {picture.emotion}"
        elif picture.emotion not in choice.only:
            yield index, "not among --only"
        else:
            queues[picture.emotion].append(index)

    wanted = sum(
        len(queue) if choice.limit is None else min(choice.limit, len(queue)) for queue in queues.values()
    )
    if wanted > MAX_FACES:
        raise DataError(
            f"there are {wanted} pictures, at most {MAX_FACES} fit into a file: use --only or --limit"
        )

    with ThreadPoolExecutor(get_threads()) as pool:

        def read(batch: list[int]) -> Iterator[_Result]:
            return pool.map(lambda index: _face(pictures[index], choice), batch)

        for emotion, queue in queues.items():
            if choice.limit is not None:
                # Its own generator, so that other emotions do not change which of this one are chosen.
                rng = np.random.default_rng((choice.seed, EMOTIONS.index(emotion)))
                queue = rng.permutation(queue).tolist()
            yield from _until_enough(queue, choice.limit, read)


def _until_enough(
    queue: list[int], limit: int | None, read: Callable[[list[int]], Iterator[_Result]]
) -> Iterator[tuple[int, _Result]]:
    """Read from the front of the queue until there are so many faces; whatever follows is left out."""
    missing = len(queue) if limit is None else limit
    while missing and queue:
        size = min(missing, _BATCH)
        batch, queue = queue[:size], queue[size:]
        for index, result in zip(batch, read(batch), strict=True):
            missing -= isinstance(result, np.ndarray)
            yield index, result
    for index in queue:
        yield index, "more than --limit"


def _face(picture: Picture, choice: Choice) -> _Result:
    image = read_grey(picture.image) if isinstance(picture.image, Path) else picture.image
    if isinstance(image, str):
        return Fault(picture.place, image)
    box = picture.box
    detect = image.shape != (IMAGE_SIZE, IMAGE_SIZE) if choice.detect is None else choice.detect
    if box is None and detect:
        box = largest_face(image)
        if box is None:
            return NO_FACE
    if box is None:
        box = (0, 0, image.shape[1], image.shape[0])
    if not _is_inside(box, image.shape):
        return "face box outside of the image"
    if square_around(box, image.shape)[-1] < choice.min_size:
        return f"face smaller than {choice.min_size} pixels"
    return cut_face(image, box)


def _is_inside(box: Box, image_shape: tuple[int, ...]) -> bool:
    """Whether at least half of the box is."""
    x, y, width, height = box
    image_height, image_width = image_shape
    seen_width = min(x + width, image_width) - max(x, 0)
    seen_height = min(y + height, image_height) - max(y, 0)
    return min(seen_width, seen_height) > 0 and 2 * seen_width * seen_height >= width * height
