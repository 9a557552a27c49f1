"""Imports point down only: fer_demo -> tools and loops -> layers -> kernels -> numpy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("tinycnn/**/*.py"), *ROOT.glob("fer_demo/**/*.py")])

# The first prefix that fits gives a module's floor.
FLOORS = {
    "fer_demo": 4,
    "tinycnn.kernels": 1,
    "tinycnn.errors": 0,
    "tinycnn.checks": 0,
    "tinycnn.files": 0,
    "tinycnn._version": 0,
    "tinycnn.layers": 2,
    "tinycnn.schedules": 2,
    "tinycnn.optimizers": 2,
    "tinycnn.averaging": 2,
    "tinycnn.losses": 2,
    "tinycnn": 3,
}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor(module):
    return next(f for prefix, f in FLOORS.items() if module == prefix or module.startswith(prefix + "."))


def imports(path):
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_point_down(path):
    module = module_name(path)
    for imported in imports(path):
        top = imported.partition(".")[0]
        if top in ("tinycnn", "fer_demo"):
            # The public face re-exports everything, so only the application above may use it.
            target = (
                3
                if imported.count(".") == 1 and top == "tinycnn" and not _is_module(imported)
                else floor(imported)
            )
            assert target <= floor(module), (
                f"{module} (floor {floor(module)}) imports {imported} (floor {target})"
            )
        if top == "numba":
            assert module.startswith("tinycnn.kernels.jit"), f"{module} imports numba"
        if top in ("cv2", "pandas"):
            assert not module.startswith("tinycnn"), f"{module} imports {top}"


def _is_module(name):
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def test_the_check_sees_an_upward_import(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text("def f():\n    from tinycnn.train import fit\n")
    assert [floor(name) for name in imports(file)] == [3]


#: What runs whatever it reads: modules, functions, and functions of modules that have others too.
UNSAFE = {"pickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "eval", "exec", "__import__"}
UNSAFE |= {"joblib.load", "torch.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}


def unsafe(tree):
    """Yield what a program would run of what it reads."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Name | ast.Attribute):
            names = [ast.unparse(node), "pickle" if ast.unparse(node).endswith("_pickle") else ""]
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            names = ["pickle"] if ast.unparse(node.value) != "False" else []
        yield from UNSAFE.intersection(names)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_nothing_that_is_read_is_run(path):
    assert list(unsafe(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from marshal import loads",
        "def f():\n    import shelve",
        "joblib.load(path)",
        "load = torch.load",
        "yaml.load(text, Loader=yaml.Loader)",
        "numpy.load(path, allow_pickle=True)",
        "numpy.load(path, allow_pickle=flag)",
        "eval(text)",
        "builtins = [exec]",
        "from joblib import load",
        "frame = pandas.read_pickle(path)",
    ],
)
def test_the_check_sees_what_would_be_run(line):
    assert list(unsafe(ast.parse(line)))


PLAIN = """
import sys
for name in "numba threadpoolctl rich scipy cv2 pandas sklearn matplotlib h5py onnx tensorboardX".split():
    sys.modules[name] = None  # as if it were not installed
import numpy as np
import tinycnn as tc
assert tc.backend_name() == "numpy", tc.backend_name()
features = [tc.Conv2D(1, 4, 3, rng=0), tc.BatchNorm(4), tc.ReLU(), tc.GlobalAvgPool2D()]
model = tc.Sequential([*features, tc.Dense(4, 2, rng=0)])
x = np.random.default_rng(0).standard_normal((8, 6, 6, 1)).astype(np.float32)
history = model.fit(x, np.arange(8) % 2, epochs=2)
assert len(history.loss) == 2
try:
    tc.backend("numba")
except tc.BackendError as error:
    assert "pip install 'tinycnn[jit]'" in str(error), error
else:
    raise AssertionError("numba was hidden, yet selected")
"""


def test_numpy_alone_is_enough():
    result = subprocess.run(
        [sys.executable, "-c", PLAIN], capture_output=True, text=True, cwd=ROOT, env={"PATH": ""}, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "epoch 2/2" in result.stdout


def test_import_brings_nothing_heavy():
    heavy = {"numba", "scipy", "rich", "cv2", "pandas", "sklearn", "matplotlib", "threadpoolctl"}
    heavy |= {"h5py", "onnx", "tensorboardX"}
    code = f"import sys, tinycnn; print(sorted(set(sys.modules) & {heavy!r}))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert result.stdout.strip() == "[]"
