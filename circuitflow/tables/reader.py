"""Readers of tables: their interface, and the part that readers of text share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

from circuitflow.errors import InputError
from circuitflow.tables.cells import CellError
from circuitflow.tables.lines import Lines
from circuitflow.text import printable

ROWS = 2**16
"""Rows of text that are read at a time."""


class Batch(NamedTuple):
    """Some rows.

    Attributes:
        first: the number of the first row, from 1.
        rows: how many there are.
        inputs: the arrays of the columns, by input.
        kept: the columns that are copied to the result, as lists of text or Arrow arrays.
        at: gives the place of a row in words, by its number.
    """

    first: int
    rows: int
    inputs: Mapping[str, Any]
    kept: Sequence[Any]
    at: Callable[[int], str]

    def part(self, start: int, stop: int) -> Batch:
        """The rows from an index on, before another; without copies."""
        rows = slice(start, min(stop, self.rows))
        return self if rows == slice(0, self.rows) else Batch(
            self.first + start, rows.stop - start, {name: column[rows] for name, column in self.inputs.items()},
            [column[rows] for column in self.kept], self.at)


class Selection(NamedTuple):
    """The columns to read.

    Attributes:
        inputs: the position of a column and the dtype that it is read as, by input.
        kept: the positions of the columns that are copied to the result.
        lists: the inputs that are read of lists, nested or not: the array has an axis for each level. For each the
            lengths by level, None for one that the first row decides; or None where the column decides all.
    """

    inputs: Mapping[str, tuple[int, str]]
    kept: Sequence[int]
    lists: Mapping[str, Sequence[int | None] | None] = MappingProxyType({})

    @property
    def positions(self) -> list[int]:
        """The positions of all these columns, in order."""
        return sorted({*(position for position, _ in self.inputs.values()), *self.kept})


def without_first(batches: Iterable[Batch], skip: int) -> Iterator[Batch]:
    """Batches without the first of their rows."""
    for batch in batches:
        if skip < batch.rows or not skip:
            yield batch.part(skip, batch.rows)
        skip = max(skip - batch.rows, 0)


def first_of(batches: Iterable[Batch], rows: int) -> Iterator[Batch]:
    """The first rows of batches, without reading on.

    Raises:
        InputError: there are fewer.
    """
    for batch in batches:
        yield batch.part(0, rows)
        rows -= batch.rows
        if rows <= 0:
            return
    raise InputError(f"the table has {rows} rows less than when they were counted; begin anew when it is complete")


class Reader:
    """An open table.

    Attributes:
        names: of the columns, as they stand in the file.
        total: the number of batches, or None where it is not known.
        place: where the rows come from, in words.
        is_blank: whether it has no rows and, for want of them, no names of columns.
    """

    place = ""
    is_blank = False
    names: Sequence[str] = ()
    total: int | None = None

    def type_of(self, position: int) -> Any:
        """The Arrow type of a column that is copied to the result; None is text."""

    def lengths(self, position: int) -> Sequence[int | None]:
        """The lengths of the lists in each row of a column, by level; None where the type of the column leaves it open.

        Without levels there is one number in each row, as in every column of text.
        """
        return ()

    def batches(self, selection: Selection) -> Iterator[Batch]:
        """The rows in order.

        Raises:
            InputError: a row or a cell cannot be read; the message names it.
        """
        raise NotImplementedError

    def batches_after(self, selection: Selection, skip: int) -> Iterator[Batch]:
        """The rows in order without the first ones.

        Raises:
            InputError: see `batches`.
        """
        return without_first(self.batches(selection), skip)

    def stretches(self) -> list[int]:
        """The numbers of rows of stretches, each of which can be read without those before it.

        Raises:
            InputError: the rows have to be read to be counted, and one cannot be.
        """
        return [sum(batch.rows for batch in self.batches(Selection({}, [0])))]

    def at(self, row: int) -> str:
        """The place of a row in words, by its number."""
        return f"{self.place}: row {row}"

    def _shown(self, position: int) -> str:
        return printable(self.names[position], 60)


class TextReader(Reader):
    """A table in lines of text. Errors name the row, the line and the column."""

    def __init__(self, lines: Lines) -> None:
        self._lines, self.place = lines, lines.name

    def _refuse(self, row: int, line: int, what: str, position: int | None = None) -> NoReturn:
        place = f"row {row}" if row else "the header"
        column = "" if position is None else f", column '{self._shown(position)}'"
        raise InputError(f"{self._lines.name}: {place} (line {line}){column}: {what}")

    @contextmanager
    def _refusing(self, first: int, lines: Sequence[int], position: int) -> Iterator[None]:
        """Refuse a cell of a column that cannot be read, in rows from the first on, by the number of its line."""
        try:
            yield
        except CellError as error:
            self._refuse(first + error.index, lines[error.index], str(error), position)
