"""Copies of pictures and videos with their faces marked."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from fer_demo.data.dataset import display_name
from fer_demo.data.images import write_image
from fer_demo.errors import DataError, DeviceError
from fer_demo.live.overlay import draw_faces
from fer_demo.live.recorder import Recorder
from fer_demo.results import Result

#: Formats that copies keep; others become PNG files, and videos MP4.
_KEPT = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"}


class Annotator:
    """Writes copies into a folder, laid out as the originals are.

    Args:
        folder: is made if it is not there; None to write nothing.
        roots: files and folders that the originals were found in.
        originals: all of them; none is written over.

    Raises:
        DataError: originals lie in the folder itself.
    """

    def __init__(self, folder: Path | None, roots: Iterable[Path], originals: Iterable[Path]) -> None:
        self._folder = folder
        self._originals = set() if folder is None else {path.resolve() for path in originals}
        if folder is not None and folder.resolve() in {path.parent for path in self._originals}:
            place = display_name(str(folder))
            raise DataError(
                f"{place}: originals lie in it, and a copy could replace a file that looks like one; name "
                "another --annotate"
            )
        self._roots = [root for root in roots if root.is_dir()]
        self._written: set[Path] = set()
        self._recorder: Recorder | None = None
        self._fault: DataError | DeviceError | None = None

    def add(self, picture: np.ndarray, result: Result, rate: float, path: Path) -> None:
        """Write a picture's copy, or a frame of a video's.

        Args:
            picture: uint8, (H, W) or (H, W, 3).
            result: what was found in it.
            rate: frames a second of a video.
            path: of the original.

        What goes wrong is said by `close`: it must not keep the rest of a video from being looked at.
        """
        if self._folder is None or self._fault is not None:
            return
        try:
            self._write(picture, result, rate, path)
        except (DataError, DeviceError) as error:
            self._fault = error
        except OSError as error:
            self._fault = DeviceError(f"{display_name(str(path))}: no copy of it can be written: {error}")

    def _write(self, picture: np.ndarray, result: Result, rate: float, path: Path) -> None:
        copy = picture.copy() if picture.ndim == 3 else cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
        draw_faces(copy, [(face, "") for face in result.faces])
        if result.seconds is None:
            target = self._target(path, path.suffix if path.suffix.lower() in _KEPT else ".png")
            write_image(target, copy)
            return
        if self._recorder is None:
            self._recorder = Recorder(self._target(path, ".mp4"), rate)
        self._recorder.add(copy, result.seconds)

    def close(self) -> None:
        """Complete the copy of a file; the next one may then begin.

        Raises:
            DataError: the copy would take an original's place.
            DeviceError: it could not be written, or is not complete.
        """
        (recorder, fault), self._recorder, self._fault = (self._recorder, self._fault), None, None
        if fault is not None:
            raise fault
        if recorder is not None:
            recorder.close()

    def _target(self, path: Path, ending: str) -> Path:
        assert self._folder is not None
        root = next((root for root in self._roots if path.is_relative_to(root)), path.parent)
        target = (self._folder / path.relative_to(root)).with_suffix(ending)
        stem, number = target.stem, 1
        # Of a.gif and a.png the second keeps its name, whoever comes first.
        anothers = ending != path.suffix and path.with_suffix(ending).resolve() in self._originals
        while anothers or target in self._written:  # or two folders have files of one name
            number, anothers = number + 1, False
            target = target.with_stem(f"{stem}-{number}")
        if target.resolve() in self._originals:
            name, place = display_name(str(path)), display_name(str(target))
            raise DataError(f"{name}: the copy would replace {place}, an original; name another --annotate")
        target.parent.mkdir(parents=True, exist_ok=True)
        self._written.add(target)
        return target
