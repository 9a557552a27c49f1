"""The training step's plan: the same outputs, gradients, statistics and errors as layer by layer."""

import copy
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinycnn as tc
from fer_demo.models import mini_xception
from tinycnn import plan
from tinycnn.kernels.deferred import Deferred
from tinycnn.kernels.memory import Arena, recycled_memory

CHANNELS = st.sampled_from([1, 3, 5, 8, 16, 19])


class Planned(tc.Composite):
    """A model whose passes go through the plan, as a layer: so `gradcheck` can check it, input and all."""

    def __init__(self, model):
        super().__init__({"model": model})

    def forward(self, x, train=False):
        self._y, self._back = plan.run(self.children()["model"], x)
        return tc.kernels.active().finished(self._y) if isinstance(self._y, Deferred) else self._y

    def backward(self, dy):
        return self._back(
            tc.kernels.active().gradient_of(self._y, dy) if isinstance(self._y, Deferred) else dy
        )


class Halve(tc.Layer):
    """A user's layer, which the plan has no rule for."""

    def _forward(self, x, train):
        return x / 2, None

    def _backward(self, dy, cache):
        return dy / 2, {}


class LeakyReLU(tc.ReLU):
    """A user's subclass that computes something else."""

    def _forward(self, x, train):
        return np.where(x > 0, x, x / 10), x > 0

    def _backward(self, dy, cache):
        return np.where(cache, dy, dy / 10), {}


class NamedReLU(tc.ReLU):
    """A user's subclass that computes the same."""

    def __init__(self, name="relu"):
        super().__init__()
        self.name = name


def conv(c, o, size=3, padding="same", **options):
    return tc.Conv2D(c, o, size, padding=padding, **{"bias": False, "rng": o, **options})


def separable(c, o, size=3, padding="same", **options):
    return tc.SeparableConv2D(c, o, size, padding=padding, **{"bias": False, "rng": o, **options})


def block(c, o, *then, kind=conv, **options):
    """A convolution and its batch norm, deferred by the plan, and layers after them."""
    return [kind(c, o, **options), tc.BatchNorm(o), *then]


def chain(*layers):
    return tc.Sequential(list(layers))


def residual(*main, shortcut=None):
    return tc.Residual(chain(*main), shortcut and chain(*shortcut))


def branches(c, *paths):
    """A Concat of 1x1 convolutions, each followed by the layers of a path: 3 channels each."""
    return tc.Concat([chain(*block(c, 3, *path, size=1)) for path in paths])


def half(c, o):
    """A shortcut that halves the map."""
    return block(c, o, size=1, padding="valid", stride=2)


def pool(**options):
    return tc.MaxPool2D(3, **{"stride": 2, "padding": "same", **options})


def randomised(model, seed):
    """A float64 copy whose parameters have no special values: batch norm's gammas are of both signs."""
    model, rng = model.astype(np.float64), np.random.default_rng(seed)
    for name, array in {**model.params, **model.state}.items():
        if name.rsplit(".")[-1] in ("gamma", "beta", "bias", "running_mean"):
            array[...] = rng.standard_normal(array.shape)
    return model


def assert_same(found, expected, tolerance):
    """Dictionaries of arrays: each equal within `tolerance` of its own largest number.

    Those that are zero by nature, such as a bias's gradient before batch norm, are measured by the others.
    """
    assert found.keys() == expected.keys()
    sizes = {name: np.abs(array).max() for name, array in expected.items()}
    for name, array in expected.items():
        assert found[name].shape == array.shape
        assert found[name].dtype == array.dtype
        atol = tolerance * max(sizes[name], 1e-3 * max(sizes.values()))
        np.testing.assert_allclose(found[name], array, rtol=0, atol=atol, err_msg=name)


def walk(layer, x):
    """There and back once in training: the output and the input's gradient."""
    kept = x.copy()
    y = layer.forward(x, train=True).copy()
    dx = layer.backward(np.random.default_rng(1).standard_normal(y.shape).astype(x.dtype))
    np.testing.assert_array_equal(x, kept)
    return {"y": y, "dx": dx}


def assert_same_walks(model, x, tolerance=1e-10):
    """The plan does what the layers do, and does it again in the next step."""
    plain, fused = copy.deepcopy(model), copy.deepcopy(model)
    for _ in range(2):
        assert_same(walk(Planned(fused), x), walk(plain, x), tolerance)
        assert_same(fused.grads, plain.grads, tolerance)
        assert_same(fused.state, plain.state, tolerance)


def images(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


#: Layers for a map of 3 channels, each a way for a deferred array through the plan.
WAYS = {
    "ends deferred": lambda: block(3, 5),
    "ends deferred, with relu": lambda: block(3, 5, tc.ReLU()),
    "ends deferred, pooled": lambda: block(3, 5, tc.ReLU(), pool()),
    "relu twice": lambda: [*block(3, 5, tc.ReLU(), tc.ReLU()), *block(5, 8)],
    "relu, pool": lambda: [*block(3, 16, tc.ReLU(), pool()), *block(16, 3)],
    "pool, relu": lambda: [*block(3, 19, pool(), tc.ReLU()), *block(19, 3)],
    "pool twice": lambda: [*block(3, 8, pool(), pool(stride=1)), *block(8, 3)],
    "pool thrice, relu between": lambda: block(3, 8, pool(stride=1), tc.ReLU(), pool(), tc.MaxPool2D(2, 1)),
    "pool of a whole large map": lambda: block(3, 5, tc.MaxPool2D(17, 1, ((8, 8), (8, 8)))),
    "convolution with bias": lambda: [*block(3, 5, bias=True), tc.ReLU(), conv(5, 3, bias=True)],
    "convolution without batch norm": lambda: [*block(3, 5, tc.ReLU()), conv(5, 3), tc.ReLU()],
    "batch norm alone": lambda: [tc.BatchNorm(3), tc.ReLU(), *block(3, 5), tc.BatchNorm(5)],
    "even windows": lambda: [*block(3, 5, size=2), tc.ReLU(), *block(5, 3, kind=separable, size=(2, 4))],
    "separable": lambda: [*block(3, 16, tc.ReLU(), kind=separable), *block(16, 5, kind=separable)],
    "separable, strided": lambda: [*block(3, 5, tc.ReLU(), kind=separable, stride=2), *block(5, 3)],
    "separable, 1x1": lambda: [*block(3, 5, kind=separable, size=1), *block(5, 5, kind=separable, bias=True)],
    "1x1 strided": lambda: [*block(3, 8, tc.ReLU()), *block(8, 5, size=1, stride=(2, 3))],
    "1x1 padded": lambda: [*block(3, 8, size=1, padding=((1, 0), (0, 1))), *block(8, 5, size=1)],
    "3x3 strided": lambda: [*block(3, 8, tc.ReLU()), *block(8, 5, stride=2)],
    "explicit padding": lambda: block(3, 5, padding=((2, 0), (1, 2))),
    "padding as wide as the window": lambda: block(3, 5, padding=((3, 0), (0, 4))),
    "average pool": lambda: [*block(3, 5, tc.ReLU()), tc.AvgPool2D(2), *block(5, 3)],
    "depthwise alone": lambda: [*block(3, 5), tc.DepthwiseConv2D(5, 3, rng=0), tc.BatchNorm(5)],
    "dense end": lambda: [*block(3, 5, tc.ReLU(), pool()), tc.GlobalAvgPool2D(), tc.Dense(5, 4, rng=0)],
    "dense, batch norm": lambda: [tc.GlobalAvgPool2D(), tc.Dense(3, 5, rng=0), tc.BatchNorm(5), tc.ReLU()],
    "dropout": lambda: [*block(3, 5, tc.Dropout(0.4, rng=1)), *block(5, 3, tc.Dropout(0.0, rng=2))],
    "user's layer": lambda: [*block(3, 5, Halve()), *block(5, 3)],
    "user's activation": lambda: [*block(3, 5, LeakyReLU()), *block(5, 3, NamedReLU())],
    "chain in a chain": lambda: [chain(*block(3, 5, tc.ReLU())), chain(chain(*block(5, 3)), tc.ReLU())],
    "pool of a finished map": lambda: [pool(), tc.ReLU(), *block(3, 5)],
    "l2": lambda: [*block(3, 5, tc.ReLU(), l2=0.3), *block(5, 3, kind=separable, l2=0.2)],
    "residual first": lambda: [residual(*block(3, 3)), tc.ReLU()],
    "residual first, with shortcut": lambda: [residual(*block(3, 5, pool()), shortcut=half(3, 5))],
    "xception module": lambda: [*block(3, 5, tc.ReLU()), *xception_module(5, 8), tc.BatchNorm(8)],
    "residual of a plain shortcut": lambda: [*block(3, 5), residual(*block(5, 5), shortcut=[conv(5, 5)])],
    "residual of a plain main": lambda: [*block(3, 5), residual(conv(5, 5), shortcut=block(5, 5, tc.ReLU()))],
    "residual of nothing fused": lambda: [residual(conv(3, 3), shortcut=[conv(3, 3, bias=True)])],
    "nested residual": lambda: [*block(3, 5), residual(*block(5, 5), residual(*block(5, 5)), tc.ReLU())],
    "residual begins with residual": lambda: [
        *block(3, 5, tc.ReLU()),
        residual(
            residual(*block(5, 5)), *block(5, 5), shortcut=[residual(*block(5, 5), shortcut=block(5, 5))]
        ),
    ],
    "branches of a finished map": lambda: [branches(3, [tc.ReLU()], [tc.ReLU()]), *block(6, 4)],
    "branches of a deferred map": lambda: [
        *block(3, 5, tc.ReLU()),
        branches(5, [tc.ReLU(), *block(3, 3), tc.ReLU()], [tc.ReLU()], [tc.ReLU()]),
        *block(9, 4),
    ],
    "branches, then pools": lambda: [branches(3, [tc.ReLU()], [tc.ReLU()]), pool(), pool(), *block(6, 4)],
    "branches that end in pools": lambda: [branches(3, [pool()], [pool()]), tc.ReLU(), *block(6, 4)],
    "branches, relu in one": lambda: [*block(3, 5), branches(5, [], [tc.ReLU()]), tc.ReLU(), *block(6, 4)],
    "branch that begins with a pool": lambda: [
        *block(3, 5, tc.ReLU()),
        tc.Concat([chain(*block(5, 3)), chain(pool(stride=1), *block(5, 3))]),
        tc.BatchNorm(6),
    ],
    "branches not fused": lambda: [*block(3, 5), tc.Concat([conv(5, 3), tc.ReLU()]), *block(8, 3)],
    "branches in branches": lambda: [
        *block(3, 5),
        tc.Concat([branches(5, [], []), residual(*block(5, 5))]),
        tc.ReLU(),
        *block(11, 3),
    ],
    "one layer as a path": lambda: [*block(3, 5), tc.Residual(tc.BatchNorm(5)), tc.Residual(tc.ReLU())],
    "user's composite": lambda: [*block(3, 5), tc.Residual(Planned(chain(*block(5, 5))))],
}

#: What may come first in a residual branch whose input is deferred.
BEGINNINGS = {
    "relu": tc.ReLU,
    "max-pool": lambda: tc.MaxPool2D(3, 1, "same"),
    "average pool": lambda: tc.AvgPool2D(3, 1, "same"),
    "batch norm": lambda: tc.BatchNorm(5),
    "dropout": lambda: tc.Dropout(0.3, rng=3),
    "user's layer": Halve,
    "user's relu": NamedReLU,
    "user's activation": LeakyReLU,
    "chain": lambda: chain(chain(tc.ReLU()), tc.Dropout(0.2, rng=4)),
    "residual that begins with relu": lambda: residual(tc.ReLU(), *block(5, 5)),
    "residual that is nothing but relu": lambda: tc.Residual(tc.ReLU(), tc.ReLU()),
}


def xception_module(c, o):
    main = [*block(c, o, tc.ReLU(), kind=separable), *block(o, o, pool(), kind=separable)]
    return [residual(*main, shortcut=half(c, o))]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_through_the_plan(backend, way):
    for n, size in ((3, (9, 8)), (1, (5, 6))):
        assert_same_walks(randomised(chain(*WAYS[way]()), seed=n), images(n, *size, 3))


def test_many_channels_go_another_way(backend, monkeypatch):
    """With numba they are convolved by Winograd's algorithm, which is not fused."""
    model = randomised(chain(*block(3, 32, tc.ReLU()), residual(*block(32, 32, tc.ReLU()))), seed=0)
    assert_same_walks(model, images(4, 9, 8, 3), tolerance=1e-9)
    convolve, seen = tc.kernels.active().conv2d, []
    monkeypatch.setattr(tc.kernels.active(), "conv2d", lambda *args: seen.append(args) or convolve(*args))
    plan.run(model, images(4, 9, 8, 3))
    assert len(seen) == (backend == "numba")


@pytest.mark.parametrize("place", ["main", "shortcut"])
@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_whatever_begins_a_branch(backend, beginning, place):
    begins, other = [BEGINNINGS[beginning](), *block(5, 5)], block(5, 5, tc.ReLU())
    module = residual(*begins) if place == "main" else residual(*other, shortcut=begins)
    for deferred in (block(3, 5), block(3, 5, tc.ReLU()), block(3, 5, pool())):
        for layers in ([*deferred, module], [*deferred, residual(module, *block(5, 5))]):
            assert_same_walks(randomised(chain(*layers), seed=7), images(2, 6, 5, 3))


@st.composite
def convolutions(draw, shape, keep):
    """A convolution, often followed by batch norm; of the input's shape if `keep`."""
    h, w, c = shape
    separates = draw(st.booleans())
    window = draw(st.tuples(*[st.integers(1, min(3, size)) for size in (h, w)]))
    explicit = st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2)
    padding = "same" if keep else draw(st.sampled_from(["valid", "same"]) | explicit)
    layer = (tc.SeparableConv2D if separates else tc.Conv2D)(
        c,
        c if keep else draw(CHANNELS),
        window,
        1 if keep else draw(st.sampled_from([1, 1, 2, (1, 2)])),
        padding,
        bias=draw(st.sampled_from([False, False, False, True])),
        l2=draw(st.sampled_from([0.0, 0.1])),
        rng=draw(st.integers(0, 99)),
    )
    channels = layer.output_shape(shape)[2]
    return [layer, tc.BatchNorm(channels)] if draw(st.sampled_from([True, True, True, False])) else [layer]


@st.composite
def pools(draw, shape, keep):
    kind = draw(st.sampled_from([tc.MaxPool2D, tc.MaxPool2D, tc.AvgPool2D]))
    window = draw(st.tuples(*[st.integers(1, min(3, size)) for size in shape[:2]]))
    stride = 1 if keep else draw(st.integers(1, 2))
    return [kind(window, stride, "same" if keep else draw(st.sampled_from(["valid", "same"])))]


@st.composite
def residuals(draw, shape, keep, depth):
    """A residual module: its paths keep the shape, or both halve the map and change its channels."""
    if keep or draw(st.booleans()):
        main, shortcut = (
            draw(chains(shape, True, depth - 1)),
            draw(st.none() | chains(shape, True, depth - 1)),
        )
        return [residual(*main, shortcut=shortcut)]
    c, o = shape[2], draw(CHANNELS)
    last = block(c, o, pool(), kind=draw(st.sampled_from([conv, separable])))
    begins = draw(
        st.sampled_from([lambda: [], lambda: [tc.ReLU()], lambda: [tc.MaxPool2D(1)], lambda: block(c, c)])
    )
    return [residual(*draw(chains(shape, True, depth - 1)), *last, shortcut=[*begins(), *half(c, o)])]


@st.composite
def chains(draw, shape, keep, depth=1):
    """One to three layers for a map (H, W, C), and what belongs to them; the shape stays if `keep`."""
    simple = st.sampled_from([tc.ReLU, tc.ReLU, Halve, LeakyReLU]).map(lambda kind: [kind()])
    dropouts = st.builds(tc.Dropout, st.sampled_from([0, 0.3]), st.integers(0, 9)).map(lambda layer: [layer])
    layers: list[tc.Layer] = []
    for _ in range(draw(st.integers(1, 3))):
        kinds = [convolutions(shape, keep), simple, pools(shape, keep), dropouts]
        if depth:
            kinds.append(residuals(shape, keep, depth))
        more = draw(convolutions(shape, keep) | st.one_of(kinds))
        shape = chain(*more).output_shape(shape)
        layers += more
    return layers


@st.composite
def models(draw):
    """A random model in float64, and images for it."""
    n, shape = draw(st.integers(1, 3)), (*draw(st.tuples(*[st.integers(1, 9)] * 2)), draw(CHANNELS))
    layers = draw(chains(shape, keep=False, depth=2))
    c = chain(*layers).output_shape(shape)[2]
    ends = ([], [tc.GlobalAvgPool2D(), tc.Dense(c, 3, rng=5)], [tc.Flatten()])
    layers += draw(st.sampled_from(range(3)).map(ends.__getitem__))
    seed = draw(st.integers(0, 2**32 - 1))
    return randomised(chain(*layers), seed), images(n, *shape, seed=[seed, 1])


@settings(max_examples=60)
@given(models())
def test_random_models(backend, drawn):
    assert_same_walks(*drawn)


@pytest.mark.parametrize("gamma", [0.0, -1.0])
def test_gammas_that_are_zero_or_negative(backend, gamma):
    layers = [*block(3, 5, tc.ReLU()), *xception_module(5, 8), *block(8, 3, pool(stride=1))]
    model = randomised(chain(*layers), seed=0)
    for name, array in model.params.items():
        if name.endswith("gamma"):
            array[1:3] = gamma
    assert_same_walks(model, images(2, 9, 9, 3))


def test_channels_without_variance(backend):
    model = randomised(chain(*block(3, 5, tc.ReLU()), *xception_module(5, 8), *block(8, 3)), seed=0)
    model.params["0.kernel"][..., 2] = 0  # so this channel is the same everywhere
    model.params["3.main.0.pointwise.kernel"][..., 4:6] = 0
    assert_same_walks(model, images(2, 9, 9, 3))


def test_a_batch_of_one_pixel(backend):
    assert_same_walks(
        randomised(chain(*block(3, 5, tc.ReLU()), *xception_module(5, 8)), 0), images(1, 1, 1, 3)
    )


def test_arrays_that_are_not_contiguous(backend):
    model = randomised(chain(*WAYS["xception module"]()), seed=0)
    assert_same_walks(model, images(8, 9, 3, 2).transpose(3, 0, 1, 2))


def test_l2_penalties_count_once(backend):
    model, x = randomised(chain(*block(3, 5), *block(5, 4, kind=separable)), seed=0), images(2, 5, 5, 3)
    regular = copy.deepcopy(model)
    for _, layer in regular.walk():
        layer.l2 = 0.5
    walk(Planned(model), x)
    walk(Planned(regular), x)
    for name, array in regular.params.items():
        extra = array if name.endswith("kernel") else 0
        np.testing.assert_allclose(regular.grads[name], model.grads[name] + extra, rtol=0, atol=1e-12)


def test_gradients_by_the_definition_of_the_derivative(backend):
    layers = [
        *block(1, 3, tc.ReLU(), l2=0.1),
        *xception_module(3, 5),
        conv(5, 4, bias=True),
        tc.GlobalAvgPool2D(),
    ]
    assert tc.gradcheck(Planned(randomised(chain(*layers), seed=0)), images(2, 9, 8, 1), show=False).passed


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [conv, separable])
def test_a_model_does_without_its_inputs_gradient(backend, kind, channels, monkeypatch):
    layers = [*block(channels, 3, tc.ReLU(), kind=kind), *xception_module(3, 5)]
    plain, fused = (randomised(tc.Sequential(copy.deepcopy(layers)), seed=0) for _ in range(2))
    kernels, asked, x = tc.kernels.active(), [], images(3, 9, 9, channels)
    whole = kernels.conv_moments_backward

    def noted(dz, x, taps, kernel, stride, pad, extra, need_dx, partial):
        asked.append(need_dx)
        return whole(dz, x, taps, kernel, stride, pad, extra, need_dx, partial)

    monkeypatch.setattr(kernels, "conv_moments_backward", noted)
    ends = walk(plain, x)
    y, backward = plan.run_model(fused, x)
    assert backward(np.random.default_rng(1).standard_normal(y.shape)) is None
    assert asked == [True, True, True, False]
    assert_same({"y": y}, {"y": ends["y"]}, 1e-10)
    assert_same(fused.grads, plain.grads, 1e-10)
    assert_same(fused.state, plain.state, 1e-10)


def errors_in_float32(model, x):
    """How far the plan's and the plain walk's float32 outputs and gradients are from float64's, by name.

    Relative to each array's largest number. The exact ones are the plain walk's from the same numbers.
    """
    exact, plain, fused = model.astype(np.float64), copy.deepcopy(model), copy.deepcopy(model)
    ends = walk(exact, x.astype(np.float64)), walk(plain, x), walk(Planned(fused), x)
    arrays = [{"y": end["y"], **m.grads} for end, m in zip(ends, (exact, plain, fused), strict=True)]
    sizes = {name: np.abs(array).max() for name, array in arrays[0].items()}
    return [
        {name: np.abs(found[name] - exact).max() / sizes[name] for name, exact in arrays[0].items()}
        for found in arrays[1:]
    ]


def worst_in_float32(model, batches):
    """The largest error of any array, of the plain walk and of the plan.

    Of several batches the best counts: where a ReLU's or a max-pool's numbers all but tie, float32 may decide
    otherwise than float64, plan or no plan, and that one number's gradient goes elsewhere. It happens in one
    batch of ten; a wrong gradient is wrong in all of them.
    """
    errors = [errors_in_float32(model, x.astype(np.float32)) for x in batches]
    return [max(min(one[way][name] for one in errors) for name in errors[0][way]) for way in (0, 1)]


def test_mini_xception_in_float32(backend):
    model = mini_xception(seed=1)
    body = tc.Sequential({name: layer for name, layer in model.children().items() if name != "softmax"})
    # Rounding alone gives 1e-5 in both walks: each of the 12 layers adds some units of 6e-8, and batch norm's
    # gradient takes two near-equal sums from each other.
    _, fused = worst_in_float32(body, [images(2, 48, 48, 1, seed=seed) for seed in range(3)])
    assert fused < 1e-4


@pytest.mark.parametrize("mean", [1.0, 1e4])
def test_a_mean_far_from_zero_costs_no_more_digits_than_layer_by_layer(backend, mean):
    model = chain(*block(3, 8, tc.ReLU(), padding="valid"), *xception_module(8, 8), conv(8, 4))
    plain, fused = worst_in_float32(model, [mean + images(8, 12, 12, 3, seed=seed) for seed in range(3)])
    assert fused < 4 * plain + 1e-6


def test_threads_do_not_change_a_bit_of_a_training_step():
    pytest.importorskip("numba", reason="the threads belong to the numba backend")
    x = images(19, 48, 48, 1).astype(np.float32)
    before = tc.get_threads()

    def trained(threads):
        tc.set_threads(threads)
        model, optimizer = mini_xception(seed=0, widths=(8, 16, 19)), tc.Adam()
        steps = [
            tc.train_step(model, x, np.arange(19) % 7, tc.SoftmaxCrossEntropy(), optimizer) for _ in range(3)
        ]
        arrays = {**model.params, **model.state, **{f"d {name}": a for name, a in model.grads.items()}}
        return [step.loss for step in steps], {name: array.tobytes() for name, array in arrays.items()}

    try:
        with tc.backend("numba"):
            expected = trained(1)
            for threads in (2, 3, 8):
                assert trained(threads) == expected
    finally:
        tc.set_threads(before)


def test_recycled_memory_does_not_change_a_bit_of_a_training_step(backend):
    def trained(around):
        model, optimizer = mini_xception(seed=0, widths=(8, 5, 8)), tc.Adam()
        for n in (7, 7, 2, 7):
            x = images(n, 48, 48, 1, seed=n).astype(np.float32)
            with around():
                tc.train_step(model, x, np.arange(n) % 7, tc.SoftmaxCrossEntropy(), optimizer)
        arrays = {**model.params, **model.state, **{f"d {name}": a for name, a in model.grads.items()}}
        return {name: array.tobytes() for name, array in arrays.items()}

    arena = Arena()
    assert trained(lambda: recycled_memory(arena)) == trained(nullcontext)


def raised(run):
    """The kind, the text and the notes of the error that `run` raises."""
    with pytest.raises(tc.TinyCNNError) as caught:
        run()
    return caught.type, str(caught.value), getattr(caught.value, "__notes__", [])


#: Models with a mistake, for (2, 9, 9, 3) images of float32.
MISTAKES = {
    "channels, at the beginning": lambda: block(5, 5),
    "channels, of a convolution": lambda: [*block(3, 5, tc.ReLU()), *block(8, 3)],
    "channels, of a separable convolution": lambda: [*block(3, 5), *block(8, 3, kind=separable)],
    "channels, of a fused batch norm": lambda: [conv(3, 5), tc.BatchNorm(8)],
    "channels, of a batch norm alone": lambda: [*block(3, 5, tc.ReLU()), tc.BatchNorm(8)],
    "a window that does not fit": lambda: [*block(3, 5, pool()), *block(5, 3, size=7, padding="valid")],
    "a pool that does not fit": lambda: block(3, 5, pool(), tc.MaxPool2D(7)),
    "a vector where a map should be": lambda: [*block(3, 5), tc.GlobalAvgPool2D(), *block(5, 3)],
    "features": lambda: [*block(3, 5), tc.Flatten(), tc.Dense(7, 2)],
    "in a chain": lambda: [chain(*block(3, 5)), chain(tc.ReLU(), *block(8, 3))],
    "in a residual's main path": lambda: [*block(3, 5), residual(*block(5, 8), *block(5, 5))],
    "in a residual's shortcut": lambda: [*block(3, 5), residual(*block(5, 5), shortcut=block(8, 5))],
    "in a residual that begins with relu": lambda: [*block(3, 5), residual(tc.ReLU(), *block(8, 5))],
    "paths that do not meet": lambda: [*block(3, 5), residual(*block(5, 5), shortcut=block(5, 8))],
    "paths that do not meet, finished": lambda: [residual(conv(3, 5), shortcut=[conv(3, 8)])],
    "dtype, of a convolution": lambda: [*block(3, 5), conv(5, 5).astype(np.float64), tc.BatchNorm(5)],
    "dtype, of a separable convolution": lambda: [*block(3, 5), *astype64(block(5, 5, kind=separable))],
    "dtype, of a fused batch norm": lambda: [conv(3, 5), *astype64([tc.BatchNorm(5)])],
}


def astype64(layers):
    return [layer.astype(np.float64) for layer in layers]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_errors_are_the_same(mistake):
    model, x = chain(*MISTAKES[mistake]()), images(2, 9, 9, 3).astype(np.float32)
    expected = raised(lambda: model.forward(x, train=True))
    assert raised(lambda: plan.run_model(model, x)) == expected


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((2, 9, 9, 3)),
        np.zeros((2, 9, 9, 3), np.uint8),
        [[1.0, 2.0]],
        np.zeros((0, 9, 9, 3), np.float32),
        np.zeros((2, 3), np.float32),
        np.zeros((2, 2, 9, 3), np.float32),
    ],
    ids=["float64", "uint8", "list", "empty", "vectors", "small"],
)
def test_errors_of_the_input_are_the_same(x):
    for layers in (
        block(3, 5, padding="valid"),
        block(3, 5, padding="valid", kind=separable),
        [
            residual(
                *block(3, 3), tc.MaxPool2D(3, 1, "same"), conv(3, 4, padding="valid"), shortcut=[conv(3, 4)]
            )
        ],
    ):
        model = tc.Sequential(layers)
        expected = raised(lambda model=model: model.forward(x, train=True))
        assert raised(lambda model=model: plan.run_model(model, x)) == expected


def test_a_gradient_of_the_wrong_shape_is_an_error(backend):
    class Careless(tc.ReLU):
        def _backward(self, dy, cache):
            return dy[:, :-1], {}

    plain, fused = chain(*block(3, 5), Careless()), Planned(chain(*block(3, 5), Careless()))
    x = images(2, 6, 5, 3).astype(np.float32)
    for model in (plain, fused):
        y = model.forward(x, train=True)
        with pytest.raises(tc.ShapeError, match="backward got a gradient of shape"):
            model.backward(y)


def test_dropouts_that_share_a_generator_draw_in_the_same_order(backend):
    rng = np.random.default_rng(0)
    paths = [[*block(3, 3), tc.Dropout(0.5, rng=rng)] for _ in range(2)]
    assert_same_walks(randomised(chain(residual(*paths[0], shortcut=paths[1])), 0), images(2, 5, 5, 3))


def test_a_step_leaves_no_stale_backward(backend):
    model, x = chain(*block(3, 5)), images(2, 5, 5, 3).astype(np.float32)
    y = model.forward(x, train=True)
    plan.run_model(model, 2 * x)
    with pytest.raises(tc.CacheError):
        model.backward(y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_strided_inputs_and_gradients_are_read_as_what_they_are(backend, dtype):
    """One channel of several has even steps in memory, and a flat view of it is not contiguous."""
    rng = np.random.default_rng(0)
    rgb, dy = (rng.standard_normal((4, size, size, 3)).astype(dtype) for size in (24, 20))
    results = []
    for x in (rgb[..., 1:2].copy(), rgb[..., 1:2]):
        layers = [Strided(), tc.Conv2D(1, 4, 3, bias=False, rng=0), tc.BatchNorm(4), tc.ReLU(), Strided()]
        layers += [tc.Conv2D(4, 1, 3, bias=False, rng=1), tc.BatchNorm(1)]
        model = tc.Sequential(layers).astype(dtype)
        y, backward = plan.run_model(model, x)
        backward(dy[..., 1:2].copy() if x.flags.c_contiguous else dy[..., 1:2])
        results.append([y, *model.grads.values(), *model.state.values()])
    for expected, found in zip(*results, strict=True):
        np.testing.assert_array_equal(found, expected)
    model.forward(x, train=True)
    model.backward(dy[..., 1:2])
    for expected, found in zip(model.grads.values(), results[0][1:], strict=False):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


class Strided(tc.Layer):
    """The identity, in views with gaps between the numbers."""

    def _forward(self, x, train):
        return np.repeat(x, 2, axis=3)[..., ::2], None

    def _backward(self, dy, cache):
        return np.repeat(dy, 2, axis=3)[..., ::2], {}


def pooled_shortcut():
    """ResNet-D's: the strided convolution's way back ends the gradient of rows that it has passed over."""
    main = [tc.Conv2D(8, 8, 1, stride=2, bias=False, rng=2), tc.BatchNorm(8)]
    shortcut = [tc.AvgPool2D(2), tc.Conv2D(8, 8, 1, bias=False, rng=4), tc.BatchNorm(8)]
    return tc.Residual(tc.Sequential(main), tc.Sequential(shortcut))


def strided_branches():
    wide = [tc.Conv2D(8, 4, 3, stride=2, padding="same", bias=False, rng=2), tc.BatchNorm(4)]
    narrow = [tc.Conv2D(8, 4, 1, stride=2, bias=False, rng=3), tc.BatchNorm(4)]
    return tc.Concat([tc.Sequential(wide), tc.Sequential(narrow)])


@pytest.mark.parametrize("module", [pooled_shortcut, strided_branches])
def test_rows_that_a_stride_passes_over_have_a_gradient(backend, module):
    rng = np.random.default_rng(0)
    stem = [tc.Conv2D(3, 8, 3, padding="same", bias=False, rng=1), tc.BatchNorm(8), tc.ReLU()]
    model = tc.Sequential([*stem, module()])
    x = rng.standard_normal((3, 28, 28, 3))  # more output rows than a band has
    twin = model.astype(np.float64)
    with tc.backend("numpy"):
        y = twin.forward(x, train=True)
        dy = rng.standard_normal(y.shape)
        twin.backward(dy)
    _, backward = plan.run_model(model, x.astype(np.float32))
    backward(dy.astype(np.float32))
    for name, gradient in twin.grads.items():
        error = np.abs(model.grads[name] - gradient).max()
        assert error < 1e-4 * np.abs(gradient).max(), name


def test_a_gradient_of_another_dtype_is_named(backend):
    class Wide(tc.Layer):
        def _forward(self, x, train):
            return x, None

        def _backward(self, dy, cache):
            return dy.astype(np.float64), {}

    layers = [tc.Conv2D(1, 4, 3, bias=False, rng=0), tc.BatchNorm(4), tc.ReLU(), Wide()]
    y, backward = plan.run_model(tc.Sequential(layers), np.ones((2, 6, 6, 1), np.float32))
    with pytest.raises(tc.DTypeError, match="backward got a gradient of float64, the output was float32"):
        backward(y)
