"""More faces to train on, that can never be scored on."""

import numpy as np

from fer_demo.data.dataset import Dataset
from fer_demo.data.duplicates import near


def with_extra(
    dataset: Dataset, training: np.ndarray, held_out: np.ndarray, extra: Dataset
) -> tuple[np.ndarray, np.ndarray]:
    """Return the faces to train one fold on: its own training part, then extra ones.

    Extra faces that are copies of a held-out face are left out, see `fer_demo.data.duplicates`: how many is
    ``len(training) + len(extra) - len(labels)``. Held-out faces are looked at for this and nothing else.

    Args:
        dataset: what is cross-validated.
        training: indices of its faces in the training part, (T,).
        held_out: indices of its faces in the held-out fold, (H,).
        extra: other faces; their usage does not matter.

    Returns:
        images, uint8, (T + E, 48, 48, 1), and labels, int64, (T + E,), of which the last E are extra.
    """
    new = ~near(dataset.images[held_out], extra.images)
    images = np.concatenate([dataset.images[training], extra.images[new]])
    labels = np.concatenate([dataset.labels[training], extra.labels[new]])
    return images, labels
