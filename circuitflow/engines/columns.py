"""Columns hold one value of an input for each row."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

import numpy as np

from circuitflow.document.numbers import copy_in
from circuitflow.engines.contract import CompiledFunction
from circuitflow.errors import InputError
from circuitflow.gates import ArrayType
from circuitflow.interpreter.binding import Bound
from circuitflow.interpreter.libraries import Library
from circuitflow.interpreter.question import Answer, Question
from circuitflow.text import printable


class OverRows(CompiledFunction):
    """Answers a question to a circuit of scalars for every row."""

    over_rows = True

    @abstractmethod
    def fill(self, bound: Bound, seeds: Mapping[int, Any], results: Sequence[Any], rows: int) -> None:
        """Write the outputs, then the gradients, into columns; arguments are what `columns_in` gives."""

    def answer(self, inputs: Mapping[str, Any], upstream: Mapping[str, Any]) -> Answer:
        """A column for every output and gradient; an argument is a column, or a number where every row has the same.

        Raises:
            InputError: an unknown name, a missing value, a wrong dtype, columns of different lengths, or none.
        """
        bound, seeds, rows = columns_in(self.question, inputs, upstream)
        dtypes = [type_.dtype for type_ in self.question.outputs.values()]
        results = new_columns([*dtypes, *("float64" for _ in self.question.plan.wrt)], rows)
        self.taking(upstream).fill(bound, seeds, results, rows)
        return results[: len(dtypes)], results[len(dtypes) :]


Argument = tuple[int, str]
"""0 and the id of an input, or 1 and the output that an upstream gradient is of."""


def keyed(inputs: Mapping[str, Any], upstream: Mapping[str, Any]) -> dict[Argument, Any]:
    """Inputs and upstream gradients in one mapping."""
    return {(is_upstream, name): x for is_upstream, values in enumerate((inputs, upstream))
            for name, x in values.items()}


def parted(arguments: Mapping[Argument, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inputs and upstream gradients in two mappings."""
    inputs, upstream = ({name: x for (is_upstream, name), x in arguments.items() if is_upstream == i} for i in (0, 1))
    return inputs, upstream


def in_words(argument: Argument) -> str:
    """An argument in an error."""
    return f"{'upstream ' if argument[0] else ''}'{printable(argument[1], 60)}'"


def is_column(array: Any, type_: ArrayType) -> bool:
    """Whether an array, or a number, has one more axis than an argument of this type."""
    return np.ndim(array) == len(type_.shape) + 1


def bind_one_row(question: Question, inputs: Mapping[str, Any], upstream: Mapping[str, Any],
                 columns: Mapping[Argument, Any], remedy: str) -> tuple[Bound, dict[int, Any], int]:
    """What `Question.bind` gives and refuses, with zeros for columns; and the number of rows.

    Raises:
        InputError: what `Question.bind` refuses; columns of different lengths; or none, with the remedy.
    """
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        listed = ", ".join(f"{in_words(key)} has {len(column)}" for key, column in columns.items())
        raise InputError(f"columns of different lengths: {listed}")
    row = dict(inputs), dict(upstream)
    for (is_upstream, name), column in columns.items():
        row[is_upstream][name] = np.zeros(column.shape[1:], column.dtype)
    bound, seeds = question.bind(*row)
    if not lengths:
        raise InputError(f"no column is given; give at least one input {remedy}")
    return bound, seeds, lengths.pop()


def columns_in(question: Question, inputs: Mapping[str, Any],
               upstream: Mapping[str, Any]) -> tuple[Bound, dict[int, Any], int]:
    """What `Question.bind` gives and refuses, with columns where there are some, and the number of rows.

    Raises:
        InputError: an unknown name, a missing value, a wrong shape or dtype, columns of different lengths, or none.
    """
    nodes, library = question.circuit.nodes, Library.of({})
    columns: dict[Argument, Any] = {}
    for key, value in keyed(inputs, upstream).items():
        is_upstream, name = key
        type_ = (question.outputs.get(name) if is_upstream else
                 nodes[name].types[0] if name in nodes and nodes[name].is_argument else None)
        words = in_words(key)
        value = in_memory(value, words)
        if type_ and isinstance(value, list | tuple | np.ndarray):  # binding refuses other names and shapes
            array = library.convert(value, type_, words)
            if is_column(array, type_):
                columns[key] = np.ascontiguousarray(array)
    bound, seeds, rows = bind_one_row(question, inputs, upstream, columns, "a sequence of numbers, one for each row")
    arrays = dict(bound.arrays)
    for (is_upstream, name), column in columns.items():
        if not is_upstream and name in arrays:
            arrays[name] = column
        elif is_upstream and (slot := question.plan.of[name]) in seeds:
            seeds[slot] = seeds[slot] + column  # outputs that are the same node have one gradient between them
    return bound._replace(arrays=arrays), seeds, rows


def in_memory(value: Any, name: str) -> Any:
    """An array of another library, or a table, as an array of NumPy; anything else as it is.

    Raises:
        InputError: it has no numbers in memory, or not one for every element.
    """
    if isinstance(value, list | tuple | np.ndarray) or not hasattr(value, "__array__"):
        return value
    return copy_in(value, name)


def new_columns(dtypes: Sequence[Any], rows: int) -> list[np.ndarray[Any, Any]]:
    """Columns of these dtypes to be filled in, those of the same in one allocation.

    Fresh pages cost as much as the arithmetic; one request of the whole size has the C library keep them for the next.
    """
    dtypes = [np.dtype(dtype) for dtype in dtypes]
    blocks = {dtype: iter(np.empty((dtypes.count(dtype), rows), dtype)) for dtype in dict.fromkeys(dtypes)}
    return [next(blocks[dtype]) for dtype in dtypes]


def in_blocks(work: Callable[[slice], None], rows: int, block: int, *, alone: bool = False) -> None:
    """Call a function for every block of rows, on all cores or `alone`, and return when every call is over.

    The calling thread takes its share of the blocks, and all of them where the others are busy: a call from within a
    block waits for nobody. The work for a block depends on the block alone, not on the number of threads. The last
    slice may go beyond the rows. Of the blocks that fail, the error of the first is raised, and no other block is
    begun.

    Raises:
        BaseException: what `work` raises, for the first of the blocks that fail; no other block is begun after that.
    """
    parts = (slice(start, start + block) for start in range(0, rows, block))
    if alone or _is_alone or rows <= block:
        for part in parts:
            work(part)
        return
    blocks = _Blocks(work, list(parts))
    try:
        queue, threads = _threads(os.getpid())
        for _ in range(min(-(-rows // block) - 1, threads)):
            queue.put(blocks)
        blocks.share()
    finally:
        blocks.close()
    if blocks.errors:
        raise min(blocks.errors, key=itemgetter(0))[1]


def work_alone() -> None:
    """From now on this process computes every block in the calling thread: other processes have the other cores."""
    global _is_alone
    _is_alone = True


_is_alone = False


class _Blocks:
    """The blocks of one call that are still to be done.

    Attributes:
        errors: those of the work, with the first row of each block.
    """

    def __init__(self, work: Callable[[slice], None], parts: Sequence[slice]) -> None:
        self.errors: list[tuple[int, BaseException]] = []
        self._work: Callable[[slice], None] | None = work
        self._parts = deque(parts)
        self._lock, self._is_over = Lock(), Lock()
        self._is_over.acquire()
        self._helpers, self._is_closed = 0, False

    def share(self) -> None:
        """Do one block after the other until none is left."""
        work = self._work
        while work and self._parts:
            try:
                part = self._parts.popleft()
            except IndexError:  # another thread took the last
                return
            try:
                work(part)
            except BaseException as error:  # raised in the calling thread
                self._parts.clear()
                self.errors.append((part.start, error))

    def help(self) -> None:
        """Do the same in another thread; a thread that comes too late does nothing."""
        with self._lock:
            if self._is_closed:
                return
            self._helpers += 1
        self.share()
        with self._lock:
            self._helpers -= 1
            if self._is_closed and not self._helpers:
                self._is_over.release()

    def close(self) -> None:
        """Wait for the helpers, whatever interrupts the waiting: they write into arrays of the caller's."""
        self._parts.clear()
        with self._lock:
            self._is_closed, waits = True, self._helpers > 0
        if waits:
            try:
                self._is_over.acquire()
            except KeyboardInterrupt:
                self.close()
                raise
        self._work = None  # a helper that comes too late would keep the arrays of this call in memory


@cache
def _threads(process: int) -> tuple[SimpleQueue[_Blocks], int]:
    """Threads of a process, one for each core except the caller's, and the queue that they take calls from.

    A fork starts its own. A process at its limit of threads, or at its end, has fewer.
    """
    queue: SimpleQueue[_Blocks] = SimpleQueue()

    def serve() -> None:
        while True:
            queue.get().help()

    others = cores() - 1
    for number in range(others):
        try:
            Thread(target=serve, name=f"circuitflow {number}", daemon=True).start()
        except RuntimeError:
            return queue, number
    return queue, others


def cores() -> int:
    """The number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
