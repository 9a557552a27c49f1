"""What training makes small."""

from typing import Any

import numpy as np

from tinycnn.checks import check, number, refuse
from tinycnn.errors import ConfigError, DTypeError, ShapeError
from tinycnn.kernels import active

#: By how much the sum of an image's probabilities may miss 1.
ROUNDING = 1e-3


class SoftmaxCrossEntropy:
    """Minus the log of the probability that softmax gives the right class, averaged over a batch, in nats.

    Where a label is not one class but a probability of each, p, it is the mean of that over the classes,
    -sum over k of p[k] * log softmax(logits)[k]: the cross-entropy of the two distributions. A probability
    of 1 for one class gives what that class alone would give, to the bit.

    Args:
        label_smoothing: share of each target that is spread evenly over all classes (Szegedy et al. 2016,
            section 7), at least 0 and below 1.
        class_weights: one non-negative number per class: how much an image of that class counts; an image
            with probabilities counts as much as its classes do on average. The loss is the weighted mean, so
            only ratios matter.

    Raises:
        ConfigError: an argument is out of range.

    >>> loss, dlogits = SoftmaxCrossEntropy()(np.zeros((1, 4), np.float32), np.array([2]))
    >>> round(loss, 4)  # four equal probabilities: log(4)
    1.3863
    >>> dlogits
    array([[ 0.25,  0.25, -0.75,  0.25]], dtype=float32)
    """

    def __init__(self, label_smoothing: float = 0.0, class_weights: Any = None) -> None:
        check(0 <= number(label_smoothing) < 1, "label_smoothing", label_smoothing, "at least 0, less than 1")
        self.label_smoothing = float(label_smoothing)
        self.class_weights = None if class_weights is None else _checked_weights(class_weights)

    def __call__(self, logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss in nats and its gradient.

        Args:
            logits: (N, K), scores before softmax.
            labels: (N,) of integers, 0 to K-1; or (N, K) of floats, probabilities.

        Returns:
            The loss, and dlogits (N, K).

        Raises:
            ShapeError: logits are not (N, K), or labels neither (N,) nor (N, K), or N is 0.
            DTypeError: logits are not float32 or float64, or labels (N,) not integers, (N, K) not floats.
            ConfigError: a label is not a class, a row is no distribution, or the number of class weights is
                not K.
        """
        if isinstance(labels, np.ma.MaskedArray):
            raise DTypeError("labels have a mask: leave out what is masked, images and labels alike")
        labels = np.asarray(labels)
        if not isinstance(logits, np.ndarray) or logits.dtype not in (np.float32, np.float64):
            found = logits.dtype if isinstance(logits, np.ndarray) else type(logits).__name__
            raise DTypeError(f"logits are {found}: expected an array of float32 or float64")
        if logits.ndim != 2 or labels.shape not in (logits.shape[:1], logits.shape) or len(labels) == 0:
            remedy = ": use labels[:, 0]" if labels.shape == (*logits.shape[:1], 1) else ""
            raise ShapeError(
                f"expected logits (N, K) and labels (N,) or (N, K), found {logits.shape} and {labels.shape}"
                f"{remedy}"
            )
        classes = logits.shape[1]
        check_labels(labels, classes)
        if labels.ndim == 1:
            given = np.zeros(logits.shape, logits.dtype)
            given[np.arange(len(labels)), labels] = 1
        else:
            given = labels.astype(logits.dtype)
        weights = self._image_weights(given)
        if not weights.any():  # nothing but ignored classes: nothing to average
            return 0.0, np.zeros_like(logits)
        targets = (1 - self.label_smoothing) * given + self.label_smoothing / classes
        return active().softmax_cross_entropy(logits, targets, weights)

    def _image_weights(self, given: np.ndarray) -> np.ndarray:
        """How much each image counts, (N,), by the probabilities (N, K) of its classes."""
        if self.class_weights is None:
            return np.ones(len(given), given.dtype)
        if len(self.class_weights) != given.shape[1]:
            raise ConfigError(
                f"class_weights has {len(self.class_weights)} numbers, the model has {given.shape[1]} outputs"
            )
        relative = self.class_weights / self.class_weights.max()  # float32 may not reach as far as they do
        return given @ relative.astype(given.dtype)


def check_labels(labels: np.ndarray, classes: int) -> None:
    """Make sure that labels can be learnt, (N,) or (N, K), by a model of K classes.

    Raises:
        ShapeError, DTypeError, ConfigError: see `SoftmaxCrossEntropy`.
    """
    if labels.ndim == 1:
        _check_classes(labels, classes)
    elif labels.shape[1] != classes:
        raise ShapeError(
            f"labels are {labels.shape}: expected (N, {classes}), since the model has as many outputs"
        )
    else:
        _check_distributions(labels)


def _check_classes(labels: np.ndarray, classes: int) -> None:
    if labels.dtype.kind not in "iu":
        remedy = "; use labels.astype(int)" if labels.dtype.kind in "bf" else ""
        raise DTypeError(f"labels are {labels.dtype}: expected integers from 0 to {classes - 1}{remedy}")
    if labels.min() < 0 or labels.max() >= classes:
        wrong = int(np.flatnonzero((labels < 0) | (labels >= classes))[0])
        raise ConfigError(
            f"label {labels[wrong]} at position {wrong}: expected 0 to {classes - 1}, "
            f"since the model has {classes} outputs"
        )


def _check_distributions(labels: np.ndarray) -> None:
    if not np.issubdtype(labels.dtype, np.floating):
        raise DTypeError(
            f"labels (N, K) are {labels.dtype}: expected probabilities as floats; where one class is right, "
            "pass its number, (N,)"
        )
    with np.errstate(all="ignore"):  # infinity minus infinity and the like are refused below
        right = (labels >= 0).all(axis=1) & (np.abs(labels.sum(axis=1) - 1) <= ROUNDING)
    if not right.all():
        wrong = int(np.flatnonzero(~right)[0])
        raise ConfigError(
            f"labels at position {wrong} are {labels[wrong].tolist()}: expected probabilities, of at least 0 "
            "and with the sum 1"
        )


def _checked_weights(class_weights: Any) -> np.ndarray:
    """Float64, (K,)."""
    try:
        weights = np.asarray(class_weights, np.float64)
    except (TypeError, ValueError):  # no numbers, or rows of different lengths
        weights = np.empty(0)
    if weights.ndim != 1 or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        expected = "one finite number of at least 0 per class, not all of them 0"
        refuse("class_weights", class_weights, expected)
    return weights
