"""Polishes a minimum of a sum of squares to the last digits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from circuitflow.fitting.driver import Driver
from circuitflow.fitting.parameters import Mask, Vector
from circuitflow.fitting.problem import Matrix
from circuitflow.fitting.squares import Reduced

STEPS = 20
"""The most steps of a polish."""

SINGULAR = 1e-11
"""Singular values of the scaled Jacobian below this part of the largest count as 0."""


ROUNDING = 1e-14
"""Less than this part of the residuals is not worth a step."""


class Polished(NamedTuple):
    """The end of a polish.

    Attributes:
        x: the point.
        free: marks the elements that are not held at a bound.
        converged: whether the steps became too small to matter.
        convex: whether the Hessian there is positive on the free elements; true where no step needed it.
        words: what was done.
    """

    x: Vector
    free: Mask
    converged: bool
    convex: bool
    words: tuple[str, ...]


def polish(driver: Driver, x: Vector) -> Polished:
    """Take Gauss–Newton steps while these converge fast, else Newton steps on the exact Hessian.

    Elements at a bound towards which the objective falls are held there. The size of what is left to do is ‖c‖, the
    part of the residuals that the Jacobian explains; the polish ends where it shrinks no more, at rounding.

    With R the triangle of the Jacobian and B the curvature of the residuals, Newton's step solves (RᵀR + B) p = −Rᵀc.
    It is computed as R p = −(I + R⁻ᵀ B R⁻¹)⁻¹ c, so that the condition number is not squared, on the
    singular values of R that are not 0 to rounding.

    Raises:
        Exhausted: the evaluations are used up.
    """
    problem = driver.problem
    x, free = problem.parameters.held(x, driver.reduced(x).gradient)
    units = np.eye(x.size)[free]
    quick, gauss, newton, convex = True, 0, 0, True
    for _ in range(STEPS):
        model = linear_model(driver.reduced(x), free)
        if model.left <= ROUNDING * abs(driver.reduced(x).rest):
            break
        if quick:
            along = np.asarray(-model.right)
        else:
            bent = problem.curvature(x, list(units))[:, free]
            matrix = np.eye(model.right.size) + model.inverse.T @ ((bent + bent.T) / 2) @ model.inverse
            convex = bool(np.all(np.linalg.eigvalsh(matrix) > 0))
            if not convex:
                break
            along = np.asarray(-np.linalg.solve(matrix, model.right), np.float64)
        step = np.zeros_like(x)
        step[free] = model.inverse @ along
        new = np.clip(x + step, problem.parameters.lower, problem.parameters.upper)
        left = linear_model(driver.reduced(new), free).left
        if left < 0.5 * model.left:
            x = np.asarray(new)
            gauss, newton = gauss + quick, newton + (not quick)
            quick = quick and left < 0.01 * model.left
        elif quick:
            quick = False
        else:
            break
    return Polished(x, free, _is_end(driver.reduced(x), free, x), convex, _words(gauss, newton))


class LinearModel(NamedTuple):
    """The linear model in the elements that are free, with what the residuals do not determine left out.

    With D the lengths of the columns of the Jacobian, J D⁻¹ = U S Vᵀ.

    Attributes:
        inverse: D⁻¹ V S⁻¹, of shape (free, rank): a step is its product with what is in the range of the Jacobian.
        right: Uᵀ c, of shape (rank,): the part of the residuals that steps change.
        full: whether the rank is that of the free elements, to rounding.
    """

    inverse: Matrix
    right: Vector
    full: bool

    @property
    def left(self) -> float:
        """The size of what steps would take from the residuals."""
        return float(np.linalg.norm(self.right))


def linear_model(reduced: Reduced, free: Mask) -> LinearModel:
    """The linear model at a point; where that is not finite, one of no elements, of which infinitely much is left."""
    columns = reduced.triangle[:, free]
    if not (np.isfinite(columns).all() and np.isfinite(reduced.right).all()):
        return LinearModel(np.zeros((columns.shape[1], 1)), np.full(1, np.inf), False)
    size = lengths(columns)
    unit = np.where(size > 0, size, 1)
    left, values, right = np.linalg.svd(columns / unit, full_matrices=False)
    rank = int(np.sum(values > SINGULAR * values[:1]))
    inverse = right[:rank].T / values[:rank] / unit[:, None]
    return LinearModel(inverse, left[:, :rank].T @ reduced.right, rank == values.size)


def lengths(columns: Matrix) -> Vector:
    """The lengths of columns; their squares may lie beyond float64."""
    largest = np.max(np.abs(columns), axis=0, initial=0.0)
    unit = np.where(largest > 0, largest, 1)
    return np.asarray(np.linalg.norm(columns / unit, axis=0) * unit)


def _is_end(reduced: Reduced, free: Mask, x: Vector) -> bool:
    """Whether a Gauss–Newton step would change the sum of squares, or every element, too little to matter."""
    model = linear_model(reduced, free)
    if model.left <= 1e-6 * np.hypot(model.left, reduced.rest):
        return True
    return bool(np.all(np.abs(model.inverse @ model.right) <= 1e-8 * np.abs(x[free])))


def _words(gauss: int, newton: int) -> tuple[str, ...]:
    counts = ((gauss, "Gauss–Newton step", ""), (newton, "Newton step", " on the exact Hessian"))
    return tuple(f"polished by {count} {name}{'s' * (count > 1)}{rest}" for count, name, rest in counts if count)
