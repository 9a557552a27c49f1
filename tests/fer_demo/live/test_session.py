"""A session without a window: keys, files, and how it ends."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_demo.errors import DataError, DeviceError
from fer_demo.live.log import COLUMNS, Log
from fer_demo.live.overlay import SQUARES, hide
from fer_demo.live.recorder import CODECS, Recorder
from fer_demo.live.session import Session
from fer_demo.live.sources import Source, open_video
from fer_demo.live.view import KEYS
from tests.fer_demo.live.conftest import frame


class Script:
    """A screen on which keys are pressed at given frames; it keeps what it was shown."""

    def __init__(self, keys=""):
        self.keys, self.pictures = iter(keys), []

    def show(self, picture, wait):
        self.pictures.append(picture)
        return next(self.keys, " ").strip()


class Camera:
    """Gives the same frame so many times, then nothing."""

    def __init__(self, image, frames):
        self.image, self.left = image, frames

    def read(self):
        self.left -= 1
        return (True, self.image) if self.left >= 0 else (False, None)

    def get(self, prop):
        return 0.0

    def release(self):
        pass


def heat(face):
    return np.full((48, 48), 255, np.uint8)


def play(detector, video, tmp_path, keys="", **options):
    screen = Script(keys)
    session = Session(
        detector, screen, options.pop("recording", None), None, heat, folder=tmp_path, **options
    )
    with open_video(video) as source:
        session.run(source)
    return session, screen.pictures


def test_every_frame_is_shown_with_panel_and_timeline(detector, video, tmp_path):
    session, pictures = play(detector, video, tmp_path)
    assert session.speed.frames == len(pictures) == 12
    assert session.faces == 20
    assert {picture.shape for picture in pictures} == {
        (544, 1160, 3)
    }  # enlarged to 480 rows, and room beside


def test_quit(detector, video, tmp_path):
    assert play(detector, video, tmp_path, "  q")[0].speed.frames == 3
    assert play(detector, video, tmp_path, " \x1b")[0].speed.frames == 2
    assert play(detector, video, tmp_path, "Q")[0].speed.frames == 1


@pytest.mark.parametrize("key", "mgbh")
def test_switches_change_the_picture_and_back(detector, video, tmp_path, key):
    _, plain = play(detector, video, tmp_path)
    _, switched = play(detector, video, tmp_path, f"{key} {key}")
    height = 480
    same = [np.array_equal(a[:height, :960], b[:height, :960]) for a, b in zip(plain, switched, strict=True)]
    assert same == [True, False, False, *[True] * 9]


def test_mirror_turns_the_picture_but_not_the_words(detector, video, tmp_path):
    _, [first, *_] = play(detector, video, tmp_path)
    _, [mirrored, *_] = play(detector, video, tmp_path, mirror=True)
    assert (np.abs(first[400:470, :960].astype(int) - mirrored[400:470, 959::-1]) < 2).mean() > 0.9
    assert not np.array_equal(first[:480, :960], mirrored[:480, 959::-1])


def test_hidden_faces_are_a_few_squares(detector, video, tmp_path):
    picture = frame("happy")
    hide(picture, (20, 20, 120, 120))
    assert len(np.unique(picture[20:140, 20:140].reshape(-1, 3), axis=0)) <= SQUARES**2
    _, pictures = play(detector, video, tmp_path, "b")
    inset = pictures[1][12:156, 988:1132]
    assert len(np.unique(inset.reshape(-1, 3), axis=0)) <= SQUARES**2


def test_frames_are_shown_while_the_network_is_compiled(detector, video, tmp_path):
    left = iter([True] * 3)
    session, pictures = play(detector, video, tmp_path, starting=lambda: next(left, False))
    assert (session.speed.frames, len(pictures)) == (12, 15)  # a file waits at its first frame
    assert np.array_equal(pictures[0][:400, :960], pictures[2][:400, :960])
    assert not np.array_equal(pictures[2][:400, :960], pictures[3][:400, :960])  # now with boxes
    assert play(detector, video, tmp_path, " q", starting=lambda: True)[0].speed.frames == 0


def test_a_camera_goes_on_while_the_network_is_compiled(detector):
    left, camera = iter([True] * 3), Camera(frame("happy"), 9)
    session = Session(detector, Script(), None, None, heat, starting=lambda: next(left, False))
    session.run(Source(camera, "camera 0", live=True), max_frames=6)
    assert camera.left == 0


def test_of_int8_weights_the_evidence_is_not_to_be_seen(detector, video, tmp_path, monkeypatch):
    monkeypatch.setattr(detector.classifier, "quantized", True)
    session, pictures = play(detector, video, tmp_path, "g")
    assert (session.options.heat, len(pictures)) == (False, 12)
    plain = play(detector, video, tmp_path)[1]
    assert not np.array_equal(pictures[1], plain[1])  # it says why


def test_a_snapshot_is_what_was_shown(detector, video, tmp_path):
    _, pictures = play(detector, video, tmp_path, "ss")
    saved = [cv2.imread(str(path)) for path in tmp_path.glob("snapshot-*.png")]
    assert len(saved) == 2
    assert all(any(np.array_equal(picture, file) for file in saved) for picture in pictures[:2])


def test_a_recording_by_key_is_as_long_as_it_was_on(detector, video, tmp_path):
    play(detector, video, tmp_path, "r    r", rate=10)
    [path] = tmp_path.glob("recording-*.mp4")
    with open_video(path) as saved:
        assert len(list(saved)) == 5


def test_the_log_has_a_row_for_each_face_and_frame(detector, video, tmp_path):
    with Log(tmp_path / "sub" / "log.csv") as log, open_video(video) as source:
        Session(detector, None, None, log, heat).run(source)
    with (tmp_path / "sub" / "log.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [int(row["frame"]) for row in rows] == [
        0,
        0,
        1,
        1,
        2,
        2,
        3,
        3,
        4,
        5,
        6,
        7,
        8,
        8,
        9,
        9,
        10,
        10,
        11,
        11,
    ]
    assert rows[-1]["seconds"] == "1.100"
    assert {row["face"] for row in rows} == {"1", "2"}  # who was away for less than a second is known again
    for row in rows:
        probabilities = {name: float(row[name]) for name in COLUMNS[7:14]}
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-3)
        assert row["label"] == max(probabilities, key=probabilities.get)


def test_a_camera_that_goes_away_leaves_what_was_recorded(detector, tmp_path, monkeypatch):
    monkeypatch.setattr("fer_demo.live.sources.PAUSE", 0)
    source = Source(Camera(frame("happy"), 7), "camera 3", live=True)
    log = Log(tmp_path / "log.csv")
    session = Session(detector, None, Recorder(tmp_path / "kept.avi", 30), log, heat)
    with log, pytest.raises(DeviceError, match=r"camera 3 gave no more frames after 7: look at its cable"):
        session.run(source)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 8
    with open_video(tmp_path / "kept.avi") as saved:
        assert len(list(saved)) >= 1


def test_a_camera_that_gives_nothing(detector, monkeypatch):
    monkeypatch.setattr("fer_demo.live.sources.PAUSE", 0)
    with pytest.raises(DeviceError, match="camera 0 gives no frames"):
        Session(detector, None, None, None, heat).run(Source(Camera(frame(), 0), "camera 0", live=True))


def test_frames_of_another_kind_do_not_matter(detector):
    grey = Source(Camera(frame("happy")[..., 0], 2), "camera 0", live=True)
    session = Session(detector, Script(), None, None, heat)
    session.run(grey, max_frames=2)
    assert (session.speed.frames, session.faces) == (2, 2)


def test_recordings_keep_the_pace(tmp_path):
    image = frame()
    recorder = Recorder(tmp_path / "a.avi", 10)
    for seconds in (5.0, 5.01, 5.02, 5.3, 5.4, 1e9):  # too fast, too slow, and a clock that jumps
        recorder.add(image, seconds)
    recorder.close()
    with open_video(tmp_path / "a.avi") as saved:
        assert len(list(saved)) == 1 + 3 + 1 + 10


@pytest.mark.parametrize("size", [(40, 60), (160, 240)])
def test_a_picture_of_another_size_is_resized_as_a_whole(tmp_path, size):
    recorder = Recorder(tmp_path / "a.avi", 10)
    recorder.add(np.zeros((80, 120, 3), np.uint8), 0)
    later = np.zeros((*size, 3), np.uint8)
    later[:, size[1] // 2 :] = 255
    recorder.add(later, 0.1)
    recorder.close()
    video = cv2.VideoCapture(str(tmp_path / "a.avi"))
    video.read()
    brightness = video.read()[1][:, :, 0].mean(axis=0)  # column by column
    assert brightness[:55].max() < 30
    assert brightness[65:].min() > 225


def test_a_recording_that_is_not_complete_is_said_to_be_so(tmp_path):
    recorder = Recorder(tmp_path / "a.mp4", 10)
    for number in range(3):
        recorder.add(frame(), number / 10)
    recorder._writer.release()
    (tmp_path / "a.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:200])  # as a full disk leaves it
    with pytest.raises(DeviceError, match=r"a\.mp4: holds 0 of 3 pictures; is the disk full"):
        recorder.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a file that is always full is Linux's")
def test_a_log_on_a_full_disk_names_its_file():
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"), Log(Path("/dev/full")):
        pass


def test_recordings_have_a_codec(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"a\.gif: expected a name that ends in .mp4"):
        Recorder(tmp_path / "a.gif", 10)
    monkeypatch.setitem(CODECS, ".mp4", "zzzz")
    with pytest.raises(DeviceError, match=r"no codec zzzz, or it takes no pictures of \d+x\d+ pixels. Try"):
        Recorder(tmp_path / "a.mp4", 10).add(frame(), 0)


def test_the_help_lists_every_key():
    assert list(KEYS) == list("qsrmgbh")
