"""Graphs of operations become chains and residual modules, or are refused."""

import pytest

import tinycnn as tc
from tinycnn.interop.graph import MAX_DEPTH, Node, sequential


def op(name, *inputs):
    return Node(name, inputs, {name: tc.ReLU()})


def add(name, *inputs):
    return Node(name, inputs, tc.Residual)


def join(name, *inputs):
    return Node(name, inputs, tc.Concat)


def shown(layer):
    """A model as nested lists and pairs of names."""
    if isinstance(layer, tc.Residual):
        return shown(layer.main), layer.shortcut and shown(layer.shortcut)
    if isinstance(layer, tc.Concat):
        return tuple(shown(branch) for branch in layer.children().values())
    return [name if not one.children() else shown(one) for name, one in layer.children().items()]


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([op("a", "x"), op("b", "a")], ["a", "b"]),
        ([op("b", "a"), op("a", "x"), op("unused", "a")], ["a", "b"]),
        ([op("a", "x"), add("+", "a", "x")], [(["a"], None)]),
        ([op("a", "x"), add("+", "x", "a")], [(["a"], None)]),
        ([op("a", "x"), op("b", "x"), add("+", "a", "b"), op("c", "+")], [(["a"], ["b"]), "c"]),
        (
            [op("a", "x"), op("b", "a"), add("+", "a", "b"), add("++", "+", "a")],
            ["a", ([(["b"], None)], None)],
        ),
        (  # two modules, one within another, and one that reads what the first made
            [op("a", "x"), op("b", "a"), add("+", "b", "a"), op("c", "x"), add("++", "+", "c"), op("d", "++"),
             add("+++", "d", "++")],
            [(["a", (["b"], None)], ["c"]), (["d"], None)],
        ),
        (
            [op("a", "x"), op("b", "x"), op("c", "x"), join("+", "a", "b", "c"), op("d", "+")],
            [(["a"], ["b"], ["c"]), "d"],
        ),
        (  # branches that part once more
            [op("a", "x"), op("b", "a"), op("c", "a"), join("+", "b", "c"), op("d", "x"),
             join("++", "+", "d")],
            [(["a", (["b"], ["c"])], ["d"])],
        ),
        ([Node("nothing", ("x",), {}), op("a", "nothing"), add("+", "nothing", "a")], [(["a"], None)]),
        ([Node("nothing", ("x",), {}), op("a", "x"), add("+", "nothing", "a")], [(["a"], None)]),
        # Where nothing is done, or what was dropped out in training, a layer stands for it.
        ([op("a", "x"), join("+", "a", "x")], [(["a"], ["nothing"])]),
        ([add("+", "x", "x")], [(["nothing"], None)]),
        ([Node("n", ("x",), {}), Node("m", ("x",), {}), add("+", "n", "m")], [(["nothing"], None)]),
    ],
)  # fmt: skip
def test_graphs(nodes, expected):
    result = next(node.name for node in reversed(nodes) if node.name != "unused")
    if nodes[0].name == "b":
        result = "b"
    assert shown(sequential(nodes, "x", result, None)) == expected


def test_names_lose_dots_and_slashes_and_stay_apart():
    nodes = [op("/a/b", "x"), op("a.b", "/a/b"), op("/", "a.b")]
    assert list(sequential(nodes, "x", "/", (3,)).children()) == ["a_b", "a_b_2", "layer"]


def nested(depth):
    nodes, last = [op("a", "x")], "a"
    for number in range(depth):
        nodes += [add(f"+{number}", last, "x"), op(f"r{number}", f"+{number}")]
        last = f"r{number}"
    return [*nodes, add("end", last, "x")]


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([op("a", "b"), op("b", "a")], "depends on itself"),
        ([op("a", "y")], "'y' depends on nothing: expected a single input, 'x'"),
        ([op("a", "x"), op("a", "x")], "two operations have the same name"),
        ([op("a", "x"), op("b", "x"), op("c", "x"), add("+", "a", "b", "c")], "'b' and 'c': expected two"),
        (
            [op("a", "x"), op("b", "a"), add("+", "b", "x"), op("c", "b"), add("++", "+", "c")],
            "'a' lies on several paths",
        ),
        (nested(MAX_DEPTH + 2), "branchings lie within one another"),
    ],
)  # fmt: skip
def test_what_is_refused(nodes, message):
    with pytest.raises(tc.ConfigError, match=message):
        sequential(nodes, "x", nodes[-1].name, None)


def test_a_missing_end_is_refused():
    with pytest.raises(tc.ConfigError, match="no operation 'end'"):
        sequential([op("a", "x")], "x", "end", None)


def test_a_long_graph_is_read_in_no_time():
    nodes, last = [], "x"
    for number in range(3000):
        nodes += [op(f"a{number}", last), add(f"+{number}", f"a{number}", last)]
        last = f"+{number}"
    assert len(sequential(nodes, "x", last, None).children()) == 3000
