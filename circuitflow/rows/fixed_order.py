"""Sums over rows that have the same bits whoever adds them: the order depends on the numbers of the rows alone.

Rows are cut into blocks from row 0 on. Blocks 0 and 1 are joined, then 2 and 3, then what came of both pairs, and so
on: a binary tree over the numbers of the blocks. Threads may compute the blocks in any order and tables may bring the
rows in any parts. `RowAdder` adds the rows of a block up by the same tree. Where the size of blocks is a power of 2,
all of it is one tree over the numbers of the rows, whatever that size is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import cycle
from typing import Any, Protocol, TypeVar

import numpy as np

T = TypeVar("T")


class HasRows(Protocol):
    """A table, or a part of one."""

    @property
    def rows(self) -> int:
        """The number of its rows."""


Table = TypeVar("Table", bound=HasRows)


def cut(tables: Iterable[Table], rows_of_block: Callable[[Table], int]) -> Iterator[list[tuple[Table, slice]]]:
    """The rows of tables in blocks of one size, each as parts of tables; the last block may be smaller.

    Args:
        tables: their rows follow one another; some may have none.
        rows_of_block: gives the number of rows of a block, from the first table with rows. It must depend on what all
            rows have in common.
    """
    most, size, parts = 0, 0, list[tuple[Table, slice]]()
    for table in tables:
        start = 0
        while start < table.rows:
            most = most or rows_of_block(table)
            end = min(start + most - size, table.rows)
            parts.append((table, slice(start, end)))
            start, size = end, size + end - start
            if size == most:
                yield parts
                size, parts = 0, []
    if parts:
        yield parts


def joined(parts: Sequence[Any]) -> Any:
    """Arrays whose rows follow one another as one, contiguous in memory."""
    return np.ascontiguousarray(parts[0]) if len(parts) == 1 else np.concatenate(parts)


Tree = tuple[int, T]
"""A whole tree over blocks that follow one another: their number, a power of 2, and what they are joined to."""


def trees(parts: Iterable[T], two: Callable[[T, T], T], first: int = 0) -> list[Tree[T]]:
    """Join parts in the order of the tree over all blocks, as far as they have both sides of a pair.

    Args:
        parts: of blocks that follow one another.
        two: joins two neighbours.
        first: the number of the first block.

    Returns:
        Trees from left to right, twice the logarithm of the number of parts at most.
    """
    found: list[Tree[T]] = []
    for end, part in enumerate(parts, first + 1):
        count = 1
        while found and found[-1][0] == count and end % (2 * count) == 0:
            part, count = two(found.pop()[1], part), 2 * count
        found.append((count, part))
    return found


def join_trees(parts: Iterable[Tree[T]], two: Callable[[T, T], T]) -> T:
    """Join the trees of all blocks, one or more, from left to right; holds the logarithm of their number at a time."""
    found: list[Tree[T]] = []
    for count, part in parts:
        while found and found[-1][0] == count:
            part, count = two(found.pop()[1], part), 2 * count
        found.append((count, part))
    _, last = found.pop()
    while found:
        last = two(found.pop()[1], last)
    return last


def join(parts: Iterable[T], two: Callable[[T, T], T]) -> T:
    """Join the parts of all blocks, one or more, in the order of the tree."""
    return join_trees(((1, part) for part in parts), two)


def total(parts: Iterable[float]) -> float:
    """The sum of numbers, rounded once, so that their order makes no difference; not finite as IEEE 754 has it."""
    numbers = list(parts)
    try:
        return math.fsum(numbers)
    except (OverflowError, ValueError):  # of finite numbers, and of ∞ - ∞
        with np.errstate(all="ignore"):
            return float(np.sum(numbers))


Sum = tuple[Any, Any]
"""A sum in float64, and the sum of what its additions rounded away; numbers, or arrays of one shape."""


def add(parts: Iterable[Any]) -> Any:
    """The sum of arrays of one shape, one or more, in float64 with compensation, in the order of the tree."""
    with np.errstate(all="ignore"):
        return rounded(join(((np.asarray(part, np.float64), np.float64(0.0)) for part in parts), two_sum))


class RowAdder:
    """Adds up along the first axis of arrays in the order of the tree, in memory that it keeps for the next array.

    Fresh pages would take several times as long as the arithmetic where the C library gives memory back at once, as it
    does on the workers of Dask. Use one in one thread.
    """

    def __init__(self) -> None:
        self._memory = np.empty(0)

    def __call__(self, column: Any) -> Sum:
        """The sum of an array, which has one row or more."""
        sums: Any = np.asarray(column, np.float64)
        lost: Any = np.zeros_like(sums[:1])
        spaces = self._spaces(sums.shape)
        while (rows := len(sums)) > 1:
            half, end = rows // 2, rows // 2 * 2
            new, missing, part = (space[:half + rows % 2] for space in next(spaces))
            x, y = sums[:end:2], sums[1:end:2]
            _exact_sum(x, y, new[:half], missing[:half], part[:half])
            if len(lost) == rows:  # at first nothing is
                missing[:half] += np.add(lost[:end:2], lost[1:end:2], out=part[:half])
            if rows % 2:
                new[half], missing[half] = sums[-1], lost[-1]
            sums, lost = new, missing
        return sums[0].copy(), lost[0].copy()

    def _spaces(self, shape: Sequence[int]) -> Iterator[tuple[Any, Any, Any]]:
        """Memory for the sums of pairs, what they round away, and a third array; in turn two places for the first."""
        half = (shape[0] + 1) // 2
        size = half * math.prod(shape[1:])
        if len(self._memory) < 5 * size:
            self._memory = np.empty(5 * size)
        one, two, three, four, part = self._memory[: 5 * size].reshape(5, half, *shape[1:])
        return cycle([(one, two, part), (three, four, part)])


def _exact_sum(x: Any, y: Any, total: Any, lost: Any, part: Any) -> None:
    """Write the sum of two arrays and what it rounds away, as `two_sum` computes them; `part` is overwritten."""
    np.add(x, y, out=total)
    np.subtract(total, x, out=part)
    np.subtract(total, part, out=lost)
    np.subtract(x, lost, out=lost)
    np.add(lost, np.subtract(y, part, out=part), out=lost)


def two_sum(x: Sum, y: Sum) -> Sum:
    """The sum of two sums. What an addition rounds away is exact (Knuth 1997, section 4.2.2), its own sum is not."""
    total = x[0] + y[0]
    part = total - x[0]
    return total, (x[0] - (total - part)) + (y[0] - part) + (x[1] + y[1])


def rounded(sum_: Sum) -> Any:
    """A sum as one number, or array; not finite as IEEE 754 has it."""
    sums, lost = sum_
    return np.where(np.isfinite(sums), sums + lost, sums)


def one_thread(*, over_rows: bool) -> AbstractContextManager[Any]:
    """Meanwhile BLAS and LAPACK compute on one thread, in the whole process: on several, results have other bits.

    Rows are shared between threads of our own. A circuit of a batch is not, so that it keeps the threads of BLAS.
    """
    if not over_rows:
        return nullcontext()
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1, "blas")
    return limits
