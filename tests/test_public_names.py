"""Every public name is in the reference, and its docstring says what a user must know.

That is shapes where arrays go in or out, errors where there are any, and an example, which pytest runs. This
is read from text and signatures.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
PUBLIC = [
    "tinycnn",
    "tinycnn.explain",
    "tinycnn.plot",
    "tinycnn.interop.keras",
    "tinycnn.interop.torch",
    "tinycnn.interop.onnx",
    "tinycnn.sklearn",
    "tinycnn.logs",
    "fer_demo",
    "fer_demo.classifier",
    "fer_demo.detector",
    "fer_demo.results",
    "fer_demo.models",
    "fer_demo.data",
    "fer_demo.data.faces",
    "fer_demo.preprocess",
    "fer_demo.augment",
    "fer_demo.recipes",
    "fer_demo.errors",
]

#: (N, H, W, C), (7,), (rows, columns); or told by another array's shape.
SHAPE = re.compile(r"\((?:[\w*+ ]+|\.\.\.)(?:, ?(?:[\w*+ ]+|\.\.\.))*,?\)|\bshape\b")
#: Arrays by name have many shapes.
COLLECTION = re.compile(r"(?:dict|Mapping)\[str, numpy\.ndarray\]")
#: What refuses an argument: itself, or by one of the helpers that do so.
REFUSES = re.compile(r"^ +(?:raise (?!NotImplementedError)\w+|refuse\(|_?check\w*\()", re.MULTILINE)


def named(path: str) -> object:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def documented() -> dict[str, object]:
    text = "".join(page.read_text() for page in sorted(REFERENCE.glob("*.md")))
    paths = re.findall(r"^\.\. (?:auto\w+|py:data):: ([\w.]+)$", text, re.MULTILINE)
    return {path: named(path) for path in paths}


DOCUMENTED = documented()
CALLABLE = {path: thing for path, thing in DOCUMENTED.items() if callable(thing)}


def functions() -> Iterator[tuple[str, Callable, str]]:
    """Yield path, function and docstring of all functions, public methods and constructors."""
    for path, thing in CALLABLE.items():
        if not inspect.isclass(thing):
            yield path, thing, inspect.getdoc(thing)
            continue
        for name, member in vars(thing).items():
            function = getattr(member, "__func__", member)
            special = name in ("__init__", "__call__")
            # What dataclasses and protocols generate is not written in the class's file.
            written = inspect.isfunction(function) and function.__code__.co_filename == inspect.getfile(thing)
            if written and (special or not name.startswith("_")):
                own = inspect.getdoc(function) or ""
                yield f"{path}.{name}", function, inspect.getdoc(thing) + own if special else own


def test_every_public_name_is_in_the_reference():
    told = {id(thing) for thing in DOCUMENTED.values()}
    public = [f"{module}.{name}" for module in PUBLIC for name in importlib.import_module(module).__all__]
    assert len(public) > 100
    assert [path for path in public if id(named(path)) not in told] == []


def test_every_docstring_has_an_example():
    assert [path for path, thing in CALLABLE.items() if ">>> " not in inspect.getdoc(thing)] == []


def test_docstrings_give_the_shapes_of_arrays():
    def has_arrays(function: Callable) -> bool:
        annotations = " ".join(map(str, inspect.get_annotations(function).values()))
        return "ndarray" in COLLECTION.sub("", annotations)

    assert len(list(functions())) > 150
    faults = [path for path, function, text in functions() if has_arrays(function) and not SHAPE.search(text)]
    assert faults == []


def test_docstrings_name_errors():
    faults = [
        path
        for path, function, text in functions()
        if REFUSES.search(inspect.getsource(function)) and not re.search(r"Raises:|\w+Error\b", text)
    ]
    assert faults == []
