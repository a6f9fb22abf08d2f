"""Columns: values of an input, one for each row."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, NamedTuple

import numpy as np

from circuitflow.document.numbers import copied
from circuitflow.errors import InputError, printable
from circuitflow.executor.arrays import Library
from circuitflow.executor.binding import Bound
from circuitflow.executor.question import Question
from circuitflow.gates import ArrayType


class Columns(NamedTuple):
    """Arguments of a function over rows.

    Attributes:
        inputs: the columns by id, each contiguous and of the dtype of its input.
        upstream: columns of upstream gradients, by output.
        bound: what `Question.bind` gives, with a number of the right dtype in place of each column.
        rows: how many there are.
    """

    inputs: Mapping[str, Any]
    upstream: Mapping[str, Any]
    bound: tuple[Bound, dict[int, Any]]
    rows: int


def columns_in(question: Question, inputs: Mapping[str, Any], upstream: Mapping[str, Any]) -> Columns:
    """Tell columns from numbers that are the same in every row.

    Args:
        question: whose values are scalars; inputs that it does not need may be arrays.
        inputs: by id.
        upstream: by output.

    Raises:
        InputError: an unknown name, a missing value, a wrong shape or dtype, columns of different lengths, or none.
    """
    nodes = question.circuit.nodes
    types = {name: node.types[0] for name, node in nodes.items() if node.kind in ("input", "parameter")}
    columns = _converted(inputs, types, "'{}'")
    seeds = _converted(upstream, question.outputs, "upstream '{}'")
    lengths = {**{f"'{printable(name, 60)}'": len(x) for name, x in columns.items()},
               **{f"upstream '{printable(name, 60)}'": len(x) for name, x in seeds.items()}}
    refuse_different(lengths)
    bound = question.bind(_in_one_row(inputs, columns), _in_one_row(upstream, seeds))
    if not lengths:
        raise InputError("no column is given; give at least one input a sequence of numbers, one for each row")
    return Columns(columns, seeds, bound, next(iter(lengths.values())))


def refuse_different(lengths: Mapping[str, int]) -> None:
    """Refuse columns that are not equally long; the lengths are by the name that errors call a column by.

    Raises:
        InputError: with the length of each.
    """
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InputError(f"columns of different lengths: {found}")


def _converted(given: Mapping[str, Any], types: Mapping[str, ArrayType], wording: str) -> dict[str, Any]:
    """What is a column, as an array; what has another name or shape is left for binding to refuse."""
    columns: dict[str, Any] = {}
    for name, value in given.items():
        shown = wording.format(printable(name, 60))
        value = in_memory(value, shown)
        if name in types and isinstance(value, list | tuple | np.ndarray):
            array = Library.of({}).convert(value, types[name], shown)
            if array.ndim == len(types[name].shape) + 1:
                columns[name] = np.ascontiguousarray(array)
    return columns


def in_memory(value: Any, name: str) -> Any:
    """An array of another library, or a table, as an array of NumPy; anything else as it is.

    Raises:
        InputError: it has no numbers in memory, or not one for every element.
    """
    if isinstance(value, list | tuple | np.ndarray) or not hasattr(value, "__array__"):
        return value
    return copied(value, name)


def _in_one_row(given: Mapping[str, Any], columns: Mapping[str, Any]) -> dict[str, Any]:
    return {**given, **{name: np.zeros(column.shape[1:], column.dtype) for name, column in columns.items()}}


def new_columns(dtypes: Sequence[Any], rows: int) -> list[np.ndarray[Any, Any]]:
    """Columns of these dtypes to be filled in, those of the same in one allocation.

    Fresh pages cost as much as the arithmetic; one request of the whole size has the C library keep them for the next.
    """
    dtypes = [np.dtype(dtype) for dtype in dtypes]
    blocks = {dtype: iter(np.empty((dtypes.count(dtype), rows), dtype)) for dtype in dict.fromkeys(dtypes)}
    return [next(blocks[dtype]) for dtype in dtypes]


def in_blocks(work: Callable[[slice], None], rows: int, block: int) -> None:
    """Do something for every block of rows, on all cores, and return when nothing of it runs any more.

    The calling thread takes its share of the blocks, and all of them where the others are busy: a call from within a
    block waits for nobody. What is done for a block goes by the block alone, not by the number of threads.

    Args:
        work: takes the rows of a block; the last slice may go beyond the rows.
        rows: how many there are.
        block: the rows of a block.

    Raises:
        BaseException: what `work` raises, for the first of the blocks that fail; no other block is begun after that.
    """
    blocks = _Blocks(work, [slice(start, start + block) for start in range(0, rows, block)])
    try:
        if rows > block:
            queue, threads = _threads(os.getpid())
            for _ in range(min(-(-rows // block) - 1, threads)):
                queue.put(blocks)
        blocks.share()
    finally:
        blocks.close()
    if blocks.failed:
        raise min(blocks.failed, key=itemgetter(0))[1]


class _Blocks:
    """What is left to do of one call.

    Attributes:
        failed: the errors, with the first row of each block.
    """

    def __init__(self, work: Callable[[slice], None], parts: Sequence[slice]) -> None:
        self.failed: list[tuple[int, BaseException]] = []
        self._work: Callable[[slice], None] | None = work
        self._left = deque(parts)
        self._lock, self._is_over = Lock(), Lock()
        self._is_over.acquire()
        self._helpers, self._is_closed = 0, False

    def share(self) -> None:
        """Do one block after the other until none is left."""
        work = self._work
        while work and self._left:
            try:
                part = self._left.popleft()
            except IndexError:  # another thread took the last
                return
            try:
                work(part)
            except BaseException as error:  # raised in the calling thread
                self._left.clear()
                self.failed.append((part.start, error))

    def help(self) -> None:
        """Do so in another thread; one that comes too late does nothing."""
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
        self._left.clear()
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
    """Threads of a process, one for each core but that of the caller, and what they take calls from.

    A fork has none of its parent's. There are fewer where the process is at its limit of threads, or at its end.
    """
    queue: SimpleQueue[_Blocks] = SimpleQueue()

    def serve() -> None:
        while True:
            queue.get().help()

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for started in range(cores - 1):
        try:
            Thread(target=serve, name=f"circuitflow {started}", daemon=True).start()
        except RuntimeError:
            return queue, started
    return queue, cores - 1
