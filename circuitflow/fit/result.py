"""The result of a fit."""

from __future__ import annotations

from dataclasses import dataclass

from circuitflow.fit.parameters import Parameters, Vector
from circuitflow.fit.problem import Matrix
from circuitflow.graph.circuit import Circuit


@dataclass(frozen=True, eq=False)
class FitResult:
    """What a fit found.

    Attributes:
        circuit: the circuit with the values found.
        parameters: the free parameters: elements of vectors and matrices are in their order.
        x: the values found, as a vector.
        status: in words, how the fit ended.
        converged: whether it ended at a minimum.
        objective: what was minimised, there.
        evaluations: how many passes over the data were made.
        rows: the number of rows.
        steps: in words, what was done, in order.
        covariance: of the parameters, of shape (size, size); None for a loss.
        warnings: in words, what a careful reader would notice.
    """

    circuit: Circuit
    parameters: Parameters
    x: Vector
    status: str
    converged: bool
    objective: float
    evaluations: int
    rows: int
    steps: tuple[str, ...] = ()
    covariance: Matrix | None = None
    warnings: tuple[str, ...] = ()
