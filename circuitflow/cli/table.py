"""`circuitflow run --table`: a circuit over the rows of a table, a batch at a time."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

import circuitflow as cf
from circuitflow.cli.columns import match_columns
from circuitflow.cli.output import form_of
from circuitflow.cli.progress import track
from circuitflow.cli.text import sum_of
from circuitflow.document.output import writer
from circuitflow.engines.contract import CompiledFunction
from circuitflow.errors import CircuitflowError, GateError, InputError
from circuitflow.interpreter.plan import output_of
from circuitflow.interpreter.question import Question
from circuitflow.tables.opening import ARROW, PARQUET, need_arrow, open_table, refuse_damage
from circuitflow.tables.reader import Batch
from circuitflow.tables.writing import header, line_writer
from circuitflow.text import printable

_LINES = 2**16
"""Lines that are converted to text at a time; more are slower."""

BatchFunction = Callable[[Batch], Sequence[Any]]
"""From a batch to a column for every output and gradient."""


@dataclass(frozen=True)
class TableRun:
    """A question that is answered for every row of a table.

    Attributes:
        executor: of the circuit.
        question: the outputs and gradients.
        inputs: values that are the same in every row; they win over columns of the same name.
        upstream: upstream gradients, the same in every row.
        engine, device: those of `Executor.vmap`.
        keep: the names of columns that are copied to the result.
        defaults: whether an input without a column has the document's value.
    """

    executor: cf.Executor
    question: Question
    inputs: Mapping[str, Any] = field(default_factory=dict)
    upstream: Mapping[str, Any] = field(default_factory=dict)
    engine: str = "auto"
    device: str | None = None
    keep: Sequence[str] = ()
    defaults: bool = False


def run_table(table: str, output: str, run: TableRun) -> None:
    """Write the columns that are kept, and one for every output and every gradient, in the order of the rows.

    After an error no output file is left. The endings of names choose the formats; - is CSV on a standard stream.

    Raises:
        InputError: the table cannot be read, or does not fit the question; the message names row and column.
        MissingExtraError: pyarrow is needed and not installed.
    """
    circuit, plan, types = run.executor.circuit, run.question.plan, _result_types(run)
    place = "standard input" if table == "-" else printable(table, 1000)
    function = _over_rows(run, place)
    with refuse_damage(place), ExitStack() as stack:
        reader = open_table(table, place, circuit.limits, stack)
        selection, unread = match_columns(circuit, reader.names, plan.sources, run.inputs, run.keep, place,
                                          defaults=run.defaults)
        if unread:
            print(f"note: {place}: no input takes {unread}", file=sys.stderr)
        floats = [name for name in plan.of if types[name].startswith("float")]
        if len(floats) > 1 and plan.wrt:
            is_weighted = bool(run.upstream or circuit.upstream)
            print(f"note: {sum_of(floats, is_weighted=is_weighted)}; --of chooses one", file=sys.stderr)
        copies = dict(zip(run.keep, map(reader.type_of, selection.kept), strict=True))
        with _writer(output, {**copies, **types}) as write:
            for batch in track(reader.batches(selection), f"rows of {place}", reader.total):
                columns = zip(function(batch), types.values(), strict=True)
                write([*batch.kept, *(np.asarray(x, dtype) for x, dtype in columns)])


def _result_types(run: TableRun) -> dict[str, str]:
    """The dtype of every column that is computed, by name."""
    circuit, plan = run.executor.circuit, run.question.plan
    types: dict[str, str] = {}
    for name, reference in [*((text, text) for text in plan.of), *((f"d{text}", text) for text in plan.wrt)]:
        type_ = circuit.type_of(output_of(circuit, reference, "--table"))
        if type_.shape:
            raise InputError(f"'{reference}' is no scalar, so it is no column of a table; choose others by --of and "
                             "--wrt, or leave gradients out by --forward")
        if name in types:
            raise InputError(f"column '{name}' would stand twice; choose outputs by --of and gradients by --wrt")
        types[name] = "float32" if type_.dtype == "bfloat16" else type_.dtype
    for i, name in enumerate(run.keep):
        if name in types or name in run.keep[:i]:
            raise InputError(f"column '{printable(name, 60)}' would stand twice; keep it once, or rename it in the "
                             "table")
    return types


# Rows -----------------------------------------------------------------------------------------------------------------

def _over_rows(run: TableRun, table: str) -> BatchFunction:
    """The function for a batch: by an engine that takes all rows at once if there is one, else row by row.

    No engine takes rows of losses, reductions and arrays inside a circuit.
    """
    make = partial(run.executor.function, run.question, run.engine, run.device)
    inputs, upstream = run.question.arguments(run.inputs, run.upstream, {})
    try:
        at_once = make(over_rows=True)
    except (InputError, GateError) as reason:
        one = make()
        logging.getLogger("circuitflow").info("row by row: %s", reason)
        return lambda batch: _one_by_one(one, batch, inputs, upstream, table)
    return lambda batch: [*chain(*at_once.answer({**inputs, **batch.inputs}, upstream))]


def _one_by_one(one: CompiledFunction, batch: Batch, inputs: Mapping[str, Any], upstream: Mapping[str, Any],
                table: str) -> Sequence[Any]:
    rows = []
    for i, values in enumerate(zip(*(column.tolist() for column in batch.inputs.values()), strict=True)):
        try:
            rows.append([*chain(*one.answer({**inputs, **dict(zip(batch.inputs, values, strict=True))}, upstream))])
        except CircuitflowError as error:
            raise type(error)(f"{table}: row {batch.first + i}: {error}") from None
    return list(zip(*rows, strict=True))


# Writing --------------------------------------------------------------------------------------------------------------

@contextmanager
def _writer(output: str, kinds: Mapping[str, Any]) -> Iterator[Callable[[Sequence[Any]], None]]:
    """A function that writes columns; the file appears under its name when all are written.

    The kind of a column is a dtype, an Arrow type, or None for text.
    """
    form = form_of(output, [ending[1:] for ending in (*PARQUET, *ARROW, ".csv")], "a table", "csv")
    if form == "csv":
        target = nullcontext(sys.stdout.buffer) if output == "-" else writer(output)
        with target as file, _csv(file, list(kinds)) as write:
            yield write
        return
    need_arrow(printable(output, 1000))
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.string() if kind is None else pa.from_numpy_dtype(np.dtype(kind))
                         if isinstance(kind, str) else kind) for name, kind in kinds.items()])
    with writer(output) as file:
        sink: Any = (pq.ParquetWriter if f".{form}" in PARQUET else pa.ipc.new_file)(file, schema)
        with sink:
            yield lambda columns: sink.write_batch(pa.record_batch(
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
