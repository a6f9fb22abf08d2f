"""Sums of results over all rows; their bits depend on the rows and their order alone."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from circuitflow.errors import InputError
from circuitflow.gates.shapes import show
from circuitflow.rows.answering import RowFunction
from circuitflow.rows.fixed_order import add_rows, cut, join, joined, one_thread, rounded, two_sum
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

    def sums(self) -> dict[str, Any]:
        """The sums in their dtypes, each with the shape that a result has in a row; zeros of no rows.

        Raises:
            InputError: a sum of integers does not fit.
        """
        return {name: rounded(column) if isinstance(column, tuple) else _integers(name, column, self.dtypes[name])
                for name, column in self.columns.items()}

    def means(self) -> dict[str, Any]:
        """The sums divided by the number of rows, in float64; NaN of no rows."""
        with np.errstate(all="ignore"):
            return {name: np.divide(rounded(column), self.rows) if isinstance(column, tuple) else
                    np.asarray(column / self.rows if self.rows else column * math.nan, np.float64)
                    for name, column in self.columns.items()}


def sum_dtype(dtype: str) -> str:
    """The dtype of the sum of a column, the widest of its kind as in Arrow; truth values are counted."""
    return {"f": "float64", "i": "int64"}.get(np.dtype(dtype).kind, "uint64")


def sum_rows(function: RowFunction, batches: Iterable[Batch]) -> Totals:
    """Sum what a function answers for the rows of batches.

    The function gets blocks whose ends depend on the number of the row alone, since a product of matrices may have
    other bits with other rows beside it. BLAS has one thread meanwhile.

    Raises:
        CircuitflowError: a row cannot be read or computed; or has lists of another shape than the first.
    """
    rows = 0

    def sums_of_blocks() -> Iterator[list[Any]]:
        nonlocal rows
        for block in _blocks(function, batches):
            rows += block.rows
            for columns in function(block):
                yield [*map(_sum, columns)]
        if not rows:
            yield [_sum(np.zeros((1, *shape), function.dtypes[name])) for name, shape in function.shapes.items()]

    with one_thread(over_rows=True):
        columns = join(sums_of_blocks(), lambda x, y: [*map(_add, x, y)])
    return Totals(rows, dict(zip(function.shapes, columns, strict=True)),
                  {name: sum_dtype(dtype) for name, dtype in function.dtypes.items()})


@np.errstate(all="ignore")
def _sum(column: Any) -> Any:
    """The sum along the first axis: a `Sum`, or an array of Python's integers, which are exact."""
    if column.dtype.kind == "f":
        return add_rows(column)
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

def _blocks(function: RowFunction, batches: Iterable[Batch]) -> Iterator[Batch]:
    """The rows of batches in blocks of a power of 2 of rows."""
    numbers = sum(map(math.prod, function.shapes.values()))
    shapes: dict[str, tuple[int, ...]] = {}

    def rows(batch: Batch) -> int:
        shapes.update((name, column.shape[1:]) for name, column in batch.inputs.items())
        width: int = 8 * numbers + sum(column.nbytes // batch.rows for column in batch.inputs.values())
        return 1 << min(max(BYTES // max(width, 1), 1), ROWS).bit_length() - 1

    for parts in cut(batches, rows):
        for batch, part in parts:
            for name, column in batch.inputs.items():
                if column.shape[1:] != shapes[name]:
                    raise InputError(f"{batch.at(batch.first + part.start)}: input '{name}' has shape "
                                     f"{show(column.shape[1:])}; expected {show(shapes[name])}, as before it")
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
