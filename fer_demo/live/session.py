"""From the first frame to the last: find, follow, draw, show, write, and obey keys."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from fer_demo.data.images import write_image
from fer_demo.detector import EmotionDetector
from fer_demo.live.log import Log
from fer_demo.live.recorder import Recorder
from fer_demo.live.sources import Frame, Source
from fer_demo.live.timeline import Timeline
from fer_demo.live.tracks import Tracker
from fer_demo.live.view import Explain, Moment, Options, compose
from fer_demo.live.window import ESCAPE, Screen

#: Keys that end a session.
QUIT = ("q", ESCAPE)
#: Seconds for which a notice stands, and over so many frames speeds are taken.
NOTICE, MEASURED = 2.0, 30


@dataclass
class Speed:
    """Seconds of the last frames: in all, for finding faces, and for reading them.

    Attributes:
        frames: how many there were.
    """

    frames: int = 0
    _ends: deque[float] = field(default_factory=lambda: deque(maxlen=MEASURED + 1))
    _detection: deque[float] = field(default_factory=lambda: deque(maxlen=MEASURED))
    _prediction: deque[float] = field(default_factory=lambda: deque(maxlen=MEASURED))

    def add(self, detection: float, prediction: float) -> None:
        """Count a frame that ends now."""
        self.frames += 1
        self._ends.append(time.perf_counter())
        self._detection.append(detection)
        self._prediction.append(prediction)

    def figures(self) -> list[str]:
        """Lines for people: medians, so that a first frame, which takes longer, does not count."""
        if not self.frames:
            return []
        passed = self._ends[-1] - self._ends[0] if len(self._ends) > 1 else 0.0
        rate = f"{(len(self._ends) - 1) / passed:.0f}" if passed else "-"
        detection, prediction = (
            1000 * float(np.median(part)) for part in (self._detection, self._prediction)
        )
        return [
            f"{rate} frames/s",
            f"detection {detection:.1f} ms",
            f"prediction {prediction:.1f} ms",
            "h: help",
        ]


class Session:
    """One run over a source.

    Args:
        detector: finds faces and tells emotions.
        screen: where to show it; None for none, which is quicker.
        recording: what to write into from the first frame on; None for nothing.
        log: where to note faces; None for nowhere.
        explain: see `fer_demo.live.view.Explain`.
        mirror: begin with the mirror image.
        folder: for snapshots and recordings that keys ask for.
        rate: pictures a second of such recordings.
        starting: whether the network is still being compiled; until it is not, frames are shown as they come.

    Attributes:
        options: what the keys have switched on.
        speed: so far.
        faces: how many were found in all frames together.
    """

    def __init__(
        self,
        detector: EmotionDetector,
        screen: Screen | None,
        recording: Recorder | None,
        log: Log | None,
        explain: Explain,
        mirror: bool = False,
        folder: Path = Path(),
        rate: float = 30.0,
        starting: Callable[[], bool] = lambda: False,
    ) -> None:
        self._detector, self._screen, self._log, self._explain = detector, screen, log, explain
        self._recording, self._folder, self._rate = recording, folder, rate
        self._starting = starting
        self.options = Options(mirror=mirror)
        self.speed, self.faces = Speed(), 0
        self._tracker, self._timeline = Tracker(), Timeline()
        self._focus_number = 0
        self._notice, self._notice_ends = "", 0.0
        self._keys: dict[str, Callable[[np.ndarray], None]] = {
            "s": self._save_snapshot,
            "r": self._toggle_recording,
            "m": lambda _: self._toggle("mirror"),
            "g": lambda _: self._toggle_evidence(),
            "b": lambda _: self._toggle("blur"),
            "h": lambda _: self._toggle("help"),
        }

    def run(self, source: Source, max_frames: int | None = None) -> None:
        """Go through the source until it ends, the user quits, or so many frames are done.

        However it ends, files are complete.

        Raises:
            DataError, DeviceError: see `Source` and `Recorder`.
        """
        with ExitStack() as stack:
            stack.callback(self._end_recording)
            began = 0.0
            for number, frame in enumerate(self._when_started(source)):
                began = began if number else time.monotonic()
                # A file is shown at its own pace.
                ahead = 0.0 if source.live else frame.seconds - (time.monotonic() - began)
                if self._step(frame, max(ahead, 0.0)) or self.speed.frames == max_frames:
                    break

    def _when_started(self, source: Source) -> Iterator[Frame]:
        """Yield frames once the network is ready: a camera's go by until then, a file waits at its first."""
        frames = iter(source)
        for first in frames:
            frame = first
            while self._screen is not None and self._starting():
                self._say("Getting the network ready. The first start compiles it: a few seconds.", 0.2)
                if self._screen.show(self._picture(frame), 0.05).lower() in QUIT:
                    return
                frame = next(frames, frame) if source.live else frame
            yield frame

    def _step(self, frame: Frame, wait: float) -> bool:
        """Go on by a frame; return whether the user quits."""
        start = time.perf_counter()
        cuts = self._detector.cut(frame.image, self._detector.find_faces(frame.image))
        found = time.perf_counter()
        faces = self._detector.read(cuts)
        read = time.perf_counter()
        tracks = self._tracker.update(faces, frame.seconds, frame.image.shape[:2])
        self.faces += len(tracks)
        self.speed.add(found - start, read - found)
        if self._log is not None:
            self._log.add(frame, tracks)
        if self._screen is None and self._recording is None:
            return False
        picture = self._picture(frame)
        if self._recording is not None:
            self._recording.add(picture, frame.seconds)
        return self._screen is not None and self._obey(self._screen.show(picture, wait), picture)

    def _picture(self, frame: Frame) -> np.ndarray:
        focus = self._tracker.focus(frame.seconds)
        if focus is not None and focus.number != self._focus_number:
            self._focus_number, self._timeline = focus.number, Timeline()
        self._timeline.add(frame.seconds, None if focus is None else focus.face.probabilities)
        notice = self._notice if time.monotonic() < self._notice_ends else ""
        shown = self._tracker.shown(frame.seconds)
        figures = self.speed.figures()
        moment = Moment(
            frame.image, shown, focus, self._timeline, figures, notice, self._recording is not None
        )
        return compose(moment, self.options, self._explain)

    def _obey(self, key: str, picture: np.ndarray) -> bool:
        """Do what a key asks for; return whether that is to quit."""
        key = key.lower()
        if key in self._keys:
            self._keys[key](picture)
        return key in QUIT

    def _toggle(self, option: str) -> None:
        setattr(self.options, option, not getattr(self.options, option))

    def _toggle_evidence(self) -> None:
        if self._detector.classifier.quantized:
            self._say("int8 weights cannot be looked into: use the float32 ones")
        else:
            self._toggle("heat")

    def _say(self, notice: str, seconds: float = NOTICE) -> None:
        self._notice, self._notice_ends = notice, time.monotonic() + seconds

    def _save_snapshot(self, picture: np.ndarray) -> None:
        path = self._unused("snapshot", ".png")
        write_image(path, picture)
        self._say(f"saved {path.name}")

    def _toggle_recording(self, _: np.ndarray) -> None:
        if self._recording is not None:
            self._say(f"saved {self._recording.path.name}")
            self._end_recording()
        else:
            self._recording = Recorder(self._unused("recording", ".mp4"), self._rate)

    def _end_recording(self) -> None:
        if self._recording is not None:
            self._recording.close()
            self._recording = None

    def _unused(self, name: str, ending: str) -> Path:
        """Return a file's name with the time, that no file has yet."""
        stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
        names = (f"{stem}{more}{ending}" for more in ["", *(f"-{n}" for n in range(2, 1000))])
        return next(path for path in map(self._folder.joinpath, names) if not path.exists())
