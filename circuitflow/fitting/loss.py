"""A loss, summed or averaged over the rows of the data, with its exact derivatives."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from circuitflow.document.model import GateNode
from circuitflow.errors import InputError
from circuitflow.fitting.data import Block, Data
from circuitflow.fitting.derivatives import Curvature
from circuitflow.fitting.evaluation import Evaluation
from circuitflow.fitting.journal import Journal
from circuitflow.fitting.parameters import Parameters, Vector
from circuitflow.fitting.problem import Cluster, Matrix, Problem, find_type
from circuitflow.fitting.weights import free_name
from circuitflow.gates.shapes import show
from circuitflow.graph.circuit import Circuit
from circuitflow.rows.fixed_order import Sum, rounded, total, two_sum
from circuitflow.text import printable

Reduction = Literal["mean", "sum"]
"""How the loss of rows becomes one number."""

PIECE = 2**22
"""The most numbers that the gradients of the rows of a block take; a block with more is computed in pieces."""

REMEMBERED = 2
"""The number of points whose value and gradient are kept."""


class Loss(Problem):
    """The mean or the sum of a loss over all rows.

    The loss is a scalar of every row; in a circuit of a batch it is a scalar of the batch, or has the rows of the batch
    as its only axis. A scalar of a batch that comes in blocks is added up by "sum"; by "mean" it is averaged, each
    block with the weight of its rows. A circuit without columns has one row.

    Attributes:
        loss_of: the reference of the loss.
        reduction: "mean" or "sum".
    """

    def __init__(self, circuit: Circuit, parameters: Parameters, data: Data, loss: str, *,
                 reduction: Reduction = "mean", engine: str = "auto", journal: Journal | None = None,
                 cluster: Cluster | None = None) -> None:
        """Set up.

        Raises:
            InputError: an unknown reference or engine, or a loss of another shape.
        """
        super().__init__(circuit, parameters, data, engine, journal, cluster)
        self.loss_of, self.reduction = loss, reduction
        type_ = find_type(circuit, loss, "loss")
        self._dtype = type_.dtype
        self._each = bool(data.batch) and len(type_.shape) == 1 and str(type_.shape[0]) == data.batch
        if type_.shape and not self._each:
            expected = f"(), or ({data.batch})" if data.batch else "()"
            raise InputError(f"loss: '{printable(loss, 60)}' has shape {show(type_.shape)}; expected {expected}: one "
                             "number to minimise; reduce it, as by reduce_sum or reduce_mean")
        self._name = f"{loss} {reduction}"

    def objective(self, x: Vector) -> float:
        """The loss of all rows. The values at the last two points whose gradient was computed are remembered."""
        for point, value, _ in self._kept:
            if np.array_equal(point, x):
                return value
        return float(self.recall(f"objective {self._name}", [x], [()], lambda: [
            total(self.fold(Loss._losses, (x,), operator.add)) * self._factor])[0])

    def _losses(self, block: Block, x: Vector) -> list[float]:
        return [self._total(block, self._value(block, self.parameters.values(x))[0][0])]

    def _total(self, block: Block, losses: Any) -> float:
        return self._weight(block) * float(losses.sum(dtype=np.float64))

    def gradient(self, x: Vector) -> Vector:
        """Its gradient, from a reverse sweep that gives the value as well."""
        for point, _, gradient in self._kept:
            if np.array_equal(point, x):
                return gradient.copy()
        value, gradient = self.recall(f"gradient {self._name}", [x], [(), (self.parameters.size,)],
                                      lambda: self._sweep(x))
        self._kept[:] = [(x.copy(), float(value), gradient), *self._kept[:REMEMBERED - 1]]
        return np.asarray(gradient.copy())

    def _sweep(self, x: Vector) -> tuple[float, Vector]:
        losses, gradient = self.fold(Loss._losses_and_gradient, (x,), _joined)
        with np.errstate(all="ignore"):
            return total(losses) * self._factor, np.asarray(rounded(gradient) * self._factor)

    def _losses_and_gradient(self, block: Block, x: Vector) -> tuple[list[float], Sum]:
        (output,), gradients = self._slopes(block, self.parameters.values(x))
        if self.data.over_rows:
            gradients = [part.sum(axis=0, dtype=np.float64) for part in gradients]
        gradient = np.concatenate([np.ravel(part) for part in gradients], dtype=np.float64)
        return [self._total(block, output)], (self._weight(block) * gradient, 0.0)

    def hvp(self, x: Vector, v: Vector) -> Vector:
        """Its exact Hessian times a vector."""
        return self._curve(x, [v])[0]  # type: ignore[no-any-return]

    def hessian(self, x: Vector) -> Matrix:
        """Its exact Hessian, of shape (size, size), from one pass over the data. The last one is remembered."""
        for point, hessian in self._bent:
            if np.array_equal(point, x):
                return hessian.copy()
        rows = self._curve(x, list(np.eye(self.parameters.size)))
        hessian = (rows + rows.T) / 2
        self._bent[:] = [(x.copy(), hessian)]
        return hessian.copy()

    def check_start(self) -> None:
        """Refuse a start from which no method can go on.

        Raises:
            InputError: the loss or its gradient is not finite.
        """
        start = self.parameters.start
        gradient = self.gradient(start)
        value = self.objective(start)
        at = ", ".join(f"{name} = {x:g}" for name, x in zip(self.parameters.names[:6], start, strict=False))
        if not math.isfinite(value):
            raise InputError(f"loss: '{printable(self.loss_of, 60)}' is {value}{self._place(start)} at the start, "
                             f"{at}; give other values to start from")
        if not np.isfinite(gradient).all():
            wrong = int(np.argmax(~np.isfinite(gradient)))
            raise InputError(f"loss: the derivative of '{printable(self.loss_of, 60)}' by "
                             f"'{self.parameters.names[wrong]}' is {gradient[wrong]} at the start, {at}; give other "
                             "values to start from")

    def _place(self, x: Vector) -> str:
        """The words for the first row whose loss is not finite; "" where rows have no loss of their own."""
        if not (self.data.over_rows or self._each):
            return ""
        look, values = self.evaluation(self.loss_of), self.parameters.values(x)
        with np.errstate(all="ignore"):
            for block in self.passes():
                wrong = np.flatnonzero(~np.isfinite(look(block, values)[0][0]))
                if wrong.size:
                    return f" in row {block.first + int(wrong[0]) + 1}"
        return ""

    def _curve(self, x: Vector, directions: list[Vector]) -> Matrix:
        shape = (len(directions), self.parameters.size)
        products: Matrix = self.recall(f"curvature {self._name}", [x, *directions], [shape],
                                       lambda: [self._bend(x, directions)])[0]
        return products

    def _bend(self, x: Vector, directions: list[Vector]) -> Matrix:
        return np.asarray(self.summed(Loss._products, (x, np.stack(directions))) * self._factor)

    def _products(self, block: Block, x: Vector, directions: Matrix) -> Sum:
        values, shape = self.parameters.values(x), (block.rows,) if self.data.over_rows else ()
        upstream = np.full(shape, self._weight(block), self._dtype)
        return np.stack([self._curvature(block, values, v, upstream) for v in directions]), 0.0

    def pieces(self, block: Block) -> Iterator[Block]:
        """The rows of a block: in pieces where the gradients of all of them would take much memory."""
        most = max(PIECE // self.parameters.size, 1) if self.data.over_rows else block.rows
        for first in range(0, block.rows, most):
            columns = {name: column[first:first + most] for name, column in block.columns.items()}
            yield replace(block, first=block.first + first, rows=min(most, block.rows - first), columns=columns)

    @property
    def is_of_batch(self) -> bool:
        """Whether the loss is one number for all rows of a batch."""
        return bool(self.data.batch) and not self._each

    @property
    def _is_mean_of_batches(self) -> bool:
        return self.reduction == "mean" and not self._each and not self.data.over_rows

    def _weight(self, block: Block) -> float:
        return float(block.rows) if self._is_mean_of_batches else 1.0

    @cached_property
    def _factor(self) -> float:
        return 1 / self.data.rows if self.reduction == "mean" else 1.0

    @cached_property
    def _kept(self) -> list[tuple[Vector, float, Vector]]:
        """Points with their value and gradient."""
        return []

    @cached_property
    def _bent(self) -> list[tuple[Vector, Matrix]]:
        """The last point with its Hessian."""
        return []

    @cached_property
    def _scalar(self) -> tuple[Circuit, str]:
        """A circuit with one number for all rows of a block of a batch, and its reference."""
        return _summed(self.circuit, self.loss_of) if self._each else (self.circuit, self.loss_of)

    @cached_property
    def _value(self) -> Evaluation:
        circuit, reference = self._scalar
        return Evaluation(circuit, [reference], [], self.data, self.engine)

    @cached_property
    def _slopes(self) -> Evaluation:
        circuit, reference = self._scalar
        return Evaluation(circuit, [reference], self.parameters.ids, self.data, self.engine)

    @cached_property
    def _curvature(self) -> Curvature:
        return Curvature(*self._scalar, self.parameters, self.data, self.engine)


def _joined(above: tuple[list[float], Sum], below: tuple[list[float], Sum]) -> tuple[list[float], Sum]:
    return above[0] + below[0], two_sum(above[1], below[1])


def _summed(circuit: Circuit, loss: str) -> tuple[Circuit, str]:
    """The circuit with the sum of a loss over the rows of a batch, and its reference."""
    name = free_name(circuit, "summed_loss")
    node = GateNode(id=name, gate="reduce_sum", inputs=[loss])
    document = circuit.document
    return circuit.derived(document.model_copy(update={"nodes": [*document.nodes, node],
                                                       "outputs": [*document.outputs, name]})), name
