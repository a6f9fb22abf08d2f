"""Comma-separated values (RFC 4180): read exactly, or refused by row and column."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from circuitflow.document.limits import Limits
from circuitflow.errors import InputError
from circuitflow.tables.cells import CellError, are_kept, doubtful, numbers
from circuitflow.tables.lines import MARK, Lines, decode_text, undecoded
from circuitflow.tables.reader import ROWS, Batch, Selection, TextReader

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_HEADER = re.compile(r'(?:"[^"]*(?:"|$)|[^"\r\n]+)*')
_QUOTED = re.compile(r'"[^"]*(?:"|$)')
_BYTE = re.compile("[\udc80-\udcff]")


class Delimited(TextReader):
    """A table of separated columns.

    pyarrow parses plain blocks, where it is installed. Python parses all others and knows the row and line of a fault.
    """

    def __init__(self, lines: Lines, stack: ExitStack, separator: str | None = None) -> None:
        """Read the header. The default separator is the one that it has; `stack` restores the limit of `csv`.

        Raises:
            InputError: the header cannot be read.
        """
        super().__init__(lines)
        self._row, self._blank = -1, 0
        # Python's limit of a field is one for all readers.
        stack.callback(csv.field_size_limit, csv.field_size_limit(lines.limits.text))
        block = lines.block()
        self._separator = separator or self._separator_of(decode_text(block)[0])
        lines.put(block)
        self.names = next((row for _, row in self._parsed() if row), [])
        self._row = 0
        for position, name in enumerate(self.names):
            self._refuse_bytes(name, f"the name of column {position + 1}")

    def batches(self, selection: Selection) -> Iterator[Batch]:
        """The rows in order."""
        while True:
            if not self._lines.left:
                data = self._lines.block()
                if not data:
                    return
                if batch := self._by_arrow(data, selection):
                    self._row += batch.rows
                    self._lines.taken += batch.rows
                    yield batch
                    continue
                self._lines.put(data)
            if (batch := self._by_python(selection)).rows:
                yield batch

    def _separator_of(self, text: str) -> str:
        header = _HEADER.match(text.lstrip("\r\n"))
        plain = _QUOTED.sub("", header[0] if header else "")
        separators = [separator for separator in _SEPARATORS if separator in plain]
        if len(separators) > 1:
            raise InputError(f"{self._lines.name}: its header has {' and '.join(_SEPARATORS[x] for x in separators)}; "
                             "separate columns by one of them, and put quotes around names that have another; in .tsv "
                             "tabs alone separate")
        return separators[0] if separators else ","

    # By Python --------------------------------------------------------------------------------------------------------

    def _by_python(self, selection: Selection) -> Batch:
        """Rows up to the end of the block, at most `ROWS`."""
        first = self._row + 1
        rows: list[list[str]] = []
        places: list[int] = []
        for line, row in self._parsed():
            if row:
                self._check(row, line)
                self._row += 1
                rows.append(row)
                places.append(line)
            elif len(self.names) == 1:  # in a table of one column it may be a cell without a value
                self._blank = self._blank or line
            if not self._lines.left or len(rows) == ROWS:
                break
        inputs = {}
        for name, (position, dtype) in selection.inputs.items():
            with self._refusing(first, places, position):
                inputs[name] = numbers([row[position] for row in rows], dtype, self._lines.limits)
        kept = [[row[position] for row in rows] for position in selection.kept]
        return Batch(first, len(rows), inputs, kept, self.at)

    def _parsed(self) -> Iterator[tuple[int, list[str]]]:
        """The rows that follow, also blank ones, each with the number of its first line."""
        lines = self._lines
        line = lines.taken + 1
        try:
            for row in csv.reader(lines, strict=True, delimiter=self._separator):
                yield line, row
                line = lines.taken + 1
        except csv.Error as error:
            if "limit" in str(error):
                what = f"a text of more than {lines.limits.text} characters (limit text); is a quote not closed?"
            elif "end of data" in str(error):
                what = "a text in quotes has no closing quote; add it"
            else:
                what = ("a closing quote is followed by something else than a separator; write a quote inside a text "
                        "twice")
            self._refuse(self._row + 1, line, what)

    def _check(self, row: list[str], line: int) -> None:
        """Refuse a row that is not as wide as the header, or is not text."""
        width = len(self.names)
        if self._blank:
            self._refuse(self._row + 1, self._blank, "the line is blank; write a value, or take the line out", 0)
        if len(row) != width:
            what = (f"there is nothing for column '{self._shown(len(row))}'" if len(row) < width else
                    "take out what is too much, or put quotes around a text with a separator in it")
            self._refuse(self._row + 1, line, f"it has {_count(len(row), 'value')}, and the header has "
                                              f"{_count(width, 'column')}; {what}")
        if not self._lines.is_text:
            for position, text in enumerate(row):
                self._refuse_bytes(text, f"row {self._row + 1} (line {line}), column '{self._shown(position)}'")

    def _refuse_bytes(self, text: str, place: str) -> None:
        if byte := _BYTE.search(text):
            raise InputError(f"{self._lines.name}: {place}: {undecoded(byte[0])}")

    # By pyarrow -------------------------------------------------------------------------------------------------------

    def _by_arrow(self, data: bytes, selection: Selection) -> Batch | None:
        """All rows of a block, or None where pyarrow is not installed or Python has to parse the block."""
        try:
            import pyarrow as pa
            from pyarrow import csv as arrow
        except ImportError:
            return None
        if self._blank or not _is_plain(data, self._separator) or _has_long_line(data, self._lines.limits.text):
            return None
        names = [str(i) for i in range(len(self.names))]
        read = selection.positions
        try:
            table = arrow.read_csv(
                pa.BufferReader(data), arrow.ReadOptions(column_names=names, block_size=len(data) + 1),
                arrow.ParseOptions(delimiter=self._separator, newlines_in_values=True),
                arrow.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), null_values=[],
                                     include_columns=[names[position] for position in read]))
        except pa.ArrowInvalid:
            return None
        if table.num_rows != data.count(b"\n"):  # there are blank lines, or texts of several
            return None
        columns = {position: table.column(names[position]).combine_chunks() for position in read}
        inputs = {}
        for name, (position, dtype) in selection.inputs.items():
            array = _numbers(columns[position], dtype, self._lines.limits)
            if array is None:
                return None
            inputs[name] = array
        return Batch(self._row + 1, table.num_rows, inputs, [columns[position] for position in selection.kept], self.at)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _is_plain(data: bytes, separator: str) -> bool:
    """Whether pyarrow and Python parse these lines alike.

    They are UTF-8 with line ends of one kind, and every quote begins or ends a cell.
    """
    if data.startswith(MARK):  # which pyarrow takes away from every block, not from the file alone
        return False
    if b"\0" in data or not data.endswith(b"\n") or not (data.isascii() or decode_text(data)[1]):
        return False
    if b"\r" in data and not data.count(b"\r") == data.count(b"\r\n") == data.count(b"\n"):
        return False
    if b'"' not in data:
        return True
    codes = np.frombuffer(b"\n" + data, np.uint8)
    quotes = np.flatnonzero(codes == ord('"'))
    if len(quotes) % 2:
        return False
    ends = [ord(separator), ord("\n")]
    before, after = codes[quotes[::2] - 1], codes[quotes[1::2] + 1]
    return bool(np.isin(before, ends).all() and np.isin(after, [*ends, ord("\r")]).all())


def _has_long_line(data: bytes, limit: int) -> bool:
    """Whether a line may be longer than a text may be."""
    end = 0
    while end + limit < len(data):
        end, start = data.rfind(b"\n", end, end + limit) + 1, end
        if end <= start:
            return True
    return False


def _numbers(column: Any, dtype: str, limits: Limits) -> Any:
    """A column of text as an array, or None where Python has to parse it."""
    import pyarrow as pa
    from pyarrow import compute

    try:
        if dtype != "float64" or (compute.max(compute.binary_length(column)).as_py() or 0) > limits.digits:
            return numbers(column.to_pylist(), dtype, limits)
        array = column.cast(pa.float64()).to_numpy()
    except (CellError, pa.ArrowInvalid):
        return None
    return array if are_kept(set(column.take(doubtful(array)).unique().to_pylist()), limits) else None
