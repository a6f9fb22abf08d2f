"""What a fit minimises: a function of the free parameters, with its exact derivatives, over all rows of the data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from circuitflow.errors import InputError
from circuitflow.fitting.data import Block, Data
from circuitflow.fitting.journal import Journal, Shape
from circuitflow.fitting.parameters import Parameters, Vector
from circuitflow.gates import ArrayType
from circuitflow.graph.circuit import Circuit
from circuitflow.text import nearest, printable

Matrix = np.ndarray[Any, np.dtype[np.float64]]
"""A float64 array of two axes."""


class Problem(ABC):
    """A function of the free parameters to minimise.

    Attributes:
        circuit: the circuit; values that are not parameters or data are its document's.
        parameters: the free parameters: points `x` and gradients are vectors in their order.
        data: the data.
        engine: the name of the engine.
        evaluations: how many passes over the data have been made, of values or derivatives, in this run or in an
            earlier one that a journal has.
        journal: keeps what is computed; None where nothing does.
    """

    def __init__(self, circuit: Circuit, parameters: Parameters, data: Data, engine: str = "auto",
                 journal: Journal | None = None) -> None:
        self.circuit, self.parameters, self.data, self.engine = circuit, parameters, data, engine
        self.journal = journal
        self.evaluations = 0

    @abstractmethod
    def objective(self, x: Vector) -> float:
        """What is minimised."""

    @abstractmethod
    def gradient(self, x: Vector) -> Vector:
        """Its gradient."""

    @abstractmethod
    def hvp(self, x: Vector, v: Vector) -> Vector:
        """Its Hessian times a vector."""

    def hessian(self, x: Vector) -> Matrix:
        """Its Hessian, symmetric."""
        columns = np.stack([self.hvp(x, unit) for unit in np.eye(self.parameters.size)], axis=1)
        return (columns + columns.T) / 2

    def recall(self, question: str, points: Sequence[Vector], shapes: Sequence[Shape],
               compute: Callable[[], Sequence[Any]]) -> list[Any]:
        """What is computed from points alone, as float64 arrays of some shapes: from the journal if it is there."""
        if self.journal is None:
            return [np.asarray(x, np.float64) for x in compute()]
        before = self.evaluations

        def counted() -> list[Any]:
            answer = compute()
            return [*answer, self.evaluations - before]
        *answer, passes = self.journal.recall([question.encode(), *(x.tobytes() for x in points)], [*shapes, ()],
                                              counted)
        self.evaluations = before + int(passes)
        return answer

    def passes(self) -> Iterator[Block]:
        """The blocks of one more pass over the data."""
        self.evaluations += 1
        return self.data.blocks()


def find_type(circuit: Circuit, reference: str, what: str) -> ArrayType:
    """The type of a floating-point node.

    Raises:
        InputError: there is none, or it is of integers or truth values; `what` is the option that names it.
    """
    output = circuit.find(reference)
    if output is None:
        raise InputError(f"{what}: there is no node '{printable(reference, 60)}'"
                         f"{nearest(reference, circuit.nodes) or circuit.suggestion(reference)}")
    type_ = circuit.type_of(output)
    if not type_.is_float:
        raise InputError(f"{what}: '{printable(reference, 60)}' is {type_.dtype}; expected floating-point numbers")
    return type_
