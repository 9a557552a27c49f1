import numpy as np
import pytest

from tinycnn.averaging import ExponentialMovingAverage
from tinycnn.errors import ConfigError, DTypeError, ShapeError


def weights(seed: int, dtype: type = np.float64) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {"conv.kernel": (3, 3, 2, 4), "conv.bias": (4,), "temperature": ()}
    return {name: np.array(rng.normal(size=shape), dtype) for name, shape in shapes.items()}


def averaged(updates: int, decay: float = 0.5) -> ExponentialMovingAverage:
    ema = ExponentialMovingAverage(decay)
    for seed in range(updates):
        ema.update(weights(seed))
    return ema


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decay", [0.0, 0.3, 0.999])
def test_average_is_the_weighted_sum_of_all_updates(dtype: type, decay: float) -> None:
    ema = ExponentialMovingAverage(decay)
    for seed in range(20):
        ema.update(weights(seed, dtype))
    # An update's share is its own, times what every later update keeps.
    keep = np.minimum(decay, (1 + np.arange(20)) / (10 + np.arange(20)))
    shares = [(1 - keep[t] if t else 1) * np.prod(keep[t + 1 :]) for t in range(20)]
    assert sum(shares) == pytest.approx(1)
    for name, average in ema.averages.items():
        expected = sum(share * weights(seed)[name] for seed, share in enumerate(shares))
        assert average.dtype == dtype
        np.testing.assert_allclose(average, expected, atol=1e-6 if dtype == np.float32 else 1e-14)


def test_update_leaves_the_arrays_alone_and_works_in_place() -> None:
    ema = averaged(1)
    before = dict(ema.averages)
    raw, copy = weights(1), weights(1)
    ema.update(raw)
    for name, array in raw.items():
        assert ema.averages[name] is before[name]
        assert not np.shares_memory(array, ema.averages[name])
        np.testing.assert_array_equal(array, copy[name])


def test_swap_exchanges_in_place_and_twice_is_the_identity() -> None:
    ema, raw = averaged(5), weights(4)
    average = {name: array.copy() for name, array in ema.averages.items()}
    held = dict(raw)
    ema.swap(raw)
    for name in raw:
        assert raw[name] is held[name]
        np.testing.assert_array_equal(raw[name], average[name])
        np.testing.assert_array_equal(ema.averages[name], weights(4)[name])
    ema.swap(raw)
    for name in raw:
        np.testing.assert_array_equal(raw[name], weights(4)[name])
        np.testing.assert_array_equal(ema.averages[name], average[name])


def fail_while_swapped(ema: ExponentialMovingAverage, raw: dict[str, np.ndarray]) -> None:
    with ema.swapped(raw):
        assert raw["conv.bias"][0] != weights(4)["conv.bias"][0]
        raise RuntimeError("evaluation failed")


def test_an_array_of_two_layers_is_exchanged_once() -> None:
    array = np.ones(2)
    arrays = {"one": array, "other": array}
    average = ExponentialMovingAverage(0.5)
    average.update(arrays)
    array += 2
    average.update(arrays)
    with average.swapped(arrays):
        np.testing.assert_array_equal(array, average_of(1, 3, average))
    np.testing.assert_array_equal(array, 3)


def average_of(first: float, second: float, average: ExponentialMovingAverage) -> float:
    """The average after two updates: the second counts 1 - min(decay, 2 / 11)."""
    return first + (second - first) * (1 - min(average.decay, 2 / 11))


def test_swapped_gives_the_raw_values_back_even_after_an_error() -> None:
    ema, raw = averaged(5), weights(4)
    with pytest.raises(RuntimeError, match="evaluation failed"):
        fail_while_swapped(ema, raw)
    for name in raw:
        np.testing.assert_array_equal(raw[name], weights(4)[name])


def test_resumption_gives_the_same_bits() -> None:
    straight, first, second = averaged(8), averaged(3), ExponentialMovingAverage(0.5)
    state = first.state_dict()
    first.update(weights(99))  # must not reach the state already taken
    second.load_state_dict(state)
    for seed in range(3, 8):
        second.update(weights(seed))
    assert second.updates == straight.updates == 8
    for name in straight.averages:
        np.testing.assert_array_equal(second.averages[name], straight.averages[name])


def test_other_arrays_than_before_are_refused_by_name() -> None:
    ema = averaged(1)
    with pytest.raises(ConfigError, match=r"'conv.bias' is in the averages"):
        ema.update({name: array for name, array in weights(0).items() if name != "conv.bias"})
    with pytest.raises(ShapeError, match=r"'conv.bias' is \(5,\).*expected \(4,\)"):
        ema.update(weights(0) | {"conv.bias": np.zeros(5)})
    with pytest.raises(DTypeError, match=r"'conv.bias' is float32.*expected float64"):
        ema.swap(weights(0) | {"conv.bias": np.zeros(4, np.float32)})


def test_errors() -> None:
    with pytest.raises(ConfigError, match=r"decay=1\.0"):
        ExponentialMovingAverage(1.0)
    with pytest.raises(ConfigError, match="call update"):
        ExponentialMovingAverage().swap(weights(0))
    with pytest.raises(DTypeError, match="'labels' is int64"):
        ExponentialMovingAverage().update({"labels": np.arange(3, dtype=np.int64)})
    with pytest.raises(ConfigError, match="averages/"):
        ExponentialMovingAverage().load_state_dict({"steps": np.array(3)})
    with pytest.raises(ConfigError, match="averages/"):
        ExponentialMovingAverage().load_state_dict({"updates": np.array(3), "m/w": np.zeros(3)})
