"""A scikit-learn classifier, so that a network works in pipelines, grid searches and cross-validation."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from tinycnn import layers
from tinycnn.checks import check_positive, check_shape, refuse
from tinycnn.errors import ConfigError, ShapeError
from tinycnn.layers.base import Layer, Shape
from tinycnn.model import Sequential
from tinycnn.optimizers import Adam
from tinycnn.optional import missing
from tinycnn.schedules import Cosine
from tinycnn.train import History

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ModuleNotFoundError as error:
    raise missing(error, "sklearn") from error

__all__ = ["CNNClassifier", "default_network"]

#: Makes a network from the shape of one sample, (H, W, C) or (features,), the number of classes and a seed.
Network = Callable[[Shape, int, int], Sequential]


def default_network(input_shape: Shape, classes: int, seed: int) -> Sequential:
    """Return a small network: for images two convolutions, for features one hidden layer of 32.

    Each convolution is followed by batch norm, ReLU and a max-pool that halves the map; a dense layer reads
    the mean of the last maps. Of one channel and ten classes, that makes 5,178 trained numbers.

    Args:
        input_shape: of one sample, (H, W, C) or (features,).
        classes: number of outputs.
        seed: of the first weights.

    >>> network = default_network((8, 8, 1), classes=10, seed=0)
    >>> sum(array.size for array in network.params.values())
    5178
    """
    rng, found = np.random.default_rng(seed), list[Layer]()
    width = input_shape[-1]
    if len(input_shape) == 3:
        for wider in (16, 32):
            found += [layers.Conv2D(width, wider, 3, padding="same", bias=False, rng=rng)]
            found += [layers.BatchNorm(wider), layers.ReLU(), layers.MaxPool2D(3, stride=2, padding="same")]
            width = wider
        found += [layers.GlobalAvgPool2D()]
    else:
        found += [layers.Dense(width, 32, rng=rng), layers.ReLU()]
        width = 32
    last = layers.Dense(width, classes, init="glorot", rng=rng)
    return Sequential([*found, last, layers.Softmax()], input_shape=input_shape)


class CNNClassifier(ClassifierMixin, BaseEstimator):
    """A network as a scikit-learn classifier: `fit`, `predict`, `predict_proba`, `score`.

    Samples are rows of features, (n, features), or images, (n, H, W, C). Scikit-learn's own tools often take
    rows alone; `image_shape` lets rows become images. What is put in is standardised with the training data's
    mean and standard deviation: features one by one, images by channel.

    Args:
        network: makes the network; `default_network` if None. It must end with a `Softmax`.
        image_shape: (H, W, C) of the image that each row is to be read as, row by row, channels last.
        epochs: passes over the training data.
        batch_size: samples a step.
        learning_rate: of Adam, at the beginning; it falls to 0 along half a cosine.
        weight_decay: of Adam.
        random_state: seed, or NumPy's RandomState, of first weights and order; None is different every time.
        verbose: show progress.

    Attributes:
        classes_: (K,), the labels, in order.
        n_features_in_: the length of the second axis of the training data.
        network_: the trained network; `tinycnn.save` keeps it without scikit-learn, `mean_` and `std_` in its
            metadata.
        history_: how the training went.
        mean_: what is subtracted from samples.
        std_: what they are then divided by.

    >>> from sklearn.datasets import load_digits
    >>> images, labels = load_digits(return_X_y=True)  # rows of 64 pixels
    >>> model = CNNClassifier(image_shape=(8, 8, 1), epochs=2, random_state=0).fit(images[:400], labels[:400])
    >>> bool(model.score(images[400:600], labels[400:600]) > 0.5)
    True
    """

    history_: History
    network_: Sequential

    def __init__(
        self,
        network: Network | None = None,
        *,
        image_shape: Sequence[int] | None = None,
        epochs: int = 30,
        batch_size: int = 32,
        learning_rate: float = 0.01,
        weight_decay: float = 0.0,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.network = network
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> Self:
        """Train a new network.

        Args:
            X: (n, features) or (n, H, W, C), numbers.
            y: (n,), labels of any kind.

        Raises:
            ValueError: the data are not that, or an argument is out of range.
        """
        X, y = validate_data(self, X, y, dtype=np.float32, allow_nd=True)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        # A search over NumPy's ranges gives NumPy's numbers.
        epochs, batch_size = (
            n.item() if isinstance(n, np.integer) else n for n in (self.epochs, self.batch_size)
        )
        check_positive(epochs=epochs, batch_size=batch_size)
        seed = check_random_state(self.random_state).randint(2**31)
        x = self._shaped(X)
        axes = tuple(range(x.ndim - 1))
        self.mean_ = x.mean(axis=axes, dtype=np.float64)
        spread = x.std(axis=axes, dtype=np.float64)
        self.std_ = np.where(spread > 0, spread, 1.0)  # a constant has no spread to divide by
        self.network_ = self._new_network(x.shape[1:], seed)
        steps = epochs * math.ceil(len(x) / batch_size)
        self.history_ = self.network_.fit(
            x,
            labels,
            epochs=epochs,
            batch_size=batch_size,
            optimizer=Adam(Cosine(self.learning_rate, steps), weight_decay=self.weight_decay),
            prepare=self._standardised,
            seed=seed,
            progress=bool(self.verbose),
        )
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities, float64 (n, K), in the order of `classes_`.

        Raises:
            NotFittedError: `fit` was not called.
            ValueError: X does not look like the training data, or is so far from them that it overflows.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float32, allow_nd=True)
        x, expected = self._shaped(X), self.network_.input_shape
        if x.shape[1:] != expected:
            raise ShapeError(f"samples are {x.shape[1:]}: expected {expected}, as in the training")
        with np.errstate(over="ignore", invalid="ignore"):  # what they would warn of is looked for
            outputs = self.network_.predict(x, prepare=self._standardised).astype(np.float64)
        if not np.isfinite(outputs).all():
            raise ConfigError("X is so far from the training data that the network's sums overflow: check X")
        return outputs / outputs.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable label of each sample, (n,).

        Raises:
            NotFittedError: `fit` was not called.
            ValueError: X does not look like the training data.
        """
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def _shaped(self, x: np.ndarray) -> np.ndarray:
        """Return samples as the network takes them, but for their scale."""
        if self.image_shape is not None and x.ndim == 2:
            shape = check_shape(self.image_shape, "image_shape")
            if len(shape) != 3 or math.prod(shape) != x.shape[1]:
                refuse("image_shape", shape, f"(H, W, C) of {x.shape[1]} numbers, as a row has")
            x = x.reshape(-1, *shape)
        if x.ndim not in (2, 4):
            raise ShapeError(f"X has shape {x.shape}: expected (n, features) or (n, H, W, C)")
        return x

    def _standardised(self, x: np.ndarray) -> np.ndarray:
        return ((x - self.mean_) / self.std_).astype(np.float32)

    def _new_network(self, input_shape: Shape, seed: int) -> Sequential:
        make = default_network if self.network is None else self.network
        if not callable(make):
            refuse("network", make, "a function of input_shape, classes and seed, or None")
        network = make(input_shape, len(self.classes_), seed)
        last = [*network.children().values()][-1] if isinstance(network, Sequential) else None
        if not isinstance(last, layers.Softmax):
            refuse("network", network, "a function that returns a tinycnn.Sequential ending in a Softmax")
        found, expected = network.output_shape(input_shape), (len(self.classes_),)
        if found != expected:
            raise ShapeError(f"network: its output is {found}, expected {expected}, one per class")
        network.input_shape = input_shape
        return network
