"""A question that is answered for every row, and the columns that it takes and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from circuitflow.engines.columns import in_memory
from circuitflow.errors import InputError
from circuitflow.executor import Executor
from circuitflow.gates.shapes import ArrayType, Size, show
from circuitflow.graph.circuit import Circuit
from circuitflow.interpreter.plan import output_of
from circuitflow.interpreter.question import Question, References
from circuitflow.text import listing, printable


class Words(NamedTuple):
    """What errors call the arguments of a task.

    Attributes:
        value: how an input has the same value in every row; {} stands for the input.
        defaults: how inputs have the document's values.
        choice: how outputs and gradients are chosen.
        output: what chooses one output.
        resume: how an earlier run is gone on with.
    """

    value: str
    defaults: str
    choice: str
    output: str
    resume: str


OPTIONS = Words("--set {}=…", "--defaults", "choose others by --of and --wrt, or leave gradients out by --forward",
                "--of", "--resume")
ARGUMENTS = Words("inputs={{'{}': …}}", "defaults=True", "choose others by of=… and wrt=…; wrt=() leaves gradients out",
                  "of=…", "resume=True")


@dataclass(frozen=True)
class RowTask:
    """A question that is answered for every row of a table.

    Attributes:
        executor: of the circuit.
        question: the outputs and gradients.
        inputs: values that are the same in every row; they win over columns of the same name.
        upstream: upstream gradients, the same in every row.
        engine, device: those of `Executor.vmap`.
        keep: the names of columns that are copied to the result.
        defaults: whether an input without a column has the document's value.
        words: what errors call these.
    """

    executor: Executor
    question: Question
    inputs: Mapping[str, Any] = field(default_factory=dict)
    upstream: Mapping[str, Any] = field(default_factory=dict)
    engine: str = "auto"
    device: str | None = None
    keep: Sequence[str] = ()
    defaults: bool = False
    words: Words = OPTIONS

    def results(self) -> dict[str, ArrayType]:
        """The type that each column of the result has in a row, by name; those that are kept are not among them.

        A shape may have named dimensions. bfloat16, which tables do not have, is float32.

        Raises:
            InputError: a column would stand twice.
        """
        circuit, plan = self.executor.circuit, self.question.plan
        types: dict[str, ArrayType] = {}
        for name, reference in [*((text, text) for text in plan.of), *((f"d{text}", text) for text in plan.wrt)]:
            type_ = circuit.type_of(output_of(circuit, reference, "of"))
            if name in types:
                raise InputError(f"column '{name}' would stand twice; {self.words.choice}")
            types[name] = type_._replace(dtype="float32") if type_.dtype == "bfloat16" else type_
        for i, name in enumerate(self.keep):
            if name in types or name in self.keep[:i]:
                raise InputError(f"column '{printable(name, 60)}' would stand twice; keep it once, or rename it in the "
                                 "table")
        return types

    def sizes(self, columns: Mapping[str, Sequence[int | None]]) -> dict[str, int]:
        """The sizes of named dimensions: of the inputs that are the same in every row, and of columns.

        Args:
            columns: input → the lengths of the lists in its column; None where they are not known before they are read.
        """
        nodes = self.executor.circuit.nodes
        known: dict[str, int] = {}
        fixed = {name: np.shape(value) for name, value in self.inputs.items() if name in nodes}
        values = {name: array.shape for name, array in self.executor.circuit.values.items() if name not in columns}
        for name, shape in {**values, **fixed, **columns}.items():
            for size, length in zip(nodes[name].types[0].shape, shape, strict=False):
                if isinstance(size, Size) and length is not None:
                    known.setdefault(str(size), length)
        return known

    def shapes(self, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """The shape that each column of the result has in a row, by name.

        Raises:
            InputError: it has a named dimension without a size.
        """
        shapes = {}
        for name, type_ in self.results().items():
            shape = [size if isinstance(size, int) else size.substitute(sizes) for size in type_.shape]
            if unknown := [size for size in shape if not isinstance(size, int)]:
                raise InputError(f"column '{name}' has shape {show(type_.shape)} in each row, and {listing(unknown)} "
                                 "has no size; cast the columns of lists to lists of a fixed size, give an input of "
                                 f"such a shape by {self.words.value.format('ID')}, or give the dimension a number in "
                                 "the document")
            shapes[name] = tuple(size for size in shape if isinstance(size, int))
        return shapes


def row_task(circuit: Circuit, of: References, wrt: References, inputs: Mapping[str, Any] | None,
             upstream: Mapping[str, Any] | None, engine: str, device: str | None, keep: Sequence[str], *,
             defaults: bool, verify: bool) -> RowTask:
    """The task of the arguments of a public function.

    Raises:
        InputError: an unknown reference, or a column that would stand twice.
    """
    executor = Executor(circuit, verify=verify)
    question = Question(executor, of, wrt)
    fixed, seeds = ({name: in_memory(value, f"'{printable(name, 60)}'") for name, value in values.items()}
                    for values in question.arguments(inputs, upstream, {}))
    task = RowTask(executor, question, fixed, seeds, engine, device, tuple(keep), defaults, ARGUMENTS)
    task.results()
    return task
