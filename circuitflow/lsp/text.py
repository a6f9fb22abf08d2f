"""A text with its offsets, and the positions of the protocol: lines and columns from 0, columns in code units."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from functools import cached_property
from pathlib import Path
from typing import Any

from lsprotocol.types import Position, Range

from circuitflow.document.files import ValueFaultError, beside
from circuitflow.gates import GATES, GateTable
from circuitflow.graph.collector import collector_paused
from circuitflow.lsp.names import Names
from circuitflow.lsp.syntax import Value, parse

_ENCODINGS = {"utf-8": ("utf-8", 1, "[^\0-\x7f]"), "utf-16": ("utf-16-le", 2, "[^\0-\uffff]"),
              "utf-32": ("utf-32-le", 4, "[^\0-\U0010ffff]")}
"""Of every encoding of the protocol Python's name, the bytes of its unit, and the characters of more than one unit."""


MOST_FILES, LARGEST_FILE = 16, 2**19
"""The most files of a document that are looked into for ports, and their most bytes."""


class Text:
    """The text of a document as an editor holds it.

    A line ends at a line feed, with a carriage return or without, or at a carriage return, as the protocol says. JSON
    may have the other separators of Unicode inside of text, where they end no line.

    Attributes:
        uri: of the document.
        version: counts the edits.
        source: the characters.
        encoding: whose code units columns count: "utf-8", "utf-16" or "utf-32".
        gates: the gate table.
        folder: where the files lie that it names; None where it has none.
    """

    def __init__(self, uri: str, version: int | None, source: str, encoding: str = "utf-16",
                 gates: GateTable = GATES, folder: Path | None = None) -> None:
        """Hold a text."""
        self.uri, self.version, self.source, self.gates = uri, version, source, gates
        self.encoding, self.folder = encoding, folder
        self._files: dict[str, Text | None] = {}

    def file(self, name: str) -> Text | None:
        """The text of a file beside the document; None of one that it may not name, that is no text, or too large."""
        if name not in self._files:
            self._files[name] = self._read(name) if len(self._files) < MOST_FILES else None
        return self._files[name]

    def _read(self, name: str) -> Text | None:
        try:
            with beside(self.folder, name) as (file, path, status):
                key = path, self.encoding, status.st_mtime_ns, status.st_size, status.st_ino
                if key not in _read and status.st_size <= LARGEST_FILE:
                    if len(_read) == MOST_FILES:
                        del _read[next(iter(_read))]
                    _read[key] = Text(path.as_uri(), None, file.read(LARGEST_FILE).decode(), self.encoding, self.gates)
                return _read.get(key)
        except (ValueFaultError, OSError, ValueError):
            return None

    @cached_property
    def tree(self) -> Value:
        """The tree of the text."""
        with collector_paused():
            return parse(self.source)

    @cached_property
    def names(self) -> Names:
        """The names in the text."""
        tree = self.tree
        with collector_paused():
            return Names(tree, lambda name: other.tree if (other := self.file(name)) else None)

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
        line = self.line(offset)
        return Position(line, self._column(self._starts[line], offset))

    def line(self, offset: int) -> int:
        """The line of an offset."""
        return bisect_right(self._starts, offset) - 1

    def offset(self, position: Position) -> int:
        """The offset of a position; one behind the end of a line or of the text is that end."""
        if position.line >= len(self._starts):
            return len(self.source)
        start, end = self._starts[position.line], self._end(position.line)
        return start + bisect_left(range(end - start), position.character,
                                   key=lambda length: self._column(start, start + length))

    def _end(self, line: int) -> int:
        """Where a line ends, without its separator."""
        if line + 1 == len(self._starts):
            return len(self.source)
        end = self._starts[line + 1]
        return end - (2 if self.source.endswith("\r\n", 0, end) else 1)

    def end_of_line(self, offset: int) -> Position:
        """The end of the line that an offset is on."""
        return self.position(self._end(self.line(offset)))

    def range(self, start: int, end: int) -> Range:
        """The range between two offsets."""
        return Range(self.position(start), self.position(end))

    @property
    def whole(self) -> Range:
        """The range of all."""
        return self.range(0, len(self.source))

    @cached_property
    def _wide(self) -> tuple[array[int], array[int]]:
        """Where the characters of more than one unit stand, and how many units more the first of them have in all."""
        name, width, wide = _ENCODINGS[self.encoding]
        offsets, extra = array("L"), array("L", [0])
        if not self.source.isascii():
            for match in re.finditer(wide, self.source):
                offsets.append(match.start())
                extra.append(extra[-1] + len(match[0].encode(name, "surrogatepass")) // width - 1)
        return offsets, extra

    def _column(self, start: int, end: int) -> int:
        """The units between two offsets."""
        offsets, extra = self._wide
        return end - start + extra[bisect_left(offsets, end)] - extra[bisect_left(offsets, start)]


_read: dict[Any, Text] = {}
"""The files that were read, by name and state: a document is read again at every edit."""
