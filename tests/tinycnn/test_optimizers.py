import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from tinycnn import kernels
from tinycnn.errors import ConfigError, DTypeError, ShapeError
from tinycnn.optimizers import SGD, Adam, Optimizer
from tinycnn.schedules import Constant, Cosine, ReduceOnPlateau, Schedule

needs_numba = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")

Maker = Callable[[float | Schedule], Optimizer]

MAKERS: dict[str, Maker] = {
    "sgd": lambda lr: SGD(lr),
    "momentum": lambda lr: SGD(lr, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda lr: SGD(lr, momentum=0.9, nesterov=True),
    "adam": lambda lr: Adam(lr),
    "adamw": lambda lr: Adam(lr, beta1=0.8, beta2=0.99, weight_decay=0.01),
}
every_optimizer = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@pytest.fixture(params=["numpy", pytest.param("numba", marks=needs_numba)])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    with kernels.backend(request.param):
        yield request.param


def random_arrays(seed: int, dtype: DTypeLike = np.float64) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {"conv.kernel": (3, 3, 2, 5), "conv.bias": (5,), "norm.gamma": (5,), "head.kernel": (5, 7)}
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def after_steps(optimizer: Optimizer, steps: range, params: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for step in steps:
        optimizer.step(params, random_arrays(1000 + step, params["conv.kernel"].dtype))
    return params


def moved(optimizer: Optimizer, gradients: list[float], name: str = "w") -> list[float]:
    """Where a single parameter stands after each of the gradients, from 1.0 on."""
    params, places = {name: np.array([1.0])}, []
    for gradient in gradients:
        optimizer.step(params, {name: np.array([gradient])})
        places.append(params[name].item())
    return places


@pytest.mark.usefixtures("backend")
class TestByHand:
    def test_sgd(self) -> None:
        assert moved(SGD(0.1), [2.0, -1.0]) == pytest.approx([0.8, 0.9], rel=1e-14)

    def test_momentum(self) -> None:
        # Velocities 2, then 0.5 * 2 - 1 = 0, then 0.5 * 0 + 1 = 1.
        assert moved(SGD(0.1, momentum=0.5), [2.0, -1.0, 1.0]) == pytest.approx([0.8, 0.8, 0.7], rel=1e-14)

    def test_nesterov(self) -> None:
        # Velocities 2, 0, 1; updates 2 + 0.5 * 2 = 3, -1 + 0, 1 + 0.5.
        places = moved(SGD(0.1, momentum=0.5, nesterov=True), [2.0, -1.0, 1.0])
        assert places == pytest.approx([0.7, 0.8, 0.65], rel=1e-14)

    def test_adam(self) -> None:
        # m = 1, v = 2; corrected by 1 - 1/2: m_hat = 2, v_hat = 4; 2 / (2 + 1/2) = 0.8.
        # Then m = 1.5, v = 3; corrected by 1 - 1/4: the same 2 and 4.
        places = moved(Adam(0.1, beta1=0.5, beta2=0.5, eps=0.5), [2.0, 2.0])
        assert places == pytest.approx([0.92, 0.84], rel=1e-14)

    def test_weight_decay_stands_beside_the_gradient(self) -> None:
        # 1 - 0.1 * 0.5 * 1 - 0.1 * 2
        assert moved(SGD(0.1, weight_decay=0.5), [2.0], name="kernel") == pytest.approx([0.75], rel=1e-14)
        # Adam's step of 0.1 does not depend on the gradient's size, and the decay does not enter the moments.
        optimizer = Adam(0.1, eps=1e-12, weight_decay=0.5)
        assert moved(optimizer, [2.0], name="kernel") == pytest.approx([0.85], rel=1e-11)
        assert optimizer.state_dict()["m/kernel"] == pytest.approx([0.2])


@every_optimizer
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_steps_work_in_place_and_leave_gradients_alone(make: Maker, dtype: type, backend: str) -> None:
    params, grads = random_arrays(0, dtype), random_arrays(1, dtype)
    held, before = dict(params), random_arrays(0, dtype)
    make(0.01).step(params, grads)
    for name, grad in random_arrays(1, dtype).items():
        assert params[name] is held[name]
        assert params[name].dtype == dtype
        assert np.all(params[name] != before[name])
        np.testing.assert_array_equal(grads[name], grad)


@pytest.mark.parametrize("maker", [SGD, Adam])
def test_only_kernels_decay(maker: type[SGD] | type[Adam], backend: str) -> None:
    names = ["a.kernel", "kernel", "a.bias", "a.gamma", "a.beta", "kernel.bias", "a.subkernel"]
    params = {name: np.ones(3) for name in names}
    maker(0.5, weight_decay=0.1).step(params, {name: np.zeros(3) for name in names})
    decayed = [name for name, param in params.items() if param[0] != 1]
    assert decayed == ["a.kernel", "kernel"]
    np.testing.assert_allclose(params["kernel"], 0.95)


@every_optimizer
def test_a_quadratic_bowl_is_descended_to_its_bottom(make: Maker, backend: str) -> None:
    bottom, steepness = np.array([3.0, -2.0]), np.array([1.0, 10.0])
    params, optimizer = {"w": np.zeros(2)}, make(Cosine(0.1, steps=400))
    for _ in range(400):
        optimizer.step(params, {"w": steepness * (params["w"] - bottom)})
    np.testing.assert_allclose(params["w"], bottom, atol=1e-3)


@every_optimizer
def test_resumption_gives_the_same_bits(make: Maker, backend: str) -> None:
    def schedule() -> Cosine:
        return Cosine(0.05, steps=9, warmup=2)

    straight = after_steps(make(schedule()), range(9), random_arrays(0))
    first, second = make(schedule()), make(schedule())
    params = after_steps(first, range(4), random_arrays(0))
    state = first.state_dict()
    after_steps(first, range(2), random_arrays(0))  # must not reach the state already taken
    second.load_state_dict(state)
    after_steps(second, range(4, 9), params)
    assert second.steps == 9
    for name in straight:
        np.testing.assert_array_equal(params[name], straight[name])


def test_state_goes_through_a_safetensors_file(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    schedule = ReduceOnPlateau(0.1, patience=0)
    schedule.observe(2.0)
    schedule.observe(3.0)
    optimizer = Adam(schedule)
    after_steps(optimizer, range(3), random_arrays(0))
    safetensors.save_file(optimizer.state_dict(), tmp_path / "state.safetensors")
    resumed = Adam(ReduceOnPlateau(0.1, patience=0))
    resumed.load_state_dict(safetensors.load_file(tmp_path / "state.safetensors"))
    assert resumed.current_learning_rate == 0.05
    assert resumed.state_dict().keys() == optimizer.state_dict().keys()
    for name, array in optimizer.state_dict().items():
        np.testing.assert_array_equal(resumed.state_dict()[name], array)


def test_the_schedule_is_asked_with_the_number_of_steps_taken() -> None:
    optimizer = SGD(Cosine(0.3, steps=10, warmup=2))
    assert optimizer.current_learning_rate == pytest.approx(0.1)
    assert moved(optimizer, [1.0, 1.0, 1.0]) == pytest.approx([0.9, 0.7, 0.4])
    assert optimizer.steps == 3


def test_config_is_json() -> None:
    half: Any = np.float32(0.5)
    optimizer = Adam(Cosine(0.1, steps=5), beta1=half, weight_decay=0.25)
    assert json.loads(json.dumps(optimizer.config())) == {
        "type": "Adam",
        "learning_rate": {"type": "Cosine", "lr": 0.1, "steps": 5, "warmup": 0, "final": 0.0},
        "weight_decay": 0.25,
        "beta1": 0.5,
        "beta2": 0.999,
        "eps": 1e-8,
    }
    assert json.loads(json.dumps(SGD(0.1, momentum=0.9).config())) == {
        "type": "SGD",
        "learning_rate": {"type": "Constant", "lr": 0.1},
        "weight_decay": 0.0,
        "momentum": 0.9,
        "nesterov": False,
    }


@pytest.mark.parametrize(
    ("maker", "arguments", "named"),
    [
        (SGD, {"learning_rate": -0.1}, "lr=-0.1"),
        (SGD, {"learning_rate": lambda step: 0.1}, "lr=<function"),
        (SGD, {"learning_rate": 0.1, "momentum": 1.0}, "momentum=1.0"),
        (SGD, {"learning_rate": 0.1, "nesterov": True}, "nesterov=True"),
        (SGD, {"learning_rate": 0.1, "weight_decay": -1}, "weight_decay=-1"),
        (Adam, {"beta1": 1.0}, "beta1=1.0"),
        (Adam, {"beta2": -0.1}, "beta2=-0.1"),
        (Adam, {"eps": 0.0}, "eps=0.0"),
        (Adam, {"weight_decay": float("nan")}, "weight_decay=nan"),
    ],
)
def test_arguments_out_of_range_are_named(
    maker: Callable[..., Optimizer], arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=f"{named}.*: expected"):
        maker(**arguments)


@pytest.mark.parametrize(
    ("param", "grad", "error", "message"),
    [
        (np.zeros(3), None, ConfigError, "'w' is in params but not in grads"),
        (None, np.zeros(3), ConfigError, "'w' is in grads but not in params"),
        (np.zeros((2, 3)), np.zeros((3, 2)), ShapeError, r"'w' is \(3, 2\) in grads: expected \(2, 3\)"),
        (np.zeros(3), np.zeros(3, np.float32), DTypeError, "'w' is float32 in grads: expected float64"),
        (np.zeros(3, int), np.zeros(3, int), DTypeError, "'w' is int64: expected float32 or float64"),
        (np.zeros((2, 3)).T, np.zeros((3, 2)), ConfigError, "'w' is not a C-contiguous, writeable"),
        (np.broadcast_to(0.0, 1), np.zeros(1), ConfigError, "'w' is not a C-contiguous, writeable"),
    ],
)
def test_mismatched_arrays_are_named_and_nothing_moves(
    param: np.ndarray | None, grad: np.ndarray | None, error: type[Exception], message: str
) -> None:
    params = {"first": np.ones(2)} | ({} if param is None else {"w": param})
    grads = {"first": np.ones(2)} | ({} if grad is None else {"w": grad})
    optimizer = SGD(0.1)
    with pytest.raises(error, match=message):
        optimizer.step(params, grads)
    assert optimizer.steps == 0
    np.testing.assert_array_equal(params["first"], 1)


def test_other_parameters_than_before_are_refused() -> None:
    optimizer = Adam()
    moved(optimizer, [1.0])
    with pytest.raises(ConfigError, match=r"'b' is in params but not in the optimiser's m"):
        optimizer.step({"w": np.ones(1), "b": np.ones(1)}, {"w": np.ones(1), "b": np.ones(1)})
    with pytest.raises(ShapeError, match=r"'w' is \(2,\) in params: expected \(1,\)"):
        optimizer.step({"w": np.ones(2)}, {"w": np.ones(2)})


@pytest.mark.parametrize("rate", [float("nan"), -0.1, float("inf")])
def test_a_schedule_that_gives_no_rate_is_named_and_nothing_moves(rate: float) -> None:
    class Odd(Schedule):
        def __call__(self, step: int) -> float:
            return rate

    params = {"kernel": np.ones(2, np.float32)}
    with pytest.raises(
        ConfigError, match=r"the learning rate of step 0 is .*: expected a number of at least 0"
    ):
        (optimizer := SGD(Odd())).step(params, {"kernel": np.ones(2, np.float32)})
    np.testing.assert_array_equal(params["kernel"], 1)
    optimizer.schedule = Constant(0.5)
    optimizer.step({"bias": np.ones(2)}, {"bias": np.ones(2)})  # no step was taken, so any model will do


def test_state_of_another_optimiser_is_refused() -> None:
    sgd, adam = SGD(0.1), Adam()
    moved(sgd, [1.0])
    moved(adam, [1.0])
    with pytest.raises(ConfigError, match=r"'velocity/w'.*Adam"):
        adam.load_state_dict(sgd.state_dict())
    with pytest.raises(ConfigError, match="'steps'"):
        adam.load_state_dict({})
    with pytest.raises(ConfigError, match="'w' is in m but not in v"):
        adam.load_state_dict({"steps": np.array(1), "m/w": np.zeros(1)})
    with pytest.raises(ConfigError, match="schedule state"):
        Adam(ReduceOnPlateau(0.1)).load_state_dict(adam.state_dict())
    assert adam.steps == 1


def test_state_without_its_slots_is_refused_at_the_next_step() -> None:
    optimizer = Adam()
    optimizer.load_state_dict({"steps": np.array(1)})
    with pytest.raises(ConfigError, match="'w' is in params but not in the optimiser's m"):
        moved(optimizer, [1.0])


@needs_numba
@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(0, 7), max_size=4).map(tuple),
    dtype=st.sampled_from([np.float32, np.float64]),
    maker=st.sampled_from(list(MAKERS.values())),
    scale=st.sampled_from([1e-4, 1.0, 100.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_backends_agree(shape: tuple[int, ...], dtype: type, maker: Maker, scale: float, seed: int) -> None:
    results = {}
    for name in ("numpy", "numba"):
        rng = np.random.default_rng(seed)
        params: dict[str, np.ndarray] = {"kernel": np.array(rng.normal(size=shape), dtype)}
        optimizer = maker(0.1)
        with kernels.backend(name):
            for _ in range(3):
                optimizer.step(params, {"kernel": np.array(scale * rng.normal(size=shape), dtype)})
        results[name] = params | optimizer.state_dict()
    relative = 1e-5 if dtype == np.float32 else 1e-13
    for name, expected in results["numpy"].items():
        # Where terms cancel, the error is relative to the terms.
        terms = np.abs(expected).max(initial=0)
        np.testing.assert_allclose(results["numba"][name], expected, rtol=relative, atol=relative * terms)
        assert results["numba"][name].dtype == expected.dtype


def torch_steps(make_theirs: Callable[..., Any], steps: int) -> dict[str, np.ndarray]:
    """The parameters after PyTorch's optimiser has taken `after_steps`' steps."""
    torch = pytest.importorskip("torch")
    params: dict[str, Any] = {
        name: torch.tensor(array, requires_grad=True) for name, array in random_arrays(0).items()
    }
    kernel_names = [name for name in params if name.endswith("kernel")]
    theirs = make_theirs(
        torch.optim,
        [params[name] for name in kernel_names],
        [param for name, param in params.items() if name not in kernel_names],
    )
    for step in range(steps):
        for name, grad in random_arrays(1000 + step).items():
            params[name].grad = torch.tensor(grad)
        theirs.step()
    return {name: param.detach().numpy() for name, param in params.items()}


THEIRS = {
    "sgd": (lambda: SGD(0.1), lambda optim, k, rest: optim.SGD(k + rest, 0.1)),
    "momentum": (lambda: SGD(0.1, 0.9), lambda optim, k, rest: optim.SGD(k + rest, 0.1, 0.9)),
    "nesterov": (
        lambda: SGD(0.1, 0.9, True),
        lambda optim, k, rest: optim.SGD(k + rest, 0.1, 0.9, nesterov=True),
    ),
    # Without momentum, decay in the gradient and decay beside it are the same.
    "decay": (
        lambda: SGD(0.1, weight_decay=0.2),
        lambda optim, k, rest: optim.SGD([{"params": k, "weight_decay": 0.2}, {"params": rest}], 0.1),
    ),
    "adam": (lambda: Adam(0.1), lambda optim, k, rest: optim.Adam(k + rest, 0.1)),
    "adam, large eps": (
        lambda: Adam(0.1, 0.7, 0.9, eps=0.1),
        lambda optim, k, rest: optim.Adam(k + rest, 0.1, (0.7, 0.9), eps=0.1),
    ),
    "adamw": (
        lambda: Adam(0.1, weight_decay=0.2),
        lambda optim, k, rest: optim.AdamW(
            [{"params": k, "weight_decay": 0.2}, {"params": rest, "weight_decay": 0.0}], 0.1
        ),
    ),
}


@pytest.mark.parametrize(("make_ours", "theirs"), THEIRS.values(), ids=THEIRS)
def test_ten_steps_agree_with_pytorch(
    make_ours: Callable[[], Optimizer], theirs: Callable[..., Any], backend: str
) -> None:
    expected = torch_steps(theirs, 10)
    for name, param in after_steps(make_ours(), range(10), random_arrays(0)).items():
        np.testing.assert_allclose(param, expected[name], rtol=1e-12, atol=1e-15)
