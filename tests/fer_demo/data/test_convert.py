"""From pictures to faces: every kind of image, boxes, detection, choice, and the file that is written."""

import struct

import cv2
import numpy as np
import pytest
from PIL import Image, features

from fer_demo.data import load
from fer_demo.data.convert import Choice, convert, write_csv
from fer_demo.data.faces import draw_face
from fer_demo.data.images import cut_face, square_around, write_image
from fer_demo.data.sources import Picture
from fer_demo.detection.cascades import largest_face
from fer_demo.errors import DataError


def photograph(side=200, size=(500, 700), at=(120, 300)) -> np.ndarray:
    """A drawn face of this side in a grey picture of this height and width, at this top and left."""
    face = draw_face("happy", np.random.default_rng(0), 0).reshape(48, 48)
    picture = np.full(size, int(face[0, 0]), np.uint8)
    top, left = at
    picture[top : top + side, left : left + side] = cv2.resize(
        face, (side, side), interpolation=cv2.INTER_CUBIC
    )
    return picture


def halves(height=96, width=96) -> np.ndarray:
    """Dark above, light below."""
    image = np.full((height, width), 200, np.uint8)
    image[: height // 2] = 50
    return image


def one(image, emotion="disgust", box=None, **choice):
    """Convert one picture; return its face, or what became of it."""
    converted = convert([Picture("here", emotion, image, box)], Choice(**choice))
    if len(converted.images):
        return converted.images[0, ..., 0]
    return converted.faults[0].reason if converted.faults else next(iter(converted.left_out))


def save_exif(path, orientation):
    Image.fromarray(halves()).save(path, quality=95)
    jpeg = path.read_bytes()
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + entry + b"\0\0\0\0"
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])


@pytest.mark.parametrize(
    ("orientation", "turns", "mirrored"),
    [(1, 0, 0), (2, 0, 1), (3, 2, 0), (4, 2, 1), (5, -1, 1), (6, -1, 0), (7, 1, 1), (8, 1, 0)],
)
def test_an_avif_picture_is_turned_upright_too(tmp_path, orientation, turns, mirrored):
    if not (features.check("avif") and cv2.haveImageWriter("a.avif")):
        pytest.skip("Pillow or OpenCV was built without AVIF")
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(halves()).save(tmp_path / "a.avif", quality=95, exif=exif.tobytes())
    upright = np.rot90(cut_face(halves()), turns)
    expected = upright[:, ::-1] if mirrored else upright
    np.testing.assert_allclose(one(tmp_path / "a.avif"), expected.astype(int), atol=8)


def test_every_kind_of_file_becomes_the_same_grey_face(tmp_path):
    grey = Image.fromarray(halves())
    grey.save(tmp_path / "grey.png")
    grey.convert("RGB").save(tmp_path / "colour.jpg", quality=95)
    grey.convert("RGBA").save(tmp_path / "alpha.png")
    grey.convert("RGB").convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    grey.convert("P").save(tmp_path / "palette.gif")
    cv2.imwrite(str(tmp_path / "16bit.png"), halves().astype(np.uint16) * 257)
    cv2.imwrite(str(tmp_path / "16bit.tif"), halves().astype(np.uint16) * 257)
    grey.convert("RGB").save(tmp_path / "colour.webp", quality=95)
    expected = cut_face(halves()).astype(int)
    for path in sorted(tmp_path.iterdir()):
        np.testing.assert_allclose(one(path), expected, atol=8, err_msg=path.name)


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_a_photograph_is_turned_upright_before_it_is_cut(tmp_path, orientation, turns):
    save_exif(tmp_path / "a.jpg", orientation)
    np.testing.assert_allclose(
        one(tmp_path / "a.jpg"), np.rot90(cut_face(halves()), turns).astype(int), atol=8
    )


def test_damaged_files_are_faults_in_the_order_of_their_places(tmp_path):
    Image.fromarray(halves()).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[:-100])
    (tmp_path / "a.png").write_bytes(b"")
    paths = [tmp_path / name for name in ("whole.png", "none.png", "b.png", "a.png")]
    converted = convert([Picture(str(path), "sad", path) for path in paths], Choice())
    assert len(converted.images) == 1
    assert [fault.place for fault in converted.faults] == sorted(str(path) for path in paths[1:])
    assert [fault.reason for fault in converted.faults] == [
        "the file is empty",
        "damaged, or no image",
        "not a file",
    ]


def test_why_a_whole_picture_cannot_be_used_is_said(tmp_path):
    cv2.imwrite(str(tmp_path / "deep.tiff"), halves().astype(np.float32))
    (tmp_path / "more").mkdir()
    paths = [tmp_path / name for name in ("deep.tiff", "more")]
    faults = convert([Picture(str(path), "sad", path) for path in paths], Choice()).faults
    assert [fault.reason for fault in faults] == [
        "its pixels are float32; save it with 8 or 16 bits",
        "not a file but a folder; put its images into the folder around it",
    ]


def test_the_box_is_cut_out_as_a_square():
    image = np.zeros((100, 300), np.uint8)
    image[20:80, 200:260] = 150
    np.testing.assert_array_equal(one(image, box=(200, 20, 60, 60)), 150)
    np.testing.assert_array_equal(one(image, box=(220, 20, 20, 60)), 150)  # wider, not stretched


@pytest.mark.parametrize(
    ("box", "square"),
    [
        ((10, 20, 30, 30), (10, 20, 30, 30)),
        ((10, 20, 30, 40), (5, 20, 40, 40)),
        ((-5, 0, 30, 30), (0, 0, 30, 30)),
        ((185, 80, 30, 30), (170, 70, 30, 30)),
        ((0, 0, 200, 100), (50, 0, 100, 100)),
        ((-1000, -1000, 5000, 5000), (100, 0, 100, 100)),
    ],
)
def test_a_square_stays_within_the_image(box, square):
    assert square_around(box, (100, 200)) == square


@pytest.mark.parametrize(
    ("box", "seen"),
    [((-10, 0, 40, 40), True), ((-21, 0, 40, 40), False), ((500, 5, 40, 40), False), ((5, 5, 0, 40), False),
     ((5, 5, -9, -9), False), ((10**30, 5, 40, 40), False)],
)  # fmt: skip
def test_a_box_must_be_half_inside_of_the_image(box, seen):
    result = one(halves(), box=box)
    assert isinstance(result, np.ndarray) if seen else result == "face box outside of the image"


def test_small_faces_are_left_out():
    assert one(halves(19, 50)) == "face smaller than 20 pixels"
    assert one(halves(), box=(0, 0, 29, 20), min_size=30) == "face smaller than 30 pixels"
    assert one(halves(20, 20)).shape == (48, 48)


def test_small_faces_grow_smoothly():
    face = one(np.tile(np.arange(0, 240, 10, np.uint8), (24, 1)))
    assert (np.diff(face[20].astype(int)) >= 0).all()
    assert len(np.unique(face[20])) > 40  # not 24 blocks


def test_the_largest_face_is_found_and_cut_out():
    image = photograph()
    image[20:140, 20:140] = photograph(120, (120, 120), (0, 0))
    x, y, width, height = largest_face(image)
    assert width == height
    assert 200 * 0.5 < width < 200 * 1.2
    assert abs(x + width / 2 - 400) < 30
    assert abs(y + height / 2 - 220) < 40
    np.testing.assert_array_equal(one(image, detect=True), cut_face(image, (x, y, width, height)))


def test_a_large_photograph_gives_the_box_in_its_own_pixels():
    large = cv2.resize(photograph(), None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    x, y, width, _ = largest_face(large)
    assert abs(x + width / 2 - 1600) < 120
    assert abs(y + width / 2 - 880) < 160
    assert 400 < width < 960


def test_no_face():
    assert one(halves(), detect=True) == "no face found"
    assert one(np.zeros((1, 5000), np.uint8), detect=True) == "no face found"
    assert isinstance(one(halves(), detect=True, box=(5, 5, 50, 50)), np.ndarray)  # the box counts for more


def test_faces_of_48x48_are_searched_only_if_that_is_demanded():
    face, larger = halves(48, 48), halves(49, 48)
    np.testing.assert_array_equal(one(face, detect=None), face)
    assert one(larger, detect=None) == one(face, detect=True) == "no face found"


def counts(converted) -> dict[str, int]:
    return {reason: len(places) for reason, places in converted.left_out.items()}


def many(n: int, emotion: str = "happy") -> list[Picture]:
    return [Picture(f"{emotion} {i}", emotion, np.full((48, 48), i, np.uint8)) for i in range(n)]


def test_other_emotions_are_left_out_and_counted():
    pictures = [*many(3, "contempt"), *many(2, "disgust"), *many(4, "happy"), *many(1, "none")]
    seen = []
    converted = convert(pictures, Choice(only=("disgust",)), lambda: seen.append(1))
    assert converted.labels.tolist() == [1, 1]
    assert counts(converted) == {"labelled contempt": 3, "labelled none": 1, "not among --only": 4}
    assert converted.left_out["labelled none"] == ["none 0"]
    assert len(seen) == len(pictures)


def test_a_limit_chooses_by_the_seed_and_keeps_the_order():
    pictures = [*many(100), *many(3, "sad")]
    chosen = [
        convert(pictures, Choice(limit=10, seed=seed)).images[:, 0, 0, 0].tolist() for seed in (0, 0, 1)
    ]
    assert chosen[0] == chosen[1] != chosen[2]
    assert chosen[0][:10] == sorted(chosen[0][:10]) != list(range(10))
    assert chosen[0][10:] == [0, 1, 2]
    alone = convert(pictures, Choice(limit=10, only=("happy",)))
    assert alone.images[:, 0, 0, 0].tolist() == chosen[0][:10]
    assert counts(alone) == {"more than --limit": 90, "not among --only": 3}


def test_unusable_pictures_do_not_count_towards_a_limit():
    pictures = [
        Picture(str(i), "sad", np.full((48, 48) if i % 2 else (5, 5), i, np.uint8)) for i in range(40)
    ]
    converted = convert(pictures, Choice(limit=20))
    assert converted.images[:, 0, 0, 0].tolist() == list(range(1, 40, 2))
    assert counts(converted) == {"face smaller than 20 pixels": 20}


def test_more_than_a_file_may_hold_is_refused_before_anything_is_read(monkeypatch):
    monkeypatch.setattr("fer_demo.data.convert.MAX_FACES", 5)
    monkeypatch.setattr("fer_demo.data.convert._face", None)
    with pytest.raises(
        DataError, match="there are 6 pictures, at most 5 fit into a file: use --only or --limit"
    ):
        convert(many(6), Choice())


@pytest.mark.parametrize("name", ["faces.csv", "faces.csv.gz"])
def test_what_is_written_is_read_again(tmp_path, monkeypatch, name):
    monkeypatch.setenv("TINYCNN_CACHE", str(tmp_path / "cache"))
    images = np.random.default_rng(0).integers(0, 256, (5, 48, 48, 1), dtype=np.uint8)
    labels = np.array([1, 6, 0, 1, 3])
    for _ in range(2):
        write_csv(tmp_path / name, images, labels)
        content = (tmp_path / name).read_bytes()
    assert content.startswith(b"\x1f\x8b" if name.endswith("gz") else b"emotion,pixels\n1,")
    dataset = load(tmp_path / name)
    np.testing.assert_array_equal(dataset.images, images)
    np.testing.assert_array_equal(dataset.labels, labels)
    assert dataset.usage is None  # whose marks are FER2013's: shipped weights have not learnt these faces
    write_csv(tmp_path / "again.csv.gz", images, labels)
    assert not name.endswith("gz") or (tmp_path / "again.csv.gz").read_bytes() == content


def test_a_picture_too_large_for_its_format(tmp_path):
    with pytest.raises(DataError, match=r"wide\.jpg: no such file can be of 66000x2 pixels"):
        write_image(tmp_path / "wide.jpg", np.zeros((2, 66000), np.uint8))
