"""A loss, summed or averaged over the rows of the data, with its exact derivatives."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Literal

import numpy as np

from circuitflow.document.model import GateNode
from circuitflow.errors import InputError
from circuitflow.fitting.data import Block, Data
from circuitflow.fitting.derivatives import Curvature
from circuitflow.fitting.evaluation import Evaluation
from circuitflow.fitting.journal import Journal
from circuitflow.fitting.parameters import Parameters, Vector
from circuitflow.fitting.problem import Matrix, Problem, find_type
from circuitflow.fitting.weights import free_name
from circuitflow.gates.shapes import show
from circuitflow.graph.circuit import Circuit
from circuitflow.rows.fixed_order import add, total
from circuitflow.text import printable

Reduction = Literal["mean", "sum"]
"""How the loss of rows becomes one number."""

PART = 2**22
"""The most numbers that the gradients of the rows of a block take; a block with more is read in parts."""

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
                 reduction: Reduction = "mean", engine: str = "auto", journal: Journal | None = None) -> None:
        """Set up.

        Raises:
            InputError: an unknown reference or engine, or a loss of another shape.
        """
        super().__init__(circuit, parameters, data, engine, journal)
        self.loss_of, self.reduction = loss, reduction
        type_ = find_type(circuit, loss, "loss")
        self._dtype = type_.dtype
        self._each = bool(data.batch) and len(type_.shape) == 1 and str(type_.shape[0]) == data.batch
        if type_.shape and not self._each:
            expected = f"(), or ({data.batch})" if data.batch else "()"
            raise InputError(f"loss: '{printable(loss, 60)}' has shape {show(type_.shape)}; expected {expected}: one "
                             "number to minimise; reduce it, as by reduce_sum or reduce_mean")
        self._scalar_circuit, self._scalar = _summed(circuit, loss) if self._each else (circuit, loss)
        self._name = f"{loss} {reduction}"
        self._kept: list[tuple[Vector, float, Vector]] = []
        self._bent: tuple[Vector, Matrix] | None = None

    def objective(self, x: Vector) -> float:
        """The loss of all rows. The values at the last two points whose gradient was computed are remembered."""
        for point, value, _ in self._kept:
            if np.array_equal(point, x):
                return value
        def compute() -> list[float]:
            values, parts = self.parameters.values(x), []
            with np.errstate(all="ignore"):
                for block in self._parts():
                    (output,), _ = self._value(block, values)
                    parts.append(self._weight(block) * float(output.sum(dtype=np.float64)))
            return [total(parts) * self._factor]
        return float(self.recall(f"objective {self._name}", [x], [()], compute)[0])

    def gradient(self, x: Vector) -> Vector:
        """Its gradient, from a reverse sweep that gives the value as well."""
        for point, _, gradient in self._kept:
            if np.array_equal(point, x):
                return gradient.copy()
        value, gradient = self.recall(f"gradient {self._name}", [x], [(), (self.parameters.size,)],
                                      lambda: self._sweep(x))
        self._kept = [(x.copy(), float(value), gradient), *self._kept[:REMEMBERED - 1]]
        return np.asarray(gradient.copy())

    def _sweep(self, x: Vector) -> tuple[float, Vector]:
        values, losses = self.parameters.values(x), list[float]()

        def slopes(block: Block) -> Vector:
            (output,), gradients = self._slopes(block, values)
            weight = self._weight(block)
            losses.append(weight * float(output.sum(dtype=np.float64)))
            if self._slopes.over_rows:
                gradients = [part.sum(axis=0, dtype=np.float64) for part in gradients]
            return weight * np.concatenate([np.ravel(part) for part in gradients], dtype=np.float64)
        with np.errstate(all="ignore"):
            gradient = add(map(slopes, self._parts()))
            return total(losses) * self._factor, np.asarray(gradient * self._factor)

    def hvp(self, x: Vector, v: Vector) -> Vector:
        """Its exact Hessian times a vector."""
        return self._curve(x, [v])[0]  # type: ignore[no-any-return]

    def hessian(self, x: Vector) -> Matrix:
        """Its exact Hessian, of shape (size, size), from one pass over the data. The last one is remembered."""
        if self._bent is None or not np.array_equal(self._bent[0], x):
            rows = self._curve(x, list(np.eye(self.parameters.size)))
            self._bent = x.copy(), (rows + rows.T) / 2
        return self._bent[1].copy()

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
        look = Evaluation(self.circuit, [self.loss_of], [], self.data, self.engine)
        if not (look.over_rows or self._each):
            return ""
        values = self.parameters.values(x)
        with np.errstate(all="ignore"):
            for block in self._parts():
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
        values = self.parameters.values(x)

        def products(block: Block) -> Matrix:
            shape = (block.rows,) if self._slopes.over_rows else ()
            upstream = np.full(shape, self._weight(block), self._dtype)
            return np.stack([self._curvature(block, values, v, upstream) for v in directions])
        with np.errstate(all="ignore"):
            return np.asarray(add(map(products, self._parts())) * self._factor)

    def _parts(self) -> Iterator[Block]:
        """The blocks of one more pass; in parts where the gradients of their rows would take much memory."""
        most = max(PART // self.parameters.size, 1)
        for block in self.passes():
            if not self._slopes.over_rows or block.rows <= most:
                yield block
                continue
            for first in range(0, block.rows, most):
                columns = {name: column[first:first + most] for name, column in block.columns.items()}
                yield replace(block, first=block.first + first, rows=min(most, block.rows - first), columns=columns)

    @property
    def is_of_batch(self) -> bool:
        """Whether the loss is one number for all rows of a batch."""
        return bool(self.data.batch) and not self._each

    @property
    def _is_mean_of_batches(self) -> bool:
        return self.reduction == "mean" and not self._each and not self._slopes.over_rows

    def _weight(self, block: Block) -> float:
        return float(block.rows) if self._is_mean_of_batches else 1.0

    @cached_property
    def _factor(self) -> float:
        return 1 / self.data.rows if self.reduction == "mean" else 1.0

    @cached_property
    def _value(self) -> Evaluation:
        return Evaluation(self._scalar_circuit, [self._scalar], [], self.data, self.engine)

    @cached_property
    def _slopes(self) -> Evaluation:
        return Evaluation(self._scalar_circuit, [self._scalar], self.parameters.ids, self.data, self.engine)

    @cached_property
    def _curvature(self) -> Curvature:
        return Curvature(self._scalar_circuit, self._scalar, self.parameters, self.data, self.engine)


def _summed(circuit: Circuit, loss: str) -> tuple[Circuit, str]:
    """The circuit with the sum of a loss over the rows of a batch, and its reference."""
    name = free_name(circuit, "summed_loss")
    node = GateNode(id=name, gate="reduce_sum", inputs=[loss])
    document = circuit.document
    return circuit.derived(document.model_copy(update={"nodes": [*document.nodes, node],
                                                       "outputs": [*document.outputs, name]})), name
