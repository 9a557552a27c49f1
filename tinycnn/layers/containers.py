"""Layers made of layers: a chain, a detour, and branches side by side."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from tinycnn.checks import refuse
from tinycnn.errors import CacheError, ConfigError, DTypeError, ShapeError, TinyCNNError
from tinycnn.kernels import active
from tinycnn.layers.base import Composite, Layer, Shape


def _named(kind: str, argument: str, layers: Sequence[Layer] | Mapping[str, Layer]) -> Mapping[str, Layer]:
    """Return layers by name, numbered if they have none, or raise a ConfigError."""
    if not isinstance(layers, Sequence | Mapping):
        refuse(argument, layers, "a list of layers, or a dict from name to layer")
    named = layers if isinstance(layers, Mapping) else {str(i): layer for i, layer in enumerate(layers)}
    if not named:
        raise ConfigError(f"{kind}: expected at least one layer")
    if "type" in named:
        raise ConfigError(f"{kind}: layer name 'type': files need that word; expected another")
    return named


class Sequential(Composite):
    """Layers one after another, each fed with the output of the one before.

    Args:
        layers: a list (names "0", "1", ...) or a dict from name to layer. Names are parts of parameter names,
            so they contain no dot.

    Raises:
        ConfigError: no layers, a name with a dot, something that is not a layer, or one layer twice.
    """

    def __init__(self, layers: Sequence[Layer] | Mapping[str, Layer]) -> None:
        super().__init__(_named("Sequential", "layers", layers))

    def forward(self, x: np.ndarray, train: bool = False) -> np.ndarray:
        """Return the last layer's output for x (N, ...), the first layer's input; see `Layer.forward`."""
        for name, layer in self._children.items():
            try:
                x = layer.forward(x, train)
            except TinyCNNError as error:
                error.add_note(f"in layer {name!r}")
                raise
        return x

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Return the gradient of the first layer's input (N, ...), given dy, the output's: the chain rule.

        Raises:
            CacheError, ShapeError, DTypeError: see `Layer.backward`.
        """
        for name, layer in reversed(self._children.items()):
            try:
                dy = layer.backward(dy)
            except TinyCNNError as error:
                error.add_note(f"in layer {name!r}")
                raise
        return dy

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the last layer's output shape."""
        for name, layer in self._children.items():
            try:
                input_shape = layer.output_shape(input_shape)
            except TinyCNNError as error:
                error.add_note(f"in layer {name!r}")
                raise
        return input_shape

    def config(self) -> dict[str, Any]:
        """Return {"layers": the layers by name}."""
        return {"layers": dict(self._children)}


class Residual(Composite):
    """main(x) + shortcut(x): the main path learns only what to add to its input (He et al. 2016).

    In the backward pass both paths get the whole gradient, and what they make of it adds up where they
    parted, so even a very deep stack has a short way home.

    Args:
        main: the layers of the main path.
        shortcut: the other path, such as a 1x1 convolution where shapes differ; None passes x on as it is.

    Raises:
        ConfigError: a path is not a layer.

    >>> Residual(tc.ReLU()).forward(np.array([[-1.0, 2.0]]))
    array([[-1.,  4.]])
    """

    def __init__(self, main: Layer, shortcut: Layer | None = None) -> None:
        paths = {"main": main} if shortcut is None else {"main": main, "shortcut": shortcut}
        super().__init__(paths)

    @property
    def main(self) -> Layer:
        """The main path."""
        return self._children["main"]

    @property
    def shortcut(self) -> Layer | None:
        """The other path; None if it passes x on as it is."""
        return self._children.get("shortcut")

    def forward(self, x: np.ndarray, train: bool = False) -> np.ndarray:
        """Return main(x) + shortcut(x) for x (N, ...).

        Raises:
            ShapeError, DTypeError: see `Layer.forward`; or the paths' outputs are not of one shape.
        """
        x = self._checked_input(x)
        detour = x if self.shortcut is None else self.shortcut.forward(x, train)
        main = self.main.forward(x, train)
        check_sum(self, main, detour)
        return active().add(main, detour)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Return the sum of both paths' gradients of x, of x's shape, for dy of the output's.

        Raises:
            CacheError, ShapeError, DTypeError: see `Layer.backward`.
        """
        detour = dy if self.shortcut is None else self.shortcut.backward(dy)
        return active().add(self.main.backward(dy), detour)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape that both paths agree on.

        Raises:
            ShapeError: they do not agree, or a layer cannot take this input.
        """
        main = self.main.output_shape(input_shape)
        detour = input_shape if self.shortcut is None else self.shortcut.output_shape(input_shape)
        if main != detour:
            raise ShapeError(
                f"Residual: main gives {main}, shortcut gives {detour} for input {input_shape}; "
                "give both the same stride and output channels"
            )
        return main

    def config(self) -> dict[str, Any]:
        """Return the two paths."""
        return {"main": self.main, "shortcut": self.shortcut}


def check_sum(layer: Residual, main: np.ndarray, shortcut: np.ndarray) -> None:
    """Raise a ShapeError unless both outputs have one shape: a layer of one's own may promise another."""
    if main.shape != shortcut.shape:
        raise ShapeError(
            f"{layer!r}: main gave {main.shape}, shortcut {shortcut.shape}: expected what `output_shape` says"
        )


class Concat(Composite):
    """All branches' maps of one input, one behind the other along C (Szegedy et al. 2015: Inception).

    A map of the result is one of the first branch's, or else one of the second's, and so on. In the backward
    pass each branch gets the gradient of its own maps, and the gradients of the input add up.

    Args:
        branches: two or more, as a list (names "0", "1", ...) or a dict from name to layer: usually each a
            `Sequential`. Names are parts of parameter names, so they contain no dot.

    Raises:
        ConfigError: fewer than two branches, a name with a dot, something that is not a layer, or one layer
            twice.

    >>> Concat([tc.ReLU(), tc.Flatten()]).forward(np.array([[-1.0, 2.0]]))
    array([[ 0.,  2., -1.,  2.]])
    """

    def __init__(self, branches: Sequence[Layer] | Mapping[str, Layer]) -> None:
        super().__init__(_named("Concat", "branches", branches))
        if len(self._children) < 2:
            raise ConfigError("Concat: expected at least two branches")
        self._cache: tuple[Shape, list[int]] | None = None  # the output's shape, each branch's channels

    def forward(self, x: np.ndarray, train: bool = False) -> np.ndarray:
        """Return the branches' outputs (N, H, W, C) as one array; or features (N, F). See `Layer.forward`."""
        x = self._checked_input(x)
        outputs = [branch.forward(x, train) for branch in self._children.values()]
        y = active().concat(outputs)
        self._cache = (y.shape, [part.shape[-1] for part in outputs]) if train else None
        return y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Return the sum of all branches' gradients of x, of x's shape, for dy of the output's.

        Raises:
            CacheError: no forward(x, train=True) came before it.
            ShapeError, DTypeError: dy is no array of the output's shape.
        """
        if self._cache is None:
            raise CacheError(f"{self!r}: backward needs a forward(x, train=True) before it")
        if not isinstance(dy, np.ndarray):
            raise DTypeError(f"{self!r}: backward got a {type(dy).__name__}, expected an array")
        shape, channels = self._cache
        if dy.shape != shape:
            raise ShapeError(f"{self!r}: backward got a gradient of shape {dy.shape}, its output was {shape}")
        parts = zip(self._children.values(), active().split(dy, channels), strict=True)
        return reduce(active().add, [branch.backward(part) for branch, part in parts])

    def forget(self) -> None:
        """Drop what all branches remember of the last training forward."""
        super().forget()
        self._cache = None

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape that all branches agree on, with the sum of their channels.

        Raises:
            ShapeError: they do not agree, or a layer cannot take this input.
        """
        shapes = {}
        for name, branch in self._children.items():
            try:
                shapes[name] = branch.output_shape(input_shape)
            except TinyCNNError as error:
                error.add_note(f"in branch {name!r}")
                raise
        first, *others = shapes
        for name in others:
            if shapes[name][:-1] != shapes[first][:-1]:
                raise ShapeError(
                    f"Concat: branch {name!r} gives {shapes[name]}, {first!r} gives {shapes[first]} for "
                    f"input {input_shape}; only channels may differ: give both the same stride and padding"
                )
        return (*shapes[first][:-1], sum(shape[-1] for shape in shapes.values()))

    def config(self) -> dict[str, Any]:
        """Return {"branches": the branches by name}."""
        return {"branches": dict(self._children)}
