"""From pictures of every kind to faces, and detectors that take one another's place."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

import fer_demo
import tinycnn as tc
from fer_demo.data.dataset import EMOTIONS
from fer_demo.data.faces import draw_face
from fer_demo.data.images import cut_face, to_grey
from fer_demo.detection import eyes
from fer_demo.detection.cascades import CASCADES, CascadeDetector
from fer_demo.detection.choose import face_detector
from fer_demo.detection.yunet import YuNetDetector, square_of
from fer_demo.errors import DataError
from fer_demo.results import COLUMNS, to_pandas


def photo(*emotions: str) -> np.ndarray:
    """A picture, uint8 (200, 200 * N), with faces of different sizes beside one another."""
    picture = np.full((200, 200 * max(len(emotions), 1)), 90, np.uint8)
    for number, emotion in enumerate(emotions):
        side = 110 + 30 * number
        face = cv2.resize(
            draw_face(emotion, np.random.default_rng(3), 0), (side, side), interpolation=cv2.INTER_CUBIC
        )
        picture[20 : 20 + side, 200 * number + 20 : 200 * number + 20 + side] = face
    return picture


@pytest.fixture(scope="module")
def detector():
    return fer_demo.EmotionDetector()


def test_faces_are_those_of_the_network_the_largest_first(detector):
    picture = photo("happy", "surprise")
    found = detector.faces(picture)
    assert [face.emotion for face in found] == ["surprise", "happy"]
    assert found[0].box[2] > found[1].box[2]
    for face in found:
        np.testing.assert_allclose(
            face.probabilities, detector.classifier(face.crop[None, ..., None])[0], atol=1e-5
        )
        if not face.tilt:
            np.testing.assert_array_equal(face.crop, cut_face(picture, face.box))


def test_one_question_to_the_network_for_all_faces(detector, monkeypatch):
    sizes, classifier = [], detector.classifier
    monkeypatch.setattr(detector, "classifier", lambda faces: sizes.append(len(faces)) or classifier(faces))
    detector.faces(photo("happy", "surprise", "sad"))
    assert sizes == [3]


def test_every_form_of_a_picture_gives_the_same(detector, tmp_path):
    grey = photo("happy")
    colour = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    clear = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGRA)
    clear[..., 3] = 7
    cv2.imwrite(str(tmp_path / "grey ü.png"), grey)
    cv2.imwrite(str(tmp_path / "clear.png"), clear)
    cv2.imwrite(str(tmp_path / "deep.png"), grey.astype(np.uint16) * 257)
    files = [tmp_path / "grey ü.png", str(tmp_path / "clear.png"), tmp_path / "deep.png"]
    expected = detector.detect_emotions(grey)
    assert list(expected[0]["emotions"]) == list(EMOTIONS)
    for image in (colour, clear, grey[..., None], np.asfortranarray(colour), *files):
        assert detector.detect_emotions(image) == expected


def test_top_emotion(detector):
    name, probability = detector.top_emotion(photo("sad", "happy"))
    assert name == "happy"
    assert 0.5 < probability <= 1
    assert detector.top_emotion(photo()) == (None, None)
    assert detector.faces(np.zeros((1, 900), np.uint8)) == []


def test_grey_is_what_the_eye_weighs():
    blue, red = np.uint8([[[255, 0, 0]]]), np.uint8([[[0, 0, 255]]])  # in OpenCV's order
    assert [int(to_grey(picture).item()) for picture in (blue, red)] == [29, 76]


def test_what_is_usual(detector, monkeypatch):
    assert (detector.align, detector.unsure) == (True, 0.4)
    at_the_bound = np.array([[0.4, *[0.1] * 6]])  # is sure enough
    monkeypatch.setattr(detector, "classifier", lambda crops: at_the_bound)
    [face] = detector.classify(photo("happy"), [(0, 0, 48, 48)])
    assert face.label == "angry"


def test_unsure():
    detector = fer_demo.EmotionDetector(unsure=1)
    [face] = detector.faces(photo("happy"))
    assert (face.label, face.emotion) == ("unsure", "happy")


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        ("nothing.png", DataError, r"nothing\.png: not a file"),
        (
            np.zeros((9, 9), np.float32),
            tc.DTypeError,
            "float32: expected a file's name, or an array",
        ),
        (np.zeros((9, 9), np.uint16), tc.DTypeError, "uint16"),
        ([1, 2], tc.DTypeError, "list"),
        (np.zeros((0, 9), np.uint8), tc.ShapeError, r"found \(0, 9\)"),
        (np.zeros((9, 9, 2), np.uint8), tc.ShapeError, r"found \(9, 9, 2\)"),
        (np.zeros(9, np.uint8), tc.ShapeError, r"found \(9,\)"),
    ],
)
def test_what_is_no_picture(detector, image, error, message):
    with pytest.raises(error, match=message):
        detector.faces(image)


@pytest.mark.parametrize("box", [(0, 0, 0, 9), (1.5, 2, 9, 9), (1, 2, 9), 3])
def test_what_is_no_box(detector, box):
    with pytest.raises(tc.ConfigError, match=r"box=.*: expected left, top, width and height in whole pixels"):
        detector.cut(np.zeros((20, 20), np.uint8), [box])


@pytest.mark.parametrize("box", [(20, 0, 5, 5), (0, 30, 5, 5), (-5, 0, 5, 5), (0, -9, 5, 9)])
def test_a_box_beside_the_picture_is_no_face(detector, box):
    picture = np.zeros((30, 20), np.uint8)
    with pytest.raises(tc.ConfigError, match="one that reaches into the picture of 20x30 pixels"):
        detector.cut(picture, [box])
    assert len(detector.cut(picture, [(-4, -8, 5, 9), (19, 29, 5, 5)])) == 2


def test_arguments_are_checked():
    with pytest.raises(tc.ConfigError, match="faces='haar': expected a function"):
        fer_demo.EmotionDetector(faces="haar")
    with pytest.raises(tc.ConfigError, match="align='no': expected True or False"):
        fer_demo.EmotionDetector(align="no")
    with pytest.raises(tc.ConfigError, match="weights='None': expected a file, or one of compact"):
        fer_demo.EmotionDetector(None)
    with pytest.raises(tc.ConfigError, match="unsure=2: expected a number from 0 to 1"):
        fer_demo.EmotionDetector(unsure=2)
    with pytest.raises(tc.ConfigError, match="margin=3: expected"):
        CascadeDetector(margin=3)
    with pytest.raises(tc.ConfigError, match="min_size=1: expected"):
        CascadeDetector(min_size=1)
    with pytest.raises(tc.ConfigError, match="longest_side=5: expected"):
        CascadeDetector(longest_side=5)
    with pytest.raises(tc.ConfigError, match="cascade='nothing'"):
        CascadeDetector("nothing")


def test_margin_reduction_and_least_size():
    picture = photo("happy")
    [(left, top, side, _)] = CascadeDetector()(picture)
    [wider] = CascadeDetector(margin=0.1)(picture)
    assert wider == pytest.approx((left - 0.1 * side, top - 0.1 * side, 1.2 * side, 1.2 * side), abs=1)
    [reduced] = CascadeDetector(longest_side=100)(picture)
    assert reduced == pytest.approx((left, top, side, side), abs=20)
    assert CascadeDetector(min_size=0.9)(picture) == []
    assert len(CascadeDetector(quick=True)(picture)) == 1


def test_a_panorama_keeps_its_faces():
    picture = np.full((200, 6000), 90, np.uint8)
    picture[:, 3000:3200] = photo("happy")
    [(left, _, side, _)] = CascadeDetector(longest_side=400)(picture)
    assert 3000 <= left <= left + side <= 3200


def test_profiles_are_searched_on_both_sides(monkeypatch):
    detector = CascadeDetector("profile")
    monkeypatch.setattr(detector._cascade, "find", lambda grey, *_, **__: [(10, 5, 30)] if grey[0, 0] else [])
    picture = np.zeros((60, 100), np.uint8)
    picture[0, 0] = 1
    assert detector(picture) == [(10, 5, 30, 30)]
    assert detector(picture[:, ::-1]) == [(60, 5, 30, 30)]
    monkeypatch.setattr(detector._cascade, "find", lambda *_, **__: [(35, 5, 30)])
    assert detector(picture) == [(35, 5, 30, 30)]  # one face, found from both sides


def test_detectors_by_name(tmp_path):
    assert isinstance(face_detector("haar_alt", 320), CascadeDetector)
    bad = tmp_path / "bad.xml"
    bad.write_text("<?xml version='1.0'?><opencv_storage></opencv_storage>")
    with pytest.raises(DataError, match=r"bad\.xml: is no cascade of OpenCV"):
        face_detector(str(bad), 320)
    with pytest.raises(DataError, match=r"nothing\.onnx: no such file; expected YuNet's"):
        face_detector("nothing.onnx", 320)
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(DataError, match=r"bad\.onnx: OpenCV cannot run it"):
        face_detector(str(tmp_path / "bad.onnx"), 320)
    with pytest.raises(tc.ConfigError, match="faces='mtcnn': expected haar, haar_alt"):
        face_detector("mtcnn", 320)
    assert set(CASCADES) == {"haar", "haar_alt", "profile", "lbp", "lbp_profile"}


class YuNet:
    """Answers like OpenCV's, for a picture of half the size."""

    def setInputSize(self, size):
        assert size == (640, 320)

    def detect(self, image):
        assert image.shape == (320, 640, 3)
        small = [0, 0, 50, 60, 20, 30, 40, 30, 30, 40, 20, 51, 40, 51, 0.9]
        return 1, np.array([small, [*np.array(small[:14]) * 2, 0.8]], np.float32)


def test_yunets_landmarks_become_squares(tmp_path, monkeypatch):
    (tmp_path / "yunet.onnx").write_bytes(b"")
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: YuNet(), raising=False)
    boxes = YuNetDetector(tmp_path / "yunet.onnx")(np.zeros((640, 1280), np.uint8))
    assert boxes == [(24, 50, 192, 192), (12, 25, 96, 96)]
    eyes_to_mouth = square_of(np.array([0, 0, 1, 1, 9, 17.5, 29, 17.5, 0, 0, 12, 38.5, 26, 38.5]))
    assert eyes_to_mouth == (-5, 0, 48, 48)


def test_heads_are_set_upright():
    picture = cv2.copyMakeBorder(photo("neutral")[20:130, 20:130], 60, 60, 60, 60, cv2.BORDER_REPLICATE)
    upright = cut_face(picture, (60, 60, 110, 110))
    turn = cv2.getRotationMatrix2D((114.5, 114.5), 15, 1.0)
    tilted = cv2.warpAffine(picture, turn, picture.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    found = eyes.cut_upright(tilted, (60, 60, 110, 110), -15)
    plain = cut_face(tilted, (60, 60, 110, 110))
    assert np.abs(found.astype(int) - upright).mean() < 0.3 * np.abs(plain.astype(int) - upright).mean()
    assert np.array_equal(eyes.cut_upright(picture, (60, 60, 110, 110), 0.0), upright)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([(20, 20, 30), (80, 20, 30)], 0),
        ([(20, 10, 30), (80, 30, 30)], 18.43),
        ([(80, 10, 30), (20, 30, 30)], -18.43),
        ([(20, 10, 30)], 0),  # one eye
        ([(20, 10, 30), (80, 30, 30), (90, 30, 30)], 0),  # too many
        ([(20, 0, 30), (75, 56, 30)], 0),  # no head is tilted so far
        ([], 0),
    ],
)
def test_tilt_is_the_angle_between_two_eyes(monkeypatch, found, expected):
    class Eyes:
        def find(self, *_):
            return found

    monkeypatch.setattr(eyes, "_eyes", Eyes)
    assert eyes.tilt(np.zeros((128, 128), np.uint8), (0, 0, 128, 128)) == pytest.approx(expected, abs=0.01)


def test_pandas_in_both_forms(detector, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), photo("happy", "surprise"))
    cv2.imwrite(str(tmp_path / "b.png"), photo())
    results = list(detector.analyze(tmp_path))
    table = to_pandas(results)
    assert tuple(table.columns) == COLUMNS
    assert table["label"].tolist()[:2] == ["surprise", "happy"]
    assert len(table) == 3  # a row for each face, and one for a picture without
    wide = to_pandas(results, wide=True)
    assert len(wide) == 2
    assert wide["happy1"][0] == pytest.approx(results[0].faces[1].emotions["happy"])
    assert wide["box0"][0] == list(results[0].faces[0].box)


def test_the_package_loads_opencv_only_when_asked():
    code = (
        "import sys, fer_demo; assert 'cv2' not in sys.modules; fer_demo.EmotionDetector; sys.modules['cv2']"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        fer_demo.Nothing  # noqa: B018
