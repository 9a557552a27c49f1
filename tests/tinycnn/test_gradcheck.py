"""Who checks the checker? Planted errors of 0.05 % must be caught, right gradients must pass."""

import numpy as np
import pytest

import tinycnn as tc
from tinycnn.layers import Dense


class Planted(Dense):
    """A dense layer whose backward pass is wrong in a chosen way."""

    def __init__(self, spoil):
        super().__init__(6, 5, rng=0)
        self.spoil = spoil

    def _backward(self, dy, cache):
        dx, grads = super()._backward(dy, cache)
        return self.spoil(dx, grads)


def scaled_input(dx, grads):
    return dx * 1.0005, grads


def scaled_kernel(dx, grads):
    return dx, {**grads, "kernel": grads["kernel"] * 0.9995}


def scaled_bias(dx, grads):
    return dx, {**grads, "bias": grads["bias"] * 1.0005}


def one_number(dx, grads):
    grads["kernel"][3, 2] *= 1.0005
    return dx, grads


def transposed(dx, grads):
    return dx[::-1], grads


def not_a_number(dx, grads):
    return dx * np.nan, grads


X = np.random.default_rng(0).standard_normal((4, 6))


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (scaled_input, "input"),
        (scaled_kernel, "kernel"),
        (scaled_bias, "bias"),
        (one_number, "kernel"),
        (transposed, "input"),
        (not_a_number, "input"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_planted_errors_are_caught(spoil, name, seed):
    result = tc.gradcheck(Planted(spoil), X, seed=seed, show=False)
    assert [check.name for check in result.checks if not check.error <= result.tolerance] == [name]
    assert not result.passed


def test_gradients_under_other_names_are_refused():
    layer = Planted(lambda dx, grads: (dx, {"dkernel": grads["kernel"], "bias": grads["bias"]}))
    with pytest.raises(tc.ConfigError, match=r"gives gradients of \['bias', 'dkernel'\], its params are"):
        tc.gradcheck(layer, X, show=False)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda dx, grads: (dx[np.newaxis], grads), r"'input', which is \(4, 6\), a gradient \(1, 4, 6\)"),
        (
            lambda dx, grads: (dx, {**grads, "bias": grads["bias"][np.newaxis]}),
            r"'bias', which is \(5,\), a gradient \(1, 5\)",
        ),
    ],
)
def test_gradients_of_another_shape_are_refused(spoil, message):
    with pytest.raises(tc.ShapeError, match=message):
        tc.gradcheck(Planted(spoil), X, show=False)


def test_the_wrong_number_is_found():
    result = tc.gradcheck(Planted(one_number), X, show=False)
    assert {check.name: check.worst for check in result.checks} == {
        "input": None,
        "kernel": (3, 2),
        "bias": None,
    }


def test_a_forgotten_penalty_is_caught():
    layer = tc.Dense(6, 5, l2=0.1, rng=0)
    layer._grads = lambda dkernel, dy: {"kernel": dkernel, "bias": dy.sum(axis=0)}
    assert not tc.gradcheck(layer, X, show=False).passed


def test_right_gradients_pass_and_print(capsys):
    assert tc.gradcheck(tc.Dense(6, 5, rng=0), X).passed
    text = capsys.readouterr().out
    assert text.splitlines()[1].split() == [
        "gradient",
        "of",
        "shape",
        "numeric",
        "by",
        "backward",
        "relative",
        "error",
    ]
    assert "kernel       6x5" in text
    assert "every gradient agrees" in text


def test_wrong_gradients_print_where(capsys):
    tc.gradcheck(Planted(one_number), X)
    text = capsys.readouterr().out
    assert "WRONG, most at [3, 2]" in text
    assert "backward does not agree with forward" in text


def test_the_layer_is_left_as_it_was():
    model = tc.Sequential([tc.Dense(6, 5, rng=0), tc.BatchNorm(5), tc.Dropout(0.5, rng=0)])
    before = {name: array.copy() for name, array in {**model.params, **model.state}.items()}
    x = X.copy()
    assert tc.gradcheck(model, x, show=False).passed
    np.testing.assert_array_equal(x, X)
    for name, array in {**model.params, **model.state}.items():
        np.testing.assert_array_equal(array, before[name])
        assert array.dtype == np.float32


def test_a_bias_before_batch_norm_has_no_gradient_and_that_is_right():
    model = tc.Sequential([tc.Dense(6, 5, rng=0), tc.BatchNorm(5)])
    assert tc.gradcheck(model, X, show=False).passed


def test_some_direction_must_be_tried():
    with pytest.raises(tc.ConfigError, match="directions"):
        tc.gradcheck(tc.ReLU(), np.ones((1, 2)), directions=0)


@pytest.mark.parametrize("x", [np.ma.masked_array(np.ones((2, 3))), np.ones((2, 3), complex), [["a"] * 3]])
def test_an_input_of_real_numbers_is_wanted(x):
    with pytest.raises(tc.DTypeError, match="expected real numbers"):
        tc.gradcheck(tc.Dense(3, 2, rng=0), x)
