"""Errors that say what was found, what was expected, and what to do about it."""


class TinyCNNError(Exception):
    """Base of every error that this project raises on purpose: catch it to catch them all.

    >>> try:
    ...     tc.Dropout(rate=2)
    ... except tc.TinyCNNError as error:
    ...     print(error)
    rate=2: expected a number from 0 up to, but not including, 1
    """


class ShapeError(TinyCNNError, ValueError):
    """An array's number of axes, or the length of one, does not fit.

    >>> tc.Softmax().forward(np.zeros((0, 7)))
    Traceback (most recent call last):
        ...
    tinycnn.errors.ShapeError: Softmax(): expected a batch of at least one image, none empty, found (0, 7)
    """


class DTypeError(TinyCNNError, TypeError):
    """An array's element type does not fit.

    >>> tc.ReLU().forward(np.zeros((2, 3), np.float16))
    Traceback (most recent call last):
        ...
    tinycnn.errors.DTypeError: ReLU(): expected an array of float32, found float16: use np.float32(x)
    """


class ConfigError(TinyCNNError, ValueError):
    """An argument of a layer, optimiser, schedule or training loop is out of range.

    >>> tc.BatchNorm(8, momentum=1.5)
    Traceback (most recent call last):
        ...
    tinycnn.errors.ConfigError: momentum=1.5: expected a number from 0 up to, but not including, 1
    """


class BackendError(TinyCNNError, RuntimeError):
    """The backend asked for is unknown, or what it needs is not installed.

    >>> tc.backend("cuda")
    Traceback (most recent call last):
        ...
    tinycnn.errors.BackendError: unknown backend 'cuda': expected one of 'numpy', 'numba'
    """


class CacheError(TinyCNNError, RuntimeError):
    """`backward` was called without a preceding `forward(x, train=True)`.

    >>> tc.ReLU().backward(np.ones((1, 2)))
    Traceback (most recent call last):
        ...
    tinycnn.errors.CacheError: ReLU(): backward needs a forward(x, train=True) before it
    """


class FileFormatError(TinyCNNError, ValueError):
    """A file is damaged, incomplete or not of the kind that was expected.

    >>> np.save("model.npy", np.zeros(3))
    >>> tc.load("model.npy")
    Traceback (most recent call last):
        ...
    tinycnn.errors.FileFormatError: model.npy: not a whole safetensors file...
    """


class MissingPackageError(TinyCNNError, ImportError):
    """Something needs a package that is not installed; the message says how to install it.

    >>> issubclass(MissingPackageError, ImportError)  # so `except ImportError` catches it
    True
    """


class NonFiniteError(TinyCNNError, FloatingPointError):
    """Loss, gradients or data hold NaN or infinity; the message names the layer and the step.

    >>> model = tc.Sequential([tc.Dense(2, 2, rng=0)])
    >>> x = np.array([[np.nan, 1]], np.float32)
    >>> model.fit(x, np.array([0]), progress=False)
    Traceback (most recent call last):
        ...
    tinycnn.errors.NonFiniteError: step 1, learning rate 0.001: the input holds 1 non-finite numbers...
    """


class CheckpointWarning(UserWarning):
    """A checkpoint is damaged or could not be written; the work goes on without it.

    >>> import warnings
    >>> warnings.simplefilter("error", CheckpointWarning)  # rather stop than go on without
    """
