"""What was found in pictures and videos, for tables, files and pandas."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fer_demo.data.dataset import EMOTIONS
from fer_demo.detector import Face

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "Result", "to_pandas"]

#: Columns of a table with one row for each face.
COLUMNS = ("file", "frame", "seconds", "left", "top", "width", "height", *EMOTIONS, "label")


@dataclass(frozen=True, eq=False)
class Result:
    """The faces of one picture, or of one frame of a video.

    Attributes:
        file: its name.
        frame: counts from 0; None for a picture.
        seconds: by the video's clock; None for a picture.
        faces: the largest first.

    >>> Result("group.jpg", frame=None, seconds=None, faces=[]).as_dict()
    {'file': 'group.jpg', 'frame': None, 'seconds': None, 'faces': []}
    """

    file: str
    frame: int | None
    seconds: float | None
    faces: list[Face]

    def as_dict(self) -> dict[str, Any]:
        """What a line of JSON holds; faces are as in `EmotionDetector.detect_emotions`, with a label."""
        faces = [
            {"box": list(face.box), "emotions": _rounded(face), "label": face.label} for face in self.faces
        ]
        return {"file": self.file, "frame": self.frame, "seconds": self.seconds, "faces": faces}

    def rows(self) -> list[tuple]:
        """A tuple for each face in the order of `COLUMNS`; one with empty cells if there is no face."""
        place = (self.file, self.frame, self.seconds)
        rows = [(*place, *face.box, *_rounded(face).values(), face.label) for face in self.faces]
        return rows or [(*place, *[None] * (len(COLUMNS) - len(place)))]


def _rounded(face: Face) -> dict[str, float]:
    return {emotion: round(value, 4) for emotion, value in face.emotions.items()}


def to_pandas(results: Iterable[Result], wide: bool = False) -> "pd.DataFrame":
    """Return a table of the results.

    Args:
        results: such as `fer_demo.EmotionDetector.analyze` yields.
        wide: a row for each picture or frame, with the columns box0, angry0, ..., box1, angry1, ..., as the
            `fer` package has it; otherwise a row for each face, with `COLUMNS`.

    >>> nobody = Result("wall.jpg", frame=None, seconds=None, faces=[])
    >>> to_pandas([nobody])[["file", "label"]].values.tolist()
    [['wall.jpg', None]]
    """
    import pandas as pd

    if not wide:
        return pd.DataFrame([row for result in results for row in result.rows()], columns=list(COLUMNS))
    rows = []
    for result in results:
        row: dict[str, Any] = {"file": result.file, "frame": result.frame, "seconds": result.seconds}
        for number, face in enumerate(result.faces):
            row[f"box{number}"] = list(face.box)
            row |= {f"{emotion}{number}": value for emotion, value in face.emotions.items()}
        rows.append(row)
    return pd.DataFrame(rows)
