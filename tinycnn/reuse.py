"""What `predict` and `evaluate` make ready is used again, for as long as the model is as it was.

To prepare a small network takes longer than to run it on one image, and many a program predicts in a loop.
But weights may be changed by anyone at any time, in place too, so whatever a preparation reads is compared
before each reuse. A comparison reads memory once, which takes a small part of the time that inference takes.
"""

from collections.abc import Mapping
from operator import eq, is_
from typing import Any

import numpy as np

from tinycnn.inference import Plans, Prepared
from tinycnn.layers import Layer

#: Attributes that passes through a layer set, and no preparation reads.
_PASSING = {"grads", "_cache", "_output"}


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
    """All that a preparation reads of a model's layers: their attributes, and the bits of their arrays.

    It has no reference to the model itself, so it does not keep it alive.
    """

    def __init__(self, layers: Mapping[str, Layer]) -> None:
        self._layers = layers
        self._dicts: list[Any] = [layers]
        places: list[tuple[Any, str]] = [(layers, name) for name in layers]
        for _, layer in (pair for child in layers.values() for pair in child.walk()):
            attributes = {name: value for name, value in vars(layer).items() if name not in _PASSING}
            inner = [value for value in attributes.values() if isinstance(value, dict)]  # such as `params`
            self._dicts += [vars(layer), *inner]
            places += [(vars(layer), name) for name in attributes]
            places += [(entries, name) for entries in inner for name in entries]
        self._sizes = [*map(len, self._dicts)]
        self._owners, self._names = zip(*places, strict=True)
        self._values = [owner[name] for owner, name in places]
        self._arrays = [value for value in self._values if isinstance(value, np.ndarray)]
        self._comparable = all(a.flags.c_contiguous and a.dtype.kind == "f" for a in self._arrays)
        self._copies = [bytearray(array.data) for array in self._arrays if self._comparable]

    def holds(self, layers: Mapping[str, Layer]) -> bool:
        """Whether every attribute is still the same object, and every array has the same bits."""
        # Without a loop in Python, and without copies: a bytearray compares itself with an array's memory.
        return (
            self._comparable
            and layers is self._layers
            and [*map(len, self._dicts)] == self._sizes
            and all(map(is_, map(dict.get, self._owners, self._names), self._values))
            and all(map(eq, self._copies, self._arrays))
        )
