"""What training makes small."""

from typing import Any

import numpy as np

from tinycnn.errors import ConfigError, DTypeError, ShapeError
from tinycnn.kernels import active


class SoftmaxCrossEntropy:
    """Minus the log of the probability that softmax gives the right class, averaged over a batch, in nats.

    Args:
        label_smoothing: share of each target that is spread evenly over all classes (Szegedy et al. 2016,
            section 7), at least 0 and below 1.
        class_weights: one non-negative number per class: how much an image of that class counts. The loss is
            the weighted mean, so only ratios matter.

    Raises:
        ConfigError: an argument is out of range.

    >>> loss, dlogits = SoftmaxCrossEntropy()(np.zeros((1, 4), np.float32), np.array([2]))
    >>> round(loss, 4)  # four equal probabilities: log(4)
    1.3863
    >>> dlogits
    array([[ 0.25,  0.25, -0.75,  0.25]], dtype=float32)
    """

    def __init__(self, label_smoothing: float = 0.0, class_weights: Any = None) -> None:
        if not (isinstance(label_smoothing, int | float) and 0 <= label_smoothing < 1):
            raise ConfigError(f"label_smoothing={label_smoothing!r}: expected at least 0 and less than 1")
        self.label_smoothing = label_smoothing
        self.class_weights = None
        if class_weights is not None:
            weights = np.asarray(class_weights, np.float64)
            if (
                weights.ndim != 1
                or not np.isfinite(weights).all()
                or (weights < 0).any()
                or not weights.any()
            ):
                raise ConfigError(
                    f"class_weights={class_weights!r}: expected one finite number of at least 0 per class, "
                    "not all of them 0"
                )
            self.class_weights = weights

    def __call__(self, logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss in nats and its gradient.

        Args:
            logits: (N, K), scores before softmax.
            labels: (N,) of integers, 0 to K-1.

        Returns:
            The loss, and dlogits (N, K).

        Raises:
            ShapeError: logits are not (N, K), or labels not (N,).
            DTypeError: labels are not integers.
            ConfigError: a label is not a class, or the number of class weights is not K.
        """
        labels = np.asarray(labels)
        if logits.ndim != 2 or labels.shape != logits.shape[:1]:
            raise ShapeError(
                f"expected logits (N, K) and labels (N,), found {logits.shape} and {labels.shape}"
            )
        if not np.issubdtype(labels.dtype, np.integer):
            raise DTypeError(f"labels are {labels.dtype}: expected integers from 0 to {logits.shape[1] - 1}")
        classes = logits.shape[1]
        if labels.min() < 0 or labels.max() >= classes:
            wrong = int(np.flatnonzero((labels < 0) | (labels >= classes))[0])
            raise ConfigError(
                f"label {labels[wrong]} at position {wrong}: expected 0 to {classes - 1}, "
                f"since the model has {classes} outputs"
            )
        targets = np.full(logits.shape, self.label_smoothing / classes, logits.dtype)
        targets[np.arange(len(labels)), labels] += 1 - self.label_smoothing
        weights = self._image_weights(labels, classes).astype(logits.dtype)
        if not weights.any():  # nothing but ignored classes: nothing to average
            return 0.0, np.zeros_like(logits)
        return active().softmax_cross_entropy(logits, targets, weights)

    def _image_weights(self, labels: np.ndarray, classes: int) -> np.ndarray:
        if self.class_weights is None:
            return np.ones(len(labels))
        if len(self.class_weights) != classes:
            raise ConfigError(
                f"class_weights has {len(self.class_weights)} numbers, the model has {classes} outputs"
            )
        return self.class_weights[labels]
