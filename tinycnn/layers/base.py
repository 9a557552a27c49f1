"""What every layer is: parameters, a forward pass, a backward pass, and nothing hidden."""

import copy
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from tinycnn.checks import refuse
from tinycnn.errors import CacheError, ConfigError, DTypeError, ShapeError

#: Shape of one image's activations, without the batch axis N: (H, W, C) or (features,).
Shape = tuple[int, ...]
Arrays = dict[str, np.ndarray]


class Layer:
    """A function with parameters that knows its own derivative.

    To write one, override `_forward`, `_backward`, `output_shape` and `config`; put trained arrays into
    ``self.params`` in ``__init__``, and check the result with `tinycnn.gradcheck`.

    Attributes:
        params: trained arrays by name, such as "kernel" and "bias".
        grads: the loss's gradients of `params`, same names, shapes and dtypes. Each `backward` replaces them.
        state: arrays that are saved but not trained, such as running statistics.

    >>> class Double(Layer):
    ...     def _forward(self, x, train):
    ...         return 2 * x, None
    ...
    ...     def _backward(self, dy, cache):
    ...         return 2 * dy, {}
    >>> layer = Double()
    >>> layer.forward(np.array([[1.0, 3.0]]), train=True)
    array([[2., 6.]])
    >>> layer.backward(np.array([[1.0, 1.0]]))
    array([[2., 2.]])
    """

    # What passes leave behind is no part of `vars(layer)`, which says what a layer is: `reuse` compares that.
    __slots__ = ("__dict__", "__weakref__", "_cache", "_output", "grads")

    def __init__(self) -> None:
        self.params: Arrays = {}
        self.grads: Arrays = {}
        self.state: Arrays = {}
        self._cache: Any = None
        self._output: tuple[Shape, np.dtype] | None = None  # shape and dtype

    def _forward(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Any]:
        """Return the output, and whatever `_backward` will need. x is checked and contiguous."""
        raise NotImplementedError

    def _backward(self, dy: np.ndarray, cache: Any) -> tuple[np.ndarray, Arrays]:
        """Return the input's gradient and the parameters' gradients, given dy, the output's gradient."""
        raise NotImplementedError

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the output's shape for one image, given the input's, both without the batch axis.

        Raises:
            ShapeError: the layer cannot take this input.
        """
        return input_shape

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this layer anew, as JSON can hold them."""
        return {}

    def multiply_adds(self, input_shape: Shape) -> int:
        """Return the multiply-adds of convolutions and matrix products in one image's forward pass.

        A layer of one's own that has some says so by a method of its own.
        """
        return 0

    def penalty(self) -> float:
        """Return what L2 regularisation adds to the loss: l2 * sum(kernel ** 2) where there is an `l2`."""
        return 0.0

    def forward(self, x: np.ndarray, train: bool = False) -> np.ndarray:
        """Return the layer's output for a batch.

        Args:
            x: (N, H, W, C) or (N, features), float32 or float64 like the parameters. It is never changed.
            train: behave as in training (batch statistics, dropout) and remember what `backward` needs.
                An evaluation forgets it, so that a stale `backward` is an error and not a wrong gradient.

        Raises:
            ShapeError: x does not fit this layer.
            DTypeError: x is not of the parameters' dtype.
            ConfigError: `_forward` does not return a pair.
        """
        x = self._checked_input(x)
        y, cache = self._two("_forward", self._forward(x, train), "the output and the cache")
        self._cache, self._output = (cache, (y.shape, y.dtype)) if train else (None, None)
        return y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Return the gradient of the last training forward's input, and set `grads`.

        Args:
            dy: gradient of the loss with respect to the output, of the output's shape and dtype.

        Raises:
            CacheError: the last forward was not a training one.
            ShapeError: dy does not have the output's shape.
            DTypeError: dy does not have the output's dtype.
            ConfigError: `_backward` does not return a pair.
        """
        if self._output is None:
            raise CacheError(f"{self!r}: backward needs a forward(x, train=True) before it")
        shape, dtype = self._output
        if not isinstance(dy, np.ndarray) or dy.dtype != dtype:
            found = dy.dtype if isinstance(dy, np.ndarray) else type(dy).__name__
            raise DTypeError(f"{self!r}: backward got a gradient of {found}, its output was {dtype}")
        if dy.shape != shape:
            raise ShapeError(f"{self!r}: backward got a gradient of shape {dy.shape}, its output was {shape}")
        pair = self._backward(np.ascontiguousarray(dy), self._cache)
        dx, self.grads = self._two("_backward", pair, "the input's gradient and a dict of the others")
        return dx

    def forget(self) -> None:
        """Drop what the last training forward remembered: a `backward` is an error from now on."""
        self._cache = self._output = None

    def children(self) -> Mapping[str, "Layer"]:
        """Return the layers inside this one, by name."""
        return {}

    def walk(self, path: str = "") -> Iterator[tuple[str, "Layer"]]:
        """Yield (path, layer) for this layer and all inside it; a path looks like ``block1.main.sep1``."""
        yield path, self
        for name, child in self.children().items():
            yield from child.walk(joined(path, name))

    def astype(self, dtype: Any) -> Self:
        """Return a copy with all parameters and state in `dtype`, float32 or float64.

        Raises:
            ConfigError: it is neither.
        """
        try:
            known = np.dtype(dtype) in (np.float32, np.float64)
        except TypeError:
            known = False
        if not known:
            refuse("dtype", dtype, "np.float32 or np.float64")
        twin = copy.deepcopy(self)
        twin.forget()  # a pass in one dtype has no way back in another
        for _, layer in twin.walk():
            if not layer.children():
                for arrays in (layer.params, layer.state, layer.grads):
                    arrays.update({name: array.astype(dtype) for name, array in arrays.items()})
        return twin

    def _two(self, method: str, returned: Any, expected: str) -> tuple[Any, Any]:
        if not isinstance(returned, tuple) or len(returned) != 2:  # two images would unpack as well
            found = type(returned).__name__
            raise ConfigError(f"{self!r}: {method} has to return {expected}, found {found}")
        return returned

    def _dtype(self) -> np.dtype | None:
        return next((array.dtype for array in self.params.values()), None)

    def _checked_input(self, x: np.ndarray) -> np.ndarray:
        if not isinstance(x, np.ndarray) or x.dtype not in (np.float32, np.float64):
            found = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
            raise DTypeError(f"{self!r}: expected an array of float32, found {found}: use np.float32(x)")
        if isinstance(x, np.ma.MaskedArray):
            raise DTypeError(f"{self!r}: expected an array without a mask: use x.filled(0)")
        own = self._dtype() or x.dtype
        if x.dtype != own:
            raise DTypeError(
                f"{self!r}: its parameters are {own}, the input is {x.dtype}: "
                f"use x.astype(np.{own}) or layer.astype(np.{x.dtype})"
            )
        if x.ndim == 0 or x.size == 0:
            raise ShapeError(f"{self!r}: expected a batch of at least one image, none empty, found {x.shape}")
        self.output_shape(x.shape[1:])
        return np.ascontiguousarray(x)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.config().items())
        return f"{type(self).__name__}({arguments})"


def check_array(layer: Layer, name: str, array: np.ndarray, shape: Shape) -> None:
    """Raise a ShapeError unless an array, which anybody may exchange, has the shape that kernels trust."""
    if array.shape != shape:
        raise ShapeError(f"{layer!r}: its {name} is {array.shape}: expected {shape}")


def joined(path: str, name: str) -> str:
    """Return the path of what is called `name` in the layer at `path`, which is "" for the whole model."""
    return f"{path}.{name}" if path else name


def behaves_as(kind: type[Layer], known: type[Layer], *methods: str) -> bool:
    """Whether a kind of layer is a known one, or a subclass that leaves the named methods as they are."""
    return issubclass(kind, known) and all(getattr(kind, m) is getattr(known, m) for m in methods)


def is_patched(layer: Layer, *methods: str) -> bool:
    """Whether this very object has its own of the named methods, whatever its class says."""
    return not vars(layer).keys().isdisjoint(methods)


class Composite(Layer):
    """A layer made of layers: its arrays are its children's, under names like ``child.kernel``.

    Args:
        children: the layers by name.

    Raises:
        ConfigError: a child is no layer, a name has a dot, or one layer object stands in two places, here or
            further in.

    >>> block = tc.SeparableConv2D(3, 8, 3, bias=False)
    >>> list(block.children())
    ['depthwise', 'pointwise']
    >>> {name: array.shape for name, array in block.params.items()}
    {'depthwise.kernel': (3, 3, 3), 'pointwise.kernel': (1, 1, 3, 8)}
    """

    def __init__(self, children: Mapping[str, Layer]) -> None:
        # No super().__init__(): a composite has no arrays and no cache of its own.
        self._children, kind = dict(children), type(self).__name__
        for name, child in self._children.items():
            if not isinstance(child, Layer):
                raise ConfigError(f"{kind}: {name!r} is a {type(child).__name__}, expected a layer")
            if not isinstance(name, str) or not name or "." in name:
                raise ConfigError(f"{kind}: layer name {name!r}: expected a word without a dot")
        seen: dict[int, str] = {}
        for path, layer in self.walk():  # a second forward would overwrite what the first one remembers
            if (first := seen.setdefault(id(layer), path)) != path:
                raise ConfigError(f"{kind}: {first!r} and {path!r} are one layer object; make two")

    def __getstate__(self) -> Any:
        """Return what a copy or a pickle takes along: not `grads`, which are its children's."""
        passing = {name: getattr(self, name) for name in ("_cache", "_output") if hasattr(self, name)}
        return vars(self), passing

    def children(self) -> Mapping[str, Layer]:
        """Return the layers inside this one, by name."""
        return self._children

    def forget(self) -> None:
        """Drop what all children remember of the last training forward."""
        for child in self._children.values():
            child.forget()

    def _dtype(self) -> np.dtype | None:
        return next(filter(None, (child._dtype() for child in self._children.values())), None)

    # These views are read-only: an assignment to a merged dict would be lost. Write into the arrays instead,
    # ``model.params["conv1.kernel"][...] = value``.
    @property
    def params(self) -> Mapping[str, np.ndarray]:  # type: ignore[override]
        """Trained arrays of all children."""
        return self._merged("params")

    @property
    def grads(self) -> Mapping[str, np.ndarray]:  # type: ignore[override]
        """Gradients of all children's parameters."""
        return self._merged("grads")

    @property
    def state(self) -> Mapping[str, np.ndarray]:  # type: ignore[override]
        """Untrained arrays of all children."""
        return self._merged("state")

    def _merged(self, kind: str) -> Mapping[str, np.ndarray]:
        return MappingProxyType(
            {
                f"{name}.{key}": array
                for name, child in self._children.items()
                for key, array in getattr(child, kind).items()
            }
        )

    def penalty(self) -> float:
        """Return the sum of the children's penalties."""
        return sum(child.penalty() for child in self._children.values())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._children)})"
