"""The compiled inner loops on vectors: right at every remainder, and never outside of their arrays.

Numbers are small whole ones, so that every sum is exact whatever its order, and NaN fills the places of the
inputs that must not be used.
"""

import hashlib
import pkgutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba", reason="the vectors belong to the numba backend")
from numba.core.caching import FunctionCache

from tinycnn.kernels import jit
from tinycnn.kernels.jit import compile as how
from tinycnn.kernels.jit import depthwise_image, product

#: Read at the same moment as the modules, since someone may be at work on the files while the tests run.
FILES = sorted(Path(jit.__file__).parent.rglob("*.py"))
DIGEST = hashlib.sha256(b"".join(path.read_bytes() for path in FILES)).hexdigest()

DTYPES = st.sampled_from([np.float32, np.float64])
SEEDS = st.integers(0, 2**32 - 1)
#: One less, one more and exactly the lanes of a vector, in either dtype.
COLUMNS = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 20, 24, 31, 32, 33, 40])


@how.compiled
def run_product(
    a, a_at, a_run, a_row, a_term, b, b_at, b_run, b_term, c, c_at, c_row, runs, rows, depth, columns, add
):
    product.product(
        a, a_at, a_run, a_row, a_term, b, b_at, b_run, b_term, c, c_at, c_row, runs, rows, depth, columns, add
    )


@how.compiled
def run_depthwise(x, x_at, x_row, taps, kh, kw, channels, y, y_at, h, w):
    depthwise_image.depthwise(x, x_at, x_row, taps, kh, kw, channels, y, y_at, h, w)


@how.compiled
def run_taps_gradient(x, x_at, x_row, kh, kw, channels, dy, dy_at, h, w, dtaps, dtaps_at):
    depthwise_image.add_taps_gradient(x, x_at, x_row, kh, kw, channels, dy, dy_at, h, w, dtaps, dtaps_at)


class Flat:
    """A flat array in which an array of some shape and strides lies at an offset, and nothing else does.

    Args:
        values: what lies there; where strides overlap the last one stays.
        offset: where it begins.
        steps: strides in elements.
        around: fills all other places, before and after too.
    """

    def __init__(self, values, offset, steps, around):
        shape = np.ogrid[tuple(slice(n) for n in values.shape)]
        self.places = offset + sum(i * step for i, step in zip(shape, steps, strict=True))
        self.array = np.full(self.places.max() + 1 + 64, around, values.dtype)
        self.array[self.places] = values

    def values(self):
        """What lies there now."""
        return self.array[self.places]

    def others(self):
        """All other places."""
        return np.delete(self.array, self.places.ravel())


def whole(seed, dtype):
    rng = np.random.default_rng(seed)
    return lambda *shape: rng.integers(-4, 5, shape).astype(dtype)


@settings(max_examples=150)
@given(
    runs=st.integers(1, 3),
    rows=st.integers(1, 20),
    depth=st.integers(1, 7),
    columns=COLUMNS,
    add=st.booleans(),
    steps=st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)),
    gaps=st.tuples(*[st.integers(0, 3)] * 3),
    offsets=st.tuples(*[st.integers(0, 70)] * 3),
    dtype=DTYPES,
    seed=SEEDS,
)
def test_product(runs, rows, depth, columns, add, steps, gaps, offsets, dtype, seed):
    draw = whole(seed, dtype)
    a = Flat(draw(runs, rows, depth), offsets[0], steps, np.nan)  # its strides may overlap, as windows do
    b_steps = (depth * (columns + gaps[0]) + gaps[1], columns + gaps[0], 1)
    b = Flat(draw(runs, depth, columns), offsets[1], b_steps, np.nan)
    c = Flat(draw(rows, columns), offsets[2], (columns + gaps[2], 1), 77)
    expected = np.einsum("rik,rkj->ij", a.values(), b.values()) + (c.values() if add else 0)
    a_kept, b_kept = a.array.copy(), b.array.copy()
    lengths = (runs, rows, depth, columns)
    run_product(
        a.array,
        offsets[0],
        *steps,
        b.array,
        offsets[1],
        *b_steps[:2],
        c.array,
        offsets[2],
        columns + gaps[2],
        *lengths,
        int(add),
    )
    np.testing.assert_array_equal(c.values(), expected)
    assert (c.others() == 77).all()
    np.testing.assert_array_equal(a.array, a_kept)
    np.testing.assert_array_equal(b.array, b_kept)


@settings(max_examples=150)
@given(
    window=st.tuples(st.integers(1, 5), st.integers(1, 7)),
    size=st.tuples(st.integers(1, 5), st.integers(1, 11)),
    channels=COLUMNS,
    gap=st.integers(0, 3),
    offsets=st.tuples(*[st.integers(0, 70)] * 3),
    dtype=DTYPES,
    seed=SEEDS,
)
def test_depthwise_and_its_taps_gradient(window, size, channels, gap, offsets, dtype, seed):
    draw, (kh, kw), (h, w), c = whole(seed, dtype), window, size, channels
    x_row = (w + kw - 1) * c + gap
    x = Flat(draw(h + kh - 1, w + kw - 1, c), offsets[0], (x_row, c, 1), np.nan)
    y = Flat(draw(h, w, c), offsets[1], (w * c, c, 1), 77)
    taps = Flat(draw(kh, kw, c), 0, (kw * c, c, 1), np.nan)
    dtaps = Flat(draw(kh, kw, c), offsets[2], (kw * c, c, 1), 77)
    windows = np.lib.stride_tricks.sliding_window_view(x.values(), window, axis=(0, 1))  # (h, w, c, kh, kw)
    kept = x.array.copy()

    run_depthwise(x.array, offsets[0], x_row, taps.array, kh, kw, c, y.array, offsets[1], h, w)
    np.testing.assert_array_equal(y.values(), np.einsum("ijcrs,rsc->ijc", windows, taps.values()))
    assert (y.others() == 77).all()

    dy = Flat(draw(h, w, c), offsets[1], (w * c, c, 1), np.nan)
    expected = dtaps.values() + np.einsum("ijcrs,ijc->rsc", windows, dy.values())
    run_taps_gradient(
        x.array, offsets[0], x_row, kh, kw, c, dy.array, offsets[1], h, w, dtaps.array, offsets[2]
    )
    np.testing.assert_array_equal(dtaps.values(), expected)
    assert (dtaps.others() == 77).all()
    np.testing.assert_array_equal(x.array, kept)


def test_machine_code_is_kept_under_the_stamp_of_all_files():
    # A function's machine code contains that of functions from other files: any change must make it anew.
    modules = [
        import_module(f"{jit.__name__}.{module.name}") for module in pkgutil.iter_modules(jit.__path__)
    ]
    assert {Path(module.__file__) for module in (jit, *modules)} == set(FILES)
    assert how._SOURCES == DIGEST
    kernels = [k for module in modules for k in vars(module).values() if hasattr(k, "py_func")]
    cached = [k for k in kernels if hasattr(k._cache, "_cache_file")]
    assert len(cached) > 20
    assert {k._cache._cache_file._source_stamp for k in cached} == {how._SOURCES}


def test_kernels_are_compiled_where_machine_code_cannot_be_kept(monkeypatch):
    def double(x):
        return 2 * x

    monkeypatch.setattr(FunctionCache._impl_class, "_locator_classes", [])  # nowhere to look for a folder
    with pytest.warns(RuntimeWarning, match="every start compiles anew: set NUMBA_CACHE_DIR"):
        assert how.compiled(double)(21) == 42
