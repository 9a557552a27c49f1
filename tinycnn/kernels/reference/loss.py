"""Softmax and cross-entropy in one, which is both shorter and stable."""

import numpy as np


def softmax_cross_entropy(
    logits: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return the weighted mean of -sum over k of targets[n,k] * log softmax(logits)[n,k], and its gradient.

    The gradient is softmax(logits) - targets, scaled by each image's share of the weights: the division and
    the logarithm of the two halves cancel.

    Args:
        logits: (N, K), unbounded scores.
        targets: (N, K), each row a distribution over the K classes.
        weights: (N,), how much each image counts; their sum must be positive.

    Returns:
        The loss in nats, and dlogits (N, K).
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    share = (weights / weights.sum())[:, np.newaxis]
    log_probability = shifted - log_sum
    loss = -(share * targets * log_probability).sum()
    return float(loss), share * (np.exp(log_probability) - targets)
