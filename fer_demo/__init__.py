"""Facial emotion recognition with networks built on `tinycnn`."""

import os

# OpenCV takes its limit from here when it is loaded; its own would let a file of 1 MB unpack to 1 GB.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 26))
