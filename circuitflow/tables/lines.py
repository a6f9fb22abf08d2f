"""The lines of a file of text, a block at a time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

from circuitflow.document.limits import Limits
from circuitflow.errors import InputError

BLOCK = 2**22
"""Bytes that are read at a time, once the first line is known; more where a line is longer."""

_FIRST = 2**16
MARK = b"\xef\xbb\xbf"


class Lines:
    """Lines of UTF-8 text, with their ends, which may be LF, CR LF or CR.

    Attributes:
        name: of the file, in messages.
        limits: no line is longer than a document may be.
        taken: how many lines have been taken.
        is_text: whether the next lines are UTF-8; other bytes become lone surrogates.
    """

    def __init__(self, file: BinaryIO, name: str, limits: Limits) -> None:
        self.name, self.limits, self.taken = name, limits, 0
        self.is_text = True
        self._file, self._begun, self._is_begun = file, b"", False
        self._lines: list[str] = []
        self._at = 0
        self._size = _FIRST

    @property
    def left(self) -> int:
        """How many lines of the block that was read last have not been taken."""
        return len(self._lines) - self._at

    def block(self) -> bytes:
        """Takes the next whole lines; empty at the end of the file. Requires that no line is left.

        Raises:
            InputError: it is no text at all, or a line has no end.
        """
        data = self._read()
        if not self._is_begun:
            self._is_begun = True
            data = data.removeprefix(MARK)
            if data.startswith(b"\x1f\x8b"):
                raise InputError(f"{self.name}: compressed by gzip; decompress it, or give its name the ending .gz")
            if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:4]:
                raise InputError(f"{self.name}: UTF-16 or UTF-32 text, or no text at all; save it as UTF-8")
        return data

    def __iter__(self) -> Iterator[str]:
        """The lines that have not been taken."""
        while self.left or self.put(self.block()):
            line = self._lines[self._at]
            self._at += 1
            self.taken += 1
            yield line

    def put(self, data: bytes) -> bool:
        """Puts the lines of a block next. Returns whether it has any."""
        text, self.is_text = decode_text(data)
        self._lines, self._at = list(io.StringIO(text, newline="")), 0
        return bool(self._lines)

    def _read(self) -> bytes:
        """Bytes up to the end of a line. A CR at the end of a block may belong to CR LF, so the block goes on."""
        pieces, length = [self._begun], len(self._begun)
        while piece := self._file.read(self._size):
            end = piece.rfind(b"\n") + 1 or piece.rfind(b"\r", 0, -1) + 1
            pieces.append(piece[:end] if end else piece)
            length += len(pieces[-1])
            if end:
                self._begun, self._size = piece[end:], BLOCK
                return b"".join(pieces)
            if length > self.limits.document_bytes:
                raise InputError(f"{self.name}: line {self.taken + 1} has more than {self.limits.document_bytes} "
                                 "bytes, the longest line that is read (limit document_bytes)")
        self._begun = b""
        return b"".join(pieces)


def decode_text(data: bytes) -> tuple[str, bool]:
    """The text, and whether it is UTF-8. Other bytes become lone surrogates, which the readers refuse."""
    try:
        return data.decode("utf-8"), True
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape"), False


def undecoded(character: str) -> str:
    """What errors say of a byte that is no UTF-8 text, by the lone surrogate that stands for it."""
    return f"byte 0x{ord(character) - 0xdc00:02x} is no UTF-8 text; save the file as UTF-8"
