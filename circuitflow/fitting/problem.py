"""What a fit minimises: a function of the free parameters, with its exact derivatives, over all rows of the data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, Protocol, TypeVar

import numpy as np

from circuitflow.engines.columns import in_blocks
from circuitflow.errors import InputError
from circuitflow.fitting.data import Block, Data
from circuitflow.fitting.evaluation import Evaluation
from circuitflow.fitting.journal import Journal, Shape
from circuitflow.fitting.parameters import Parameters, Vector
from circuitflow.gates import ArrayType
from circuitflow.graph.circuit import Circuit
from circuitflow.rows.fixed_order import Sum, Tree, join, join_trees, rounded, trees, two_sum
from circuitflow.text import nearest, printable

T = TypeVar("T")

Matrix = np.ndarray[Any, np.dtype[np.float64]]
"""A float64 array of two axes."""


class Cluster(Protocol):
    """Other processes that have the data of a problem."""

    def trees(self, problem: Problem, part: Callable[..., T], arguments: tuple[Any, ...],
              two: Callable[[T, T], T]) -> Iterable[Tree[T]]:
        """What `Problem.trees` gives of all blocks, in order."""


class Problem(ABC):
    """A function of the free parameters to minimise.

    What is computed of all rows is a fold, so that workers of a cluster can compute trees of it: `fold`, `trees`. A
    pickle has the question and the data. What a cached property holds, such as compiled functions, is made anew.

    Attributes:
        circuit: the circuit; values that are not parameters or data are its document's.
        parameters: the free parameters: points `x` and gradients are vectors in their order.
        data: the data.
        engine: the name of the engine.
        evaluations: how many passes over the data have been made, of values or derivatives, in this run or in an
            earlier one that a journal has.
        journal: keeps what is computed; None where nothing does.
        cluster: computes folds; None where this process does.
    """

    def __init__(self, circuit: Circuit, parameters: Parameters, data: Data, engine: str = "auto",
                 journal: Journal | None = None, cluster: Cluster | None = None) -> None:
        self.circuit, self.parameters, self.data, self.engine = circuit, parameters, data, engine
        self.journal, self.cluster = journal, cluster
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

    def fold(self, part: Callable[..., T], arguments: tuple[Any, ...], two: Callable[[T, T], T],
             together: int = 1) -> T:
        """What `part(self, block, *arguments)` gives of every block, joined in the order of the tree; one more pass.

        Args:
            part: a function that pickles by its name. It depends on the problem, its parameters' start excepted, on the
                rows of the block, and on the arguments.
            arguments: arrays, numbers and texts.
            two: joins what came of rows that follow one another; it pickles by its name.
            together: how many blocks are computed at a time, on all cores. The answer does not depend on it.
        """
        if self.cluster is None:
            found: Iterable[Tree[T]] = self.trees(self.passes(), part, arguments, two, together)
        else:
            self.evaluations += 1
            found = self.cluster.trees(self, part, arguments, two)
        with np.errstate(all="ignore"):
            return join_trees(found, two)

    @np.errstate(all="ignore")
    def trees(self, blocks: Iterable[Block], part: Callable[..., T], arguments: tuple[Any, ...],
              two: Callable[[T, T], T], together: int = 1, first: int = 0) -> list[Tree[T]]:
        """The same of blocks that follow one another, as trees, for a caller that keeps BLAS to `one_thread`.

        The pieces of a block have a tree of their own. `first` is the number of the first block.
        """
        @np.errstate(all="ignore")
        def joined(block: Block) -> T:
            return join((part(self, piece, *arguments) for piece in self.pieces(block)), two)
        return trees(_mapped(joined, iter(blocks), together), two, first)

    @np.errstate(all="ignore")
    def summed(self, part: Callable[..., Sum], arguments: tuple[Any, ...]) -> Any:
        """The sum of what a part gives of every block: a fold in float64 with compensation."""
        return rounded(self.fold(part, arguments, two_sum))

    def evaluation(self, *of: str) -> Evaluation:
        """The values of nodes, by their references, over blocks; compiled once."""
        if of not in self._evaluations:
            self._evaluations[of] = Evaluation(self.circuit, of, [], self.data, self.engine)
        return self._evaluations[of]

    def pieces(self, block: Block) -> Iterable[Block]:
        """The rows of a block in pieces that are computed one by one. They depend on the rows alone."""
        return [block]

    @cached_property
    def _evaluations(self) -> dict[tuple[str, ...], Evaluation]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """Without journal and cluster, and without what cached properties hold."""
        return {name: value for name, value in self.__dict__.items()
                if not isinstance(getattr(type(self), name, None), cached_property)} | {
                    "journal": None, "cluster": None}


def _mapped(compute: Callable[[Block], T], blocks: Iterator[Block], together: int) -> Iterator[T]:
    """What a function gives of every block, in order; those of some blocks are computed on all cores at once."""
    while group := list(islice(blocks, together)):
        answers: dict[int, T] = {}

        def work(place: slice, group: list[Block] = group, answers: dict[int, T] = answers) -> None:
            answers[place.start] = compute(group[place.start])
        in_blocks(work, len(group), 1)
        yield from (answers[i] for i in range(len(group)))


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
