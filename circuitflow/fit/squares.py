"""Sums of squares of residuals: values, exact Jacobians, and their reduction by orthogonal transformations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg.lapack import dgeqrf

from circuitflow.errors import InputError
from circuitflow.fit.data import Block, Data
from circuitflow.fit.derivatives import Curvature, SlopesInForwardMode, SlopesInReverse, SlopesOfScalar
from circuitflow.fit.evaluation import Evaluation
from circuitflow.fit.parameters import Parameters, Vector
from circuitflow.fit.problem import Matrix, Problem, find_type
from circuitflow.fit.robust import ROBUST, Robust
from circuitflow.graph.circuit import Circuit
from circuitflow.text import listing, nearest, printable

TINY = float(np.finfo(np.float64).eps)


class Reduced(NamedTuple):
    """A sum of squares and its linear model at a point, free of the number of rows.

    With residuals r and Jacobian J of all rows, [J r] = Q [R c; 0 d] with orthogonal columns in Q, so that
    ‖J p + r‖² = ‖R p + c‖² + d² for every step p. The condition number is that of J, not its square.

    Attributes:
        objective: ½ Σ r², or with a robust loss ½ s² Σ ρ((r/s)²).
        triangle: R, of shape (size, size).
        right: c, of shape (size,).
        rest: d.
        total: the number of residuals.
    """

    objective: float
    triangle: Matrix
    right: Vector
    rest: float
    total: int

    @property
    def gradient(self) -> Vector:
        """The gradient of the objective, Jᵀ r."""
        return np.asarray(self.triangle.T @ self.right)


class SumOfSquares(Problem):
    """Half the sum of the squares of residuals over all rows, or of a robust loss of them.

    Attributes:
        residuals_of: the reference of the residuals: a scalar or a tensor of every row, or an array of a batch.
        robust: the loss of every residual; "linear" for squares.
        scale: the residual at which the robust loss begins to count less than the square (SciPy's `f_scale`).
    """

    def __init__(self, circuit: Circuit, parameters: Parameters, data: Data, residuals: str, *,
                 robust: str = "linear", scale: float = 1.0, engine: str = "auto") -> None:
        """Set up.

        Raises:
            InputError: an unknown reference, loss or engine, or a scale that is not positive.
        """
        super().__init__(circuit, parameters, data, engine)
        self.shape = find_type(circuit, residuals, "residuals").shape
        if robust not in ROBUST:
            raise InputError(f"loss: there is no robust loss '{printable(robust, 60)}'{nearest(robust, ROBUST)}; there "
                             f"are {listing(ROBUST)}")
        if not 0 < scale < np.inf:
            raise InputError(f"f_scale is {scale}; expected a finite number above 0")
        self.residuals_of, self.robust, self.scale = residuals, robust, float(scale)

    def residuals(self, x: Vector) -> Vector:
        """All residuals, row after row; float64 of shape (count,)."""
        values = self.parameters.values(x)
        return np.concatenate([np.ravel(self._value(block, values)[0][0]) for block in self.passes()],
                              dtype=np.float64)

    def jacobian(self, x: Vector) -> Matrix:
        """Their exact derivatives by the parameters; float64 of shape (count, size)."""
        return np.concatenate([slopes.T for _, slopes in self.blocks(x)])

    def blocks(self, x: Vector) -> Iterator[tuple[Vector, Matrix]]:
        """Block by block the residuals, of shape (count,), and their derivatives, of shape (size, count)."""
        values = self.parameters.values(x)
        for block in self.passes():
            residuals, slopes = self._slopes(block, values)
            yield residuals.astype(np.float64, copy=False), slopes.astype(np.float64, copy=False)

    def check_start(self) -> None:
        """Refuse a start from which no method can go on; one pass.

        Raises:
            InputError: a residual is not finite, or there are fewer residuals than free elements.
        """
        with np.errstate(all="ignore"):
            total = 0
            values = self.parameters.values(self.parameters.start)
            for block in self.passes():
                found = self._value(block, values)[0][0]
                total += found.size
                if not np.isfinite(found).all():
                    raise self._not_finite(block, np.ravel(found))
        if total < self.parameters.size:
            raise InputError(f"data: there are {total} residuals for {self.parameters.size} free parameters "
                             f"({listing(self.parameters.names)}); expected as many or more; give more rows, or freeze "
                             "parameters")

    def _not_finite(self, block: Block, residuals: Vector) -> InputError:
        place = int(np.argmax(~np.isfinite(residuals)))
        row = block.first + place * block.rows // residuals.size + 1
        start = ", ".join(f"{name} = {x:g}" for name, x in
                          zip(self.parameters.names[:6], self.parameters.start, strict=False))
        return InputError(f"residuals: '{printable(self.residuals_of, 60)}' is {residuals[place]} in row {row} at the "
                          f"start, {start}; give other values to start from, or take the row out")

    def objective(self, x: Vector) -> float:
        """½ Σ r², or the sum of the robust loss; from a forward pass alone."""
        values = self.parameters.values(x)
        with np.errstate(all="ignore"):
            return sum(self._cost(np.ravel(self._value(block, values)[0][0]).astype(np.float64, copy=False))
                       for block in self.passes())

    def gradient(self, x: Vector) -> Vector:
        """Its gradient Jᵀ r, with the weights of a robust loss."""
        return self.value_and_gradient(x)[1]

    def value_and_gradient(self, x: Vector) -> tuple[float, Vector]:
        """The objective and its gradient, from one pass over the data."""
        reduced = self.reduce(x)
        return reduced.objective, reduced.gradient

    def hvp(self, x: Vector, v: Vector) -> Vector:
        """Its exact Hessian times a vector."""
        triangle = self.reduce(x).triangle
        return np.asarray(triangle.T @ (triangle @ v) + self.curvature(x, [v])[0])

    def hessian(self, x: Vector) -> Matrix:
        """Its exact Hessian, of shape (size, size)."""
        triangle = self.reduce(x).triangle
        bent = self.curvature(x, list(np.eye(self.parameters.size)))
        return triangle.T @ triangle + (bent + bent.T) / 2

    def curvature(self, x: Vector, directions: list[Vector]) -> Matrix:
        """Σ r ∇²r times every direction, of shape (directions, size): what Gauss–Newton leaves out of the Hessian."""
        values = self.parameters.values(x)
        rho = ROBUST[self.robust]
        total = np.zeros((len(directions), self.parameters.size))
        for block in self.passes():
            weights = self._value(block, values)[0][0]
            if self.robust != "linear":
                weights = weights * rho((weights / self.scale) ** 2)[1]
            total += [self._curvature(block, values, v, weights) for v in directions]
        return total

    def reduce(self, x: Vector) -> Reduced:
        """The sum of squares and its linear model, block by block: QR decompositions of [J r], one upon the other.

        The rows that a robust loss weighs down are scaled as in Triggs et al. 2000, "Bundle adjustment – a modern
        synthesis", as SciPy does.
        """
        size = self.parameters.size
        top = np.zeros((size + 1, size + 1))
        objective, count = 0.0, 0
        with np.errstate(all="ignore"):
            for residuals, slopes in self.blocks(x):
                objective += self._cost(residuals)
                count += residuals.size
                if self.robust != "linear":
                    residuals, slopes = _scaled(residuals, slopes, ROBUST[self.robust], self.scale)
                stacked = np.empty((size + 1, size + 1 + residuals.size))
                stacked[:, : size + 1] = top.T
                stacked[:size, size + 1:] = slopes
                stacked[size, size + 1:] = residuals
                top = np.triu(dgeqrf(stacked.T, overwrite_a=1)[0][: size + 1])
        return Reduced(objective, top[:size, :size], top[:size, size], float(top[size, size]), count)

    def _cost(self, residuals: Vector) -> float:
        if self.robust == "linear":
            return 0.5 * float(residuals @ residuals)
        rho = ROBUST[self.robust]((residuals / self.scale) ** 2)[0]
        return 0.5 * self.scale**2 * float(rho.sum())

    @cached_property
    def _value(self) -> Evaluation:
        return Evaluation(self.circuit, [self.residuals_of], [], self.data, self.engine)

    @cached_property
    def _slopes(self) -> Callable[[Block, dict[str, Any]], tuple[Any, Any]]:
        """The cheaper way to the Jacobian: as many sweeps as residuals, or as many passes as parameters."""
        known = [size if isinstance(size, int) else self.parameters.size + 1 for size in self.shape]
        count = int(np.prod(known, dtype=np.int64))
        if not self.shape:
            way: Any = SlopesOfScalar
        else:
            way = SlopesInReverse if count <= self.parameters.size else SlopesInForwardMode
        return way(self.circuit, self.residuals_of, self.parameters, self.data, self.engine)  # type: ignore[no-any-return]

    @cached_property
    def _curvature(self) -> Curvature:
        return Curvature(self.circuit, self.residuals_of, self.parameters, self.data, self.engine)


def _scaled(residuals: Vector, slopes: Matrix, rho: Robust, scale: float) -> tuple[Vector, Matrix]:
    """Residuals and derivatives whose sum of squares has the gradient of the robust loss, and nearly its Hessian."""
    z = (residuals / scale) ** 2
    _, first, second = rho(z)
    weight = np.sqrt(np.maximum(first + 2 * second * z, TINY))
    return residuals * first / weight, slopes * weight
