"""A window on the screen, and what it says where there can be none."""

import os
import subprocess
import sys
from typing import Protocol

import cv2
import numpy as np

from fer_demo.errors import DeviceError

TITLE = "fer_demo"
ESCAPE = "\x1b"
_REMEDY = "To go without a window: --headless, with --csv FILE or --save FILE to see what was found"


class Screen(Protocol):
    """Where pictures are shown and keys come from."""

    def show(self, picture: np.ndarray, wait: float) -> str:
        """Show a picture, uint8 (H, W, 3), and wait so many seconds for a key.

        Returns:
            The key, "" for none, and `ESCAPE` if the window was closed.
        """

    def close(self) -> None:
        """Take it off the screen."""


class Window:
    """A `Screen` by OpenCV.

    Raises:
        DeviceError: there is no display, or this OpenCV has no windows.
    """

    def __init__(self) -> None:
        if sys.platform == "linux":
            _check_display()
        try:
            # Qt's own tool bar, which GUI_NORMAL leaves out, would take room from the picture.
            cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        except cv2.error as error:
            raise DeviceError(
                "this OpenCV is a build without windows; for windows: pip uninstall opencv-python-headless, "
                f"then pip install --force-reinstall 'opencv-python<5'. {_REMEDY}"
            ) from error
        self._sized = False

    def show(self, picture: np.ndarray, wait: float) -> str:
        """See `Screen`."""
        if not self._sized:
            cv2.resizeWindow(TITLE, picture.shape[1], picture.shape[0])
            self._sized = True
        cv2.imshow(TITLE, picture)
        key = cv2.waitKey(max(1, round(1000 * wait)))
        if not _is_open():
            return ESCAPE
        return chr(key & 0xFF) if key >= 0 else ""

    def close(self) -> None:
        """See `Screen`."""
        cv2.destroyAllWindows()


def _is_open() -> bool:
    """Whether the window is still there, which its frame's x, too, can end; Qt's builds then raise."""
    try:
        return cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error:
        return False


def _check_display() -> None:
    """Open a window in another process first: without a display, Qt ends the process it is in."""
    if not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
        raise DeviceError(f"there is no display here (neither DISPLAY nor WAYLAND_DISPLAY is set). {_REMEDY}")
    code = "import cv2; hasattr(cv2, 'namedWindow') and cv2.namedWindow('test')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if run.returncode < 0:  # ended by a signal; errors of OpenCV are found again, and told, by the caller
        raise DeviceError(f"the display {os.environ.get('DISPLAY')} cannot be used. {_REMEDY}")
