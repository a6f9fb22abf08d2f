"""Answers a question for the rows of batches."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from circuitflow.engines.contract import CompiledFunction
from circuitflow.errors import CircuitflowError, GateError, InputError
from circuitflow.gates.shapes import show
from circuitflow.interpreter.binding import upstream_gradients
from circuitflow.interpreter.libraries import Library
from circuitflow.rows.task import RowTask
from circuitflow.tables.reader import Batch

NUMBERS = 2**22
"""Numbers of a result that are computed at a time."""


class RowFunction:
    """A compiled task. Threads may share it, and it needs no order among batches.

    Attributes:
        task: the task.
        shapes: the shape that each column of the result has in a row, by name.
        dtypes: its dtype, by name.
    """

    def __init__(self, task: RowTask, sizes: Mapping[str, int]) -> None:
        """Compile: by an engine that takes all rows at once if there is one, else row by row.

        No engine takes rows of losses, reductions and arrays inside a circuit.

        Args:
            task: the task.
            sizes: of named dimensions, as `RowTask.sizes` gives them.

        Raises:
            InputError: a result has a named dimension without a size, or an output needs an upstream gradient.
            InputError, GateError, MissingExtraError: see `Executor.compile`.
        """
        self.task, self.shapes, plan = task, task.shapes(sizes), task.question.plan
        if plan.wrt:  # what every row would be refused for
            upstream_gradients(task.executor.circuit, plan, Library.of({}), sizes, task.upstream, explicit=False)
        self.dtypes = {name: type_.dtype for name, type_ in task.results().items()}
        self._inputs, self._upstream = task.question.arguments(task.inputs, task.upstream, {})
        make = partial(task.executor.function, task.question, task.engine, task.device)
        self._answer: Callable[[Batch], Sequence[Any]]
        try:
            self._answer = partial(self._at_once, make(over_rows=True))
        except (InputError, GateError) as reason:
            one = make()
            logging.getLogger("circuitflow").info("row by row: %s", reason)
            self._answer = partial(self._one_by_one, one)

    def __call__(self, batch: Batch) -> Iterator[list[Any]]:
        """Columns of results, those that are kept first, for one part of a batch after the other.

        Raises:
            CircuitflowError: a row cannot be computed; the message names its place.
        """
        step = max(1, NUMBERS // max(1, sum(map(math.prod, self.shapes.values()))))
        for start in range(0, max(batch.rows, 1), step):
            part = batch.part(start, start + step)
            yield [*part.kept, *(self._columns(part) if part.rows else
                                 [np.empty((0, *shape), self.dtypes[name]) for name, shape in self.shapes.items()])]

    def _columns(self, batch: Batch) -> Iterator[Any]:
        for column, (name, shape) in zip(self._answer(batch), self.shapes.items(), strict=True):
            array = np.asarray(column, self.dtypes[name])
            if array.shape[1:] != shape:
                raise InputError(f"{batch.at(batch.first)}: '{name}' has shape {show(array.shape[1:])}; "
                                 f"expected {show(shape)}, as before it; cast the columns of lists to one fixed size")
            yield array

    def _at_once(self, function: CompiledFunction, batch: Batch) -> Sequence[Any]:
        try:
            return [*chain(*function.answer({**self._inputs, **batch.inputs}, self._upstream))]
        except CircuitflowError as error:
            raise type(error)(f"{batch.at(batch.first)} and {batch.rows - 1} after it: {error}") from None

    def _one_by_one(self, function: CompiledFunction, batch: Batch) -> Sequence[Any]:
        rows = []
        columns = (column.tolist() if column.ndim == 1 else column for column in batch.inputs.values())
        for i, values in enumerate(zip(*columns, strict=True)):
            try:
                rows.append([*chain(*function.answer({**self._inputs, **dict(zip(batch.inputs, values, strict=True))},
                                                     self._upstream))])
            except CircuitflowError as error:
                raise type(error)(f"{batch.at(batch.first + i)}: {error}") from None
        return list(zip(*rows, strict=True))
