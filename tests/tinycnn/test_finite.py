"""NaN and infinity stop a training before they reach the weights, with the layer that made them."""

import numpy as np
import pytest

import tinycnn as tc
from tinycnn.finite import all_finite

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's own, from other threads


def build():
    rng = np.random.default_rng(0)
    path = {"conv": tc.Conv2D(2, 2, 3, padding="same", bias=False, rng=rng), "bn": tc.BatchNorm(2)}
    layers = {
        "first": tc.Conv2D(1, 2, 3, bias=False, rng=rng),
        "norm": tc.BatchNorm(2),
        "relu": tc.ReLU(),
        "block": tc.Residual(tc.Sequential(path)),
        "flatten": tc.Flatten(),
        "dropout": tc.Dropout(0.5, rng=3),
        "dense": tc.Dense(32, 3, rng=rng),
        "softmax": tc.Softmax(),
    }
    return tc.Sequential(layers, input_shape=(6, 6, 1))


def batch(n=8):
    rng = np.random.default_rng(1)
    return rng.standard_normal((n, 6, 6, 1)).astype(np.float32), np.arange(n) % 3


def step(model, x, labels, optimizer=None):
    return tc.train_step(model, x, labels, tc.SoftmaxCrossEntropy(), optimizer or tc.SGD(0.25))


def state(model):
    arrays = {name: array.tobytes() for name, array in {**model.params, **model.state}.items()}
    return arrays, model.children()["dropout"].rng.bit_generator.state


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_every_place_is_looked_at(dtype, value):
    for shape in [(1,), (7,), (3, 5), (2, 3, 4, 65)]:
        array = np.ones(shape, dtype)
        assert all_finite(array)
        for place in {0, array.size // 2, array.size - 1}:
            spoilt = array.copy()
            spoilt.flat[place] = value
            assert not all_finite(spoilt)


@pytest.mark.filterwarnings("error")
def test_large_numbers_are_numbers():
    assert all_finite(np.full(9, 3e38, np.float32))


def test_an_input_that_is_none_is_named_with_its_place(backend):
    model, (x, labels) = build(), batch()
    x[5, 2, 3, 0] = np.nan
    x[6, 0, 0, 0] = np.inf
    before = state(model)
    with pytest.raises(tc.NonFiniteError) as error:
        step(model, x, labels)
    assert state(model) == before
    assert "step 1, learning rate 0.25: the input holds 2 non-finite numbers" in str(error.value)
    assert "the first at [5, 2, 3, 0] of the batch (8, 6, 6, 1)" in str(error.value)
    assert "check the data" in str(error.value)


@pytest.mark.parametrize(
    ("parameter", "layer"),
    [
        ("first.kernel", "the output of layer 'first' (Conv2D)"),
        ("norm.gamma", "the output of layer 'norm' (BatchNorm)"),
        ("block.main.bn.gamma", "the output of layer 'block.main.bn' (BatchNorm)"),
        ("dense.kernel", "the output of layer 'dense' (Dense)"),
    ],
)
def test_the_first_layer_that_overflows_is_named(backend, parameter, layer):
    model, (x, labels) = build(), batch()
    x *= 100
    model.params[parameter][...] = 3e38
    before, optimizer = state(model), tc.SGD(0.25)
    optimizer.steps = 16
    with pytest.raises(tc.NonFiniteError) as error:
        step(model, x, labels, optimizer)
    assert str(error.value).startswith(f"step 17, learning rate 0.25: {layer} is not finite")
    assert "The step was not taken: try a lower learning rate" in str(error.value)
    assert state(model) == before  # running statistics and dropout, too
    assert optimizer.steps == 16


def test_a_gradient_that_overflows_is_named(backend):
    """Every output is small, and yet the gradient of the first layer is too large."""
    layers = {"a": tc.Dense(2, 2, rng=0), "b": tc.Dense(2, 2, rng=0), "c": tc.Dense(2, 2, rng=0)}
    model, x = tc.Sequential(layers), np.full((2, 2), 1e-30, np.float32)
    for name in layers:
        model.params[f"{name}.kernel"][...] = [[2e30, -2e30], [-2e30, 2e30]]
    model.params["a.kernel"][...] = 0
    before = {name: array.tobytes() for name, array in model.params.items()}
    with pytest.raises(tc.NonFiniteError, match=r"the gradient of layer 'b' \(Dense\) is not finite"):
        step(model, x, np.array([0, 1]))
    assert {name: array.tobytes() for name, array in model.params.items()} == before


def test_weights_that_are_none_already_are_named():
    model, (x, labels) = build(), batch()
    model.params["dense.bias"][1] = np.nan
    with pytest.raises(tc.NonFiniteError, match=r"'dense.bias' is not finite"):
        step(model, x, labels)


def test_a_penalty_that_overflows_is_the_loss():
    model = tc.Sequential([tc.Flatten(), tc.Dense(4, 2, l2=0.5, rng=0)])
    model.params["1.kernel"][...] = [[3e25, -3e25]] * 4
    with pytest.raises(tc.NonFiniteError, match="the loss is not finite"):
        step(model, np.zeros((2, 2, 2, 1), np.float32), np.array([0, 1]))


def test_layers_are_as_before_when_one_was_found():
    model, (x, labels) = build(), batch()
    with pytest.raises(tc.NonFiniteError):
        step(model, x * np.float32(np.nan), labels)
    assert all({"_forward", "_backward"}.isdisjoint(vars(layer)) for _, layer in model.walk())
    step(model, x, labels)


def test_fit_keeps_the_state_before_the_step(backend, tmp_path):
    """The checkpoint is that of a training that ended in time, and its weights can be had."""
    path = tmp_path / "run"
    x, labels = batch(12)
    x[np.random.default_rng(0).permutation(12)[9]] = np.nan  # in the third batch of four
    model, sound = build(), build()
    with pytest.raises(tc.NonFiniteError, match="step 3") as error:
        model.fit(x, labels, batch_size=4, checkpoint=tc.Checkpoint(path, 1000), progress=False)
    assert f"kept in {path}" in error.value.__notes__[0]
    kept = build()
    tc.Checkpoint(path).load_weights(kept)
    assert state(kept)[0] == state(model)[0]
    assert all(map(all_finite, [*kept.params.values(), *kept.state.values()]))

    order = np.random.default_rng(0).permutation(12)[:8]
    optimizer = tc.Adam()
    for chosen in (order[:4], order[4:]):
        step(sound, x[chosen], labels[chosen], optimizer)
    assert state(sound) == state(model)


def test_weights_that_overflow_in_a_step_never_reach_a_checkpoint(tmp_path):
    model, (x, labels) = build(), batch(12)
    with pytest.raises(tc.NonFiniteError, match=r"step 2.*'.*' is not finite"):
        model.fit(
            x,
            labels,
            batch_size=4,
            optimizer=tc.SGD(1e39),
            checkpoint=tc.Checkpoint(tmp_path / "run", 0),
            progress=False,
        )
    tc.Checkpoint(tmp_path / "run").load_weights(model)
    assert all(map(all_finite, model.params.values()))


def test_a_checkpoint_that_is_not_there_is_not_named(tmp_path):
    model, (x, labels) = build(), batch()
    next(iter(model.params.values()))[...] = np.nan
    with pytest.raises(tc.NonFiniteError, match="is not finite") as error:
        model.fit(x, labels, checkpoint=tc.Checkpoint(tmp_path / "run"), progress=False)
    assert not hasattr(error.value, "__notes__")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_overflow_in_the_last_step_are_noticed():
    model, (x, labels) = build(), batch()
    with pytest.raises(tc.NonFiniteError, match=r"the last step made '.*' infinite"):
        model.fit(x, labels, epochs=1, optimizer=tc.SGD(1e39), progress=False)


def test_validation_data_that_are_none_are_named():
    model, (x, labels) = build(), batch()
    with pytest.raises(tc.NonFiniteError, match="the loss on the validation data is not finite"):
        model.fit(x, labels, validation=(np.full_like(x, np.nan), labels), progress=False)


def test_no_class_is_counted_where_the_model_says_nan():
    model, (x, labels) = build(), batch()
    x[3] = np.nan
    with pytest.raises(tc.NonFiniteError, match="the loss is not finite: look for NaN and infinity in x"):
        model.evaluate(x, labels)


def test_a_layer_that_was_exchanged_is_put_back_too():
    model, (x, labels) = build(), batch()
    step(model, x, labels)
    model.children()["norm"] = norm = tc.BatchNorm(2)
    x[0, 0] = np.nan
    before = norm.state["running_mean"].copy()
    with pytest.raises(tc.NonFiniteError):
        step(model, x, labels)
    np.testing.assert_array_equal(norm.state["running_mean"], before)


def test_a_generator_that_was_replaced_is_put_back_too():
    model = tc.Sequential({"dropout": tc.Dropout(0.5, rng=0), "dense": tc.Dense(3, 2, rng=0)})
    x, labels = np.ones((4, 3), np.float32), np.array([0, 1, 0, 1])
    loss, optimizer = tc.SoftmaxCrossEntropy(), tc.SGD(0.1)
    tc.train_step(model, x, labels, loss, optimizer)
    model.children()["dropout"].rng = rng = np.random.default_rng(7)
    before, x[0, 0] = rng.bit_generator.state, np.nan
    with pytest.raises(tc.NonFiniteError):
        tc.train_step(model, x, labels, loss, optimizer)
    assert rng.bit_generator.state == before
