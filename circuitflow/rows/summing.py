"""Sums of results over all rows; their bits depend on the rows and their order alone."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain
from typing import Any, NamedTuple

import numpy as np

from circuitflow.errors import InputError
from circuitflow.gates.shapes import show
from circuitflow.rows.answering import RowFunction
from circuitflow.rows.fixed_order import RowAdder, Tree, cut, join_trees, joined, one_thread, rounded, trees, two_sum
from circuitflow.tables.reader import Batch

BYTES, ROWS = 2**22, 2**16
"""The most bytes that the inputs and results of a block take, but for one row, and the most rows of a block."""


class Totals(NamedTuple):
    """The sums of the columns of results over rows.

    Attributes:
        rows: the number of rows.
        columns: by name, a `Sum`, or an array of Python's integers where the results are integers or truth values.
        dtypes: the dtypes of sums, by name.
    """

    rows: int
    columns: Mapping[str, Any]
    dtypes: Mapping[str, str]

    @np.errstate(all="ignore")
    def sums(self) -> dict[str, Any]:
        """The sums in their dtypes, each with the shape that a result has in a row; zeros of no rows.

        Raises:
            InputError: a sum of integers does not fit.
        """
        return {name: rounded(column) if isinstance(column, tuple) else _integers(name, column, self.dtypes[name])
                for name, column in self.columns.items()}

    @np.errstate(all="ignore")
    def means(self) -> dict[str, Any]:
        """The sums divided by the number of rows, in float64; NaN of no rows."""
        return {name: np.divide(rounded(column), self.rows) if isinstance(column, tuple) else
                np.asarray(column / self.rows if self.rows else column * math.nan, np.float64)
                for name, column in self.columns.items()}


def sum_dtype(dtype: str) -> str:
    """The dtype of the sum of a column, the widest of its kind as in Arrow; truth values are counted."""
    return {"f": "float64", "i": "int64"}.get(np.dtype(dtype).kind, "uint64")


class Blocks(NamedTuple):
    """How rows are cut into blocks, from the first row on.

    Attributes:
        rows: how many a block has, a power of 2.
        shapes: the shape that each input has in a row.
    """

    rows: int
    shapes: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, function: RowFunction, batch: Batch) -> Blocks:
        """The blocks of a table, by what a function answers and a batch that has rows."""
        numbers = sum(map(math.prod, function.shapes.values()))
        width: int = 8 * numbers + sum(column.nbytes // batch.rows for column in batch.inputs.values())
        return cls(1 << min(max(BYTES // max(width, 1), 1), ROWS).bit_length() - 1,
                   {name: column.shape[1:] for name, column in batch.inputs.items()})


Trees = list[Tree[list[Any]]]
"""Sums of the columns of results, of blocks that follow one another."""


def sum_rows(function: RowFunction, batches: Iterable[Batch]) -> Totals:
    """Sum what a function answers for the rows of batches.

    Raises:
        CircuitflowError: a row cannot be read or computed; or has lists of another shape than the first.
    """
    rows = 0

    def counted() -> Iterator[Batch]:
        nonlocal rows
        for batch in batches:
            rows += batch.rows
            if batch.rows:
                yield batch

    following = counted()
    first = next(following, None)
    if first is None:
        return totals(function, 0, [])
    found = sum_blocks(function, chain([first], following), Blocks.of(function, first))
    return totals(function, rows, found)


def sum_blocks(function: RowFunction, batches: Iterable[Batch], blocks: Blocks, first: int = 0) -> Trees:
    """Sum what a function answers for the rows of batches, which begin with a block.

    The function gets blocks whose ends depend on the number of the row alone, since a product of matrices may have
    other bits with other rows beside it. BLAS has one thread meanwhile.

    Args:
        function: the function.
        batches: of rows that follow one another.
        blocks: how they are cut.
        first: the number of the first block.

    Raises:
        CircuitflowError: see `sum_rows`.
    """
    add = RowAdder()
    with one_thread(over_rows=True):
        return trees((_sums(function, block, add) for block in _cut(batches, blocks)), _add_all, first)


def totals(function: RowFunction, rows: int, found: Iterable[Tree[list[Any]]]) -> Totals:
    """The sums of all rows, by those of their blocks."""
    none = [_sum(np.zeros((1, *shape), function.dtypes[name]), RowAdder()) for name, shape in function.shapes.items()]
    columns = join_trees(found, _add_all) if rows else none
    return Totals(rows, dict(zip(function.shapes, columns, strict=True)),
                  {name: sum_dtype(dtype) for name, dtype in function.dtypes.items()})


def _sums(function: RowFunction, block: Batch, add: RowAdder) -> list[Any]:
    """The sums of the columns of results; `Blocks` are small enough that they come at once."""
    (columns,) = function(block)
    return [_sum(column, add) for column in columns]


def _add_all(x: Sequence[Any], y: Sequence[Any]) -> list[Any]:
    return [*map(_add, x, y)]


@np.errstate(all="ignore")
def _sum(column: Any, add: RowAdder) -> Any:
    """The sum along the first axis: a `Sum`, or an array of Python's integers, which are exact."""
    if column.dtype.kind == "f":
        return add(column)
    column = column.astype(sum_dtype(column.dtype))
    high, low = (np.asarray(half.sum(axis=0)).astype(object) for half in (column >> 32, column & 0xFFFFFFFF))
    return np.asarray(high * 2**32 + low, object)


@np.errstate(all="ignore")
def _add(x: Any, y: Any) -> Any:
    return two_sum(x, y) if isinstance(x, tuple) else np.asarray(x + y, object)


def _integers(name: str, total: Any, dtype: str) -> Any:
    limits = np.iinfo(dtype)
    for number in total.flat:
        if not limits.min <= number <= limits.max:
            raise InputError(f"column '{name}': the sum is {number}, and {dtype} ends at "
                             f"{limits.max if number > 0 else limits.min}; take the mean, or have the circuit give a "
                             "float by the gate cast")
    return total.astype(dtype)


# Blocks ---------------------------------------------------------------------------------------------------------------

def _cut(batches: Iterable[Batch], blocks: Blocks) -> Iterator[Batch]:
    """The rows of batches in blocks."""
    for parts in cut(batches, lambda _: blocks.rows):
        for batch, part in parts:
            for name, column in batch.inputs.items():
                if column.shape[1:] != blocks.shapes[name]:
                    raise InputError(f"{batch.at(batch.first + part.start)}: input '{name}' has shape "
                                     f"{show(column.shape[1:])}; expected {show(blocks.shapes[name])}, as before it")
        yield _block(parts)


def _block(parts: Sequence[tuple[Batch, slice]]) -> Batch:
    """Rows that follow one another as one batch, whose errors name the places where they come from."""
    ends = list(accumulate(part.stop - part.start for _, part in parts))

    def at(row: int) -> str:
        i = bisect_right(ends, row)
        batch, part = parts[i]
        return batch.at(batch.first + part.stop - ends[i] + row)

    return Batch(0, ends[-1], {name: joined([batch.inputs[name][part] for batch, part in parts])
                               for name in parts[0][0].inputs}, [], at)
