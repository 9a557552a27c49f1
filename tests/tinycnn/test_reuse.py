"""What `predict` keeps between calls: used again while nothing changes, and never when anything has."""

import copy
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tinycnn as tc
import tinycnn.inference

X = np.random.default_rng(0).standard_normal((3, 9, 9, 2)).astype(np.float32)
LABELS = np.arange(3)


def network(softmax=False):
    rng = np.random.default_rng(1)
    inner = {"conv": tc.Conv2D(4, 4, 3, padding="same", rng=rng), "relu": tc.ReLU()}
    layers = {"conv": tc.Conv2D(2, 4, 3, bias=False, rng=rng), "norm": tc.BatchNorm(4)}
    layers |= {
        "block": tc.Residual(tc.Sequential(inner)),
        "pool": tc.MaxPool2D(2, padding="same"),
        "flat": tc.Flatten(),
    }
    layers["dense"] = tc.Dense(64, 3, rng=rng)
    layers["dense"].params["bias"][...] = (1, 2, 3)
    return tc.Sequential(layers | ({"softmax": tc.Softmax()} if softmax else {}))


def child(model, path):
    return dict(model.walk())[path]


@pytest.fixture
def walks(monkeypatch):
    """The walks through a model to prepare it, so far."""
    found, walk = [], tinycnn.inference.Walk
    monkeypatch.setattr(tinycnn.inference, "Walk", lambda *args: found.append(walk(*args)) or found[-1])
    return found


class Negative(tc.Dense):
    def _forward(self, x, train):
        y, cache = super()._forward(x, train)
        return -y, cache


CHANGES = {
    "a weight": lambda m: m.params["block.main.conv.kernel"].__setitem__((1, 1, 0, 0), 2),
    "the sign of a weight": lambda m: m.params["dense.kernel"].__imul__(-1),
    "a running mean": lambda m: m.state["norm.running_mean"].__setitem__(2, 1),
    "a running variance": lambda m: m.state["norm.running_var"].__setitem__(2, 9),
    "an entry of params": lambda m: child(m, "conv").params.update(kernel=np.ones((3, 3, 2, 4), np.float32)),
    "a new entry of params": lambda m: child(m, "conv").params.update(bias=np.ones(4, np.float32)),
    "a missing entry of params": lambda m: child(m, "dense").params.pop("bias"),
    "all params": lambda m: setattr(
        child(m, "norm"), "params", {n: a + 1 for n, a in child(m, "norm").params.items()}
    ),
    "eps": lambda m: setattr(child(m, "norm"), "eps", 3.0),
    "the padding": lambda m: setattr(child(m, "pool"), "padding", ((1, 0), (1, 0))),
    "a class": lambda m: setattr(child(m, "dense"), "__class__", Negative),
    "a layer": lambda m: m.children().update(norm=tc.ReLU()),
    "an inner layer": lambda m: child(m, "block.main").children().update(relu=tc.Dropout()),
    "all layers": lambda m: setattr(m, "_children", network().children() | {"norm": tc.ReLU()}),
    "one layer more": lambda m: m.children().update(last=tc.ReLU()),
    "fit": lambda m: m.fit(X, LABELS, epochs=1, progress=False),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_is_seen(backend, walks, change):
    model = network()
    before = model.predict(X)
    assert model.predict(X).tobytes() == before.tobytes()
    assert len(walks) == 1
    change(model)
    after = model.predict(X)
    np.testing.assert_allclose(after, model.forward(X), rtol=0, atol=1e-5 * np.abs(after).max())
    assert np.abs(after - before).max() > 1e-3


def test_an_equal_array_in_the_place_of_another_is_seen(backend):
    model = tc.Sequential([tc.Flatten(), tc.Dense(162, 1, rng=0)])
    before = model.predict(X)
    model.children()["1"].params["bias"] = np.zeros(1, np.float32)  # as it was
    model.predict(X)
    model.params["1.bias"][...] = 3
    np.testing.assert_allclose(model.predict(X), before + 3, rtol=1e-5)


def test_passes_in_training_change_nothing(backend, walks):
    model = network()
    model.predict(X)
    for _ in range(2):
        child(model, "dense").forward(np.ones((3, 64), np.float32), train=True)
        child(model, "dense").backward(np.ones((3, 3), np.float32))
        model.predict(X)
    assert len(walks) == 1


def test_evaluate_uses_it_again_and_sees_changes(backend, walks):
    model = network(softmax=True)
    first = model.evaluate(X, LABELS)
    model.predict(X)
    assert model.evaluate(X, LABELS) == first
    assert len(walks) == 2  # one ends in a softmax, one does not
    model.params["dense.bias"][0] += 9
    probabilities = model.forward(X)[np.arange(3), LABELS]
    assert model.evaluate(X, LABELS).loss == pytest.approx(-np.log(probabilities).mean(), rel=1e-5)


def test_another_backend_prepares_for_itself(walks):
    pytest.importorskip("numba", reason="needs both backends")
    model, found = network(), {}
    for name in ("numpy", "numba") * 2:
        with tc.backend(name):
            found.setdefault(name, set()).add(model.predict(X).tobytes())
    assert len(walks) == len(found["numpy"]) + len(found["numba"]) == 2


def test_other_sizes_do_not_pile_up(walks):
    model = tc.Sequential([tc.Conv2D(2, 3, 3, rng=0), tc.GlobalAvgPool2D()])
    for size in (*range(4, 24), 22, 23, 4):
        model.predict(np.zeros((1, size, size, 2), np.float32))
    assert len(walks) == 21  # the latest were still there, the first was not


def test_an_array_in_another_order_of_memory(backend):
    model = network()
    kernel = np.random.default_rng(2).standard_normal((4, 2, 3, 3)).astype(np.float32)
    child(model, "conv").params["kernel"] = kernel.transpose(2, 3, 1, 0)
    before = model.predict(X)
    kernel *= 2
    after = model.predict(X)
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, model.forward(X), rtol=0, atol=1e-5 * np.abs(after).max())


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), lambda m: m.astype(np.float32)]
)
def test_copies_go_their_own_way(backend, copied):
    model = network()
    expected = model.predict(X)
    twin = copied(model)
    assert len(pickle.dumps(model)) == len(pickle.dumps(network()))
    np.testing.assert_array_equal(twin.predict(X), expected)
    twin.params["dense.bias"][0] += 1
    np.testing.assert_array_equal(model.predict(X), expected)
    assert np.abs(twin.predict(X) - expected).max() > 0.9


def test_prepared_and_used_it_can_be_pickled(backend):
    prepared = tc.compile_for_inference(network())
    expected = prepared(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(prepared))(X), expected)


def test_passes_of_one_object_alone_are_taken(backend):
    model = network()
    model.predict(X)
    relu = child(model, "block.main.relu")
    relu._forward = lambda x, train: (np.tanh(x), x)
    relu._backward = lambda dy, x: (dy * (1 - np.tanh(x) ** 2), {})
    np.testing.assert_allclose(model.predict(X), model.forward(X), rtol=1e-4)
    expected = copy.deepcopy(model).fit(X, LABELS, epochs=3, progress=False).loss
    del relu._forward, relu._backward
    assert model.fit(X, LABELS, epochs=3, progress=False).loss != expected


def test_a_shallow_copy_whose_layers_are_exchanged(backend):
    model = network()
    expected, twin = model.predict(X), copy.copy(model)
    twin._children = {**model.children(), "norm": tc.ReLU()}
    assert np.abs(twin.predict(X) - expected).max() > 1e-3
    np.testing.assert_array_equal(model.predict(X), expected)


def test_memory_goes_with_the_model(backend):
    model = network()
    model.predict(X)
    model.evaluate(X, LABELS)
    references = [weakref.ref(model), weakref.ref(child(model, "dense").params["kernel"])]
    del model
    assert all(reference() is None for reference in references)  # at once: nobody collects garbage here


def test_one_model_asked_from_several_threads_between_changes(backend):
    model = network()
    batches = [X[:1], X, X[:, :, ::-1].copy(), X[1:]] * 5

    def outputs(x):
        with tc.backend(backend):
            return model.predict(x)

    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            model.params["dense.kernel"][...] *= -1.5
            for x, y in zip(batches, pool.map(outputs, batches), strict=True):
                np.testing.assert_allclose(y, model.forward(x), rtol=0, atol=1e-5 * np.abs(y).max())


def test_layers_without_a_rule_run_as_they_are(backend):
    class Shifted(tc.ReLU):
        shift = 1.0

        def _forward(self, x, train):
            return x + self.shift, None

    model = tc.Sequential([tc.Flatten(), Shifted(), tc.Dense(162, 3, rng=0)])
    before = model.predict(X)
    Shifted.shift = 2.0
    assert np.abs(model.predict(X) - before).max() > 1e-3
    np.testing.assert_array_equal(model.predict(X), model.forward(X))
