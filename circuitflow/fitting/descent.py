"""A problem as SciPy's minimisers call it: counted, kept finite, with the best point remembered."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from circuitflow.fitting.constraints import Constraints
from circuitflow.fitting.driver import Exhausted
from circuitflow.fitting.outcome import Settings, Step
from circuitflow.fitting.parameters import Vector
from circuitflow.fitting.problem import Matrix, Problem

FEASIBLE = 1e-8
"""The largest violation of a constraint that counts as none."""


class Descent:
    """Evaluates a problem for a minimiser, and remembers the best point.

    Of two points that satisfy the constraints the one with the lower objective is better, else the one that violates
    them less. Where the objective is not finite, a minimiser is told a value that is worse than all before.

    Attributes:
        problem: the problem.
        constraints: what must hold at the end.
        evaluations: how many values, gradients and products with the Hessian were computed.
        best: the best point so far.
        best_objective: its objective.
        history: the best objective after every evaluation of a value.
        raised: what an evaluation or the callback raised, if one did.
    """

    def __init__(self, problem: Problem, settings: Settings, most: int, constraints: Constraints | None = None) -> None:
        self.problem, self.constraints, self.evaluations = problem, constraints, 0
        self.best = problem.parameters.start
        self.best_objective = math.inf
        self.history: list[float] = []
        self.raised: BaseException | None = None
        self._settings, self._most, self._steps = settings, most, 0
        self._worst, self._violation = -math.inf, math.inf
        self._point: Vector | None = None
        self._value, self._slope = math.inf, self.best

    def value_and_gradient(self, x: Vector) -> tuple[float, Vector]:
        """The objective and its gradient at a point; the last ones are kept.

        Raises:
            Exhausted: it would need one evaluation more than allowed.
        """
        if self._point is None or not np.array_equal(x, self._point):
            with self._counted():
                x = np.array(x, np.float64)
                slope = self.problem.gradient(x)
                value = self._finite(self.problem.objective(x))
                self._point, self._value = x, value
                self._slope = slope if np.isfinite(slope).all() else np.zeros_like(slope)
                self._compare(x, value, float(np.linalg.norm(slope)))
        return self._value, self._slope.copy()

    def value(self, x: Vector) -> float:
        """The objective, for a minimiser that asks for its gradient next."""
        return self.value_and_gradient(x)[0]

    def gradient(self, x: Vector) -> Vector:
        """Its gradient."""
        return self.value_and_gradient(x)[1]

    def value_alone(self, x: Vector) -> float:
        """The objective, for a minimiser that asks for no gradient."""
        with self._counted():
            x = np.array(x, np.float64)
            value = self._finite(self.problem.objective(x))
            self._compare(x, value, math.nan)
        return value

    def hvp(self, x: Vector, v: Vector) -> Vector:
        """The Hessian times a vector; 0 where that is not finite."""
        with self._counted():
            product = self.problem.hvp(np.array(x, np.float64), np.array(v, np.float64))
        return product if np.isfinite(product).all() else np.zeros_like(product)

    def hessian(self, x: Vector) -> Matrix:
        """The Hessian; it counts as one evaluation."""
        with self._counted():
            matrix = self.problem.hessian(np.array(x, np.float64))
        return matrix if np.isfinite(matrix).all() else np.zeros_like(matrix)

    def fall(self) -> float:
        """How much of all that the objective fell came in the last tenth of the evaluations: from 0 to 1."""
        finite = [value for value in self.history if math.isfinite(value)]
        if len(finite) < 10 or finite[0] <= finite[-1]:
            return 0.0
        return (finite[-1 - len(finite) // 10] - finite[-1]) / (finite[0] - finite[-1])

    @contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            if self.evaluations >= self._most:
                raise Exhausted
            self.evaluations += 1
            yield
        except BaseException as error:
            self.raised = error
            raise

    def _finite(self, value: float) -> float:
        """The value, or a worse one than all before in its place."""
        if math.isfinite(value):
            self._worst = max(self._worst, value)
            return value
        return self._worst + abs(self._worst) + 1 if math.isfinite(self._worst) else 1.0

    def _compare(self, x: Vector, value: float, norm: float) -> None:
        violation = self.constraints.violation(x) if self.constraints is not None else 0.0
        violation = 0.0 if violation <= FEASIBLE else violation
        if (violation, value) < (self._violation, self.best_objective):
            self.best, self.best_objective, self._violation = x, value, violation
            self._steps += 1
            if self._settings.callback is not None:
                self._settings.callback(Step(self._steps, self.problem.evaluations, value, norm, x.copy()))
        self.history.append(self.best_objective)
