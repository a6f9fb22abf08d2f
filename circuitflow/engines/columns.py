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
from circuitflow.gates import ArrayType


class Columns(NamedTuple):
    """Arguments of a function over rows.

    Attributes:
        arrays: the columns, by name, each contiguous and of the dtype of its input.
        scalars: all that is given, a number of the right dtype in place of a column.
        rows: how many there are.
    """

    arrays: Mapping[str, Any]
    scalars: Mapping[str, Any]
    rows: int


def columns_in(given: Mapping[str, Any], types: Mapping[str, ArrayType]) -> Columns:
    """Tell columns from numbers that are the same in every row.

    Args:
        given: by name.
        types: of everything that may be given; what has another name is left to others to complain of.

    Raises:
        InputError: a wrong dtype, columns of different lengths, or none.
    """
    arrays: dict[str, Any] = {}
    for name, value in given.items():
        if name in types and np.ndim(value) == 1:
            shown = f"'{printable(name, 60)}'"
            arrays[name] = np.ascontiguousarray(Library.of({shown: value}).convert(value, types[name], shown))
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        found = ", ".join(f"'{printable(name, 60)}' has {length}" for name, length in lengths.items())
        raise InputError(f"columns of different lengths: {found}" if found else
                         "no column is given; give at least one input a sequence of numbers, one for each row")
    scalars = {**given, **{name: np.zeros((), array.dtype) for name, array in arrays.items()}}
    return Columns(arrays, scalars, next(iter(lengths.values())))


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
