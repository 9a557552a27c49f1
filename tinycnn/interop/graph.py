"""From a graph of operations, as others describe a network, to `Sequential`, `Residual` and `Concat`."""

from collections.abc import Mapping, Sequence
from functools import reduce
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from tinycnn.errors import ConfigError
from tinycnn.layers import Concat, Dropout, Layer, Residual
from tinycnn.layers import Sequential as Chain
from tinycnn.model import Sequential

#: Meetings within the paths to meetings; `tinycnn.save` could not write much more.
MAX_DEPTH = 30


class Node(NamedTuple):
    """An operation of a network.

    Attributes:
        name: of the operation, and of what it puts out.
        inputs: names of the nodes that it reads: one; several if they meet in it.
        layers: what it does, by name, one after another; or how its inputs meet: in an addition of two, or
            side by side along the channels.
    """

    name: str
    inputs: tuple[str, ...]
    layers: Mapping[str, Layer] | type[Residual] | type[Concat]


def sequential(
    nodes: Sequence[Node], source: str, result: str, input_shape: Sequence[int] | None
) -> Sequential:
    """Return the model whose graph has these nodes; paths that part and meet become one layer.

    Args:
        nodes: in any order. Those that the result does not depend on are left out.
        source: name of the network's input, which is no node.
        result: name of the node whose output is the network's.
        input_shape: of one image, (H, W, C) or (features,), or None.

    Raises:
        ConfigError: the graph cannot be written with paths that part in one place and meet in one.
        ShapeError: a layer cannot take what it is given.
    """
    graph = _Graph(nodes, source)
    if result not in {node.name for node in nodes}:
        raise ConfigError(f"there is no operation {result!r} to give the network's output")
    return Sequential(graph.chain(source, result), input_shape)


class _Graph:
    def __init__(self, nodes: Sequence[Node], source: str) -> None:
        self._nodes = {node.name: node for node in nodes}
        if len(self._nodes) < len(nodes) or source in self._nodes:
            raise ConfigError("two operations have the same name: expected a name for each")
        # The last place that every way to a node leads through, and how many such places there are. Where
        # several ways meet, it is where they parted (Cooper, Harvey & Kennedy 2001, "A simple,
        # fast dominance algorithm"; a graph without circles needs one pass).
        self._above: dict[str, str] = {}
        self._depth = {source: 0}
        for name in self._sorted():
            if name in self._depth:
                continue
            if name not in self._nodes or not self._nodes[name].inputs:
                raise ConfigError(f"{name!r} depends on nothing: expected a single input, {source!r}")
            self._above[name] = reduce(self._parting, self._nodes[name].inputs)
            self._depth[name] = self._depth[self._above[name]] + 1
        self._used: set[str] = set()

    def _sorted(self) -> list[str]:
        try:
            return list(
                TopologicalSorter({name: node.inputs for name, node in self._nodes.items()}).static_order()
            )
        except CycleError as error:
            raise ConfigError(f"{error.args[1][0]!r} depends on itself: expected no circles") from error

    def _parting(self, a: str, b: str) -> str:
        """Return the last place that all ways to both nodes lead through."""
        while a != b:
            if self._depth[a] >= self._depth[b]:
                a = self._above[a]
            else:
                b = self._above[b]
        return a

    def chain(self, start: str, end: str, depth: int = 0) -> dict[str, Layer]:
        """Return the layers after node `start` up to and with node `end`, by name."""
        if depth > MAX_DEPTH:
            raise ConfigError(f"more than {MAX_DEPTH} branchings lie within one another: expected fewer")
        names = []
        while end != start:
            names.append(end)
            end = self._above[end]
        layers: dict[str, Layer] = {}
        for name in reversed(names):
            if name in self._used:
                raise ConfigError(
                    f"{name!r} lies on several paths that do not meet in one addition or concatenation: "
                    "expected paths that part in one place and meet in one, one after or within another"
                )
            self._used.add(name)
            node = self._nodes[name]
            new: Mapping[str, Layer]
            if isinstance(node.layers, Mapping):
                new = node.layers
            elif node.layers is Residual:
                new = {name: self._residual(node, depth)}
            else:
                new = {name: self._concat(node, depth)}
            layers |= {_unused(_word(key), layers): layer for key, layer in new.items()}
        return layers

    def _residual(self, node: Node, depth: int) -> Residual:
        if len(node.inputs) != 2:
            raise ConfigError(
                f"{node.name!r} adds {' and '.join(map(repr, node.inputs))}: expected two arrays"
            )
        paths = self._paths(node, depth)
        main, shortcut = paths if paths[0] else reversed(paths)
        return Residual(Chain(main or _nothing()), Chain(shortcut) if shortcut else None)

    def _concat(self, node: Node, depth: int) -> Concat:
        return Concat([Chain(path or _nothing()) for path in self._paths(node, depth)])

    def _paths(self, node: Node, depth: int) -> list[dict[str, Layer]]:
        """Return the layers on each way to a meeting; none where what has parted comes back as it was."""
        return [self.chain(self._above[node.name], end, depth + 1) for end in node.inputs]


def _nothing() -> dict[str, Layer]:
    """Return a path that changes nothing, as a list of layers must not be empty."""
    return {"nothing": Dropout(0)}


def _word(name: str) -> str:
    """Return a name without the dots and slashes that stand for paths here and elsewhere."""
    return name.strip("./").replace(".", "_").replace("/", "_") or "layer"


def _unused(name: str, taken: Mapping[str, object]) -> str:
    number, new = 1, name
    while new in taken:
        number += 1
        new = f"{name}_{number}"
    return new
