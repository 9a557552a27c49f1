"""How weights move: stochastic gradient descent and Adam, with decoupled weight decay."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tinycnn.checks import check, check_flag, number
from tinycnn.errors import ConfigError, DTypeError, ShapeError
from tinycnn.kernels import active
from tinycnn.schedules import Constant, Schedule

Arrays = Mapping[str, np.ndarray]


def check_alike(found: Arrays, found_name: str, expected: Arrays, expected_name: str) -> None:
    """Check that two collections hold the same names, and arrays of equal shape and dtype under each.

    Raises:
        ConfigError: a name is in one of them only.
        ShapeError: two shapes differ.
        DTypeError: two dtypes differ.
    """
    unpaired = sorted(found.keys() ^ expected.keys())
    if unpaired:
        name = unpaired[0]
        here, there = (found_name, expected_name) if name in found else (expected_name, found_name)
        raise ConfigError(f"{name!r} is in {here} but not in {there}: expected the same names in both")
    for name, array in found.items():
        like = expected[name]
        if array.shape != like.shape:
            raise ShapeError(
                f"{name!r} is {array.shape} in {found_name}: expected {like.shape}, as in {expected_name}"
            )
        if array.dtype != like.dtype:
            raise DTypeError(
                f"{name!r} is {array.dtype} in {found_name}: expected {like.dtype}, as in {expected_name}"
            )


class Optimizer:
    """Base of the optimisers: it keeps the step count, the schedule, and for each parameter its slots.

    A slot is an array of a parameter's shape that the rule carries from step to step, such as a velocity.

    Args:
        learning_rate: a number, or a schedule that gives one for each step.
        weight_decay: fraction of itself, times the learning rate, that a weight loses at each step
            (Loshchilov & Hutter, 2019). Only parameters whose path ends in "kernel" decay: a bias or
            batch-norm number near zero makes no simpler model.

    Attributes:
        schedule: the learning rate's schedule.
        steps: number of steps taken.

    Raises:
        ConfigError: an argument is out of range.

    >>> optimizer = Adam(1e-3, weight_decay=1e-4)
    >>> optimizer.step({"bias": np.zeros(1)}, {"bias": np.ones(1)})
    >>> optimizer.steps, optimizer.current_learning_rate
    (1, 0.001)
    """

    #: Names of the slots, in the order in which the kernel takes them.
    slot_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, learning_rate: float | Schedule, weight_decay: float) -> None:
        decays = 0 <= number(weight_decay) < math.inf
        check(decays, "weight_decay", weight_decay, "0 or a positive number, such as 1e-4")
        self.schedule = learning_rate if isinstance(learning_rate, Schedule) else Constant(learning_rate)
        self.weight_decay = float(weight_decay)
        self.steps = 0
        self._slots: dict[str, dict[str, np.ndarray]] = {slot: {} for slot in self.slot_names}

    @property
    def current_learning_rate(self) -> float:
        """The learning rate of the next step."""
        return float(self.schedule(self.steps))

    def step(self, params: Arrays, grads: Arrays) -> None:
        """Move every parameter in place, given the gradient of the loss with respect to it.

        Args:
            params: float32 or float64 arrays by path, such as "blocks.2.sep1.depthwise.kernel"; the same
                names, shapes and dtypes at every step.
            grads: arrays of the same names, shapes and dtypes.

        Raises:
            ConfigError: names differ, or a parameter's memory cannot be changed in place, or the schedule
                gives no learning rate.
            ShapeError: a shape differs between parameter, gradient and earlier steps.
            DTypeError: a dtype differs likewise, or is neither float32 nor float64.
        """
        self._check(params, grads)
        lr = self.current_learning_rate
        if not 0 <= lr < math.inf:  # and not if it is NaN
            raise ConfigError(
                f"the learning rate of step {self.steps} is {lr}: expected a number of at least 0; look at "
                f"{self.schedule!r}"
            )
        self.steps += 1
        for name, param in params.items():
            slots = [slot[name] for slot in self._slots.values()]
            decays = name.rpartition(".")[2] == "kernel"
            self._move(param, grads[name], slots, lr, self.weight_decay if decays else 0.0)

    def _check(self, params: Arrays, grads: Arrays) -> None:
        check_alike(grads, "grads", params, "params")
        for name, param in params.items():
            if param.dtype not in (np.float32, np.float64):
                raise DTypeError(f"parameter {name!r} is {param.dtype}: expected float32 or float64")
            if not param.flags.carray:
                raise ConfigError(
                    f"parameter {name!r} is not a C-contiguous, writeable array, so it cannot be changed in "
                    "place: pass numpy.array(parameter, order='C')"
                )
        for slot, arrays in self._slots.items():
            if self.steps == 0:
                arrays.clear()  # of a step that was refused
                arrays.update({name: np.zeros_like(param) for name, param in params.items()})
            kept = (
                f"the optimiser's {slot} (kept from its earlier steps; other parameters need a new optimiser)"
            )
            check_alike(params, "params", arrays, kept)

    def _move(
        self, param: np.ndarray, grad: np.ndarray, slots: list[np.ndarray], lr: float, decay: float
    ) -> None:
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """Return type and arguments, ready for JSON: all attributes that are numbers or words, but steps."""
        own = {
            name: value
            for name, value in vars(self).items()
            if isinstance(value, int | float | str) and name != "steps"
        }
        return {"type": type(self).__name__, "learning_rate": self.schedule.config(), **own}

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all that a resumed run needs to go on with the same bits.

        Names are "steps", "schedule/<entry>" and "<slot>/<parameter>", such as "velocity/head.kernel".
        """
        state = {"steps": np.array(self.steps)}
        state |= {f"schedule/{name}": array for name, array in self.schedule.state_dict().items()}
        for slot, arrays in self._slots.items():
            state |= {f"{slot}/{name}": array.copy() for name, array in arrays.items()}
        return state

    def load_state_dict(self, state: Arrays) -> None:
        """Go on from where `state_dict` was taken, by an optimiser with the same arguments.

        Raises:
            ConfigError: the state is incomplete, or that of another optimiser or schedule.
            ShapeError, DTypeError: the slots of one parameter differ.
        """
        groups: dict[str, dict[str, np.ndarray]] = {g: {} for g in ("steps", "schedule", *self.slot_names)}
        for key, array in state.items():
            group, _, name = key.partition("/")
            if group not in groups:
                raise ConfigError(
                    f"optimiser state has an entry {key!r}: expected entries of {type(self).__name__}, "
                    f"which start with {', '.join(groups)}; was it saved by another optimiser?"
                )
            groups[group][name] = np.array(array, order="C")
        steps, schedule, *slots = groups.values()
        check("" in steps, "optimiser state", sorted(state), "an entry 'steps' among them")
        for slot, arrays in zip(self.slot_names, slots, strict=True):
            check_alike(arrays, slot, slots[0], self.slot_names[0])
        self.schedule.load_state_dict(schedule)
        self.steps = int(steps[""])
        self._slots = dict(zip(self.slot_names, slots, strict=True))


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked for.

    The equations and their sources stand at `tinycnn.kernels.reference.optim.sgd_step`.

    >>> params = {"head.kernel": np.array([1.0, 2.0])}
    >>> optimizer = SGD(learning_rate=0.5)
    >>> optimizer.step(params, {"head.kernel": np.array([1.0, -1.0])})
    >>> params["head.kernel"]
    array([0.5, 2.5])

    Args:
        learning_rate: a number, or a schedule that gives one for each step.
        momentum: share of the previous velocity that is kept, 0 to less than 1.
        nesterov: look one step ahead along the velocity; needs momentum.
        weight_decay: see `Optimizer`.

    Raises:
        ConfigError: an argument is out of range.
    """

    slot_names = ("velocity",)

    def __init__(
        self,
        learning_rate: float | Schedule,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        check(0 <= number(momentum) < 1, "momentum", momentum, "at least 0, less than 1, such as 0.9")
        check_flag(nesterov=nesterov)
        check(momentum > 0 or not nesterov, "nesterov", nesterov, "False, since momentum is 0")
        self.momentum = float(momentum)
        self.nesterov = nesterov

    def _move(
        self, param: np.ndarray, grad: np.ndarray, slots: list[np.ndarray], lr: float, decay: float
    ) -> None:
        active().sgd_step(param, grad, *slots, lr, self.momentum, self.nesterov, decay)


class Adam(Optimizer):
    """Adam (Kingma & Ba, 2015); with `weight_decay`, AdamW (Loshchilov & Hutter, 2019).

    The equations stand at `tinycnn.kernels.reference.optim.adam_step`. The first step has the length of the
    learning rate, whatever the gradient's scale:

    >>> params = {"head.kernel": np.array([1.0, 2.0])}
    >>> optimizer = Adam(learning_rate=0.5)
    >>> optimizer.step(params, {"head.kernel": np.array([100.0, -0.01])})
    >>> params["head.kernel"].round(4)
    array([0.5, 2.5])

    Args:
        learning_rate: a number, or a schedule that gives one for each step.
        beta1: share of the gradients' running mean that is kept, 0 to less than 1.
        beta2: the same for the mean of their squares.
        eps: positive number that keeps the division from zero.
        weight_decay: see `Optimizer`.

    Raises:
        ConfigError: an argument is out of range.
    """

    slot_names = ("m", "v")

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        check(0 <= number(beta1) < 1, "beta1", beta1, "at least 0, less than 1, such as 0.9")
        check(0 <= number(beta2) < 1, "beta2", beta2, "at least 0, less than 1, such as 0.999")
        check(0 < number(eps) < 1, "eps", eps, "a small positive number, such as 1e-8")
        self.beta1 = float(beta1)
        self.beta2 = float(beta2)
        self.eps = float(eps)

    def _move(
        self, param: np.ndarray, grad: np.ndarray, slots: list[np.ndarray], lr: float, decay: float
    ) -> None:
        active().adam_step(param, grad, *slots, lr, self.beta1, self.beta2, self.eps, decay, self.steps)
