"""A tree of a JSON text that need not be complete: brackets, quotes and commas may be missing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

_TOKEN = re.compile(r"""
    (?P<text>"(?:[^"\\\n]|\\.)*+"?)        # ends at its line where the quote is missing
  | (?P<numbers>\[[-+.\d\seE,]*+\])        # a list of numbers is one token, for speed
  | (?P<mark>[{}\[\]:])                    # a comma means nothing: what follows it tells
  | (?P<word>[^\s{}\[\]:,"]+)
""", re.VERBOSE)

_LINE_END = re.compile(r"[ \t\r]*\n")
_BLANKS = re.compile(r"[ \t]*")

MOST_VALUES = 2**19
"""The most values and marks of a text of which there is a tree: a parse of them takes seconds."""

_DEEPEST = 100
"""How many of the innermost brackets a bracket that begins a line is held against."""

Step = str | int
Path = tuple[Step, ...]


class Value:
    """A value of the text.

    Attributes:
        kind: "object", "list", "numbers" (a list of numbers, or an empty one), "text" or "word".
        start, end: offsets of its first character and behind its last; without its bracket, where the text goes on.
        source: the characters, of text and words.
        parent: the object or list that it stands in.
        step: its key there, or its position.
        is_closed: whether its bracket or quote is there.
        indent: of its line, where its bracket ends the line; noted while a broken text is read.
        members: of an object, in order; keys may be repeated.
        items: of a list.
    """

    __slots__ = ("_by_name", "end", "indent", "is_closed", "items", "kind", "members", "parent", "source", "start",
                 "step")

    def __init__(self, kind: str, start: int, end: int, source: str = "", *, is_closed: bool = True) -> None:
        """A value that stands nowhere yet."""
        self.kind, self.start, self.end, self.source, self.is_closed = kind, start, end, source, is_closed
        self.parent: Value | None = None
        self.indent: int | None = None
        self.step: Step = ""
        self.members: list[Member] = [] if kind == "object" else _NO_MEMBERS
        self.items: list[Value] = [] if kind == "list" else _NO_ITEMS
        self._by_name: dict[str, Value | None] | None = None

    @property
    def text(self) -> str | None:
        """The text that it says; None where it is none."""
        return _decoded(self.source) if self.kind == "text" else None

    @property
    def path(self) -> Path:
        """The keys and positions that lead to it."""
        steps: list[Step] = []
        value: Value = self
        while value.parent is not None:
            steps.append(value.step)
            value = value.parent
        return tuple(reversed(steps))

    def get(self, key: str) -> Value | None:
        """The value of a key, the first of several; None where there is none."""
        if not self.members:
            return None
        if self._by_name is None:
            self._by_name = {member.name: member.value for member in reversed(self.members)}
        return self._by_name.get(key)

    def text_of(self, key: str) -> str | None:
        """The text under a key; None where there is none."""
        value = self.get(key)
        return value.text if value else None

    def list_of(self, key: str) -> list[Value]:
        """The items of the list under a key."""
        value = self.get(key)
        return value.items if value else []

    def at(self, path: Path) -> Value | None:
        """The value that a path leads to."""
        value: Value | None = self
        for step in path:
            if value is None:
                return None
            items = value.items
            value = value.get(step) if isinstance(step, str) else items[step] if step < len(items) else None
        return value


class Member:
    """A member of an object.

    Attributes:
        key: the text that is its key.
        name: what the key says.
        colon: offset of the colon; None where there is none yet.
        value: its value; None where there is none yet.
    """

    __slots__ = ("colon", "key", "name", "value")

    def __init__(self, key: Value) -> None:
        """A member that has nothing but its key yet."""
        self.key, self.name = key, _decoded(key.source)
        self.colon: int | None = None
        self.value: Value | None = None


_NO_MEMBERS: list[Member] = []
_NO_ITEMS: list[Value] = []


def _decoded(source: str) -> str:
    if "\\" not in source:
        return source[1:].removesuffix('"')
    try:
        decoded: str = json.loads(source, strict=False)
    except ValueError:
        return source[1:].removesuffix('"')
    return decoded


def parse(text: str) -> Value:
    """The tree of a text; an empty object for a text without any value, or with too many.

    A text with all its brackets means what JSON says. In another text a bracket that begins a line belongs to one that
    ends a line before it: in canonical layout, one node is one line.
    """
    if next(islice(_TOKEN.finditer(text), MOST_VALUES, None), None):
        text = ""
    try:
        return _Parser(text, by_lines=False).tree()
    except _BrokenError:
        return _Parser(text, by_lines=True).tree()


class _BrokenError(Exception):
    """Something is missing in the text."""


class _Parser:
    def __init__(self, text: str, *, by_lines: bool) -> None:
        self.text, self.by_lines = text, by_lines
        self.root: Value | None = None
        self.open: list[Value] = []
        self.counts = {"object": 0, "list": 0}

    def tree(self) -> Value:
        """The tree.

        Raises:
            _BrokenError: something is missing, and the parser does not go by lines.
        """
        for match in _TOKEN.finditer(self.text):
            mark, start, kind = match[0], match.start(), match.lastgroup
            if kind == "text":
                is_closed = len(mark) > 1 and mark[-1] == '"' and (mark[-2] != "\\" or not _is_escaped(mark))
                if not is_closed:
                    self._mend()
                self._add(Value("text", start, match.end(), mark, is_closed=is_closed))
            elif kind != "mark":
                self._add(Value(str(kind), start, match.end(), mark))
            elif mark == ":":
                self._colon(start)
            elif mark in "}]":
                self._close("object" if mark == "}" else "list", start)
            else:
                self._push("object" if mark == "{" else "list", start)
        if self.open:
            self._mend()
        return self.root or Value("object", 0, len(self.text), is_closed=False)

    def _mend(self) -> None:
        if not self.by_lines:
            raise _BrokenError

    def _colon(self, start: int) -> None:
        members = self.open[-1].members if self.open else None
        if members and members[-1].value is None:
            members[-1].colon = start
        else:
            self._mend()

    def _add(self, value: Value) -> None:
        if not self.open:
            if self.root is not None:
                self._mend()
            self.root = self.root or value
            return
        top = value.parent = self.open[-1]
        if top.kind == "list":
            value.step = len(top.items)
            top.items.append(value)
        elif top.members and (member := top.members[-1]).value is None and member.colon is not None:
            value.step, member.value = member.name, value
        elif value.kind == "text":
            member = Member(value)
            value.step = member.name
            top.members.append(member)
        else:
            self._mend()  # a value without a key is left out; what follows is read all the same

    def _close(self, kind: str, start: int) -> None:
        if not self.counts[kind]:
            self._mend()
            return
        indent = self._indent(start) if self.by_lines else None
        depth = None if indent is None else self._opened_at_line_end(kind, indent)
        if depth is None:
            depth = next(i for i in range(len(self.open) - 1, -1, -1) if self.open[i].kind == kind)
        if depth < len(self.open) - 1:
            self._mend()
        self._leave(depth + 1, start)
        value = self.open.pop()
        self.counts[kind] -= 1
        value.is_closed, value.end = True, start + 1

    def _indent(self, start: int) -> int | None:
        """The indentation of a bracket that begins a line; None for another."""
        line = start
        while line and self.text[line - 1] in " \t":
            line -= 1
        return start - line if not line or self.text[line - 1] == "\n" else None

    def _opened_at_line_end(self, kind: str, indent: int) -> int | None:
        """The innermost of the open values that ends a line, which is indented by no more than a number of blanks."""
        for depth in range(len(self.open) - 1, max(-1, len(self.open) - 1 - _DEEPEST), -1):
            value = self.open[depth]
            if value.kind == kind and value.indent is not None and value.indent <= indent:
                return depth
        return None

    def _push(self, kind: str, start: int) -> None:
        value = Value(kind, start, len(self.text), is_closed=False)
        if self.by_lines:
            if kind == "object" and (indent := self._indent(start)):
                depth = self._opened_at_line_end("list", indent - 1)
                self._leave(len(self.open) if depth is None else depth + 1, start)
            if _LINE_END.match(self.text, start + 1):
                line = _BLANKS.match(self.text, self.text.rfind("\n", 0, start) + 1)
                value.indent = len(line[0]) if line else 0
        self._add(value)
        self.open.append(value)
        self.counts[kind] += 1

    def _leave(self, depth: int, start: int) -> None:
        """Take what is open from a depth on as ended."""
        for value in self.open[depth:]:
            value.end = start
            self.counts[value.kind] -= 1
        del self.open[depth:]


def _is_escaped(mark: str) -> bool:
    """Whether the quote that ends a text is itself escaped, so that it ends nothing."""
    body = mark[:-1]
    return bool((len(body) - len(body.rstrip("\\"))) % 2)


# Places ---------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True, slots=True, eq=False)
class Cursor:
    """What stands at an offset.

    Attributes:
        container: the innermost object or list around it.
        key: the key that is written there, or an empty place for one; None where a value is.
        member: the member of which the value is written there.
        value: the value that is there so far.
        position: of the value in a list.
    """

    container: Value
    is_key: bool = False
    member: Member | None = None
    value: Value | None = None
    position: int = 0

    @property
    def old(self) -> Value | None:
        """The key or value that is there so far."""
        return self.member.key if self.is_key and self.member else self.value

    @property
    def path(self) -> Path:
        """The path of the value; of a key, that of its object."""
        if self.is_key:
            return self.container.path
        step: Step = self.member.name if self.member else self.position
        return (*self.container.path, step)


def cursor(tree: Value, offset: int) -> Cursor | None:
    """What stands at an offset; None outside of the document."""
    container = tree
    if not _is_inside(tree, offset):
        return None
    while True:
        inner = next((value for value in _children(container)
                      if value.kind in ("object", "list", "numbers") and _is_inside(value, offset)), None)
        if inner is None:
            break
        container = inner
    if container.kind != "object":
        values = container.items
        position = sum(value.end < offset for value in values)
        here = values[position] if position < len(values) and values[position].start <= offset else None
        return Cursor(container, value=here, position=position)
    member = next((member for member in reversed(container.members) if member.key.start < offset), None)
    if member is None:
        return Cursor(container, is_key=True)
    if offset < member.key.end or (offset == member.key.end and not member.key.is_closed):
        return Cursor(container, is_key=True, member=member)
    if member.colon is not None and member.colon < offset and (member.value is None or offset <= member.value.end):
        return Cursor(container, member=member, value=member.value)
    return Cursor(container, is_key=True)


def _is_inside(value: Value, offset: int) -> bool:
    return value.start < offset < value.end or (not value.is_closed and value.start < offset <= value.end)


def _children(value: Value) -> Iterator[Value]:
    yield from value.items
    for member in value.members:
        if member.value is not None:
            yield member.value


def innermost(tree: Value, offset: int) -> Value | None:
    """The smallest value, or key, that touches an offset."""
    here = cursor(tree, offset)
    if here is None:
        return None
    return here.old if here.old and here.old.start <= offset <= here.old.end else None


def word_end(text: str, start: int) -> int:
    """The end of the text, number or word that begins at an offset; of anything else, of its first character."""
    match = _TOKEN.match(text, start)
    return match.end() if match and match.lastgroup in ("text", "word") else min(start + 1, len(text))
