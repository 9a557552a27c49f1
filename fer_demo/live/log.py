"""One row for each face of each frame, as a CSV file."""

import csv
from pathlib import Path

from fer_demo.data.dataset import EMOTIONS
from fer_demo.live.sources import Frame
from fer_demo.live.tracks import Track
from fer_demo.output import open_output

COLUMNS = ("frame", "seconds", "face", "left", "top", "width", "height", *EMOTIONS, "label")


class Log:
    """To be used in a ``with`` statement; what is written is on the disk a second later at most.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = open_output(path)
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(COLUMNS)
        self._flushed = 0.0

    def add(self, frame: Frame, tracks: list[Track]) -> None:
        """Write the faces that were found in a frame."""
        for track in tracks:
            face = track.face
            probabilities = [f"{value:.4f}" for value in face.probabilities]
            place = [frame.index, f"{frame.seconds:.3f}", track.number, *face.box]
            self._writer.writerow([*place, *probabilities, face.label])
        if frame.seconds >= self._flushed + 1:
            self._file.flush()
            self._flushed = frame.seconds

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
