"""A detector by its name, for commands."""

from pathlib import Path

from fer_demo.detection import FaceDetector
from fer_demo.detection.cascades import CASCADES, CascadeDetector
from tinycnn.checks import refuse


def detector_file(name: str) -> Path | None:
    """Return the file that a detector's name stands for, or None for one that comes with OpenCV."""
    return None if name in CASCADES else Path(name)


def face_detector(name: str, longest_side: int, min_size: float = 0.0, quick: bool = False) -> FaceDetector:
    """Return the detector that a user asks for.

    Args:
        name: one of `CASCADES`, an XML file with a cascade, or YuNet's ONNX file.
        longest_side: of a cascade, see `CascadeDetector`.
        min_size: of a cascade, see there.
        quick: of a cascade, see there.

    Raises:
        ConfigError: there is no such detector.
        DataError: the file is of another kind.
    """
    if Path(name).suffix.lower() == ".onnx":
        from fer_demo.detection.yunet import YuNetDetector

        return YuNetDetector(name)
    if name not in CASCADES and Path(name).suffix.lower() != ".xml":
        refuse("faces", name, f"{', '.join(CASCADES)}, a cascade's .xml file, or YuNet's .onnx file")
    return CascadeDetector(name, min_size=min_size, longest_side=longest_side, quick=quick)
