"""Errors that say what was found, what was expected, and what to do about it."""


class TinyCNNError(Exception):
    """Base of every error that this project raises on purpose: catch it to catch them all."""


class ShapeError(TinyCNNError, ValueError):
    """An array's number of axes, or the length of one, does not fit."""


class DTypeError(TinyCNNError, TypeError):
    """An array's element type does not fit."""


class ConfigError(TinyCNNError, ValueError):
    """An argument of a layer, optimiser, schedule or training loop is out of range."""


class BackendError(TinyCNNError, RuntimeError):
    """The backend asked for is unknown, or what it needs is not installed."""


class CacheError(TinyCNNError, RuntimeError):
    """`backward` was called without a preceding `forward(x, train=True)`."""


class FileFormatError(TinyCNNError, ValueError):
    """A file is damaged, incomplete or not of the kind that was expected."""


class MissingPackageError(TinyCNNError, ImportError):
    """Something needs a package that is not installed; the message says how to install it."""


class NonFiniteError(TinyCNNError, FloatingPointError):
    """Loss, gradients or data hold NaN or infinity; the message names the layer and the step."""


class CheckpointWarning(UserWarning):
    """A checkpoint is damaged or could not be written; the work goes on without it."""
