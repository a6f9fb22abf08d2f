"""Tables in files: beside a document, or anywhere that a program names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from circuitflow.document.files import ValueFaultError, beside, verify
from circuitflow.document.fit import DataFile
from circuitflow.document.limits import Limits
from circuitflow.errors import InputError
from circuitflow.graph.circuit import Circuit
from circuitflow.tables.opening import open_table, refuse_damage
from circuitflow.tables.places import Part, find_parts
from circuitflow.tables.reader import Batch, Reader, Selection, first_of
from circuitflow.tables.several import first_with_columns, open_parts
from circuitflow.tables.spans import Span
from circuitflow.tables.tensors import ENDING, TensorColumns
from circuitflow.text import duplicate, listing, nearest, printable


@dataclass(frozen=True, eq=False)
class TableFile:
    """A table in a file, read block by block, once for every pass.

    Attributes:
        name: its name, of which the ending tells the format.
        shown: the name in errors.
        limits: how large things in it may be.
        of_document: whether a document names it; then it lies beside or below that document.
        folder: that of the document; None for a text.
        sha256: the digest that it must have, if any; it is compared when the table is first opened.
        parts: the files, where no document names them.
    """

    name: str
    shown: str
    limits: Limits
    of_document: bool = False
    folder: Path | None = None
    sha256: str | None = None
    parts: Sequence[Part] = ()
    _first: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def at(cls, paths: Sequence[str | os.PathLike[str]], limits: Limits) -> TableFile:
        """The table in files, folders, or at URLs: see `tables.places.find_parts`."""
        parts = find_parts([os.fspath(path) for path in paths])
        return cls(parts[0].path, parts[0].shown, limits, parts=parts)

    @classmethod
    def of(cls, circuit: Circuit, file: DataFile) -> TableFile:
        """The table that a document names, beside or below it."""
        return cls(file.file, printable(file.file, 200), circuit.limits, of_document=True,
                   folder=circuit.definition.source.folder, sha256=file.sha256)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy may be read on another day or machine, so it compares with its own first opening."""
        return TableFile, (self.name, self.shown, self.limits, self.of_document, self.folder, self.sha256, self.parts)

    @property
    def columns(self) -> list[str]:
        """The names of its columns, without blanks around them.

        Raises:
            InputError: the file cannot be opened, or its beginning not be read.
        """
        with refuse_damage(self.shown), ExitStack() as stack:
            return [name.strip() for name in self._reader(stack).names]

    def batches(self, dtypes: Mapping[str, str], span: Span | None = None) -> Iterator[dict[str, Any]]:
        """The rows in order, all or those of a span: columns by name, each read as a dtype.

        Raises:
            InputError: a column is missing or stands twice, a cell cannot be read, or the file was changed.
        """
        with refuse_damage(self.shown), ExitStack() as stack:
            reader = self._reader(stack) if span is None else open_parts(
                span.parts, self.limits, stack, self._opened, first_with_columns(self.parts, self.limits))
            names = [name.strip() for name in reader.names]
            for name in dtypes:
                if name not in names:
                    raise InputError(f"{self.shown}: there is no column '{printable(name, 60)}'"
                                     f"{nearest(name, names) or f'; its columns are {listing(names) or None}'}")
            if (twice := duplicate(name for name in names if name in dtypes)) is not None:
                raise InputError(f"{self.shown}: column '{printable(twice, 60)}' stands twice; rename one of the two")
            wanted = {name: (names.index(name), dtype) for name, dtype in dtypes.items()}
            selection = Selection(wanted, (), dict.fromkeys(wanted))
            for batch in reader.batches(selection) if span is None else first_of(
                    reader.batches_after(selection, span.skip), span.rows):
                for name, array in batch.inputs.items():
                    _need_finite(batch, name, array)
                yield dict(batch.inputs)

    def _reader(self, stack: ExitStack) -> Reader:
        if self.name.lower().endswith(ENDING):
            path = self.name if self.folder is None else str(self.folder / self.name)
            return TensorColumns(self._open(stack), path, self.shown, self.limits)
        if self.parts:
            return open_parts(self.parts, self.limits, stack, self._opened)
        return open_table(self.name, self.shown, self.limits, stack, self._open(stack))

    def _opened(self, part: Part, file: BinaryIO | None) -> None:
        if part.local and file is not None:
            self._refuse_change(part.path, os.fstat(file.fileno()), part.shown)

    def _open(self, stack: ExitStack) -> BinaryIO:
        """The one file, the same as before.

        Raises:
            InputError: there is none beside the document, its digest is another, or it was changed.
        """
        if not self.of_document:
            file: BinaryIO = stack.enter_context(open(self.name, "rb"))  # noqa: SIM115
            status = os.fstat(file.fileno())
        else:
            try:
                found = stack.enter_context(beside(self.folder, self.name))
                if not self._first and self.sha256 is not None:
                    verify(self.name, hashlib.file_digest(found.file, "sha256").hexdigest(), self.sha256)
                    found.file.seek(0)
            except ValueFaultError as error:
                raise InputError(f"data: {error}") from None
            file, status = found.file, found.status
        self._refuse_change(self.name, status, self.shown)
        return file

    def _refuse_change(self, name: str, status: os.stat_result, shown: str) -> None:
        """Compare what is known of a file with the first time it was opened."""
        now = status.st_size, status.st_mtime_ns, status.st_ino
        if self._first.setdefault(name, now) != now:
            raise InputError(f"{shown}: the file was changed while it was read; fit again when it is complete")


def _need_finite(batch: Batch, name: str, array: Any) -> None:
    """Refuse what is not finite by its place in the file."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        index = tuple(np.argwhere(~np.isfinite(array))[0])
        raise InputError(f"{batch.at(batch.first + int(index[0]))}, column '{printable(name, 60)}': {array[index]}; "
                         "expected a finite number; fill it in, or take the row out")
