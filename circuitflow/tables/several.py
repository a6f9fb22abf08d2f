"""Several files as one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, BinaryIO

import numpy as np

from circuitflow.document.limits import Limits
from circuitflow.errors import InputError
from circuitflow.tables.cells import CellError, number_in
from circuitflow.tables.opening import form_of_table, open_table, refuse_damage
from circuitflow.tables.places import Part
from circuitflow.tables.reader import Batch, Reader, Selection
from circuitflow.text import listing, printable

NULL = "__HIVE_DEFAULT_PARTITION__"
"""The folder of the rows whose key is null."""

Opened = Callable[[Part, BinaryIO | None], None]
"""Called with a file when it is opened."""


def first_with_columns(parts: Sequence[Part], limits: Limits) -> Part:
    """The first of the files of a table that says which columns there are; the first of all where none does.

    Only JSON Lines without rows do not say it.

    Raises:
        InputError, MissingExtraError: a file cannot be read, or see `open_table`.
    """
    if len(parts) > 1 and form_of_table(parts[0].path, parts[0].shown) == "lines":
        for part in parts:
            with refuse_damage(part.shown), ExitStack() as stack:
                if not open_table(part.path, part.shown, limits, stack, part.open(stack)).is_blank:
                    return part
    return parts[0]


def open_parts(parts: Sequence[Part], limits: Limits, stack: ExitStack,
               opened: Opened = lambda part, file: None, like: Part | None = None) -> Reader:
    """The table in one or several files, one after the other, which `stack` closes.

    Use `refuse_damage` around this function and the loop over the batches, as for `open_table`.

    Args:
        parts: the files.
        limits: how large things in them may be.
        stack: closes them.
        opened: is called with each file that is opened.
        like: the file whose columns all must have; by default that of `first_with_columns`.

    Raises:
        InputError, MissingExtraError, OSError: see `open_table`, for the first file.
    """
    def reader(part: Part, inner: ExitStack) -> Reader:
        form_of_table(part.path, part.shown)  # rather than that it is not there
        file = part.open(inner)
        opened(part, file)
        return open_table(part.path, part.shown, limits, inner, file)

    if len(parts) == 1 and not parts[0].keys and like in (None, parts[0]):
        return reader(parts[0], stack)
    return Parts(parts, reader, limits, stack, like or first_with_columns(parts, limits))


class Parts(Reader):
    """Files that have the same columns, and the keys of their partitions, whose columns come last."""

    def __init__(self, parts: Sequence[Part], open_part: Callable[[Part, ExitStack], Reader], limits: Limits,
                 stack: ExitStack, first: Part) -> None:
        """Open the file whose columns all must have.

        Raises:
            InputError: it cannot be read, or has a column with the name of a key.
        """
        self._parts, self._open, self._limits = parts, open_part, limits
        self._stack = stack.enter_context(ExitStack())
        with refuse_damage(first.shown):
            self._first = open_part(first, self._stack)
        self._own = [name.strip() for name in self._first.names]
        self.place, self.names, self._is_open = first.shown, [*self._own, *first.keys], first is parts[0]
        self.is_blank = self._first.is_blank
        for key in first.keys:
            if key in self._own:
                raise InputError(f"{first.shown}: column '{printable(key, 60)}' stands in the file and as a key in its "
                                 "path; rename one of the two")

    def type_of(self, position: int) -> Any:
        return self._first.type_of(position) if position < len(self._own) else None

    def lengths(self, position: int) -> Sequence[int | None]:
        return self._first.lengths(position) if position < len(self._own) else ()

    def batches(self, selection: Selection) -> Iterator[Batch]:
        """The rows of one file after the other; the number of a row is that in its file."""
        return self.batches_after(selection, 0)

    def batches_after(self, selection: Selection, skip: int) -> Iterator[Batch]:
        """The rows without some of the first file."""
        for number, part in enumerate(self._parts):
            is_open = self._is_open and not number
            with self._stack if is_open else ExitStack() as stack, refuse_damage(part.shown):
                reader = self._first if is_open else self._open(part, stack)
                if not reader.is_blank:
                    yield from self._of_part(part, reader, selection, 0 if number else skip)

    def _of_part(self, part: Part, reader: Reader, selection: Selection, skip: int) -> Iterator[Batch]:
        places = self._places(reader, selection)
        count = len(self._own)
        inputs = {name: (places[position], dtype) for name, (position, dtype) in selection.inputs.items()
                  if position < count}
        kept = [places[position] for position in selection.kept if position < count]
        # A file of which only keys are read tells the number of its rows by its first column.
        extra = [] if inputs or kept else [0]
        keys = {name: self._number(part, position, dtype) for name, (position, dtype) in selection.inputs.items()
                if position >= count}
        chosen = Selection(inputs, [*kept, *extra], selection.lists)
        for batch in reader.batches_after(chosen, skip):
            copies = iter(batch.kept)
            yield batch._replace(
                inputs={name: batch.inputs[name] if name in inputs else np.full(batch.rows, keys[name],
                                                                                selection.inputs[name][1])
                        for name in selection.inputs},
                kept=[next(copies) if position < count else [self._text(part, position)] * batch.rows
                      for position in selection.kept])

    def _places(self, reader: Reader, selection: Selection) -> dict[int, int]:
        """Where the columns of the first file stand in another.

        Raises:
            InputError: it has other columns, or columns of other types.
        """
        names = [name.strip() for name in reader.names]
        if sorted(names) != sorted(self._own):
            raise InputError(f"{reader.place}: its columns are {listing(names) or 'none'}, and those of {self.place} "
                             f"are {listing(self._own) or 'none'}; expected the same")
        places = {position: names.index(name) for position, name in enumerate(self._own)}
        for position in selection.positions:
            if position >= len(self._own):
                continue
            type_, first = reader.type_of(places[position]), self._first.type_of(position)
            if type_ != first:
                raise InputError(f"{reader.place}: column '{self._shown(position)}' is {printable(str(type_), 60)}, "
                                 f"and {printable(str(first), 60)} in {self.place}; expected the same, so cast one")
        return places

    def _number(self, part: Part, position: int, dtype: str) -> Any:
        try:
            return number_in(self._text(part, position), dtype, self._limits)
        except CellError as error:
            raise InputError(f"{part.shown}: key '{self._shown(position)}': {error}") from None

    def _text(self, part: Part, position: int) -> str:
        text = part.keys[self.names[position]]
        if text == NULL:
            raise InputError(f"{part.shown}: key '{self._shown(position)}' has no value; leave this folder out by a "
                             "pattern")
        return text
