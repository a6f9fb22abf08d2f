"""Constraints of a fit: nodes that must be 0, or 0 or more, with exact Jacobians."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import accumulate
from typing import Any, Literal

import numpy as np
from scipy.optimize import NonlinearConstraint

from circuitflow.errors import InputError
from circuitflow.fitting.data import Block, Data
from circuitflow.fitting.journal import Journal, Shape
from circuitflow.fitting.parameters import Parameters, Vector
from circuitflow.fitting.problem import Matrix, find_type
from circuitflow.fitting.squares import SumOfSquares
from circuitflow.graph.circuit import Circuit
from circuitflow.rows.fixed_order import Sum
from circuitflow.text import nearest, printable, short

ConstraintKind = Literal["nonnegative", "zero"]
"""What must hold of every element of a node."""

KINDS = ("nonnegative", "zero")


class Constraint:
    """A node all of whose elements, in every row, must be 0, or 0 or more.

    Attributes:
        reference: the node.
        kind: "nonnegative" or "zero".
    """

    def __init__(self, circuit: Circuit, parameters: Parameters, data: Data, reference: str,
                 kind: ConstraintKind, engine: str, journal: Journal | None) -> None:
        output = circuit.find(reference)
        assert output is not None  # noqa: S101
        self.reference, self.kind = reference, kind
        self._elements = SumOfSquares(circuit, parameters, data.only(circuit.needed({output.node})), reference,
                                      engine=engine, journal=journal)
        self._dtype = circuit.type_of(output).dtype

    def values(self, x: Vector) -> Vector:
        """All elements, of shape (count,)."""
        values: Vector = self._recall("values", [x], (-1,), lambda: self._elements.residuals(x))
        return values

    def jacobian(self, x: Vector) -> Matrix:
        """Their derivatives by the parameters, of shape (count, size)."""
        slopes: Matrix = self._recall("slopes", [x], (-1, x.size), lambda: self._elements.jacobian(x))
        return slopes

    def hessian(self, x: Vector, multipliers: Vector) -> Matrix:
        """The sum of the elements' Hessians, each times its multiplier."""
        bent: Matrix = self._recall("curvature", [x, multipliers], (x.size, x.size),
                                    lambda: self._bend(x, multipliers))
        return bent

    def _recall(self, question: str, points: list[Vector], shape: Shape, compute: Callable[[], Any]) -> Any:
        return self._elements.recall(f"{question} of constraint {self.reference}", points, [shape],
                                     lambda: [compute()])[0]

    def _bend(self, x: Vector, multipliers: Vector) -> Matrix:
        ends = list(accumulate(math.prod(shape) for _, shape in self._shapes))
        weights = {first: np.reshape(multipliers[end - math.prod(shape):end], shape).astype(self._dtype)
                   for end, (first, shape) in zip(ends, self._shapes, strict=True)}
        total = self._elements.summed(_products, (x, weights))
        return np.asarray((total + total.T) / 2)

    @cached_property
    def _shapes(self) -> list[tuple[int, tuple[int, ...]]]:
        """The first row of every block, and the shape of the elements there."""
        return self._elements.fold(_shape, (self._elements.parameters.start,), operator.add)


def _shape(elements: SumOfSquares, block: Block, x: Vector) -> list[tuple[int, tuple[int, ...]]]:
    return [(block.first, elements.shaped(block, x).shape)]


def _products(elements: SumOfSquares, block: Block, x: Vector, weights: Mapping[int, Any]) -> Sum:
    return elements.bent(block, x, np.eye(x.size), weights[block.first]), 0.0


class Constraints:
    """All constraints of a fit, as SciPy takes them."""

    def __init__(self, parts: list[Constraint]) -> None:
        self.parts = parts

    @classmethod
    def of(cls, circuit: Circuit, parameters: Parameters, data: Data, stated: Mapping[str, Any],
           engine: str, journal: Journal | None = None) -> Constraints | None:
        """The constraints by reference; None where there are none.

        Raises:
            InputError: a reference is unknown or of integers, a kind is another word, or a node depends on no free
                parameter.
        """
        parts = []
        for reference, kind in stated.items():
            find_type(circuit, reference, "constraints")
            if kind not in KINDS:
                hint = nearest(kind, KINDS) if isinstance(kind, str) else ""
                raise InputError(f"constraints: '{printable(reference, 60)}' is {short(kind)}; expected "
                                 f"\"nonnegative\" or \"zero\"{hint}")
            output = circuit.find(reference)
            if output is not None and circuit.needed({output.node}).isdisjoint(parameters.ids):
                raise InputError(f"constraints: '{printable(reference, 60)}' depends on no free parameter; take it out")
            parts.append(Constraint(circuit, parameters, data, reference, kind, engine, journal))
        return cls(parts) if parts else None

    def check_start(self, x: Vector) -> None:
        """Refuse constraints that are not finite at the start.

        Raises:
            InputError: an element, or its derivative, is not.
        """
        for part in self.parts:
            with np.errstate(all="ignore"):
                values, slopes = part.values(x), part.jacobian(x)
            if not (np.isfinite(values).all() and np.isfinite(slopes).all()):
                what = "" if not np.isfinite(values).all() else "the derivative of "
                raise InputError(f"constraints: {what}'{printable(part.reference, 60)}' is not finite at the start; "
                                 "give other values to start from")

    def violation(self, x: Vector) -> float:
        """The largest violation: how far below 0, or from 0, an element is; infinite where one is not a number."""
        worst = 0.0
        with np.errstate(all="ignore"):
            for part in self.parts:
                values = part.values(x)
                wrong = np.abs(values) if part.kind == "zero" else -values
                worst = max(worst, float(np.max(np.where(np.isnan(wrong), np.inf, wrong), initial=0.0)))
        return worst

    def for_slsqp(self) -> list[dict[str, Any]]:
        """As SLSQP takes them."""
        return [{"type": "eq" if part.kind == "zero" else "ineq", "fun": part.values, "jac": part.jacobian}
                for part in self.parts]

    def for_trust_region(self) -> list[NonlinearConstraint]:
        """As trust-constr and differential_evolution take them."""
        return [NonlinearConstraint(part.values, 0.0, 0.0 if part.kind == "zero" else np.inf, jac=part.jacobian,
                                    hess=part.hessian) for part in self.parts]
