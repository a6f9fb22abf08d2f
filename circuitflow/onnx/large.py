"""Large tensors of a model file, left where they lie until each is read into its array.

The package onnx holds a file twice while it parses it: its bytes, and the message. Here a file is walked over first,
and the contents of its large initializers are left out of what is parsed. The walk follows the wire format of protobuf,
https://protobuf.dev/programming-guides/encoding, down to `ModelProto.graph.initializer.raw_data` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BufferedReader
from typing import Any, NamedTuple

import numpy as np

LARGE = 1 << 20
"""Fewest bytes of a large tensor."""

MOST = 1 << 16
"""Most fields of a walk; the parser takes a file of more, many times as fast."""

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
"""Numbers of fields in onnx.proto."""

_VARINT, _LENGTH, _SIZES = 0, 2, {1: 8, 5: 4}
"""The types of fields: a number of varying length, bytes with their length before them, and fixed sizes."""


class Place(NamedTuple):
    """The bytes of a file that are a tensor's content."""

    file: BufferedReader
    start: int
    size: int

    def read(self) -> memoryview:
        """The bytes; fewer if the file has become shorter."""
        content: Any = np.empty(self.size, np.uint8)
        self.file.seek(self.start)
        return memoryview(content[: self.file.readinto(content)]).toreadonly()


class _Field(NamedTuple):
    """A field of a message: it begins at `start`, its content at `content`, and it ends at `end`."""

    number: int
    kind: int
    start: int
    content: int
    end: int


def without_large(file: BufferedReader, size: int) -> tuple[bytes, dict[int, Place]]:
    """The bytes of a model without the contents of its large initializers, and their places, by position in its graph.

    A graph in several fields is one, and the last content of several counts, as in protobuf. What is not understood is
    kept as it is, for the parser to judge.
    """
    places: dict[int, Place] = {}
    count, left = 0, iter(range(MOST))

    def content(field: _Field) -> bytes:
        if field.end - field.content < LARGE:
            places.pop(count - 1, None)
            return _bytes(file, field.start, field.end)
        places[count - 1] = Place(file, field.content, field.end - field.content)
        return b""

    def tensor(field: _Field) -> bytes:
        nonlocal count
        count += 1
        return _message(_INITIALIZER, _replaced(file, field.content, field.end, left, _RAW_DATA, content))

    def graph(field: _Field) -> bytes:
        return _message(_GRAPH, _replaced(file, field.content, field.end, left, _INITIALIZER, tensor))

    try:
        return _replaced(file, 0, size, left, _GRAPH, graph), places
    except _Unfamiliar:
        return _bytes(file, 0, size), {}


class _Unfamiliar(ValueError):  # noqa: N818
    """Bytes are no fields, or of a kind that the walk does not know, or fields are too many."""


def _replaced(file: BufferedReader, start: int, end: int, left: Iterator[int], number: int,
              part: Callable[[_Field], bytes]) -> bytes:
    """A message whose fields of this number are replaced."""
    pieces, kept = list[bytes](), start
    for field in _fields(file, start, end, left):
        if field.number == number and field.kind == _LENGTH:
            pieces += _bytes(file, kept, field.start), part(field)
            kept = field.end
    return b"".join([*pieces, _bytes(file, kept, end)])


def _fields(file: BufferedReader, start: int, end: int, left: Iterator[int]) -> Iterator[_Field]:
    while start < end:
        if next(left, None) is None:
            raise _Unfamiliar
        file.seek(start)
        tag, content = _number(file, start)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            _, stop = _number(file, content)
        elif kind == _LENGTH:
            size, content = _number(file, content)
            stop = content + size
        elif kind in _SIZES:
            stop = content + _SIZES[kind]
        else:
            raise _Unfamiliar
        if not number or stop > end:
            raise _Unfamiliar
        yield _Field(number, kind, start, content, stop)
        start = stop


def _number(file: BufferedReader, start: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, that begins where the file stands; and where it ends.

    The file is not asked where it stands, since that takes a call of the system.
    """
    number = 0
    for i in range(10):
        byte = file.read(1)
        if not byte:
            break
        number |= (byte[0] & 127) << 7 * i
        if byte[0] < 128:
            return number, start + i + 1
    raise _Unfamiliar


def _bytes(file: BufferedReader, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


def _message(number: int, content: bytes) -> bytes:
    """A field of bytes."""
    length, head = len(content), bytearray([number << 3 | _LENGTH])
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    return bytes(head) + bytes([length]) + content
