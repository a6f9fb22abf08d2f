"""Columns: values of an input, one for each row."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

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
        question: whose inputs and outputs are scalars.
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
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InputError(f"columns of different lengths: {found}")
    bound = question.bind(_in_one_row(inputs, columns), _in_one_row(upstream, seeds))
    if not lengths:
        raise InputError("no column is given; give at least one input a sequence of numbers, one for each row")
    return Columns(columns, seeds, bound, next(iter(lengths.values())))


def _converted(given: Mapping[str, Any], types: Mapping[str, ArrayType], wording: str) -> dict[str, Any]:
    """What is a column, as an array; what has another name or shape is left for binding to refuse."""
    columns: dict[str, Any] = {}
    for name, value in given.items():
        if not isinstance(value, list | tuple | np.ndarray) and hasattr(value, "__array__"):
            value = np.asarray(value)  # a column of another library, in memory
        if name in types and types[name].shape == () and isinstance(value, list | tuple | np.ndarray):
            array = Library.of({}).convert(value, types[name], wording.format(printable(name, 60)))
            if array.ndim == 1:
                columns[name] = np.ascontiguousarray(array)
    return columns


def _in_one_row(given: Mapping[str, Any], columns: Mapping[str, Any]) -> dict[str, Any]:
    return {**given, **{name: np.zeros((), column.dtype) for name, column in columns.items()}}


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
    left = deque(slice(start, start + block) for start in range(0, rows, block))
    failed: list[tuple[int, BaseException]] = []
    task = [work]

    def share() -> None:
        while left:
            try:
                part = left.popleft()
            except IndexError:  # another thread took the last
                return
            try:
                task[0](part)
            except BaseException as error:  # raised below, in the calling thread
                left.clear()
                failed.append((part.start, error))

    helpers: list[Future[None]] = []
    try:
        helpers += _helped(share, len(left) - 1)
        share()
    finally:
        left.clear()
        _finish(helpers)
        task.clear()  # a helper holds on to `share` a little longer, and would keep the arrays of this call in memory
    if failed:
        raise min(failed, key=itemgetter(0))[1]


def _helped(share: Callable[[], None], most: int) -> Iterator[Future[None]]:
    """Have other threads do their share; none where there are no more cores, or no thread can be started."""
    for _ in range(min(most, _cores() - 1)):
        try:
            yield _threads(os.getpid()).submit(share)
        except RuntimeError:  # at the end of the process, or at its limit of threads
            return


def _finish(helpers: Sequence[Future[None]]) -> None:
    """Wait for those that have begun, whatever interrupts the waiting: they write into arrays of the caller's."""
    running = [helper for helper in helpers if not helper.cancel()]
    try:
        wait(running)
    except KeyboardInterrupt:
        _finish(running)
        raise


@cache
def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _threads(process: int) -> ThreadPoolExecutor:
    """Threads of a process, for all cores but that of the caller; a fork has none of its parent's."""
    return ThreadPoolExecutor(_cores() - 1)
