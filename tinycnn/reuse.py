"""What `predict` and `evaluate` make ready is used again, for as long as the model is as it was.

To prepare a small network takes longer than to run it on one image, and many a program predicts in a loop.
But weights may be changed by anyone at any time, in place too, so whatever a preparation reads is compared
before each reuse. A comparison reads memory once, which takes a small part of the time that inference takes.
"""

from collections.abc import Mapping
from itertools import starmap
from operator import eq, is_
from typing import Any

import numpy as np

from tinycnn.inference import Plans, Prepared
from tinycnn.layers import Layer


class Kept:
    """What a model's last preparation made, and what the model was then."""

    def __init__(self) -> None:
        self._last: tuple[_Snapshot, dict[bool, Plans]] | None = None

    def prepared(self, model: Layer, body: Layer) -> Prepared:
        """Return `body` made ready for inference: the model, or all of it but its final softmax."""
        last = self._last
        if last is None or not last[0].holds(model.children()):
            # The snapshot is taken first: if another thread trains the model meanwhile, it will not hold.
            last = self._last = _Snapshot(model.children()), {True: {}, False: {}}
        return Prepared(body, last[1][body is model])


class _Snapshot:
    """All that a preparation reads of a model's layers: classes, attributes, and the bits of their arrays.

    It has no reference to the model itself, so it does not keep it alive.
    """

    def __init__(self, layers: Mapping[str, Layer]) -> None:
        self._layers = layers
        self._walked = [layer for child in layers.values() for _, layer in child.walk()]
        self._classes = [*map(type, self._walked)]
        own = [vars(layer) for layer in self._walked]
        inner = [value for attributes in own for value in attributes.values() if isinstance(value, dict)]
        self._dicts: list[Any] = [layers, *own, *inner]  # inner ones are such as `params`
        self._then = [dict(entries) for entries in self._dicts]
        found = [(entries, name) for entries in self._dicts for name in entries]
        self._places = [(owner, name) for owner, name in found if isinstance(owner[name], np.ndarray)]
        self._arrays = [owner[name] for owner, name in self._places]
        self._comparable = all(a.flags.c_contiguous and a.dtype.kind == "f" for a in self._arrays)
        self._copies = [bytearray(array.data) for array in self._arrays if self._comparable]

    def holds(self, layers: Mapping[str, Layer]) -> bool:
        """Whether all classes and attributes are as they were, and all arrays the same with the same bits."""
        # Without a loop in Python, and without copies: a bytearray compares itself with an array's memory.
        try:
            return (
                self._comparable
                and layers is self._layers
                and self._dicts == self._then
                and [*map(type, self._walked)] == self._classes
                and all(map(is_, starmap(dict.get, self._places), self._arrays))
                and all(map(eq, self._copies, self._arrays))
            )
        except ValueError:  # an array in the place of another is neither equal to it nor not
            return False
