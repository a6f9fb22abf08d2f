"""Sums of squares of residuals: values, exact Jacobians, and their reduction by orthogonal transformations."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg.lapack import dgeqrf

from circuitflow.errors import InputError
from circuitflow.fitting.data import NO_DATA, Block, Data
from circuitflow.fitting.derivatives import Curvature, SlopesInForwardMode, SlopesInReverse, SlopesOfScalar
from circuitflow.fitting.journal import Journal, Shape
from circuitflow.fitting.parameters import Parameters, Vector
from circuitflow.fitting.problem import Cluster, Matrix, Problem, find_type
from circuitflow.fitting.robust import ROBUST, Robust
from circuitflow.graph.circuit import Circuit
from circuitflow.rows.fixed_order import Sum, total
from circuitflow.text import listing, nearest, printable

TOGETHER, NUMBERS = 64, 2**23
"""The most blocks that are computed at a time, and the most numbers of their triangles, but for one block."""

LEAST = 1e-4
"""The least weight of a squared residual in the linear model, beside the slope of the robust loss."""


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

    @property
    def squares(self) -> float:
        """Σ r², of residuals that a robust loss has scaled; infinite where it overflows."""
        with np.errstate(over="ignore"):
            return float(self.right @ self.right + np.square(self.rest))


Part = tuple[Matrix, list[float], int]
"""Of some rows: the triangle of [J r], the parts of the objective by blocks, and the number of residuals."""


class SumOfSquares(Problem):
    """Half the sum of the squares of residuals over all rows, or of a robust loss of them.

    Attributes:
        residuals_of: the reference of the residuals: a scalar or a tensor of every row, or an array of a batch.
        robust: the loss of every residual; "linear" for squares.
        scale: the residual at which the robust loss begins to count less than the square (SciPy's `f_scale`).
    """

    def __init__(self, circuit: Circuit, parameters: Parameters, data: Data, residuals: str, *,
                 robust: str = "linear", scale: float = 1.0, engine: str = "auto",
                 journal: Journal | None = None, cluster: Cluster | None = None) -> None:
        """Set up.

        Raises:
            InputError: an unknown reference, loss or engine, or a scale that is not positive.
        """
        super().__init__(circuit, parameters, data, engine, journal, cluster)
        self.shape = find_type(circuit, residuals, "residuals").shape
        if robust not in ROBUST:
            raise InputError(f"loss: there is no robust loss '{printable(robust, 60)}'{nearest(robust, ROBUST)}; there "
                             f"are {listing(ROBUST)}")
        if not 0 < scale < np.inf:
            raise InputError(f"f_scale is {scale}; expected a finite number above 0")
        self.residuals_of, self.robust, self.scale = residuals, robust, float(scale)

    def residuals(self, x: Vector) -> Vector:
        """All residuals, row after row; float64 of shape (count,)."""
        return np.concatenate([self.of_block(block, x) for block in self.passes()])

    def of_block(self, block: Block, x: Vector) -> Vector:
        """The residuals of a block; float64 of shape (count,)."""
        return np.ravel(self.shaped(block, x)).astype(np.float64, copy=False)

    def jacobian(self, x: Vector) -> Matrix:
        """Their exact derivatives by the parameters; float64 of shape (count, size)."""
        return np.concatenate([slopes.T for _, slopes in self.blocks(x)])

    def blocks(self, x: Vector) -> Iterator[tuple[Vector, Matrix]]:
        """Block by block the residuals, of shape (count,), and their derivatives, of shape (size, count)."""
        values = self.parameters.values(x)
        for block in self.passes():
            residuals, slopes = self._slopes(block, values)
            yield residuals.astype(np.float64, copy=False), np.concatenate(slopes, dtype=np.float64)

    def shaped(self, block: Block, x: Vector) -> Any:
        """The residuals of a block as the circuit has them."""
        return self.evaluation(self.residuals_of)(block, self.parameters.values(x))[0][0]

    def check_start(self) -> None:
        """Refuse a start from which no method can go on.

        Raises:
            InputError: a residual, its derivative or the sum of squares is not finite, or there are fewer residuals
                than free elements.
        """
        start = self.parameters.start
        reduced = self.reduce(start)
        if not (np.isfinite(reduced.triangle).all() and np.isfinite(reduced.right).all()):
            values = self.parameters.values(start)
            with np.errstate(all="ignore"):
                for block in self.passes():
                    residuals, slopes = self._slopes(block, values)
                    if not np.isfinite(residuals).all():
                        raise self._not_finite(block, residuals, residuals.size, "")
                    for name, slope in zip(self.parameters.names, np.concatenate(slopes), strict=True):
                        if not np.isfinite(slope).all():
                            raise self._not_finite(block, slope, residuals.size, f"the derivative by '{name}' of ")
        if not np.isfinite([reduced.objective, reduced.squares]).all():
            raise InputError(f"residuals: the squares of '{printable(self.residuals_of, 60)}' overflow at the start, "
                             f"{self._start_in_words()}; measure the data in other units, or give other values to "
                             "start from")
        if reduced.total < self.parameters.size:
            count = "is 1 residual" if reduced.total == 1 else f"are {reduced.total} residuals"
            raise InputError(f"data: there {count} for {self.parameters.size} free parameters "
                             f"({listing(self.parameters.names)}); expected as many or more; " + (
                                 "give a table of more rows, or freeze parameters" if self.data.columns else NO_DATA))

    def _not_finite(self, block: Block, values: Vector, count: int, what: str) -> InputError:
        place = int(np.argmax(~np.isfinite(values)))
        row = block.first + place * block.rows // count + 1
        return InputError(f"residuals: {what}'{printable(self.residuals_of, 60)}' is {values[place]} in row {row} at "
                          f"the start, {self._start_in_words()}; give other values to start from, or take the row out")

    def _start_in_words(self) -> str:
        return ", ".join(f"{name} = {x:g}" for name, x in
                         zip(self.parameters.names[:6], self.parameters.start, strict=False))

    @cached_property
    def plain(self) -> SumOfSquares:
        """The sum of the squares of the same residuals, without a robust loss."""
        return self if self.robust == "linear" else SumOfSquares(
            self.circuit, self.parameters, self.data, self.residuals_of, engine=self.engine, journal=self.journal,
            cluster=self.cluster)

    def influence(self, x: Vector) -> tuple[float, float, float]:
        """Of the robust loss at all residuals: Σψ², Σψ′ and Σψ′², for ψ the slope of the loss of a residual."""
        return tuple(self._recall("influence", [x], [(3,)],
                                  lambda: [self.summed(SumOfSquares._influences, (x,))])[0].tolist())

    def _influences(self, block: Block, x: Vector) -> Sum:
        residuals = self.of_block(block, x)
        z = (residuals / self.scale) ** 2
        _, first, second = ROBUST[self.robust](z)
        slope, bent = residuals * first, first + 2 * second * z
        return np.array([slope @ slope, bent.sum(), bent @ bent]), 0.0

    def objective(self, x: Vector) -> float:
        """½ Σ r², or the sum of the robust loss; from a forward pass alone."""
        return float(self._recall("objective", [x], [()], lambda: [
            total(self.fold(SumOfSquares._costs, (x,), operator.add))])[0])

    def _costs(self, block: Block, x: Vector) -> list[float]:
        return [self._cost(self.of_block(block, x))]

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
        """What RᵀR of the reduction leaves out of the exact Hessian, times every direction: (directions, size).

        That is Σ r ∇²r; with a robust loss also what the reduction cannot have of residuals that count less and less.
        """
        shape = (len(directions), self.parameters.size)
        curvature: Matrix = self._recall("curvature", [x, *directions], [shape],
                                         lambda: [self._bend(x, directions)])[0]
        return curvature

    def _bend(self, x: Vector, directions: list[Vector]) -> Matrix:
        if self._curvature.is_zero and self.robust == "linear":
            return np.zeros((len(directions), self.parameters.size))
        return np.asarray(self.summed(SumOfSquares._products, (x, np.stack(directions))))

    def _products(self, block: Block, x: Vector, directions: Matrix) -> Sum:
        weights, outside = self.shaped(block, x), 0.0
        if self.robust != "linear":
            z = (weights / self.scale) ** 2
            _, first, second = ROBUST[self.robust](z)
            weights = weights * first
            bent = np.ravel((1 - LEAST) * first + 2 * second * z)
            slopes = np.concatenate(self._slopes(block, self.parameters.values(x))[1])[:, bent < 0]
            outside = directions @ (slopes * bent[bent < 0]) @ slopes.T
        return outside + self.bent(block, x, directions, weights), 0.0

    def bent(self, block: Block, x: Vector, directions: Matrix, weights: Any) -> Matrix:
        """The Hessians of the residuals of a block, each times its weight, times every direction: (directions, size).

        The weights have the shape of the residuals, over rows with the rows in front.
        """
        values = self.parameters.values(x)
        return np.stack([self._curvature(block, values, v, weights) for v in directions])

    def reduce(self, x: Vector) -> Reduced:
        """The sum of squares and its linear model: QR decompositions of the blocks of [J r], and of their triangles.

        Blocks are shared between the cores; sums do not depend on how. The last two points are remembered.
        The rows that a robust loss weighs down are scaled as in Triggs et al. 2000, "Bundle adjustment – a modern
        synthesis", as SciPy does. The gradient is exact; the least weight keeps it from rounding.
        """
        for point, reduced in self._reductions:
            if np.array_equal(point, x):
                return reduced
        size = self.parameters.size
        objective, triangle, right, rest, total = self._recall(
            "reduction", [x], [(), (size, size), (size,), (), ()], lambda: self._reduce(x))
        reduced = Reduced(float(objective), triangle, right, float(rest), int(total))
        self._reductions[:] = [(x.copy(), reduced), *self._reductions[:1]]
        return reduced

    def _recall(self, question: str, points: list[Vector], shapes: list[Shape],
                compute: Callable[[], Sequence[Any]]) -> list[Any]:
        return self.recall(f"{question} {self.residuals_of} {self.robust} {self.scale}", points, shapes, compute)

    def _reduce(self, x: Vector) -> Reduced:
        size = self.parameters.size
        triangle, costs, count = self.fold(SumOfSquares._block, (x,), _joined,
                                           max(1, min(TOGETHER, NUMBERS // (size + 1) ** 2)))
        return Reduced(total(costs), triangle[:size, :size], triangle[:size, size], float(triangle[size, size]), count)

    def _block(self, block: Block, x: Vector) -> Part:
        size = self.parameters.size
        residuals, slopes = self._slopes(block, self.parameters.values(x))
        count = residuals.size
        rows = np.zeros((size + 1, max(count, size + 1)))
        rows[size, :count] = residuals
        first = 0
        for part in slopes:
            rows[first : first + len(part), :count] = part
            first += len(part)
        residuals = rows[size, :count]
        cost = self._cost(residuals)
        if self.robust != "linear":
            _scale(residuals, rows[:size, :count], ROBUST[self.robust], self.scale)
        return _triangle(rows), [cost], count

    def _cost(self, residuals: Vector) -> float:
        if self.robust == "linear":
            return 0.5 * float(residuals @ residuals)
        rho = ROBUST[self.robust]((residuals / self.scale) ** 2)[0]
        return 0.5 * self.scale**2 * float(rho.sum())

    @cached_property
    def _reductions(self) -> list[tuple[Vector, Reduced]]:
        """Those at the last two points."""
        return []

    @cached_property
    def _slopes(self) -> Callable[[Block, dict[str, Any]], tuple[Any, list[Any]]]:
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


def _joined(above: Part, below: Part) -> Part:
    return (_triangle(np.concatenate([above[0], below[0]]).T.copy()), above[1] + below[1], above[2] + below[2])


def _triangle(rows: Matrix) -> Matrix:
    """The triangle R of the QR decomposition of the transpose of an array, which is overwritten."""
    return np.asarray(np.triu(dgeqrf(rows.T, overwrite_a=1)[0][: len(rows)]))


def _scale(residuals: Vector, slopes: Matrix, rho: Robust, scale: float) -> None:
    """Scale so that the sum of squares has the gradient of the robust loss, and nearly its Hessian."""
    z = (residuals / scale) ** 2
    _, first, second = rho(z)
    weight = np.sqrt(np.maximum(first + 2 * second * z, LEAST * first))
    residuals *= first / weight
    slopes *= weight
