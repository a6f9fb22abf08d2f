"""SciPy's least-squares methods on a sum of squares that is reduced to as many rows as parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult, least_squares

from circuitflow.fitting.outcome import Settings, Step
from circuitflow.fitting.parameters import Vector
from circuitflow.fitting.squares import Reduced, SumOfSquares

HUGE = 1e100
"""A residual for a point at which the residuals are not finite: SciPy rejects the step."""


class Exhausted(Exception):  # noqa: N818
    """The passes that were allowed are used up."""


class Driver:
    """Evaluates a sum of squares for SciPy, and remembers the best point.

    SciPy's methods use residuals r and the Jacobian J only through ‖r‖, Jᵀr and JᵀJ at one point at a time. Rows that
    an orthogonal transformation has reduced, [R c; 0 d] for [J r], give the same: the steps are those of all rows, and
    memory does not depend on their number.

    Attributes:
        problem: the problem.
        evaluations: the number of points evaluated.
        best: the best point so far, None before the first.
        best_objective: its objective.
    """

    def __init__(self, problem: SumOfSquares, settings: Settings, most: int) -> None:
        self.problem, self.evaluations = problem, 0
        self.best: Vector | None = None
        self.best_objective = np.inf
        self._settings, self._most, self._steps = settings, most, 0
        self._point: Vector | None = None
        self._reduced: Reduced | None = None

    def reduced(self, x: Vector) -> Reduced:
        """The reduction at a point; the last one is kept.

        Raises:
            Exhausted: it would need one evaluation more than allowed.
        """
        if self._reduced is None or not np.array_equal(x, self._point):  # type: ignore[arg-type]
            if self.evaluations >= self._most:
                raise Exhausted
            self.evaluations += 1
            self._point, self._reduced = x.copy(), self.problem.reduce(x)
            if self._reduced.objective < self.best_objective:
                self.best, self.best_objective = self._point, self._reduced.objective
                self._tell(self._point, self._reduced)
        return self._reduced

    def solve(self, start: Vector, method: str, x_scale: Any, tolerance: float) -> OptimizeResult:
        """Run a method from a start.

        Raises:
            Exhausted: the evaluations are used up.
        """
        bounds = (self.problem.parameters.lower, self.problem.parameters.upper)
        linear = self.problem.robust == "linear"
        with np.errstate(all="ignore"):
            return least_squares(self._residuals, start, self._jacobian, method=method, x_scale=x_scale, xtol=tolerance,
                                 ftol=tolerance, gtol=tolerance, max_nfev=self._most + 1,
                                 **({} if method == "lm" else {"bounds": bounds}),
                                 **({} if linear else {"loss": self._loss}))

    def _residuals(self, x: Vector) -> Vector:
        reduced = self.reduced(x)
        rows = np.append(reduced.right, reduced.rest)
        return rows if np.isfinite(rows).all() and np.isfinite(reduced.objective) else np.full_like(rows, HUGE)

    def _jacobian(self, x: Vector) -> Any:
        rows = np.vstack([self.reduced(x).triangle, np.zeros(x.size)])
        return rows if np.isfinite(rows).all() else np.zeros_like(rows)

    def _loss(self, z: Vector) -> Any:
        """The robust loss, which the reduction has applied already: only its sum differs from that of squares."""
        reduced = self._reduced
        assert reduced is not None  # noqa: S101
        total = np.zeros_like(z)
        total[0] = 2 * reduced.objective if np.isfinite(reduced.objective) else HUGE
        return np.array([total, np.ones_like(z), np.zeros_like(z)])

    def _tell(self, x: Vector, reduced: Reduced) -> None:
        self._steps += 1
        if self._settings.callback is not None:
            norm = float(np.linalg.norm(reduced.gradient))
            self._settings.callback(Step(self._steps, self.problem.evaluations, reduced.objective, norm, x.copy()))
