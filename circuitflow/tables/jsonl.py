"""JSON Lines: one object in every line; its keys are the columns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, NoReturn

from circuitflow.document.base import NON_FINITE
from circuitflow.tables.cells import CellError, numbers
from circuitflow.tables.lines import Lines, undecoded
from circuitflow.tables.reader import ROWS, Batch, Selection, TextReader
from circuitflow.text import duplicate, listing, nearest, printable, short


class _Literal(str):
    """The text of a number."""

    __slots__ = ()


class _Refused(Exception):  # noqa: N818
    """An error of JSON that Python's parser accepts."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        twice = duplicate(key for key, _ in pairs)
        raise _Refused(f"key '{printable(str(twice), 60)}' stands twice; take one of the two out")
    return members


def _constant(name: str) -> NoReturn:
    raise _Refused(f'{name} is not JSON; write "{name}" in quotes')


class JsonLines(TextReader):
    """A table of objects, each with the keys of the first."""

    def __init__(self, lines: Lines) -> None:
        """Read the first row.

        Raises:
            InputError: it cannot be read.
        """
        super().__init__(lines)
        self._row = 0
        self._decoder = json.JSONDecoder(object_pairs_hook=_object, parse_float=_Literal, parse_int=_Literal,
                                         parse_constant=_constant)
        objects = self._parsed()
        first = list(islice(objects, 1))
        self._objects = chain(first, objects)
        self.names, self.is_blank = list(first[0][1]) if first else [], not first

    def batches(self, selection: Selection) -> Iterator[Batch]:
        """The rows in order."""
        while objects := list(islice(self._objects, ROWS)):
            places, rows = zip(*objects, strict=True)
            yield self._batch(self._row - len(rows) + 1, rows, places, selection)

    def _batch(self, first: int, rows: Sequence[dict[str, Any]], places: Sequence[int], selection: Selection) -> Batch:
        names = self.names
        columns = {position: [row.get(names[position]) for row in rows] for position in selection.positions}
        for position, column in columns.items():
            if None in column and (absent := [i for i, row in enumerate(rows) if names[position] not in row]):
                self._refuse(first + absent[0], places[absent[0]],
                             f"there is no key '{printable(names[position], 60)}', which row 1 has; add it")
        inputs = {}
        for name, (position, dtype) in selection.inputs.items():
            with self._refusing(first, places, position):
                texts = [cell if type(cell) is _Literal else _number_text(cell, dtype, i)
                         for i, cell in enumerate(columns[position])]
                inputs[name] = numbers(texts, dtype, self._lines.limits)
        kept = []
        for position in selection.kept:
            with self._refusing(first, places, position):
                kept.append([_kept_text(cell, i) for i, cell in enumerate(columns[position])])
        return Batch(first, len(rows), inputs, kept, self.at)

    def _parsed(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The objects, each with the number of its line."""
        keys: set[str] = set()
        for text in self._lines:
            line = self._lines.taken
            if not text.strip():
                continue
            self._row += 1
            try:
                if not self._lines.is_text:
                    text.encode()
                members = self._decoder.decode(text)
            except _Refused as error:
                self._refuse(self._row, line, str(error))
            except json.JSONDecodeError as error:
                self._refuse(self._row, line, f"no JSON at character {error.pos + 1}; write one object in every line, "
                                              'such as {"x": 1}')
            except UnicodeEncodeError as error:
                self._refuse(self._row, line, undecoded(text[error.start]))
            except RecursionError:
                self._refuse(self._row, line, "nested too deep to be read")
            if not isinstance(members, dict):
                shown = members if type(members) is _Literal else short(members)
                self._refuse(self._row, line, f'{printable(shown, 40)} is no object; write one, such as {{"x": 1}}')
            keys = keys or set(members)
            if not keys.issuperset(members):
                new = next(key for key in members if key not in keys)
                self._refuse(self._row, line, f"key '{printable(new, 60)}' is not one of row 1{nearest(new, keys)}; "
                                              f"it has {listing(keys) or 'none'}, and so has every row")
            yield line, members


def _number_text(cell: Any, dtype: str, index: int) -> str:
    """The text of a cell that means a number but is no JSON number: a truth value, "NaN"."""
    if isinstance(cell, bool) and dtype == "bool":
        return "true" if cell else "false"
    if isinstance(cell, str) and cell in NON_FINITE:
        return cell
    if cell is None:
        raise CellError("null is no value; write one, or take the row out", index)
    remedy = ("write true or false" if dtype == "bool" else
              "write a number without quotes" + ', or "NaN", "Infinity" or "-Infinity"' * dtype.startswith("float"))
    raise CellError(f"{short(cell)} is no {dtype}; {remedy}", index)


def _kept_text(cell: Any, index: int) -> str:
    """The text of a cell that --keep copies."""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, list | dict):
        raise CellError(f"{short(cell)} cannot be carried along; only text, numbers and truth values can", index)
    try:
        (text := cell or "").encode()
    except UnicodeEncodeError:
        raise CellError("text with a lone surrogate; write the whole pair or the character itself", index) from None
    return str(text)
