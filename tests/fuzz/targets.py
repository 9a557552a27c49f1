"""What is fuzzed: each target takes the bytes of a file, and fails if a loader does anything unexpected.

A loader may refuse a file with a TinyCNNError or an OSError. What it accepts is read once more in an
independent way, and both must agree.
"""

import csv
import gzip
import io
import json
import lzma
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np

import tinycnn as tc
from fer_demo.data.dataset import USAGES
from fer_demo.data.fer2013 import read_csv
from fer_demo.data.folders import read_folder
from tinycnn.interop.keras import load_h5

REFUSED = (tc.TinyCNNError, OSError)

_FOLDER = tempfile.TemporaryDirectory(prefix="tinycnn-fuzz-")
_FILE = Path(_FOLDER.name) / "file"
_IMAGE = Path(_FOLDER.name) / "images" / "sad" / "1"
_IMAGE.parent.mkdir(parents=True)


def check_csv(data: bytes) -> None:
    """Read a CSV file, and again with the standard library's csv module."""
    _FILE.write_bytes(data)
    try:
        table = read_csv(_FILE)
    except REFUSED:
        return
    header, *rows = [next(csv.reader([line]), [""]) for line in unpacked(data).replace("\r", " ").split("\n")]
    columns = {plain(name).lower(): place for place, name in enumerate(header)}
    rows = [row for row in rows if any(map(plain, row)) or len(row) > 1]
    labels = [int(plain(row[columns["emotion"]])) for row in rows]
    pixels = [[int(number) for number in plain(row[columns["pixels"]]).split()] for row in rows]
    np.testing.assert_array_equal(table.labels, labels)
    np.testing.assert_array_equal(table.images.reshape(len(rows), 2304), pixels)
    if "usage" in columns:
        np.testing.assert_array_equal(
            table.usage, [USAGES.index(plain(row[columns["usage"]])) for row in rows]
        )


def unpacked(data: bytes) -> str:
    """Return a file's text, one character for each byte, without a byte order mark."""
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    elif data.startswith(b"\xfd7zXZ\0"):
        data = lzma.decompress(data)
    elif data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            data = archive.read(next(name for name in archive.namelist() if name.lower().endswith(".csv")))
    return data.removeprefix(b"\xef\xbb\xbf").decode("latin-1")


def plain(cell: str) -> str:
    blanks = " \t\n\r\v\f"
    return cell.strip(blanks).strip('"').strip(blanks)


def check_image(data: bytes) -> None:
    """Read an image, and if it is an ordinary grey PNG, again with nothing but zlib."""
    _IMAGE.write_bytes(data)
    try:
        images = read_folder(_IMAGE.parents[1]).images
    except REFUSED:
        return
    assert (images.shape, images.dtype) == ((1, 48, 48, 1), np.uint8)
    if data.startswith(GREY_PNG):
        np.testing.assert_array_equal(images[0, :, :, 0], png_pixels(data))


#: How a PNG of 48 x 48 pixels of 8 bits in grey, not interlaced, begins.
GREY_PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 48, 48, 8, 0, 0, 0, 0)


def png_pixels(data: bytes) -> np.ndarray:
    """Decode what begins with `GREY_PNG`: uint8, (48, 48)."""
    packed, place = b"", 8
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        packed += data[place + 8 : place + 8 + length] if kind == b"IDAT" else b""
        place += 12 + length
        if kind == b"IEND":
            break
    raw = zlib.decompressobj().decompress(packed, 48 * 49)  # what follows is nobody's concern
    lines = np.frombuffer(raw, np.uint8).reshape(48, 49).astype(int)
    image = np.zeros((49, 49), int)  # with a row and a column of zeros before the first
    for y, (kind, *differences) in enumerate(lines.tolist(), 1):
        for x, difference in enumerate(differences, 1):
            left, up, corner = image[y, x - 1], image[y - 1, x], image[y - 1, x - 1]
            guess = (0, left, up, (left + up) // 2, paeth(left, up, corner))[kind]
            image[y, x] = (difference + guess) % 256
    return image[1:, 1:]


def paeth(left: int, up: int, corner: int) -> int:
    return min((left, up, corner), key=lambda value: abs(left + up - corner - value))


def check_weights(data: bytes) -> None:
    """Load a model, and its arrays again by hand."""
    _FILE.write_bytes(data)
    try:
        model = tc.load(_FILE)
    except REFUSED:
        return
    check_arrays(data, {**model.params, **model.state})
    if model.input_shape is not None:
        model.summary()


def check_int8(data: bytes) -> None:
    """Load a model in whole numbers, its arrays again by hand, and let it answer."""
    _FILE.write_bytes(data)
    try:
        model = tc.load_quantized(_FILE)
    except REFUSED:
        return
    check_arrays(data, model.arrays)
    model.summary()
    if np.prod(model.input_shape) < 1 << 16:
        model.predict(np.ones((1, *model.input_shape), np.float32))


def check_arrays(data: bytes, own: Mapping[str, np.ndarray]) -> None:
    """Read the arrays of a safetensors file by hand: they must be these, and finite."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    dtypes = {"F32": "<f4", "F64": "<f8", "I8": "<i1", "I32": "<i4"}
    assert own.keys() == header.keys() - {"__metadata__"}
    for name, array in own.items():
        start, stop = (8 + length + offset for offset in header[name]["data_offsets"])
        expected = np.frombuffer(data[start:stop], dtypes[header[name]["dtype"]])
        np.testing.assert_array_equal(array.ravel(), expected)
        assert list(array.shape) == header[name]["shape"]
        assert np.isfinite(array).all()


def check_keras(data: bytes) -> None:
    """Load a Keras model: each of its arrays lies in the file as it is, or is left out as Keras does."""
    _FILE.write_bytes(data)
    try:
        model = load_h5(_FILE)
    except REFUSED:
        return
    for array in (*model.params.values(), *model.state.values()):
        assert np.isfinite(array).all()
        assert array.tobytes() in data or (array == array.flat[0]).all()
    if model.input_shape is not None:
        model.summary()


def check_onnx(data: bytes) -> None:
    """Import an ONNX model: the numbers of each of its arrays are those of an array in the file."""
    _FILE.write_bytes(data)
    try:
        model = tc.import_onnx(_FILE)
    except REFUSED:
        return
    import onnx

    graph = onnx.load_model_from_string(data).graph
    tensors = [*graph.initializer, *(one.t for node in graph.node for one in node.attribute)]
    numbers = [np.frombuffer(one.raw_data, "<f4") for one in tensors if len(one.raw_data) % 4 == 0]
    numbers += [np.array(one.float_data, np.float32) for one in tensors]
    known = {_sorted(array) for array in numbers}
    for array in (*model.params.values(), *model.state.values()):
        assert np.isfinite(array).all()
        assert _sorted(array) in known
    model.summary()


def _sorted(array: np.ndarray) -> bytes:
    return np.sort(array + 0, axis=None).tobytes()  # + 0: of two zeros none comes first


def csv_seeds() -> list[bytes]:
    """Valid files in several dialects, plain and packed."""
    pixels = " ".join(str(number * 7 % 256) for number in range(2304))
    text = f"emotion,pixels,Usage\n3,{pixels},Training\n0,{pixels},PublicTest\n".encode()
    quoted = f'\ufeff"id","Usage","pixels","emotion"\r\n"1","PrivateTest","{pixels}","6"\r\n\r\n'.encode()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("fer2013.csv", text)
    return [text, quoted, gzip.compress(text, mtime=0), lzma.compress(text), archive.getvalue()]


def image_seeds() -> list[bytes]:
    """Valid images in several formats, and one of other size and colour."""
    rng = np.random.default_rng(0)
    grey = cv2.GaussianBlur(rng.integers(0, 256, (48, 48), dtype=np.uint8), (5, 5), 0)
    colour = rng.integers(0, 256, (7, 9, 4), dtype=np.uint8)
    formats = [(".png", grey), (".jpg", grey), (".bmp", grey), (".pgm", grey), (".png", colour)]
    formats += [(".tiff", colour[..., :3]), (".webp", colour), (".png", grey.astype(np.uint16) << 8)]
    return [cv2.imencode(suffix, image)[1].tobytes() for suffix, image in formats]


def weights_seeds() -> list[bytes]:
    """A small model with every kind of layer, and one of a single layer in float64."""
    small = tc.Sequential([tc.Dense(2, 1, rng=0)]).astype(np.float64)
    return [_saved(every_layer()), _saved(small)]


def every_layer() -> tc.Sequential:
    main = {"sep": tc.SeparableConv2D(2, 3, 3, padding="same", rng=0), "bn": tc.BatchNorm(3)}
    layers = {
        "conv": tc.Conv2D(1, 2, (3, 2), (2, 1), ((1, 0), (0, 1)), l2=0.01, rng=0),
        "relu": tc.ReLU(),
        "module": tc.Residual(tc.Sequential(main), tc.Conv2D(2, 3, 1, rng=0)),
        "depthwise": tc.DepthwiseConv2D(3, 3, bias=False, rng=0),
        "max": tc.MaxPool2D(2),
        "avg": tc.AvgPool2D(1, 1),
        "flat": tc.Flatten(),
        "dropout": tc.Dropout(0.3),
        "dense": tc.Dense(12, 2, rng=0),
        "softmax": tc.Softmax(),
    }
    return tc.Sequential(layers, input_shape=(12, 6, 1))


def int8_seeds() -> list[bytes]:
    """A small model in whole numbers with every kind of step."""
    main = {"sep": tc.SeparableConv2D(2, 3, 3, padding="same", rng=0), "bn": tc.BatchNorm(3)}
    layers = {
        "conv": tc.Conv2D(1, 2, (3, 2), (2, 1), ((1, 0), (0, 1)), rng=0),
        "module": tc.Residual(tc.Sequential(main), tc.Conv2D(2, 3, 1, rng=0)),
        "relu": tc.ReLU(),
        "max": tc.MaxPool2D(2),
        "mean": tc.GlobalAvgPool2D(),
        "dense": tc.Dense(3, 2, rng=0),
        "softmax": tc.Softmax(),
    }
    images = np.random.default_rng(0).standard_normal((4, 12, 6, 1)).astype(np.float32)
    tc.quantize(tc.Sequential(layers), images).save(_FILE, labels=["a", "b"])
    return [_FILE.read_bytes()]


def _saved(model: tc.Sequential) -> bytes:
    tc.save(model, _FILE, labels=["a", "b"])
    return _FILE.read_bytes()


def keras_seeds() -> list[bytes]:
    """A functional model and a chain, in all formats."""
    from tests.tinycnn.interop.keras_files import FORMATS
    from tests.tinycnn.interop.test_keras import chain, ours, theirs

    models = [(theirs(ours()), True), (chain(), False)]
    return [write(*model) for model in models for write in FORMATS.values()]


def onnx_seeds() -> list[bytes]:
    """What is written here, and graphs as PyTorch writes them."""
    from tests.tinycnn.interop.test_onnx import PADS, W, graph

    tc.export_onnx(every_layer(), _FILE, labels=["a", "b"])
    padded = [("Pad", "p", ["x", "pads"], {}), ("Conv", "c", ["p", "w"], {"pads": [0, 0, 1, 0]})]
    pooled = [
        ("ReduceMean", "m", ["x", "axes"], {"keepdims": 1}),
        ("Concat", "one", ["all", "all"], {"axis": 0}),
        ("Slice", "row", ["one", "start", "stop"], {}),
        ("Reshape", "r", ["m", "row"], {}),
        ("Gather", "g", ["r", "places"], {"axis": 0}),
        ("Reshape", "f", ["g", "to"], {}),
    ]
    numbers = {"axes": [-1, -2], "all": [-1], "start": [0], "stop": [1], "to": [3, 2]}
    numbers["places"] = np.arange(6).reshape(3, 2, 1, 1)
    graphs = [graph(*padded, constants={"w": W, "pads": PADS})]
    graphs += [graph(*pooled, constants=numbers, shape=(3, 2, 4, 4))]
    return [_FILE.read_bytes(), *(one.SerializeToString() for one in graphs)]


#: What is called with the bytes of a file, and what makes valid files to begin with.
TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "csv": (check_csv, csv_seeds),
    "image": (check_image, image_seeds),
    "weights": (check_weights, weights_seeds),
    "keras": (check_keras, keras_seeds),
    "onnx": (check_onnx, onnx_seeds),
    "int8": (check_int8, int8_seeds),
}
