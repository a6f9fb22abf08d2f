"""Tables in files: beside a document, or anywhere that a program names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, BinaryIO

from circuitflow.document.files import ValueFaultError, beside, verify
from circuitflow.document.fit import DataFile
from circuitflow.document.limits import Limits
from circuitflow.errors import InputError
from circuitflow.graph.circuit import Circuit
from circuitflow.tables.opening import open_table, refuse_damage
from circuitflow.tables.reader import Selection
from circuitflow.text import duplicate, listing, nearest, printable


@dataclass(frozen=True, eq=False)
class TableFile:
    """A table in a file, read block by block, once for every pass.

    Attributes:
        name: its name, of which the ending tells the format.
        shown: the name in errors.
        limits: how large things in it may be.
    """

    name: str
    shown: str
    limits: Limits
    _open: Callable[[ExitStack], BinaryIO]

    @classmethod
    def at(cls, path: str | os.PathLike[str], limits: Limits) -> TableFile:
        """The table at a path."""
        name = os.fspath(path)
        first: list[tuple[int, ...]] = []
        shown = printable(name, 200)

        def opened(stack: ExitStack) -> BinaryIO:
            file: BinaryIO = stack.enter_context(open(name, "rb"))  # noqa: SIM115
            _refuse_change(first, os.fstat(file.fileno()), shown)
            return file
        return cls(name, shown, limits, opened)

    @classmethod
    def of(cls, circuit: Circuit, file: DataFile) -> TableFile:
        """The table that a document names, beside or below it; its digest is compared once.

        Raises:
            InputError: when it is opened: there is no such file, or its digest is another.
        """
        folder = circuit.definition.source.folder
        first: list[tuple[int, ...]] = []
        shown = printable(file.file, 200)

        def opened(stack: ExitStack) -> BinaryIO:
            try:
                found = stack.enter_context(beside(folder, file.file))
                if not first and file.sha256 is not None:
                    verify(file.file, hashlib.file_digest(found.file, "sha256").hexdigest(), file.sha256)
                    found.file.seek(0)
            except ValueFaultError as error:
                raise InputError(f"data: {error}") from None
            _refuse_change(first, found.status, shown)
            return found.file
        return cls(file.file, shown, circuit.limits, opened)

    @property
    def columns(self) -> list[str]:
        """The names of its columns, without blanks around them.

        Raises:
            InputError: the file cannot be opened, or its beginning not be read.
        """
        with refuse_damage(self.shown), ExitStack() as stack:
            return [name.strip() for name in self._reader(stack).names]

    def batches(self, dtypes: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """The rows in order: columns by name, each read as a dtype.

        Raises:
            InputError: a column is missing or stands twice, a cell cannot be read, or the file was changed.
        """
        with refuse_damage(self.shown), ExitStack() as stack:
            reader = self._reader(stack)
            names = [name.strip() for name in reader.names]
            for name in dtypes:
                if name not in names:
                    raise InputError(f"{self.shown}: there is no column '{printable(name, 60)}'"
                                     f"{nearest(name, names) or f'; its columns are {listing(names) or None}'}")
            if (twice := duplicate(name for name in names if name in dtypes)) is not None:
                raise InputError(f"{self.shown}: column '{printable(twice, 60)}' stands twice; rename one of the two")
            wanted = {name: (names.index(name), dtype) for name, dtype in dtypes.items()}
            for batch in reader.batches(Selection(wanted, ())):
                yield dict(batch.inputs)

    def _reader(self, stack: ExitStack) -> Any:
        return open_table(self.name, self.shown, self.limits, stack, self._open(stack))


def _refuse_change(first: list[tuple[int, ...]], status: os.stat_result, shown: str) -> None:
    """Compare what is known of a file with the first time it was opened."""
    now = status.st_size, status.st_mtime_ns, status.st_ino
    if first and first[0] != now:
        raise InputError(f"{shown}: the file was changed while it was read; fit again when it is complete")
    first[:] = [now]
