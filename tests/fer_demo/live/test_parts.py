"""Sources, tracks and the timeline, one by one."""

import sys

import cv2
import numpy as np
import pytest

from fer_demo.data.dataset import EMOTIONS
from fer_demo.detector import Face
from fer_demo.errors import DataError, DeviceError
from fer_demo.live import window
from fer_demo.live.sources import Source, list_cameras, open_source, open_video
from fer_demo.live.timeline import COLUMNS, SPAN, Timeline
from fer_demo.live.tracks import Tracker, overlap
from tests.fer_demo.live.conftest import RATE, frame, write


def face(left=0, top=0, side=100, emotion="happy", share=0.9):
    probabilities = np.full(7, (1 - share) / 6, np.float32)
    probabilities[EMOTIONS.index(emotion)] = share
    return Face((left, top, side, side), probabilities, np.zeros((48, 48), np.uint8), 0.4)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mp4v"), ("b.avi", "MJPG"), ("c ü [x].mkv", "mp4v")])
def test_videos_give_all_frames_and_the_files_seconds(tmp_path, name, codec):
    frames = [frame("happy", left=n) for n in range(6)]
    with open_source(str(write(tmp_path / name, frames, codec))) as video:
        assert (video.rate, video.live) == (RATE, False)
        found = list(video)
    assert [f.index for f in found] == list(range(6))
    assert [f.seconds for f in found] == pytest.approx([n / RATE for n in range(6)], abs=0.002)
    assert np.abs(found[5].image.astype(int) - frames[5]).mean() < 5


@pytest.mark.parametrize("content", [b"", b"no video at all", b"\x00" * 5000])
def test_what_is_no_video(tmp_path, content):
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.mp4: (is no video that OpenCV can read|no frame of it)"):
        list(open_video(path))


@pytest.mark.parametrize("begin", ["ffconcat version 1.0\nfile ", "#EXTM3U\n", "<?xml"])
def test_a_list_of_other_files_is_not_followed(video, tmp_path, begin):
    path = tmp_path / "list.mp4"
    path.write_text(f"{begin}{video.name}\n")
    with pytest.raises(DataError, match=r"list\.mp4: is a list of other files, and no video itself"):
        open_video(path)


def test_a_video_cut_short_gives_what_is_left_and_says_so(video, tmp_path):
    content = video.read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    found = []

    def read(source):
        for image in source:
            found.append(image.index)

    with (
        open_video(tmp_path / "cut.avi") as source,
        pytest.raises(DataError, match=r"after \d+ of 12 frames"),
    ):
        read(source)
    assert found == list(range(len(found)))
    assert 2 <= len(found) < 12


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("nothing.mp4", DataError, "nothing.mp4: no such file"),
        ("/", DataError, "/: is a folder; expected a video"),
        ("97", DeviceError, "camera 97: there is none.*--list-cameras"),
        ("9" * 11, DataError, "99999999999: no such file; expected a video, the number of a camera"),
        ("rtsp://127.0.0.1:1/x", DeviceError, "the stream cannot be opened"),
    ],
)
def test_what_is_not_there(source, error, message):
    with pytest.raises(error, match=message):
        open_source(source)


class Film:
    """Frames at the times given, in a file that makes these claims."""

    def __init__(self, seconds, rate, frames):
        self._times, self._next = seconds, 0
        self._claims = {cv2.CAP_PROP_FPS: rate, cv2.CAP_PROP_FRAME_COUNT: frames}

    def get(self, prop):
        if prop == cv2.CAP_PROP_POS_MSEC:
            return 1000 * self._times[self._next - 1]
        return self._claims.get(prop, 48)

    def read(self):
        self._next += 1
        return self._next <= len(self._times), np.zeros((48, 48, 3), np.uint8)


@pytest.mark.parametrize(("claimed", "rate"), [(0.5, 0.5), (1000, 1000), (90_000, 30), (0, 30)])
def test_a_video_without_a_credible_rate_is_not_taken_for_cut_short(claimed, rate):
    times = [2 * n for n in range(10)]  # of a hundred frames that the rate would need
    video = Source(Film(times, claimed, 10), "clip.mp4", live=False)
    assert video.rate == rate
    assert [frame.seconds for frame in video] == times


def test_a_video_whose_last_frame_stays_for_long_is_whole():
    video = Source(Film([0, 0.1, 0.2, 0.3, 0.4], 0.8, 5), "clip.mp4", live=False)  # 5 frames in 6.25 s
    assert len(list(video)) == 5


def test_a_video_with_fewer_frames_than_it_claims_is_cut_short():
    video = iter(Source(Film([0, 0.1, 0.2, 0.3, 0.4], 10, 10), "clip.mp4", live=False))
    assert len([next(video) for _ in range(5)]) == 5
    with pytest.raises(
        DataError, match="ends after 5 of 10 frames; it is cut short or damaged, or its sound"
    ):
        next(video)


def test_cameras_are_listed_past_a_gap(monkeypatch):
    class Capture:
        def __init__(self, number):
            self.number = number

        def isOpened(self):
            return self.number in (0, 2)

        def get(self, prop):
            return 0.0

        def set(self, prop, value):
            return True

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    assert [camera.name for camera in list_cameras()] == ["camera 0", "camera 2"]


def test_faces_keep_their_numbers_while_they_move_and_cross_frames_without_them():
    tracker = Tracker()
    for n in range(10):
        tracks = tracker.update([face(left=200 - 8 * n), face(left=20 + 4 * n, side=80)], n / 30)
        assert [track.number for track in tracks] == [1, 2]
    assert [t.number for t in tracker.update([face(left=60, side=80)], 0.5)] == [2]
    assert [t.number for t in tracker.shown(0.55)] == [1, 2]
    assert [t.number for t in tracker.shown(0.75)] == [2]
    assert [t.number for t in tracker.update([face(left=128)], 0.9)] == [1]
    assert [t.number for t in tracker.update([face(left=128)], 3.0)] == [3]  # too long ago


def test_in_a_frame_of_another_size_nothing_is_where_it_was():
    tracker = Tracker()
    tracker.update([face(left=128)], 0.0, (480, 640))
    assert tracker.update([], 0.1, (640, 48)) == tracker.shown(0.1) == []


def test_labels_do_not_flicker():
    tracker, labels = Tracker(), []
    for n in range(90):
        emotion = "fear" if n % 5 == 4 else "happy"
        [track] = tracker.update([face(left=n % 2, emotion=emotion)], n / 30)
        labels.append(track.face.label)
        assert track.face.probabilities.sum() == pytest.approx(1, abs=1e-5)
        assert track.face.probabilities.dtype == np.float32
    assert set(labels) == {"happy"}


def test_a_lasting_change_comes_through():
    tracker = Tracker()
    for n in range(60):
        [track] = tracker.update([face(emotion="sad" if n >= 30 else "happy")], n / 30)
    assert track.face.label == "sad"
    assert track.face.confidence > 0.8


def test_a_face_that_is_not_clear_is_unsure():
    [track] = Tracker().update([face(share=0.3)], 0.0)
    assert (track.face.label, track.face.emotion) == ("unsure", "happy")


def test_the_panel_stays_with_a_face_until_another_is_clearly_larger():
    tracker = Tracker()
    assert tracker.focus(0.0) is None
    tracker.update([face(side=100), face(left=300, side=90)], 0.0)
    assert tracker.focus(0.0).number == 1
    tracker.update([face(side=100), face(left=300, side=110)], 1.0)
    assert tracker.focus(1.0).number == 1
    tracker.update([face(side=100), face(left=290, side=150)], 2.0)
    assert tracker.focus(2.0).number == 2


def test_memory_is_bounded_however_many_faces_come_and_go():
    tracker, timeline = Tracker(), Timeline()
    for n in range(2000):
        tracker.update([face(left=300 * (n % 7))], n / 4)
        timeline.add(n / 4, np.full(7, 1 / 7, np.float32))
    assert len(tracker._tracks) <= 7
    assert timeline.columns().shape == (COLUMNS, 7)


def test_nothing_is_left_of_a_video_that_begins_anew():
    tracker = Tracker()
    for _ in range(5):
        tracker.update([face(left=300)], 0.0)
        tracker.update([face(left=0)], 4.0)
    tracker.update([face(left=300)], 0.0)
    assert len(tracker._tracks) == 1


def test_overlap():
    assert overlap((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert overlap((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 10, 10), (10, 10, 5, 5)) == overlap((0, 0, 0, 0), (0, 0, 0, 0)) == 0


def test_the_timeline_has_the_last_half_minute_the_newest_at_the_right():
    timeline = Timeline()
    happy, sad = face(emotion="happy").probabilities, face(emotion="sad").probabilities
    for n in range(300 * 2):
        timeline.add(n * SPAN / COLUMNS / 2, happy if n < 400 else sad)
    columns = timeline.columns()
    np.testing.assert_allclose(columns[:200], np.tile(happy, (200, 1)), rtol=1e-5)
    np.testing.assert_allclose(columns[200:], np.tile(sad, (100, 1)), rtol=1e-5)
    timeline.add(SPAN + 4.95, None)
    columns = timeline.columns()
    assert np.isnan(columns[-50:]).all()
    np.testing.assert_allclose(columns[149:151], [happy, sad], rtol=1e-5)
    timeline.add(1000.0, happy)
    assert np.isnan(timeline.columns()[:-10]).all()  # no more than a second is filled


def test_a_slow_source_leaves_no_gaps_in_the_timeline():
    timeline = Timeline()
    for n in range(1, 20):
        timeline.add(n / 4, face().probabilities)
    assert not np.isnan(timeline.columns()[-40:]).any()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is a display")
def test_no_display_is_said_before_qt_ends_the_program(monkeypatch):
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(DeviceError, match=r"there is no display here.*--headless, with --csv FILE"):
        window.Window()


def test_a_window_that_its_frame_closed_ends_the_session(monkeypatch):
    def no_window(*_):
        raise cv2.error("NULL guiReceiver (please create a window)")  # as Qt's builds say it

    for name in ("namedWindow", "resizeWindow", "imshow"):
        monkeypatch.setattr(cv2, name, lambda *_: None)
    monkeypatch.setattr(cv2, "waitKey", lambda _: ord("s"))
    monkeypatch.setattr(window, "_check_display", lambda: None)
    picture = np.zeros((4, 4, 3), np.uint8)
    for visible, key in ((lambda *_: 1.0, "s"), (lambda *_: 0.0, window.ESCAPE), (no_window, window.ESCAPE)):
        monkeypatch.setattr(cv2, "getWindowProperty", visible)
        assert window.Window().show(picture, 0) == key


def test_a_build_without_windows(monkeypatch):
    def no_window(*_):
        raise cv2.error("The function is not implemented")

    monkeypatch.setattr(window, "_check_display", lambda: None)
    monkeypatch.setattr(cv2, "namedWindow", no_window)
    with pytest.raises(DeviceError, match=r"build without windows.*opencv-python-headless.*--headless"):
        window.Window()
