"""Errors of the application."""

from tinycnn.errors import TinyCNNError


class DataError(TinyCNNError, ValueError):
    """A data file or folder cannot be used; the message names the file, the place and the remedy."""


class DeviceError(TinyCNNError, RuntimeError):
    """A camera, a window or a video codec cannot be used; the message says which, and what to do."""


class WorkerError(TinyCNNError, RuntimeError):
    """Processes or machines that train folds died, or cannot be reached."""


class WorkerWarning(UserWarning):
    """A process that trained a fold died, and the fold is trained again."""
