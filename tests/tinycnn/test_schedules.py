import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinycnn.errors import ConfigError
from tinycnn.optimizers import SGD
from tinycnn.schedules import Constant, Cosine, OneCycle, ReduceOnPlateau, Schedule

ALL: list[Schedule] = [
    Constant(0.1),
    Cosine(0.1, steps=20, warmup=4, final=0.01),
    OneCycle(0.1, steps=20),
    ReduceOnPlateau(0.1),
]


@pytest.mark.parametrize("schedule", ALL, ids=lambda s: type(s).__name__)
def test_config_goes_through_json_and_rebuilds_the_schedule(schedule: Schedule) -> None:
    config = json.loads(json.dumps(schedule.config()))
    assert config.pop("type") == type(schedule).__name__
    assert type(schedule)(**config) == schedule


def test_config_takes_numpy_scalars() -> None:
    lr: Any = np.float32(0.5)
    steps: Any = np.int64(20)
    config = Cosine(lr, steps).config()
    assert json.loads(json.dumps(config)) == {
        "type": "Cosine",
        "lr": 0.5,
        "steps": 20,
        "warmup": 0,
        "final": 0.0,
    }


@pytest.mark.parametrize("schedule", ALL, ids=lambda s: type(s).__name__)
def test_rates_are_positive_floats(schedule: Schedule) -> None:
    rates = [schedule(step) for step in range(20)]
    assert all(type(rate) is float and rate > 0 for rate in rates)


@pytest.mark.parametrize(("schedule", "final"), [(ALL[1], 0.01), (ALL[2], 0.1 / 25 / 1e4)])
def test_past_the_end_the_final_value_stays(schedule: Schedule, final: float) -> None:
    assert schedule(20) == schedule(21) == schedule(10**9) == pytest.approx(final, rel=1e-12)


def test_cosine_values() -> None:
    schedule = Cosine(lr=1.0, steps=12, warmup=0, final=0.2)
    assert schedule(0) == 1.0
    assert schedule(4) == pytest.approx(0.2 + 0.8 * 0.75)  # (1 + cos 60°) / 2 = 0.75
    assert schedule(6) == pytest.approx(0.6)
    assert schedule(12) == pytest.approx(0.2)


def test_cosine_warms_up_in_equal_parts_then_falls() -> None:
    schedule = Cosine(lr=1.0, steps=12, warmup=4)
    np.testing.assert_allclose([schedule(step) for step in range(5)], [0.2, 0.4, 0.6, 0.8, 1.0])
    assert np.all(np.diff([schedule(step) for step in range(4, 13)]) < 0)


def test_one_cycle_rises_to_the_maximum_then_falls() -> None:
    schedule = OneCycle(max_lr=2.0, steps=10, warmup_fraction=0.4, start_div=10, final_div=100)
    rates = np.array([schedule(step) for step in range(10)])
    np.testing.assert_allclose(rates[[0, 3, 9]], [0.2, 2.0, 0.002], rtol=1e-12)
    assert np.all(np.diff(rates[:4]) > 0)
    assert np.all(np.diff(rates[3:]) < 0)


@pytest.mark.parametrize(("steps", "fraction"), [(1, 0.3), (2, 0.5), (3, 0.0), (4, 0.99)])
def test_one_cycle_of_few_steps_stays_within_its_range(steps: int, fraction: float) -> None:
    schedule = OneCycle(max_lr=1.0, steps=steps, warmup_fraction=fraction)
    rates = [schedule(step) for step in range(steps + 2)]
    assert all(4e-6 * (1 - 1e-9) <= rate <= 1.0 for rate in rates)
    assert rates[-1] == pytest.approx(4e-6, rel=1e-9)


def observed(schedule: ReduceOnPlateau, values: list[float]) -> list[float]:
    rates = []
    for value in values:
        schedule.observe(value)
        rates.append(schedule(0))
    return rates


def test_plateau_waits_out_its_patience_then_reduces() -> None:
    schedule = ReduceOnPlateau(lr=1.0, factor=0.1, patience=2)
    assert observed(schedule, [5, 4, 4, 4]) == [1, 1, 1, 1]
    assert observed(schedule, [4, 4, 4, 4]) == pytest.approx([0.1, 0.1, 0.1, 0.01])


def test_plateau_counts_afresh_after_an_improvement() -> None:
    schedule = ReduceOnPlateau(lr=1.0, patience=1)
    assert observed(schedule, [5, 5, 4, 4, 3, 3, 3]) == [1, 1, 1, 1, 1, 1, 0.5]


def test_plateau_takes_less_than_the_threshold_for_none() -> None:
    assert observed(ReduceOnPlateau(1.0, patience=0, threshold=0.01), [100, 99.5, 98]) == [1, 0.5, 0.5]


def test_plateau_counts_nan_as_no_improvement() -> None:
    assert observed(ReduceOnPlateau(1.0, patience=0), [math.nan, 3.0, math.nan]) == [0.5, 0.5, 0.25]


def test_plateau_stops_at_the_least_rate() -> None:
    assert observed(ReduceOnPlateau(1.0, patience=0, min_lr=0.3), [1, 1, 1, 1]) == [1, 0.5, 0.3, 0.3]


def test_plateau_resumes_where_it_was() -> None:
    values = [3.0, 2.0, 2.0, 2.0, 1.9, 1.9, 1.9, 1.9]
    straight = ReduceOnPlateau(0.1, patience=1)
    expected = observed(straight, values)
    first, second = ReduceOnPlateau(0.1, patience=1), ReduceOnPlateau(0.1, patience=1)
    rates = observed(first, values[:3])
    second.load_state_dict(first.state_dict())
    assert rates + observed(second, values[3:]) == expected
    assert expected[-1] == 0.025


def test_the_others_ignore_observations_and_save_nothing() -> None:
    schedule = Constant(0.1)
    schedule.observe(5.0)
    assert schedule(0) == 0.1
    assert schedule.state_dict() == {}


def test_state_of_another_schedule_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"schedule state.*bad_epochs.*Constant"):
        Constant(0.1).load_state_dict(ReduceOnPlateau(0.1).state_dict())
    with pytest.raises(ConfigError, match="ReduceOnPlateau"):
        ReduceOnPlateau(0.1).load_state_dict({})


@pytest.mark.parametrize(
    ("schedule", "arguments", "named"),
    [
        (Constant, {"lr": 0}, "lr"),
        (Constant, {"lr": -0.1}, "lr"),
        (Constant, {"lr": math.nan}, "lr"),
        (Constant, {"lr": math.inf}, "lr"),
        (Constant, {"lr": "0.1"}, "lr"),
        (Cosine, {"lr": 0.1, "steps": 0}, "steps"),
        (Cosine, {"lr": 0.1, "steps": 2.5}, "steps"),
        (Cosine, {"lr": 0.1, "steps": 5, "warmup": 5}, "warmup"),
        (Cosine, {"lr": 0.1, "steps": 5, "warmup": -1}, "warmup"),
        (Cosine, {"lr": 0.1, "steps": 5, "final": 0.2}, "final"),
        (OneCycle, {"max_lr": 0, "steps": 5}, "max_lr"),
        (OneCycle, {"max_lr": 0.1, "steps": -1}, "steps"),
        (OneCycle, {"max_lr": 0.1, "steps": 5, "warmup_fraction": 1.0}, "warmup_fraction"),
        (OneCycle, {"max_lr": 0.1, "steps": 5, "start_div": 0.5}, "start_div"),
        (OneCycle, {"max_lr": 0.1, "steps": 5, "final_div": 0}, "final_div"),
        (ReduceOnPlateau, {"lr": 0.1, "factor": 1.0}, "factor"),
        (ReduceOnPlateau, {"lr": 0.1, "patience": -1}, "patience"),
        (ReduceOnPlateau, {"lr": 0.1, "min_lr": 0.2}, "min_lr"),
        (ReduceOnPlateau, {"lr": 0.1, "threshold": 1.0}, "threshold"),
    ],
)
def test_arguments_out_of_range_are_named(
    schedule: Callable[..., Schedule], arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^{named}=.*: expected"):
        schedule(**arguments)


def torch_rates(scheduler: Any, optimizer: Any, steps: int) -> list[float]:
    """The rates of `steps` steps of a PyTorch scheduler."""
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def torch_optimizer(lr: float) -> Any:
    torch = pytest.importorskip("torch")
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)


def assert_same_rates(schedule: Schedule, rates: list[float]) -> None:
    np.testing.assert_allclose([schedule(step) for step in range(len(rates))], rates, rtol=1e-12)


@pytest.mark.parametrize(("steps", "fraction"), [(100, 0.3), (37, 0.21), (3, 0.3), (5, 0.0)])
def test_one_cycle_agrees_with_pytorch(steps: int, fraction: float) -> None:
    optimizer = torch_optimizer(0.1)
    torch = pytest.importorskip("torch")
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.7, total_steps=steps, pct_start=fraction)
    # PyTorch computes the rate after the last step too, and refuses to go beyond.
    rates = [*torch_rates(theirs, optimizer, steps - 1), optimizer.param_groups[0]["lr"]]
    assert_same_rates(OneCycle(0.7, steps, warmup_fraction=fraction), rates)


def test_cosine_agrees_with_pytorch() -> None:
    optimizer = torch_optimizer(0.7)
    torch = pytest.importorskip("torch")
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.01)
    assert_same_rates(Cosine(0.7, steps=50, final=0.01), torch_rates(theirs, optimizer, 51))


def test_plateau_agrees_with_pytorch() -> None:
    optimizer = torch_optimizer(0.7)
    torch = pytest.importorskip("torch")
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=1, min_lr=1e-3)
    ours = ReduceOnPlateau(0.7, factor=0.3, patience=1, min_lr=1e-3)
    rng = np.random.default_rng(0)
    for value in np.exp(-np.arange(60) / 30) + rng.normal(0, 0.1, 60):
        ours.observe(value)
        theirs.step(value)
        assert ours(0) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
    assert ours(0) == 1e-3


def test_a_plateau_of_negative_numbers_is_one():
    schedule = ReduceOnPlateau(0.1, patience=1)
    for _ in range(4):
        schedule.observe(-0.5)
    assert schedule(0) == pytest.approx(0.05)


def test_a_schedule_of_ones_own_may_have_any_fields():
    @dataclasses.dataclass
    class Steps(Schedule):
        lr: float
        at: tuple[int, ...]

        def __call__(self, step):
            return self.lr

    assert Steps(np.float32(0.5), (3, 5)).config() == {"type": "Steps", "lr": 0.5, "at": (3, 5)}
    SGD(Steps(0.5, (3, 5))).config()
