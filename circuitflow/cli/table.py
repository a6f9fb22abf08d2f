"""`circuitflow run --table`: a circuit over the rows of a table, a batch at a time."""

from __future__ import annotations

import logging
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import circuitflow as cf
from circuitflow.cli.output import form_of
from circuitflow.cli.progress import track
from circuitflow.cli.tables.columns import matched
from circuitflow.cli.tables.opening import ARROW, PARQUET, need_arrow, open_table
from circuitflow.cli.tables.reader import Batch
from circuitflow.cli.tables.writing import header, line_writer
from circuitflow.cli.text import sum_of
from circuitflow.document.output import writer
from circuitflow.errors import CircuitflowError, GateError, InputError
from circuitflow.text import printable

_LINES = 2**16
"""Lines that are made text at a time, which is faster than more of them."""

Rows = Callable[[Batch, Mapping[str, Any]], list[Any]]
"""From a batch, and upstream gradients that are the same in every row, to a column for every output and gradient."""


@dataclass(frozen=True)
class TableQuestion:
    """What is asked of a circuit for every row of a table.

    Attributes:
        executor: of the circuit.
        of: the outputs; all of the document's by default.
        wrt: what is differentiated by; all floating-point inputs and parameters by default.
        inputs: values that are the same in every row; they win over columns of the same name.
        upstream: upstream gradients, the same in every row.
        engine, device: those of `Executor.vmap`.
        keep: the names of columns that are carried along.
        defaults: whether an input without a column has the document's value.
    """

    executor: cf.Executor
    of: Sequence[str] | None = None
    wrt: Sequence[str] | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    upstream: Mapping[str, Any] = field(default_factory=dict)
    engine: str = "auto"
    device: str | None = None
    keep: Sequence[str] = ()
    defaults: bool = False


def run_table(table: str, output: str, question: TableQuestion) -> None:
    """Write the columns that are kept, and one for every output and every gradient, in the order of the rows.

    The output is there whole or not at all.

    Args:
        table: a file of Parquet, Arrow, delimited text or JSON Lines, by its ending; - reads CSV from standard input.
        output: a file of Parquet, Arrow or CSV; - writes CSV to standard output.
        question: what is asked of every row.

    Raises:
        InputError: the table cannot be read, or does not fit the question; the message names row and column.
        MissingExtraError: pyarrow is needed and not installed.
    """
    plan = question.executor.plan(question.of, question.wrt)
    types = _result_types(question, list(plan.of), list(plan.wrt))
    shown = "standard input" if table == "-" else printable(table, 1000)
    run = _over_rows(question, shown)
    try:
        with ExitStack() as stack:
            reader = open_table(table, shown, question.executor.circuit.limits, stack)
            wanted, unread = matched(question.executor.circuit, reader.names, plan.sources, question.inputs,
                                     question.keep, shown, defaults=question.defaults)
            if unread:
                print(f"note: {shown}: no input takes {unread}", file=sys.stderr)
            summed = [name for name in plan.of if types[name].startswith("float")]
            if len(summed) > 1 and plan.wrt:
                weighted = bool(question.upstream or question.executor.circuit.upstream)
                print(f"note: {sum_of(summed, is_weighted=weighted)}; --of chooses one", file=sys.stderr)
            kept = dict(zip(question.keep, map(reader.type_of, wanted.kept), strict=True))
            with _writer(output, {**kept, **types}) as write:
                for batch in track(reader.batches(wanted), f"rows of {shown}", reader.total):
                    results = run(batch, question.upstream)
                    write([*batch.kept, *(np.asarray(x, dtype) for x, dtype in
                                          zip(results, types.values(), strict=True))])
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


def _result_types(question: TableQuestion, of: Sequence[str], wrt: Sequence[str]) -> dict[str, str]:
    """The dtype of every column that is computed, by name."""
    circuit = question.executor.circuit
    types: dict[str, str] = {}
    for name, reference in [*((name, name) for name in of), *((f"d{name}", name) for name in wrt)]:
        found = circuit.find(reference)
        assert found is not None  # noqa: S101
        type_ = circuit.type_of(found)
        if type_.shape:
            raise InputError(f"'{reference}' is no scalar, so it is no column of a table; choose others by --of and "
                             "--wrt, or leave gradients out by --forward")
        if name in types:
            raise InputError(f"column '{name}' would stand twice; choose outputs by --of and gradients by --wrt")
        types[name] = "float32" if type_.dtype == "bfloat16" else type_.dtype
    for i, name in enumerate(question.keep):
        if name in types or name in question.keep[:i]:
            raise InputError(f"column '{printable(name, 60)}' would stand twice; keep it once, or rename it in the "
                             "table")
    return types


# Rows -----------------------------------------------------------------------------------------------------------------


def _over_rows(question: TableQuestion, table: str) -> Rows:
    """Every row is one example: all rows of a batch at once where an engine can, otherwise one by one.

    Losses, reductions and arrays inside a circuit are no functions of numbers that an engine could apply to columns.
    """
    arguments = (question.of, question.wrt)
    try:
        at_once = question.executor.vmap(*arguments, engine=question.engine, device=question.device)
    except (InputError, GateError) as reason:
        one = question.executor.compile(*arguments, engine=question.engine, device=question.device)
        logging.getLogger("circuitflow").info("row by row: %s", reason)
        return lambda batch, upstream: _one_by_one(one, batch, question.inputs, upstream, table)
    return lambda batch, upstream: _results(at_once({**question.inputs, **batch.inputs}, upstream=upstream))


def _one_by_one(one: Callable[..., Any], batch: Batch, given: Mapping[str, Any], upstream: Mapping[str, Any],
                table: str) -> list[Any]:
    rows = []
    for i, values in enumerate(zip(*(column.tolist() for column in batch.inputs.values()), strict=True)):
        try:
            rows.append(_results(one({**given, **dict(zip(batch.inputs, values, strict=True))}, upstream=upstream)))
        except CircuitflowError as error:
            raise type(error)(f"{table}: row {batch.first + i}: {error}") from None
    return list(zip(*rows, strict=True))


def _results(answer: tuple[Any, dict[str, Any]]) -> list[Any]:
    value, gradients = answer
    return [*(value.values() if isinstance(value, dict) else [value]), *gradients.values()]


# Writing --------------------------------------------------------------------------------------------------------------


@contextmanager
def _writer(output: str, kinds: Mapping[str, Any]) -> Iterator[Callable[[Sequence[Any]], None]]:
    """A function that writes columns; the file appears under its name when all are written.

    Args:
        output: a file; - is CSV on standard output.
        kinds: the columns: a dtype, an Arrow type, or None for text, by name.
    """
    form = form_of(output, [ending[1:] for ending in (*PARQUET, *ARROW, ".csv")], "a table", "csv")
    if output == "-":
        with _csv(sys.stdout.buffer, list(kinds)) as write:
            yield write
        return
    if form == "csv":
        with writer(output) as file, _csv(file, list(kinds)) as write:
            yield write
        return
    need_arrow(printable(output, 1000))
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.string() if kind is None else pa.from_numpy_dtype(np.dtype(kind))
                         if isinstance(kind, str) else kind) for name, kind in kinds.items()])
    with writer(output) as file:
        made: Any = (pq.ParquetWriter if f".{form}" in PARQUET else pa.ipc.new_file)(file, schema)
        with made:
            yield lambda columns: made.write_batch(pa.record_batch(
                [pa.array(column, pa.string()) if isinstance(column, list) else column for column in columns], schema))


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
