"""Newton steps on the exact Hessian, from the end of another method to the last digits of a minimum."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from circuitflow.fitting.descent import Descent
from circuitflow.fitting.parameters import Mask, Vector
from circuitflow.fitting.problem import Matrix

FEW = 200
"""The most free elements for which the Hessian is computed; with more, trust-krylov needs its products alone."""

STEPS = 20
"""The most steps."""

SINGULAR = 1e-11
"""Eigenvalues of the scaled Hessian within this part of the largest count as 0."""


class End(NamedTuple):
    """The end of a polish.

    Attributes:
        x: the point.
        converged: whether the gradient is so small that no step matters, and the Hessian is nowhere negative.
        escape: a lower point beside a saddle; None where there is none.
        words: what was done.
    """

    x: Vector
    converged: bool
    escape: Vector | None
    words: tuple[str, ...]


class Spectrum(NamedTuple):
    """The eigenvalues of a Hessian whose diagonal is scaled to ±1, and its eigenvectors in the scaled elements.

    Attributes:
        values: in ascending order.
        vectors: in columns.
        scale: an element is its scaled one divided by this.
    """

    values: Vector
    vectors: Matrix
    scale: Vector

    @property
    def zero(self) -> float:
        """Eigenvalues up to this size count as 0."""
        return SINGULAR * float(np.max(np.abs(self.values), initial=1e-300))


def spectrum(hessian: Matrix) -> Spectrum:
    """The spectrum of a Hessian, in units in which its diagonal is ±1."""
    diagonal = np.sqrt(np.abs(np.diag(hessian)))
    scale = np.where(diagonal > 0, diagonal, 1.0)
    values, vectors = np.linalg.eigh(hessian / np.outer(scale, scale))
    return Spectrum(values, vectors, scale)


def newton(descent: Descent, x: Vector, tolerance: float) -> End:
    """Take Newton steps while these make the gradient smaller; elements at a bound that holds them stay there.

    What is left to do is measured by the fall that the quadratic model promises, ½ gᵀH⁻¹g.

    Raises:
        Exhausted: the evaluations are used up.
    """
    parameters = descent.problem.parameters
    x, free = parameters.held(x, descent.gradient(x))
    if int(free.sum()) > FEW:
        return _by_products(descent, x, free, tolerance)
    taken = 0
    for _ in range(STEPS + 1):
        slope = descent.gradient(x)[free]
        bent = spectrum(descent.hessian(x)[np.ix_(free, free)])
        if bent.values.size and bent.values[0] < -max(bent.zero, 1e-8 * float(np.max(np.abs(bent.values)))):
            return End(x, False, _beside(descent, x, free, bent), _words(taken))
        steep = bent.values > bent.zero
        along = np.where(steep, bent.vectors.T @ (slope / bent.scale) / np.where(steep, bent.values, 1), 0.0)
        step = np.zeros_like(x)
        step[free] = -(bent.vectors @ along) / bent.scale
        left = float(np.sum(bent.values[steep] * along[steep]**2)) / 2
        new = np.clip(x + step, parameters.lower, parameters.upper)
        if taken == STEPS or np.array_equal(new, x) or not _lower(descent, x, new, free):
            converged = _is_end(descent, x, step, left, tolerance)
            return End(x, converged, None, _words(taken))
        x, taken = new, taken + 1
        x, free = parameters.held(x, descent.gradient(x))
    return End(x, False, None, _words(taken))


def _lower(descent: Descent, x: Vector, new: Vector, free: Mask) -> bool:
    """Whether a step lowers the objective, or keeps it to rounding with a gradient half as large."""
    before, slope = descent.value_and_gradient(x)
    after, later = descent.value_and_gradient(new)
    rounding = 1e-13 * abs(before)
    smaller = np.linalg.norm(later[free]) < 0.5 * np.linalg.norm(slope[free])
    return bool(after <= before + rounding and (smaller or after < before - rounding))


def _is_end(descent: Descent, x: Vector, step: Vector, left: float, tolerance: float) -> bool:
    """Whether the step left to take changes the objective, or every element, too little to matter."""
    value = descent.value(x)
    first = next((value for value in descent.history if np.isfinite(value)), value)
    if left <= max(tolerance, 1e-12) * max(abs(value), first - value):
        return True
    return bool(np.all(np.abs(step) <= max(tolerance, 1e-8) * np.abs(x)))


def _beside(descent: Descent, x: Vector, free: Mask, bent: Spectrum) -> Vector | None:
    """A lower point along the direction in which the Hessian is most negative; None where none was found."""
    way = np.zeros_like(x)
    way[free] = bent.vectors[:, 0] / bent.scale
    way *= max(1.0, float(np.linalg.norm(x))) / float(np.linalg.norm(way))
    parameters, here = descent.problem.parameters, descent.value(x)
    for size in (1e-1, 1e-2, 1e-3, 1e-4):
        for sign in (1, -1):
            new = np.clip(x + sign * size * way, parameters.lower, parameters.upper)
            if descent.value(new) < here:
                return np.asarray(new)
    return None


def _by_products(descent: Descent, x: Vector, free: Mask, tolerance: float) -> End:
    """SciPy's trust-krylov on the free elements; an end outside of the bounds is not taken."""
    parameters = descent.problem.parameters

    def whole(part: Vector) -> Vector:
        point = x.copy()
        point[free] = part
        return point

    def product(part: Vector, v: Vector) -> Vector:
        direction = np.zeros_like(x)
        direction[free] = v
        return descent.hvp(whole(part), direction)[free]

    before = descent.evaluations
    size = float(np.linalg.norm(descent.gradient(x)[free]))
    first = float(np.linalg.norm(descent.gradient(parameters.start)[free]))
    goal = max(tolerance**1.5, 1e-15) * first
    words: tuple[str, ...] = ()
    if size > goal:
        result = minimize(lambda part: descent.value(whole(part)), x[free], method="trust-krylov", tol=goal,
                          jac=lambda part: descent.gradient(whole(part))[free], hessp=product,
                          options={"maxiter": STEPS})
        new = whole(np.asarray(result.x))
        words = (f"polished by trust-krylov: {descent.evaluations - before} evaluations",)
        if np.all((new >= parameters.lower) & (new <= parameters.upper)) and descent.value(new) <= descent.value(x):
            x = new
            size = float(np.linalg.norm(descent.gradient(x)[free]))
    return End(x, size <= max(1e-5 * first, goal), None, words)


def _words(count: int) -> tuple[str, ...]:
    return (f"polished by {count} Newton step{'s' * (count > 1)} on the exact Hessian",) if count else ()
