"""The standard streams of the program, whatever it is started with: what is wrong with one is said in a sentence."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

from circuitflow.document.output import Stream
from circuitflow.errors import InputError


class _Error(Stream):
    """Standard error; where it fails there is nobody to be told."""

    def write(self, data: Any) -> int:
        with suppress(InputError):
            return super().write(data)
        return memoryview(data).nbytes


def prepare() -> None:
    """Make the standard streams such that their failures are InputErrors, also where they are closed.

    A stream that a program has put in the place of one is left as it is, but for characters that it cannot encode.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Else the next file that is opened would get this number. This way round, every use fails.
            os.open(os.devnull, os.O_WRONLY if number == 0 else os.O_RDONLY)
    if sys.stdin is sys.__stdin__:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(Stream(0, "r", "standard input", closefd=False)),
                                     encoding=_encoding(sys.stdin))
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(Stream(1, "w", "standard output", closefd=False), sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Error(2, "w", "standard error", closefd=False), sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _text(raw: Stream, like: TextIO | None) -> io.TextIOWrapper:
    """A stream of text that is flushed where the other is."""
    lines = isinstance(like, io.TextIOWrapper) and (like.line_buffering or like.write_through)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=_encoding(like), line_buffering=lines)


def _encoding(stream: TextIO | None) -> str:
    return stream.encoding if stream is not None else "utf-8"
