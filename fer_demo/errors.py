"""Errors of the application."""

from tinycnn.errors import TinyCNNError

__all__ = ["DataError", "DeviceError", "WorkerError", "WorkerWarning"]


class DataError(TinyCNNError, ValueError):
    """A data file or folder cannot be used; the message names the file, the place and the remedy.

    >>> from fer_demo.data import load
    >>> load("nowhere.csv")
    Traceback (most recent call last):
        ...
    fer_demo.errors.DataError: nowhere.csv: no such file or folder...
    """


class DeviceError(TinyCNNError, RuntimeError):
    """A camera, a window or a video codec cannot be used; the message says which, and what to do.

    >>> issubclass(DeviceError, TinyCNNError)
    True
    """


class WorkerError(TinyCNNError, RuntimeError):
    """Processes or machines that train folds died, or cannot be reached.

    >>> issubclass(WorkerError, TinyCNNError)
    True
    """


class WorkerWarning(UserWarning):
    """A process that trained a fold died, and the fold is trained again.

    >>> import warnings
    >>> warnings.simplefilter("error", WorkerWarning)  # rather stop than train a fold again
    """
