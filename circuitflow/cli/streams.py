"""Standard streams whose failures are one sentence, also where the program starts with closed ones."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from circuitflow.document.output import Stream
from circuitflow.errors import InputError


class _Error(Stream):
    """Standard error. Its failures are dropped, since no stream is left to report them on."""

    def write(self, data: Any) -> int:
        with suppress(InputError):
            return super().write(data)
        return memoryview(data).nbytes


def prepare() -> None:
    """Replaces the standard streams by ones whose failures are InputErrors, also where they are closed.

    A stream that the calling program has replaced stays; characters that it cannot encode become escapes.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Otherwise the next open file would get this number. The reversed mode makes every use fail.
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
    """A text stream with the encoding and line buffering of another."""
    lines = isinstance(like, io.TextIOWrapper) and (like.line_buffering or like.write_through)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=_encoding(like), line_buffering=lines)


def _encoding(stream: TextIO | None) -> str:
    return stream.encoding if stream is not None else "utf-8"


@contextmanager
def pipes_are_errors() -> Iterator[None]:
    """Meanwhile writing to a lost connection is an error, and does not end the process."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN) if hasattr(signal, "SIGPIPE") else None
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGPIPE, before)
