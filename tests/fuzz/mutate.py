"""Damage that gets past the first check: inside a compressed file, a PNG's chunk, a model's description."""

import gzip
import io
import json
import lzma
import random
import struct
import zipfile
import zlib
from contextlib import suppress
from typing import Any

#: Pieces of text that readers stumble over.
TOKENS = b'" , 256 -1 3.5 nan 1e9 7 99999999999999999999 emotion pixels Usage Training { ]'.split()
TOKENS += [b"IHDR", b"IDAT", b"PLTE", b"tRNS"]
TOKENS += [b"", b"\0", b"\n", b"\r", b"\n\n", b" ", b"0" * 30, b"\xef\xbb\xbf", b"\xff\xfe", "٣".encode()]
TOKENS += [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"]

#: Values to put anywhere into JSON.
VALUES: list[Any] = [None, True, 0, -1, 1, 2, 3.5, 2**31, 2**63, 10**30, 1e308, float("nan"), [], {}]
VALUES += ["", "same", "F16", "F64", "F32", "BF16", "Dense", "Sequential", "glorot"]
VALUES += [
    [1, 2],
    [0, 0],
    [2**62, 4],
    [0, 2**62, 2**62],
    {"type": "ReLU"},
    {"type": "Sequential", "layers": {}},
]
VALUES += [{"type": "Dense", "in_features": 10**9, "out_features": 10**9}]

#: How to pack files in a zip archive.
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return damaged bytes: anywhere, or after unpacking, with everything around them made to fit again."""
    for opener in rng.sample(_OPENERS, len(_OPENERS)):
        if rng.random() < 0.7:
            try:
                return opener(data, rng)
            except Exception:  # not of this kind, or no longer
                continue
    return damage(data, rng)


def damage(data: bytes, rng: random.Random) -> bytes:
    """Change, cut out, insert, copy or cut off some bytes, once or a few times."""
    content = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        place = rng.randrange(len(content) + 1)
        stop = place + rng.choice([0, 1, 1, 2, 4, 50])
        match rng.randrange(6):
            case 0:
                content[place : place + 1] = rng.randbytes(1)
            case 1:
                del content[place:stop]
            case 2:
                content[place:stop] = rng.choice(TOKENS)
            case 3:
                content[place:place] = content[place // 2 : place // 2 + stop - place]
            case 4 if place < len(content):
                content[place] ^= 1 << rng.randrange(8)
            case 5 if rng.random() < 0.2:
                del content[place:]
    return bytes(content)


def _gzip(data: bytes, rng: random.Random) -> bytes:
    return gzip.compress(damage(gzip.decompress(data), rng), 1)


def _xz(data: bytes, rng: random.Random) -> bytes:
    return lzma.compress(damage(lzma.decompress(data), rng), preset=0)


def _zip(data: bytes, rng: random.Random) -> bytes:
    """Damage one file, and seldom pack it in another way."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(result, "w") as new:
        chosen = rng.choice(old.infolist())
        for entry in old.infolist():
            content, method = old.read(entry), entry.compress_type
            if entry is chosen:
                content = mutate(content, rng)
                method = rng.choice([method, method, method, *METHODS])
            new.writestr(entry.filename, content, method)
    return result.getvalue()


def _png(data: bytes, rng: random.Random) -> bytes:
    """Damage one chunk, what IDAT unpacks to included, and correct its checksum."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError
    chunks, place = [], 8
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        chunks.append((kind, data[place + 8 : place + 8 + length]))
        place += 12 + length
    chosen = rng.randrange(len(chunks))
    kind, body = chunks[chosen]
    if kind == b"IDAT" and rng.random() < 0.5:
        body = zlib.compress(damage(zlib.decompress(body), rng), 1)
    else:
        body = damage(body, rng)
    chunks[chosen] = (kind if rng.random() < 0.9 else damage(kind, rng)[:4].ljust(4), body)
    packed = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks]
    return data[:8] + b"".join(packed)


def _safetensors(data: bytes, rng: random.Random) -> bytes:
    """Put a value into the header or the description, or damage the text of one, and correct the length."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    if rng.random() < 0.7:
        info = json.loads(header["__metadata__"]["tinycnn"])
        _replace(info, rng)
        header["__metadata__"]["tinycnn"] = json.dumps(info)
    else:
        _replace(header, rng)
    text, rest = json.dumps(header).encode(), data[8 + length :]
    if rng.random() < 0.2:
        text = damage(text, rng)
    return struct.pack("<Q", len(text)) + text + (damage(rest, rng) if rng.random() < 0.2 else rest)


def _description(data: bytes, rng: random.Random) -> bytes:
    """Put a value into what Keras says about a model, wherever that stands, without moving what follows."""
    if data.startswith(b"PK"):
        raise ValueError  # has checksums: `_zip` comes here with one of its files
    text = data.decode("latin-1")
    start = text.index('{"class_name"')
    tree, stop = json.JSONDecoder().raw_decode(text, start)
    while text[stop : stop + 1] == " ":
        stop += 1
    _replace(tree, rng)
    new = json.dumps(tree, separators=(",", ":")).encode()  # which gives room
    if len(new) > stop - start:
        raise ValueError
    return data[:start] + new.ljust(stop - start) + data[stop:]


def _onnx(data: bytes, rng: random.Random) -> bytes:
    """Put a value into an ONNX model, by way of JSON."""
    import onnx
    from google.protobuf import json_format

    model = onnx.load_model_from_string(data)
    if not model.graph.node:
        raise ValueError
    while True:
        tree = json_format.MessageToDict(model)
        _replace(tree, rng)
        with suppress(json_format.ParseError):  # not every value fits
            return json_format.ParseDict(tree, onnx.ModelProto()).SerializeToString()


def _replace(tree: Any, rng: random.Random) -> None:
    """Replace, remove, rename or double one value somewhere in a tree of dicts and lists."""
    while True:
        places = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        place = rng.choice(places)
        if not isinstance(tree[place], dict | list) or not tree[place] or rng.random() < 0.1:
            break
        tree = tree[place]
    kind = rng.randrange(4)
    if kind == 0:
        del tree[place]
    elif kind == 1 and isinstance(tree, dict):
        tree[rng.choice(["", "a.b", "type", "rng", "init", "layers", "x"])] = tree[place]
    elif kind == 2 and isinstance(tree[place], int | float):
        tree[place] += rng.choice([-1, 1, 0.5])
    else:
        tree[place] = rng.choice(VALUES)


_OPENERS = [_gzip, _xz, _zip, _png, _safetensors, _description, _onnx]
