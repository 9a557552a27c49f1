"""Facial emotion recognition with networks built on `tinycnn`."""

import os
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tinycnn.optional import missing

if TYPE_CHECKING:
    from fer_demo.classifier import EmotionClassifier
    from fer_demo.detector import EmotionDetector

# Said here, once for all commands: `pip install .` alone brings what tinycnn needs.
for _needed in ("cv2", "jinja2", "joblib", "pandas", "platformdirs", "rich", "sklearn", "typer"):
    if find_spec(_needed) is None:
        raise missing(ModuleNotFoundError(name=_needed), "demo")

# OpenCV takes its limit from here when it is loaded; its own would let a file of 1 MB unpack to 1 GB.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 26))
# And how much it prints about damaged pictures, of which the commands themselves say which they are.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

__all__ = ["EmotionClassifier", "EmotionDetector"]

#: Where the names of this package are.
_PLACES = {"EmotionClassifier": "fer_demo.classifier", "EmotionDetector": "fer_demo.detector"}


def __getattr__(name: str) -> Any:
    """Load a class, and with the detector OpenCV, when it is first asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
