"""Which reader takes a file, by its ending."""

from __future__ import annotations

import gzip
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO, cast

from circuitflow.document.limits import Limits
from circuitflow.errors import InputError, MissingExtraError
from circuitflow.tables.arrow import ArrowColumns
from circuitflow.tables.delimited import Delimited
from circuitflow.tables.jsonl import JsonLines
from circuitflow.tables.lines import Lines
from circuitflow.tables.reader import Reader
from circuitflow.text import printable

PARQUET = (".parquet",)
ARROW = (".arrow", ".feather", ".ipc")
_DELIMITED = (".csv", ".tsv")
_LINES = (".jsonl", ".ndjson")

BATCH = 2**18
"""Rows of a Parquet file that are read, computed and written at a time."""

NUMBERS = 2**22
"""Numbers in lists of a Parquet file that are read at a time."""


def need_arrow(name: str) -> None:
    """Refuse a file that only pyarrow can read or write where it is not installed.

    Raises:
        MissingExtraError: it is not.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise MissingExtraError(f"{name} needs `pip install 'circuitflow[tables]'`; CSV does without") from None


def form_of_table(table: str, shown: str) -> str:
    """The format of a table by the ending of its name: parquet, arrow, delimited or lines; - is delimited.

    Raises:
        InputError: the ending is of no known format.
        MissingExtraError: it is a Parquet or Arrow file, and pyarrow is not installed.
    """
    ending = table.lower()
    text = ending.removesuffix(".gz")
    for form, whole, endings in (("parquet", ending, PARQUET), ("arrow", ending, ARROW),
                                 ("delimited", text, _DELIMITED), ("lines", text, _LINES)):
        if whole.endswith(endings) if table != "-" else form == "delimited":
            if form in ("parquet", "arrow"):
                need_arrow(shown)
            return form
    raise InputError(f"{shown}: expected a table as {', '.join((*PARQUET, *ARROW, *_DELIMITED))} or .jsonl, or - for "
                     "CSV")


def open_table(table: str, shown: str, limits: Limits, stack: ExitStack, file: BinaryIO | None = None) -> Reader:
    """The table in a file, which `stack` closes; - is CSV on standard input. Errors call the file `shown`.

    The ending of `table` chooses the reader. A `file` that is open already, such as one that a document names, is read
    from where it stands and is not closed. What goes wrong later, in a block of the file, is an error of the library
    that reads it: use `refuse_damage` around both this function and the loop over the batches.

    Raises:
        InputError: the ending is of no known format, or the beginning cannot be read.
        MissingExtraError: it is a Parquet or Arrow file, and pyarrow is not installed.
        OSError: the file cannot be opened.
    """
    ending, form = table.lower(), form_of_table(table, shown)
    if form == "parquet":
        import pyarrow.parquet as pq

        parquet = pq.ParquetFile(file or _file(table, stack))
        return ArrowColumns(parquet.schema_arrow, -(-parquet.metadata.num_rows // BATCH),
                            lambda names, group: parquet.iter_batches(
                                _rows(parquet.metadata, names), range(group, parquet.num_row_groups), names), shown,
                            [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)])
    if form == "arrow":
        import pyarrow as pa

        file = file or _file(table, stack)
        whole = stack.enter_context(pa.ipc.open_file(file))
        count, present = whole.num_record_batches, whole.schema.names

        def read(names: Sequence[str], group: int) -> Iterator[Any]:
            fields = pa.ipc.IpcReadOptions(included_fields=[present.index(name) for name in names])
            with pa.ipc.open_file(file, options=fields) as reader:
                yield from (reader.get_batch(i).select(names) for i in range(count))

        return ArrowColumns(whole.schema, count, read, shown)
    plain = ending.removesuffix(".gz")
    if file is None:
        file = sys.stdin.buffer if table == "-" else _file(table, stack)
    if plain != ending:
        file = cast("BinaryIO", stack.enter_context(gzip.GzipFile(fileobj=file, mode="rb")))
    lines = Lines(file, shown, limits)
    if form == "lines":
        return JsonLines(lines)
    return Delimited(lines, stack, "\t" if plain.endswith(".tsv") else None)


def _rows(metadata: Any, names: Sequence[str]) -> int:
    """How many rows of a Parquet file are read at a time: fewer where rows have lists."""
    numbers = 0
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        for j in range(group.num_columns):
            column = group.column(j)
            if metadata.schema.column(j).max_repetition_level and column.path_in_schema.partition(".")[0] in names:
                numbers += column.num_values
    return max(1, min(BATCH, NUMBERS * int(metadata.num_rows) // max(numbers, 1)))


@contextmanager
def refuse_damage(shown: str) -> Iterator[None]:
    """Errors of the system and of the libraries that read and write tables become an InputError that names the file.

    Raises:
        InputError: the file cannot be opened, read or written, or is damaged.
    """
    try:
        yield
    except OSError as error:
        name = printable(error.filename, 1000) if error.filename else shown
        raise InputError(f"{name}: {os.strerror(error.errno) if error.errno else printable(str(error), 200)}") from None
    except (EOFError, zlib.error, UnicodeDecodeError) as error:  # the last is a name that pyarrow cannot read
        raise InputError(f"{shown}: the file is damaged: {printable(str(error), 200)}") from None
    except Exception as error:
        if not _is_of_arrow(error):
            raise
        raise InputError(f"{shown}: {printable(str(error).partition(chr(10))[0], 200)}") from None


def _is_of_arrow(error: Exception) -> bool:
    """Whether pyarrow, if it is there at all, refuses a file or what should be written to one."""
    arrow = sys.modules.get("pyarrow")
    return arrow is not None and isinstance(error, arrow.ArrowException)


def _file(table: str, stack: ExitStack) -> BinaryIO:
    """The file, whatever its name: pyarrow takes some names for addresses."""
    return stack.enter_context(open(table, "rb"))
