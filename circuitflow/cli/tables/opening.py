"""Which reader takes a file, by its ending."""

from __future__ import annotations

import gzip
import sys
from contextlib import ExitStack
from typing import BinaryIO, cast

from circuitflow.cli.tables.arrow import ArrowColumns
from circuitflow.cli.tables.delimited import Delimited
from circuitflow.cli.tables.jsonl import JsonLines
from circuitflow.cli.tables.lines import Lines
from circuitflow.cli.tables.reader import Reader
from circuitflow.document.limits import Limits
from circuitflow.errors import InputError, MissingExtraError

PARQUET = (".parquet",)
ARROW = (".arrow", ".feather", ".ipc")
_DELIMITED = (".csv", ".tsv")
_LINES = (".jsonl", ".ndjson")

BATCH = 2**18
"""Rows of a Parquet file that are read, computed and written at a time."""


def need_arrow(name: str) -> None:
    """Refuse a file that only pyarrow can read or write where it is not installed.

    Raises:
        MissingExtraError: it is not.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise MissingExtraError(f"{name} needs `pip install 'circuitflow[tables]'`; CSV does without") from None


def open_table(table: str, shown: str, limits: Limits, stack: ExitStack) -> Reader:
    """The table in a file, which `stack` closes; - is CSV on standard input. Errors call the file `shown`.

    Raises:
        InputError: the ending is of no known format, or the beginning cannot be read.
        MissingExtraError: it is a Parquet or Arrow file, and pyarrow is not installed.
        OSError: the file cannot be opened.
    """
    ending = table.lower()
    if ending.endswith(PARQUET):
        need_arrow(shown)
        import pyarrow.parquet as pq

        file = pq.ParquetFile(_file(table, stack))
        return ArrowColumns(file.schema_arrow, -(-file.metadata.num_rows // BATCH),
                            lambda names: file.iter_batches(BATCH, columns=names), shown)
    if ending.endswith(ARROW):
        need_arrow(shown)
        import pyarrow as pa

        reader = stack.enter_context(pa.ipc.open_file(_file(table, stack)))
        count = reader.num_record_batches
        return ArrowColumns(reader.schema, count,
                            lambda names: (reader.get_batch(i).select(names) for i in range(count)), shown)
    plain = ending.removesuffix(".gz")
    if table != "-" and not plain.endswith((*_DELIMITED, *_LINES)):
        raise InputError(f"{shown}: expected a table as {', '.join((*PARQUET, *ARROW, *_DELIMITED))} or .jsonl, or - "
                         "for CSV")
    if table == "-":
        source: BinaryIO = sys.stdin.buffer
    elif plain != ending:
        source = cast("BinaryIO", stack.enter_context(gzip.GzipFile(table)))
    else:
        source = _file(table, stack)
    lines = Lines(source, shown, limits)
    if plain.endswith(_LINES):
        return JsonLines(lines)
    return Delimited(lines, stack, "\t" if plain.endswith(".tsv") else None)


def _file(table: str, stack: ExitStack) -> BinaryIO:
    """The file, whatever its name: pyarrow takes some names for addresses."""
    return stack.enter_context(open(table, "rb"))
