"""Is a hand-written backward pass right? Compare it with the definition of a derivative.

For an output y of the layer and random numbers r, the loss is L = sum(r * y), so that backward(r) gives every
gradient. If v is a random direction in the space of a parameter, the slope of L along v is sum(gradient * v),
and it is also, by definition, the limit of (L(p + h v) - L(p - h v)) / 2h. A wrong gradient betrays itself in
almost every direction, so a few directions check thousands of numbers at the cost of a few forward passes.
"""

import copy
import math
from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np

from tinycnn.checks import check_positive, number, refuse
from tinycnn.errors import ConfigError, DTypeError, ShapeError
from tinycnn.layers import Layer

#: Steps h to try, relative to the size of what is moved. Each errs in its way: too large and the curve bends
#: or crosses a kink of ReLU or max-pool, too small and rounding drowns the difference. A wrong gradient fails
#: at all of them.
STEPS = (1e-5, 1e-4, 1e-6, 1e-3, 1e-7)


@dataclass(frozen=True)
class Check:
    """The verdict on one array of gradients.

    Attributes:
        name: the parameter's path, or "input".
        shape: of the array.
        numeric: slope by the definition of the derivative, in the worst direction tried.
        analytic: slope by the backward pass, in the same direction.
        error: ``|numeric - analytic|`` relative to the gradient's length.
        worst: where single numbers were compared, the index of the one that is furthest off.

    >>> verdict = gradcheck(tc.Dense(3, 2, rng=0), np.ones((4, 3)), show=False)
    >>> verdict.checks[1].name, verdict.checks[1].shape
    ('kernel', (3, 2))
    """

    name: str
    shape: tuple[int, ...]
    numeric: float
    analytic: float
    error: float
    worst: tuple[int, ...] | None = None


@dataclass(frozen=True)
class GradCheck:
    """The verdicts on all gradients of a layer; prints as a table.

    >>> verdict = gradcheck(tc.Dense(3, 2, rng=0), np.ones((4, 3)), show=False)
    >>> verdict.passed, [check.name for check in verdict.checks]
    (True, ['input', 'kernel', 'bias'])
    """

    layer: str
    checks: tuple[Check, ...]
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether every error is within the tolerance."""
        return all(check.error <= self.tolerance for check in self.checks)

    @property
    def error(self) -> float:
        """The largest relative error."""
        return max(check.error for check in self.checks)

    def __str__(self) -> str:
        lines = [("gradient of", "shape", "numeric", "by backward", "relative error", "")]
        for check in self.checks:
            verdict = "ok" if check.error <= self.tolerance else "WRONG"
            if check.worst is not None:
                verdict += f", most at {list(check.worst)}"
            shape = "x".join(map(str, check.shape))
            slopes = (f"{check.numeric:+.9f}", f"{check.analytic:+.9f}")
            lines.append((check.name, shape, *slopes, f"{check.error:.1e}", verdict))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = [
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        verdict = "every gradient agrees" if self.passed else "backward does not agree with forward"
        return "\n".join([self.layer, *table, f"{verdict} (tolerance {self.tolerance:.0e})"])


def gradcheck(
    layer: Layer,
    x: np.ndarray,
    *,
    tolerance: float = 1e-7,
    directions: int = 3,
    seed: int = 0,
    show: bool = True,
) -> GradCheck:
    """Check all gradients of a layer numerically, in float64, and print a table.

    The layer itself is left as it was: a float64 copy is checked, in training mode.

    Args:
        layer: any layer or whole model.
        x: an input for it, (N, ...). Choose numbers away from kinks: a ReLU input of exactly 0, or a tie in a
            max-pool window, has no derivative to compare with.
        tolerance: largest relative error to pass.
        directions: random directions tried per array.
        seed: of the directions.
        show: whether to print the table.

    Returns:
        The verdicts; ``result.passed`` says whether all gradients are right.

    Raises:
        ShapeError, DTypeError: x does not fit the layer, or a gradient is not of its array's shape.
        ConfigError: `layer` is none, its gradients have other names than its parameters, or another argument
            is out of range.

    >>> import tinycnn as tc
    >>> tc.gradcheck(tc.ReLU(), np.array([[-1.0, 2.0]]), show=False).passed
    True
    """
    if not isinstance(layer, Layer):
        refuse("layer", layer, "an object of type Layer, such as tc.ReLU()")
    check_positive(directions=directions)
    if not 0 < number(tolerance) < math.inf:
        refuse("tolerance", tolerance, "a positive number, such as 1e-7")
    if not isinstance(seed, Integral) or seed < 0:
        refuse("seed", seed, "a whole number of at least 0")
    if isinstance(x, np.ma.MaskedArray) or np.asarray(x).dtype.kind not in "fiu":
        raise DTypeError(f"x is {np.asarray(x).dtype}, or has a mask: expected real numbers")
    probe = _Probe(layer.astype(np.float64), np.array(x, np.float64), tolerance, seed)
    checks = tuple(probe.check(name, directions) for name in probe.arrays)
    result = GradCheck(repr(layer), checks, tolerance)
    if show:
        print(result)
    return result


class _Probe:
    """A float64 layer, an input, and the loss L = sum(r * y) + penalty, with its gradients by `backward`."""

    def __init__(self, layer: Layer, x: np.ndarray, tolerance: float, seed: int) -> None:
        self.layer, self.x, self.tolerance = layer, x, tolerance
        self.rng = np.random.default_rng([seed, 271828])  # unlike default_rng(seed), which may have made x
        trained = copy.deepcopy(layer)
        self.r = self.rng.standard_normal(trained.forward(x, train=True).shape)
        self.gradients = {"input": trained.backward(self.r), **trained.grads}
        if trained.grads.keys() != layer.params.keys():
            names = f"gradients of {sorted(trained.grads)}, its params are {sorted(layer.params)}"
            raise ConfigError(f"{layer!r}: backward gives {names}")
        self.arrays = {"input": x, **layer.params}
        for name, array in self.arrays.items():  # sums would broadcast, and agree
            if (found := np.shape(self.gradients[name])) != array.shape:
                raise ShapeError(
                    f"{layer!r}: backward gives {name!r}, which is {array.shape}, a gradient {found}"
                )

    def check(self, name: str, directions: int) -> Check:
        """Compare along random directions; if one disagrees, look at single numbers to say where."""
        shape = self.arrays[name].shape
        tried = [self._compare(name, self.rng.standard_normal(shape)) for _ in range(directions)]
        worst = max(tried, key=lambda check: check.error)
        if worst.error <= self.tolerance or self.arrays[name].size > 10_000:
            return worst
        errors = {index: self._compare(name, _unit(shape, index)).error for index in np.ndindex(shape)}
        return replace(worst, worst=max(errors, key=errors.__getitem__))

    def _compare(self, name: str, direction: np.ndarray) -> Check:
        """Compare the two slopes along one direction, at the step that suits the numeric one best."""
        array, gradient = self.arrays[name], self.gradients[name]
        analytic = float(np.sum(gradient * direction))
        # A gradient that is zero by nature, such as a bias's before batch norm, is compared with r instead.
        length = float(max(np.linalg.norm(gradient), 1e-3 * np.linalg.norm(self.r)))
        tried = []
        for step in STEPS:
            numeric = self._slope(array, direction, step * max(1.0, np.abs(array).max()))
            tried.append(Check(name, array.shape, numeric, analytic, abs(numeric - analytic) / length))
            if tried[-1].error <= self.tolerance / 100:
                break
        return min(tried, key=lambda check: check.error if check.error == check.error else np.inf)

    def _slope(self, array: np.ndarray, direction: np.ndarray, step: float) -> float:
        """Central difference of L along a direction in one array, which is afterwards as it was."""
        kept = array.copy()
        array[...] = kept + step * direction
        above, above_penalty = self._output(), self.layer.penalty()
        array[...] = kept - step * direction
        below, below_penalty = self._output(), self.layer.penalty()
        array[...] = kept
        # Differences are taken element by element, before the sum could round them away.
        return float(np.sum(self.r * (above - below)) + above_penalty - below_penalty) / (2 * step)

    def _output(self) -> np.ndarray:
        # A copy of the layer for each pass: dropout draws the same choices, running statistics start alike.
        # A copy of the output, since Flatten's is a view of x, which is about to move.
        return copy.deepcopy(self.layer).forward(self.x, train=True).copy()


def _unit(shape: tuple[int, ...], index: tuple[int, ...]) -> np.ndarray:
    direction = np.zeros(shape)
    direction[index] = 1
    return direction
