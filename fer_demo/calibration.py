"""Do probabilities mean what they say? Of the faces that a model is 80 % sure of, 80 % should be right.

Networks trained to the end are too sure of themselves. Dividing their logits by one number, the temperature,
mends most of it, and leaves every prediction as it is (Guo, Pleiss, Sun & Weinberger 2017, "On calibration of
modern neural networks").
"""

from dataclasses import dataclass

import numpy as np

#: Bins of `reliability`, as in the paper.
BINS = 15
#: The lowest and the highest temperature.
TEMPERATURES = (0.01, 100.0)


@dataclass(frozen=True, eq=False)
class Reliability:
    """How sure a model was, and how often it was right, in B bins of the probability of what it predicted.

    Bin b, from 0, is of the probabilities from b / B, exclusive, to (b + 1) / B, inclusive.

    Attributes:
        count: int64, (B,), faces in each bin.
        confidence: float64, (B,), their mean probability of what was predicted; NaN in an empty bin.
        accuracy: float64, (B,), the share of them that was predicted correctly; NaN in an empty bin.
    """

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error: abs(accuracy - confidence), mean over the faces; 0 to 1."""
        used = self.count > 0
        gaps = np.abs(self.accuracy - self.confidence)[used]
        return float(np.average(gaps, weights=self.count[used]))


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> Reliability:
    """Sort a model's answers by how sure it was.

    Args:
        labels: integers, (N,), true classes; N at least 1.
        probabilities: float, (N, K), what the model gave.
        bins: B.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count, sure, correct = (
        np.bincount(bin_of, weights, bins) for weights in (np.ones(len(labels)), confidence, right)
    )
    with np.errstate(invalid="ignore"):  # 0 / 0 in an empty bin
        return Reliability(count.astype(np.int64), sure / count, correct / count)


def temper(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Divide the logits behind softmax probabilities (N, K) by a temperature; return probabilities (N, K)."""
    # exp(z / T) is exp(z) ** (1 / T). The largest becomes 1, so that a high power leaves at least that one.
    powers = (probabilities / probabilities.max(axis=1, keepdims=True)) ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def negative_log_likelihood(labels: np.ndarray, probabilities: np.ndarray, temperature: float = 1.0) -> float:
    """Return the mean of -log p, in nats, p being the true class's probability at this temperature.

    Args:
        labels: integers, (N,), true classes.
        probabilities: float, (N, K), at temperature 1.
        temperature: what to divide logits by.
    """
    from scipy.special import logsumexp  # not at the top: a classifier does not need it

    tiny = np.finfo(np.float32).tiny  # a float32 softmax may round a probability to 0
    logits = np.log(np.maximum(probabilities, tiny).astype(np.float64)) / temperature
    return float(np.mean(logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]))


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the temperature, within `TEMPERATURES`, under which the labels are the likeliest.

    The negative log-likelihood is convex in 1 / temperature, so there is one minimum.

    Args:
        labels: integers, (N,), true classes of faces that the model has not seen.
        probabilities: float, (N, K), at temperature 1.
    """
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log: negative_log_likelihood(labels, probabilities, np.exp(log)),
        bounds=np.log(TEMPERATURES),
        method="bounded",
    )
    return float(np.exp(found.x))


def cross_fitted(labels: np.ndarray, probabilities: np.ndarray, seed: int = 0) -> np.ndarray:
    """Temper each half of the faces with the temperature that fits the other half.

    So no face has a say in its own temperature, as it will be for faces to come.

    Args:
        labels: integers, (N,), true classes; N at least 2.
        probabilities: float, (N, K), at temperature 1.
        seed: deals the faces out.

    Returns:
        Probabilities, (N, K).
    """
    order, tempered = np.random.default_rng(seed).permutation(len(labels)), np.empty_like(probabilities)
    halves = np.array_split(order, 2)
    for here, there in (halves, halves[::-1]):
        temperature = fit_temperature(labels[there], probabilities[there])
        tempered[here] = temper(probabilities[here], temperature)
    return tempered
