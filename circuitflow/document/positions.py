"""Finds the places of faults. It scans the text again, along their paths only, when there is something to report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from json.decoder import JSONDecoder, scanstring  # type: ignore[attr-defined]
from typing import NamedTuple

_SPACE = re.compile(r"[ \t\n\r]*")
# Possessive, so that a long text takes no memory for ways back.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],:]|[^\s{}\[\],:"]++', re.DOTALL)
_skip = JSONDecoder(strict=False, parse_int=len).scan_once  # type: ignore[attr-defined]  # the numbers are not wanted

Path = tuple[str | int, ...]


class Place(NamedTuple):
    """A path of keys and positions into a document; `key` points at the last key itself, not at its value."""

    path: Path
    key: bool = False

    @property
    def pointer(self) -> str:
        """The path as a JSON Pointer (RFC 6901)."""
        return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in self.path)


class Position(NamedTuple):
    """A place in the text: line and column from 1, in characters, and the text of the line."""

    line: int
    column: int
    source: str


def positions(text: str, offsets: Iterable[int]) -> Iterator[Position]:
    """The line and column of offsets in ascending order. Places on one line share its text, which may be long."""
    line, start, end, source = 0, 0, -1, ""
    for offset in offsets:
        if not line or end < offset:
            line += text.count("\n", start, offset) + (not line)
            start = text.rfind("\n", 0, offset) + 1
            end = text.find("\n", offset)
            end = len(text) if end < 0 else end
            source = text[start:end].rstrip("\r")
        yield Position(line, offset - start + 1, source)


def locate(text: str, places: Iterable[Place]) -> dict[Place, int]:
    """The offset of every place. For a path that leads nowhere, the offset of the longest part that leads somewhere."""
    offsets: dict[Place, int] = {}
    pending = [(_space(text, 0), 0, list(places))]
    while pending:
        start, depth, here = pending.pop()
        by_step: dict[str | int, list[Place]] = {}
        for place in here:
            offsets[place] = start
            if len(place.path) > depth:
                by_step.setdefault(place.path[depth], []).append(place)
        if not by_step or text[start] not in "{[":
            continue
        for name, key, value in _members(text, start):
            if below := by_step.pop(name, []):
                offsets.update((place, key) for place in below if _is_key(place, depth))
                pending.append((value, depth + 1, [place for place in below if not _is_key(place, depth)]))
            if not by_step:
                break
    return offsets


def _is_key(place: Place, depth: int) -> bool:
    return place.key and len(place.path) == depth + 1


def _members(text: str, start: int) -> Iterator[tuple[str | int, int, int]]:
    """The members of the object or list at an offset: name or position, offset of the key, offset of the value."""
    position, index = _space(text, start + 1), 0
    while text[position] not in "}]":
        key = position
        name: str | int = index
        if text[start] == "{":
            name, position = scanstring(text, position + 1, False)
            position = _space(text, _space(text, position) + 1)  # skip the colon
        yield name, key, position
        position = _space(text, _skip(text, position)[1])
        index += 1
        if text[position] == ",":
            position = _space(text, position + 1)


def _space(text: str, start: int) -> int:
    return _SPACE.match(text, start).end()  # type: ignore[union-attr]


class Token(NamedTuple):
    """A scalar or a key of a JSON text, with its path; `is_repeat` for a key that its object has had before."""

    offset: int
    text: str
    path: Path
    is_repeat: bool


def tokens(text: str) -> Iterator[Token]:
    """The scalars and keys of a valid JSON text, including those that a parser drops or cannot take."""
    place: list[str | int] = []
    keys: list[set[str] | None] = []
    before = ""
    for match in _TOKEN.finditer(text):
        word = match[0]
        if word in "{[":
            keys.append(set() if word == "{" else None)
            place.append(0)
        elif word in "}]":
            keys.pop()
            place.pop()
        elif word == "," and keys[-1] is None:
            place[-1] += 1  # type: ignore[operator]
        elif word not in ",:":
            members, is_repeat = keys[-1] if keys else None, False
            if members is not None and before in "{,":
                place[-1] = name = scanstring(word, 1, False)[0]
                is_repeat = name in members
                members.add(name)
            yield Token(match.start(), word, tuple(place), is_repeat)
        before = word
