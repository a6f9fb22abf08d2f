"""What every reader of a table gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol


class Batch(NamedTuple):
    """Some rows.

    Attributes:
        first: the number of the first, from 1.
        rows: how many there are.
        inputs: an array for each column that was asked for, by input.
        kept: the columns that are carried along, as lists of text or Arrow arrays.
    """

    first: int
    rows: int
    inputs: Mapping[str, Any]
    kept: Sequence[Any]


class Wanted(NamedTuple):
    """What is read of a table.

    Attributes:
        inputs: the position of a column and the dtype that it is read as, by input.
        kept: the positions of the columns that are carried along.
    """

    inputs: Mapping[str, tuple[int, str]]
    kept: Sequence[int]


class Reader(Protocol):
    """An open table."""

    @property
    def names(self) -> Sequence[str]:
        """The names of the columns, as they stand in the file."""

    @property
    def total(self) -> int | None:
        """How many batches there are, or None where that is not known."""

    def type_of(self, position: int) -> Any:
        """The Arrow type of a column that is carried along; None is text."""

    def batches(self, wanted: Wanted) -> Iterator[Batch]:
        """The rows in order.

        Raises:
            InputError: a row or a cell cannot be read; the message names it.
        """
