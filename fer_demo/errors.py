"""Errors of the application."""

from tinycnn.errors import TinyCNNError


class DataError(TinyCNNError, ValueError):
    """A data file or folder cannot be used; the message names the file, the place and the remedy."""
