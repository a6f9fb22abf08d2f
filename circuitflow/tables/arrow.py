"""Parquet and Arrow: columns with types of their own, in files or in memory."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NoReturn

import numpy as np

from circuitflow.document.numbers import unfit
from circuitflow.errors import InputError
from circuitflow.tables.reader import Batch, Reader, Selection, without_first
from circuitflow.text import printable

BYTES = 2**25
"""Bytes of columns that are converted at a time."""


class ArrowColumns(Reader):
    """A table of Arrow columns."""

    def __init__(self, schema: Any, total: int | None, read: Callable[[Sequence[str], int], Iterator[Any]],
                 place: str, groups: Sequence[int] = ()) -> None:
        """Set up.

        Args:
            schema: that of the table.
            total: the number of batches, or None where it is not known.
            read: gives the batches of columns, by their names, from a row group on.
            place: where the rows come from, in words.
            groups: the number of rows in each of several row groups.
        """
        self.names, self.total, self.place = schema.names, total, place
        self._schema, self._read, self._groups, self._ends = schema, read, list(groups), list(accumulate(groups))

    def at(self, row: int) -> str:
        group = f" (row group {bisect_left(self._ends, row) + 1})" if len(self._ends) > 1 else ""
        return f"{super().at(row)}{group}"

    def type_of(self, position: int) -> Any:
        """The type of a column in the result: its own, or that of the values of a dictionary."""
        import pyarrow as pa

        type_ = self._schema.field(position).type
        return type_.value_type if pa.types.is_dictionary(type_) else type_

    def batches(self, selection: Selection) -> Iterator[Batch]:
        """The rows in order."""
        return self.batches_after(selection, 0)

    def batches_after(self, selection: Selection, skip: int) -> Iterator[Batch]:
        """The rows in order without the first ones; whole row groups of these are not read."""
        group = bisect_right(self._ends, skip) if skip else 0
        passed = self._ends[group - 1] if group else 0
        return without_first(self._from(group, passed, selection), skip - passed)

    def stretches(self) -> list[int]:
        """The row groups, where the file has them."""
        return self._groups or super().stretches()

    def _from(self, group: int, passed: int, selection: Selection) -> Iterator[Batch]:
        """The rows from a row group on, before which some have passed."""
        positions = selection.positions
        first = passed + 1
        for batch in self._read([self.names[position] for position in positions], group):
            batch.validate(full=True)  # pyarrow does not check the offsets in a file, and reads beyond its memory
            step = max(1, BYTES * batch.num_rows // max(batch.nbytes, 1))
            for start in range(0, max(batch.num_rows, 1), step):
                yield self._batch(batch.slice(start, step), selection, positions, first + start)
            first += batch.num_rows

    def _batch(self, batch: Any, selection: Selection, positions: Sequence[int], first: int) -> Batch:
        columns = {position: self._plain(batch.column(self.names[position])) for position in positions}
        inputs = {name: self._tensor(columns[position], dtype, position, first, selection.lists[name])
                  if name in selection.lists else self._numbers(columns[position], dtype, position, first)
                  for name, (position, dtype) in selection.inputs.items()}
        return Batch(first, batch.num_rows, inputs, [columns[position] for position in selection.kept], self.at)

    @staticmethod
    def _plain(column: Any) -> Any:
        import pyarrow as pa

        return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column

    def lengths(self, position: int) -> list[int | None]:
        import pyarrow as pa

        lengths, type_ = [], self.type_of(position)
        while _is_list(type_):
            lengths.append(type_.list_size if pa.types.is_fixed_size_list(type_) else None)
            type_ = type_.value_type
        return lengths

    def _tensor(self, column: Any, dtype: str, position: int, first: int, lengths: Sequence[int | None] | None) -> Any:
        """A column of numbers, or of lists of one length, as an array of a dtype."""
        import pyarrow as pa

        shape = [len(column)]
        while _is_list(column.type):
            width = math.prod(shape[1:])
            if column.null_count:
                row = first + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False))) // max(width, 1)
                self._refuse(row, position, "there is no list; write one, or take the row out")
            length = None if lengths is None else lengths[len(shape) - 1]
            if pa.types.is_fixed_size_list(column.type):
                sizes = np.full(min(len(column), 1), column.type.list_size)
                size = column.type.list_size if length is None else length
            else:
                sizes = np.asarray(column.value_lengths())
                size = length if length is not None else int(sizes[0]) if len(sizes) else 0
            if np.any(sizes != size):
                other = int(np.argmax(sizes != size))
                self._refuse(first + other // max(width, 1), position, f"a list of {sizes[other]}; expected {size}"
                             + (", as before it" if length is None else ""))
            shape.append(size)
            column = self._plain(column.flatten())
        return self._numbers(column, dtype, position, first, math.prod(shape[1:])).reshape(shape)

    def _numbers(self, column: Any, dtype: str, position: int, first: int, width: int = 1) -> Any:
        """A column as an array of a dtype. Only floats may be rounded, to a smaller float.

        Each row has `width` numbers; `first` is the number of the first row.
        """
        import pyarrow as pa

        types = pa.types
        if not (types.is_boolean(column.type) if dtype == "bool" else
                types.is_integer(column.type) or types.is_floating(column.type)):
            remedy = "write a column of truth values" if dtype == "bool" else "cast it to a column of numbers"
            raise InputError(f"{self.place}: column '{self._shown(position)}' is "
                             f"{printable(str(column.type), 60)}; expected {dtype}, so {remedy}")
        if column.null_count:
            place = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
            self._refuse(first + place // width, position, "there is no value; write one, or take the row out")
        array = column.to_numpy(zero_copy_only=False)
        with np.errstate(over="ignore", invalid="ignore"):
            cast = array.astype(dtype, copy=False)
        if array.dtype != dtype:
            for i in np.flatnonzero(_is_doubtful(array, cast)):
                if message := unfit(array[i].item(), dtype):
                    self._refuse(first + int(i) // width, position, message)
        return cast

    def _refuse(self, row: int, position: int, what: str) -> NoReturn:
        raise InputError(f"{self.at(row)}, column '{self._shown(position)}': {what}")


def _is_list(type_: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_fixed_size_list(type_) or pa.types.is_list(type_) or pa.types.is_large_list(type_))


def _is_doubtful(array: Any, cast: Any) -> Any:
    """Where a cast may have changed a number, or where it is too large or too small for the dtype."""
    if array.dtype.kind == cast.dtype.kind == "f":
        size = np.abs(array)
        return (size > 6e4) | ((size < 1e-4) & (size != 0))  # within these every float dtype has a number for it
    with np.errstate(invalid="ignore"):
        # A float at the end of the range of an integer does not go back into it.
        return (cast.astype(array.dtype) != array) | (np.abs(cast.astype("float64")) >= 2.0**53)


# Arrays to columns ----------------------------------------------------------------------------------------------------

def arrow_type(dtype: str, shape: Sequence[int]) -> Any:
    """The Arrow type of a column of arrays: lists of fixed size, one level for each axis in a row."""
    import pyarrow as pa

    type_: Any = pa.from_numpy_dtype(np.dtype(dtype))
    for size in reversed(shape):
        type_ = pa.list_(type_, size)
    return type_


def arrow_array(column: Any, type_: Any) -> Any:
    """An array whose first axis is that of the rows, a list of text, or a column of Arrow as it is, as a column."""
    import pyarrow as pa

    if isinstance(column, pa.Array):
        return column
    if isinstance(column, list) or column.ndim == 1:
        return pa.array(column, type_)
    inner = arrow_array(column.reshape(len(column) * column.shape[1], *column.shape[2:]), type_.value_type)
    return pa.Array.from_buffers(type_, len(column), [None], children=[inner])
