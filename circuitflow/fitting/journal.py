"""What a fit has computed, in a file that only grows: a run that is started again computes none of it anew.

A minimiser of SciPy cannot be stopped inside and resumed. But it asks for values and derivatives at points, and these
are functions of the points alone. A run that gets the same answers takes the same path, to the same bits.

A record is the length and the digest of its contents, and the contents: the digest of the question, and the answer as
safetensors. What a killed process left unfinished at the end is dropped when the file is opened. Answers reach the disk
within a second, so that a power cut costs no more than that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from circuitflow.errors import InputError
from circuitflow.text import printable

HEADER = b"circuitflow journal 1\n"
DIGEST = 16
"""Bytes of a digest."""

LENGTH = 8
"""Bytes of a length."""

SYNCED = 1.0
"""The most seconds until an answer is on disk."""

Shape = tuple[int, ...]
"""The shape of an answer; −1 stands for any size."""


class Journal:
    """Answers by question, in a file.

    Use it as a context: at its end the file is on disk, and closed.
    """

    def __init__(self, path: Path) -> None:
        """Open a file, or make one.

        Raises:
            InputError: it cannot be opened, or is no journal.
        """
        self._label = printable(str(path), 200)
        self._places: dict[bytes, tuple[int, int]] = {}  # question → where its answer begins, and its length
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o600)
            self._file = os.fdopen(descriptor, "r+b", buffering=0)
        except OSError as error:
            raise InputError(f"checkpoint: '{self._label}' cannot be opened: {error.strerror}") from None
        try:
            self._open()
        except OSError as error:
            self._file.close()
            raise self._failure(error) from None
        except InputError:
            self._file.close()
            raise
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            try:
                self._sync()
            except OSError as error:
                raise self._failure(error) from None

    def recall(self, question: Sequence[bytes], shapes: Sequence[Shape], compute: Callable[[], Sequence[Any]]
               ) -> list[Any]:
        """The answer to a question: float64 arrays of these shapes. It is computed if it is not there.

        Raises:
            InputError: it cannot be read or written, or has other shapes.
        """
        key = blake2b(b"".join(len(part).to_bytes(8) + part for part in question), digest_size=DIGEST).digest()
        if key in self._places:
            return self._read(key, shapes)
        answer = [np.array(x, np.float64, order="C") for x in compute()]
        content = key + save({str(i): x for i, x in enumerate(answer)})
        record = len(content).to_bytes(LENGTH) + blake2b(content, digest_size=DIGEST).digest() + content
        try:
            end = self._file.seek(0, os.SEEK_END)
            view = memoryview(record)
            while view:
                view = view[self._file.write(view):]
            if time.monotonic() - self._synced > SYNCED:
                self._sync()
        except OSError as error:
            raise self._failure(error) from None
        self._places[key] = end + len(record) - len(content) + DIGEST, len(content) - DIGEST
        return answer

    def _read(self, key: bytes, shapes: Sequence[Shape]) -> list[Any]:
        begin, length = self._places[key]
        try:
            self._file.seek(begin)
            arrays = load(self._exactly(length))
        except OSError as error:
            raise self._failure(error) from None
        except SafetensorError:
            arrays = {}
        answer = [arrays.get(str(i)) for i in range(len(shapes))]
        for x, shape in zip(answer, shapes, strict=True):
            if x is None or x.dtype != np.float64 or x.ndim != len(shape) or any(
                    size not in (-1, found) for size, found in zip(shape, x.shape, strict=True)):
                raise InputError(f"checkpoint: '{self._label}' has an answer that no fit wrote; give a new folder")
        return answer

    def _open(self) -> None:
        """Find the answers, and drop what is unfinished at the end."""
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(0)
        if not HEADER.startswith(start := self._exactly(min(size, len(HEADER)))):
            raise InputError(f"checkpoint: '{self._label}' is no journal; give a new folder")
        end = len(HEADER)
        if start != HEADER:
            self._file.truncate(0)
            self._file.write(HEADER)
        while end + LENGTH + DIGEST <= size:
            head = self._exactly(LENGTH + DIGEST)
            length = int.from_bytes(head[:LENGTH])
            if not DIGEST <= length <= size - end - len(head):
                break
            content = self._exactly(length)
            if blake2b(content, digest_size=DIGEST).digest() != head[LENGTH:]:
                break
            self._places[content[:DIGEST]] = end + len(head) + DIGEST, length - DIGEST
            end += len(head) + length
        if end < size:
            self._file.truncate(end)

    def _exactly(self, count: int) -> bytes:
        pieces = bytearray()
        while len(pieces) < count and (piece := self._file.read(count - len(pieces))):
            pieces += piece
        return bytes(pieces)

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def _failure(self, error: OSError) -> InputError:
        return InputError(f"checkpoint: '{self._label}' cannot be read and written: {error.strerror}; what was "
                          "computed before is kept")
