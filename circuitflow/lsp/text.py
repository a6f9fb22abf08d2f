"""A text with its offsets, and the positions of the protocol: lines and columns from 0, columns in code units."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property

from lsprotocol.types import Position, Range

from circuitflow.gates import GATES, GateTable
from circuitflow.lsp.names import Names
from circuitflow.lsp.syntax import Value, parse

_ENCODINGS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}
"""Python's name of every encoding of the protocol, and the bytes of its unit."""


MOST_CHARACTERS = 2**24
"""The longest text of which there is a tree: a parse of it takes seconds. Faults of a longer one are still found."""


class Text:
    """The text of a document as an editor holds it.

    A line ends at a line feed, with a carriage return or without, or at a carriage return, as the protocol says. JSON
    may have the other separators of Unicode inside of text, where they end no line.

    Attributes:
        uri: of the document.
        version: counts the edits.
        source: the characters.
        encoding: Python's name of the encoding whose code units columns count; given as "utf-8", "utf-16" or "utf-32".
        gates: the gate table.
    """

    def __init__(self, uri: str, version: int | None, source: str, encoding: str = "utf-16",
                 gates: GateTable = GATES) -> None:
        """Hold a text."""
        self.uri, self.version, self.source, self.gates = uri, version, source, gates
        self.encoding, self._width = _ENCODINGS[encoding]

    @cached_property
    def tree(self) -> Value:
        """The tree of the text; empty for a text that is too long."""
        return parse(self.source if len(self.source) <= MOST_CHARACTERS else "")

    @cached_property
    def names(self) -> Names:
        """The names in the text."""
        return Names(self.tree)

    @cached_property
    def _feeds(self) -> list[int]:
        """Where the lines begin that faults count, which end at line feeds alone."""
        starts, at = [0], 0
        while (at := self.source.find("\n", at) + 1) > 0:
            starts.append(at)
        return starts

    @cached_property
    def _starts(self) -> list[int]:
        """Where the lines begin that editors count."""
        if "\r" not in self.source:
            return self._feeds
        return [0, *(match.end() for match in re.finditer("\r\n?|\n", self.source))]

    def place(self, line: int, column: int) -> int:
        """The offset of a fault's line and column, both from 1."""
        return self._feeds[min(line, len(self._feeds)) - 1] + column - 1

    def position(self, offset: int) -> Position:
        """The position of an offset."""
        line = bisect_right(self._starts, offset) - 1
        return Position(line, self._units(self.source[self._starts[line] : offset]))

    def offset(self, position: Position) -> int:
        """The offset of a position; one behind the end of a line or of the text is that end."""
        if position.line >= len(self._starts):
            return len(self.source)
        start = self._starts[position.line]
        line = self.source[start : self._end(position.line)]
        if line.isascii():
            return start + min(position.character, len(line))
        units = 0
        for at, character in enumerate(line):
            if units >= position.character:
                return start + at
            units += self._units(character)
        return start + len(line)

    def _end(self, line: int) -> int:
        """Where a line ends, without its separator."""
        end = self._starts[line + 1] if line + 1 < len(self._starts) else len(self.source)
        return self._starts[line] + len(self.source[self._starts[line] : end].rstrip("\r\n"))

    def end_of_line(self, offset: int) -> Position:
        """The end of the line that an offset is on."""
        line = bisect_right(self._starts, offset) - 1
        return self.position(self._end(line))

    def range(self, start: int, end: int) -> Range:
        """The range between two offsets."""
        return Range(self.position(start), self.position(end))

    @property
    def whole(self) -> Range:
        """The range of all."""
        return self.range(0, len(self.source))

    def _units(self, text: str) -> int:
        return len(text) if text.isascii() else len(text.encode(self.encoding, "surrogatepass")) // self._width
