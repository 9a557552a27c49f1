"""More faces to train on, that can never be scored on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fer_demo.data import Dataset, load
from fer_demo.data.duplicates import near


def load_extra(sources: Sequence[Path]) -> Dataset | None:
    """Return the faces of several files or folders, each as `fer_demo.data.load` takes it; None for none.

    The digests of several are theirs, joined by "+", so that each is still known.

    Raises:
        DataError: one of them cannot be used.
    """
    loaded = [load(source) for source in sources]
    if len(loaded) < 2:
        return loaded[0] if loaded else None
    return Dataset(
        np.concatenate([dataset.images for dataset in loaded]),
        np.concatenate([dataset.labels for dataset in loaded]),
        ", ".join(dataset.name for dataset in loaded),
        "+".join(dataset.sha256 for dataset in loaded),
        content="+".join(dataset.content for dataset in loaded),
    )


def with_extra(
    dataset: Dataset, training: np.ndarray, held_out: np.ndarray, extra: Dataset
) -> tuple[np.ndarray, np.ndarray]:
    """Return the faces to train on: its own training part, then extra ones.

    Extra faces that are copies of a held-out face are left out, see `fer_demo.data.duplicates`: how many is
    ``len(training) + len(extra) - len(labels)``. Held-out faces are looked at for this and nothing else.

    Args:
        dataset: what is trained and scored on.
        training: indices of its faces in the training part, (T,).
        held_out: indices of its faces held out, (H,), perhaps none.
        extra: other faces; their usage does not matter.

    Returns:
        images, uint8, (T + E, 48, 48, 1), and labels, int64, (T + E,), of which the last E are extra.
    """
    new = ~near(dataset.images[held_out], extra.images)
    images = np.concatenate([dataset.images[training], extra.images[new]])
    labels = np.concatenate([dataset.labels[training], extra.labels[new]])
    return images, labels
