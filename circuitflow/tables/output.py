"""Writes tables to files, a part of the rows at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from circuitflow.document.output import writer
from circuitflow.tables.arrow import arrow_array, arrow_type
from circuitflow.tables.opening import ARROW, PARQUET, need_arrow
from circuitflow.tables.writing import header, line_writer
from circuitflow.text import printable

_LINES = 2**16
"""Lines that are converted to text at a time; more are slower."""

TABLES = [ending[1:] for ending in (*PARQUET, *ARROW, ".csv")]
"""The forms of tables that are written."""


@contextmanager
def table_writer(output: str, form: str, kinds: Mapping[str, Any]) -> Iterator[Callable[[Sequence[Any]], None]]:
    """A function that writes columns; the file appears under its name when all are written.

    Args:
        output: the file; - is standard output, for CSV.
        form: one of TABLES.
        kinds: by the name of a column, a dtype with the shape in a row, an Arrow type, or None for text.

    Raises:
        InputError: the file cannot be written.
        MissingExtraError: pyarrow is needed and not installed.
    """
    if form == "csv":
        target = nullcontext(sys.stdout.buffer) if output == "-" else writer(output)
        with target as file, _csv(file, list(kinds)) as write:
            yield write
        return
    need_arrow(printable(output, 1000))
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.string() if kind is None else arrow_type(*kind) if isinstance(kind, tuple) else kind)
                        for name, kind in kinds.items()])
    with writer(output) as file:
        sink: Any = (pq.ParquetWriter if f".{form}" in PARQUET else pa.ipc.new_file)(file, schema)
        with sink:
            yield lambda columns: sink.write_batch(pa.record_batch(
                [arrow_array(column, type_) for column, type_ in zip(columns, schema.types, strict=True)], schema))


@contextmanager
def _csv(file: Any, names: Sequence[str]) -> Iterator[Callable[[Sequence[Any]], None]]:
    """The header comes with the first rows, so that a table that is refused at once leaves none on standard output."""
    lines, above = line_writer(names), [header(names)]

    def write(columns: Sequence[Any]) -> None:
        for start in range(0, len(columns[0]), _LINES):
            text = lines([column[start : start + _LINES] for column in columns])
            file.write(above.pop() if above else b"")
            file.write(text)

    yield write
    file.write(above.pop() if above else b"")
