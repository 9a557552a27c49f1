"""Emotions as the movements of a face: the action units of FACS, and how strongly each is shown.

P. Ekman and W. V. Friesen, "Facial Action Coding System", 1978, number every visible movement of a face;
their EMFACS tables say which movements together express an emotion. Here an expression is a dict from the
number of an action unit to its intensity, 0 at rest to 1 at its strongest.
"""

import numpy as np

from fer_demo.data.dataset import EMOTIONS

#: The action units that a drawn face has, under FACS's numbers.
ACTION_UNITS = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    12: "lip corner puller",
    15: "lip corner depressor",
    17: "chin raiser",
    20: "lip stretcher",
    23: "lip tightener",
    25: "lips part",
    26: "jaw drop",
    43: "eyes closed",
}

#: The ways in which an emotion is shown when it is shown fully: units after EMFACS, intensities by eye.
PROTOTYPES: dict[str, tuple[dict[int, float], ...]] = {
    "angry": (
        {4: 1.0, 5: 0.4, 7: 0.7, 17: 0.3, 23: 1.0},
        {4: 1.0, 5: 0.5, 7: 0.7, 10: 0.4, 15: 0.4, 20: 0.3, 25: 1.0},
    ),
    "disgust": (
        {4: 0.4, 7: 0.6, 9: 1.0, 10: 1.0, 15: 0.6, 17: 0.6},
        {4: 0.4, 7: 0.6, 9: 1.0, 10: 1.0, 15: 0.3, 25: 0.5},
    ),
    "fear": (
        {1: 1.0, 2: 0.5, 4: 0.5, 5: 1.0, 20: 1.0, 25: 0.8},
        {1: 1.0, 2: 0.5, 4: 0.5, 5: 1.0, 20: 0.8, 25: 0.6, 26: 0.45},
    ),
    "happy": (
        {6: 0.7, 12: 0.9},
        {6: 0.9, 12: 1.0, 25: 0.9},
        {2: 0.2, 6: 1.0, 12: 1.0, 25: 1.0, 26: 0.4},
    ),
    "sad": (
        {1: 1.0, 4: 0.5, 15: 1.0, 17: 0.5, 43: 0.3},
        {1: 0.9, 4: 0.6, 7: 0.2, 15: 0.8, 25: 0.2, 43: 0.5},
    ),
    "surprise": (
        {1: 1.0, 2: 1.0, 5: 0.9, 25: 0.6, 26: 1.0},
        {1: 1.0, 2: 1.0, 5: 1.0, 25: 0.5, 26: 0.5},
    ),
    "neutral": ({},),
}

# What difficulty 1 does to an expression; a lower difficulty does proportionally less.
WEAKENING = 0.6  # the largest loss of intensity
MIXING = 0.42  # the largest share of a second emotion
RESTING = 0.06  # standard deviation of each unit, 1 being full: faces differ even at rest
UNEVENNESS = 0.3  # a unit is shown up to this much more or less than its prototype says


def express(emotion: str, rng: np.random.Generator, difficulty: float) -> dict[int, float]:
    """One person's way to show an emotion.

    Args:
        emotion: one of `EMOTIONS`.
        rng: source of what differs from face to face.
        difficulty: 0 for the full and pure emotion, 1 for expressions that are weak, mixed and uneven.

    Returns:
        The intensity of every unit in `ACTION_UNITS`, 0 to 1.
    """
    intensity = 1 - difficulty * WEAKENING * rng.beta(1.2, 1.8)
    share = difficulty * MIXING * rng.beta(1.0, 2.0)
    first = _prototype(emotion, rng)
    second = _prototype(str(rng.choice(EMOTIONS)), rng)
    evenness = rng.uniform(1 - UNEVENNESS * difficulty, 1 + UNEVENNESS * difficulty, len(ACTION_UNITS))
    resting = rng.normal(0, RESTING * difficulty, len(ACTION_UNITS))
    units = intensity * ((1 - share) * first + share * second) * evenness + resting
    return dict(zip(ACTION_UNITS, np.clip(units, 0, 1).tolist(), strict=True))


def _prototype(emotion: str, rng: np.random.Generator) -> np.ndarray:
    """(units,) intensities of one of an emotion's prototypes, in the order of `ACTION_UNITS`."""
    variants = PROTOTYPES[emotion]
    variant = variants[rng.integers(len(variants))]
    return np.array([variant.get(unit, 0.0) for unit in ACTION_UNITS])
