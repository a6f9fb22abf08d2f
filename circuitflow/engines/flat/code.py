"""The statements of a function, under construction: blocks, loops, local variables, and parts of limited length."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from circuitflow.engines.flat.indices import Index
from circuitflow.engines.flat.language import INT64, DType, Expr, Language
from circuitflow.engines.flat.memory import Buffer

LONG = 120
"""Longest expression, in characters, that stands in another."""

_LETTERS = "ijklmnpqrstuv"


class Statement(NamedTuple):
    """A line of code.

    Attributes:
        text: the line, indented; "" for a comment alone.
        comment: the comment behind it, or "".
        variable: the variable that it declares, and that it may be left out with; or "".
    """

    text: str
    comment: str = ""
    variable: str = ""


_WORD = re.compile(r"[>.\d]\w*|([A-Za-z_]\w*)")
"""Its group is a word that is neither a part of a number nor a member of a struct; elsewhere it is empty."""


@dataclass
class Part:
    """A stretch of a function's body that is a function of its own where there are several.

    Attributes:
        lines: its statements.
        reads: where the local variables of earlier parts that it reads are kept meanwhile, by name.
        writes: likewise its own that later parts read.
        buffers: the memory that it uses, by name.
    """

    lines: list[Statement] = field(default_factory=list)
    reads: dict[str, Buffer] = field(default_factory=dict)
    writes: dict[str, Buffer] = field(default_factory=dict)
    buffers: dict[str, Buffer] = field(default_factory=dict)

    def finish(self) -> list[str]:
        """Its lines, without variables and buffers that nothing reads."""
        used, kept = set(self.writes), list[str]()
        for text, comment, variable in reversed(self.lines):
            if variable and variable not in used:
                continue
            used.update(_WORD.findall(text) if not variable else _WORD.findall(text.partition("=")[2]))
            kept.append(f"{text}  {comment}" if comment and text else text or comment)
        self.reads = {name: buffer for name, buffer in self.reads.items() if name in used}
        self.buffers = {name: buffer for name, buffer in self.buffers.items() if name in used}
        return kept[::-1]


class Code:
    """The body of a function.

    Attributes:
        parts: its stretches.
        buffers: those that lie in the workspace.
    """

    def __init__(self, language: Language, new_name: Callable[[str], str]) -> None:
        """An empty body; `new_name` gives a name that nothing else has, near to another."""
        self.language, self.new_name = language, new_name
        self.parts = [Part()]
        self.buffers: list[Buffer] = []
        self._owners: dict[str, tuple[Part, Buffer]] = {}
        self._depth, self._statements = 1, 0
        self._memos: list[dict[object, Expr]] = [{}]
        self._comment = self._comment_above = ""

    # Statements -------------------------------------------------------------------------------------------------------

    def line(self, text: str, variable: str = "") -> None:
        """Add a statement; it may be left out where nothing reads the variable that it declares."""
        lines, comment = self.parts[-1].lines, self._comment
        self._comment = ""
        if comment and not (self._depth == 1 and text.endswith(";")):
            lines.append(Statement("", "    " * self._depth + comment))
            comment = ""
        lines.append(Statement("    " * self._depth + text, comment, variable))
        self._statements += self._depth == 1

    def remark(self, text: str) -> None:
        """The comment of the statements that follow: of the first of them."""
        comment = self.language.comment(text) if text else ""
        self._comment, self._comment_above = ("" if comment == self._comment_above else comment), comment

    def heading(self, text: str) -> None:
        """A comment on a line of its own."""
        self.parts[-1].lines.append(Statement("", "    " * self._depth + self.language.comment(text)))

    def break_part(self) -> None:
        """Begin a new part where this one is long."""
        if self._depth == 1 and len(self.parts[-1].lines) >= self.language.part:
            self.parts.append(Part())
            self._memos = [{}]

    @property
    def is_outermost(self) -> bool:
        """Whether statements stand in no block."""
        return self._depth == 1

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Statements in braces."""
        self.line(head)
        self._depth += 1
        self._memos.append({})
        yield
        self._memos.pop()
        self._depth -= 1
        self.parts[-1].lines.append(Statement("    " * self._depth + "}"))

    @contextmanager
    def loop(self, size: int, *, backwards: bool = False, always: bool = False) -> Iterator[Index]:
        """A loop over the positions of an axis; of one position none, unless there has to be one `always`."""
        if size == 1 and not always:
            yield Index()
            return
        level = self._depth - 1
        name = _LETTERS[level] if level < len(_LETTERS) else self.new_name("at")
        with self.block(self.language.loop(name, size, backwards=backwards)):
            yield Index.variable(name)

    # Values -----------------------------------------------------------------------------------------------------------

    def local(self, x: Expr, dtype: DType, hint: str) -> Expr:
        """A local variable that has a value."""
        name = self.new_name(hint)
        self.line(self.language.constant(name, dtype, x), name)
        return self.own(name, dtype)

    def own(self, name: str, dtype: DType) -> Expr:
        """A local variable that was declared."""
        if self._depth == 1:
            self._owners[name] = self.parts[-1], Buffer(name, dtype, 1, self._statements, is_own=False)
        return Expr(name)

    def read(self, name: str) -> Expr:
        """A local variable, which may be of an earlier part."""
        owner, buffer = self._owners.get(name, (self.parts[-1], None))
        if buffer is not None and owner is not self.parts[-1]:
            if name not in owner.writes:
                self.buffers.append(buffer)
            owner.writes[name] = self.parts[-1].reads[name] = buffer
            buffer.last = self._statements
        return Expr(name)

    def once(self, key: object, make: Callable[[], Expr]) -> Expr:
        """A value that is computed once in a block."""
        for memo in reversed(self._memos):
            if key in memo:
                return memo[key]
        x = self._memos[-1][key] = make()
        return x

    def position(self, x: Expr) -> Index:
        """A computed position as a variable."""
        return Index.variable(self.local(x, INT64, "at").text)

    # Memory -----------------------------------------------------------------------------------------------------------

    def buffer(self, dtype: DType, size: int, hint: str) -> Buffer:
        """Room in the workspace."""
        buffer = Buffer(self.new_name(hint), dtype, size, self._statements, self._statements, is_own=False)
        self.buffers.append(buffer)
        return buffer

    def element(self, buffer: Buffer, at: Index) -> Expr:
        """An element in memory, to be read or assigned to."""
        if not buffer.is_own:
            buffer.last = self._statements
            self.parts[-1].buffers[buffer.name] = buffer
        return Expr(f"{buffer.name}[{at.text}]")

    def address(self, buffer: Buffer, at: Index) -> str:
        """Where an element lies in memory."""
        self.element(buffer, at)
        return self.language.address(buffer.name, at.text)
