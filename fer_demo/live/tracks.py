"""Faces followed from frame to frame, so that labels and boxes stand still while a face does."""

from dataclasses import dataclass, replace
from math import exp

import numpy as np

from fer_demo.data.images import Box
from fer_demo.detector import Face

#: Seconds after which a change has come through by 63 %: in the probabilities, and in the box.
PROBABILITIES_LAG, BOX_LAG = 0.4, 0.05
#: A face that was not found for so many seconds is shown no more; after so many it is forgotten.
SHOWN, REMEMBERED = 0.3, 1.0
#: The least overlap of two boxes of the same face: intersection by union.
LEAST_OVERLAP = 0.3
#: How much larger another face must be to take the place of the one that the panel is about.
TAKE_OVER = 1.3


@dataclass(eq=False)
class Track:
    """One face over time.

    Attributes:
        number: counts from 1; never used twice.
        face: as it was found last, with probabilities and box smoothed.
        seen: seconds of the frame in which it was found last.
    """

    number: int
    face: Face
    seen: float

    def update(self, face: Face, seconds: float) -> None:
        """Go on with the face as it was found now."""
        passed = seconds - self.seen
        box = _mix(self.face.box, face.box, passed / BOX_LAG)
        left, top, width, height = map(round, box.tolist())
        probabilities = _mix(self.face.probabilities, face.probabilities, passed / PROBABILITIES_LAG)
        self.face = replace(
            face, box=(left, top, width, height), probabilities=probabilities.astype(np.float32)
        )
        self.seen = seconds


class Tracker:
    """Matches the faces of each frame with those of the frames before, the best overlap first."""

    def __init__(self) -> None:
        self._tracks: list[Track] = []
        self._count, self._size = 0, (0, 0)
        self._focus: Track | None = None

    def update(self, faces: list[Face], seconds: float, size: tuple[int, int] = (0, 0)) -> list[Track]:
        """Return a track for each face of a frame of this size in pixels, in their order."""
        if size != self._size:  # boxes of another are no places in this one
            self._tracks, self._size = [], size
        # Where a video begins anew, nothing is remembered: what lies in the future would be for ever.
        self._tracks = [track for track in self._tracks if 0 <= seconds - track.seen <= REMEMBERED]
        pairs = sorted(
            (
                (overlap(track.face.box, face.box), t, f)
                for t, track in enumerate(self._tracks)
                for f, face in enumerate(faces)
            ),
            reverse=True,
        )
        matched: dict[int, Track] = {}
        for share, t, f in pairs:
            track = self._tracks[t]
            if share >= LEAST_OVERLAP and f not in matched and track not in matched.values():
                matched[f] = track
        for f, face in enumerate(faces):
            if f in matched:
                matched[f].update(face, seconds)
            else:
                self._count += 1
                matched[f] = Track(self._count, face, seconds)
                self._tracks.append(matched[f])
        return [matched[f] for f in range(len(faces))]

    def shown(self, seconds: float) -> list[Track]:
        """Return the faces of this frame, and those that were lost only a moment ago."""
        return [track for track in self._tracks if seconds - track.seen <= SHOWN]

    def focus(self, seconds: float) -> Track | None:
        """Return the track that the panel is about: the largest face, until another is clearly larger."""
        shown = self.shown(seconds)

        def weight(track: Track) -> float:
            return track.face.box[2] * (TAKE_OVER if track is self._focus else 1.0)

        self._focus = max(shown, key=weight, default=None)
        return self._focus


def overlap(a: Box, b: Box) -> float:
    """Intersection of two boxes by their union, 0 to 1."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / max(a[2] * a[3] + b[2] * b[3] - common, 1)


def _mix(old: Box | np.ndarray, new: Box | np.ndarray, lags: float) -> np.ndarray:
    """Exponential smoothing for steps of any length: the old counts for exp(-lags)."""
    rest = exp(-max(lags, 0.0))
    return rest * np.asarray(old) + (1 - rest) * np.asarray(new)
