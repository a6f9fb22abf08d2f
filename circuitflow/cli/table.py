"""`circuitflow run --table`: a circuit over the rows of a table, a batch at a time."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

import circuitflow as cf
from circuitflow.cli.output import form_of
from circuitflow.cli.progress import track
from circuitflow.document.output import writer
from circuitflow.errors import InputError, MissingExtraError, listing, nearest, printable

BATCH = 2**18
"""Rows that are read, computed and written at a time."""

_ARROW = (".arrow", ".feather", ".ipc")


def run_table(table: str, output: str, executor: cf.Executor, compiled: Callable[..., Any],
              given: Mapping[str, Any], upstream: Mapping[str, Any], of: Sequence[str], wrt: Sequence[str]) -> None:
    """Write a column for every output and every gradient, in the order of the rows.

    The output is there whole or not at all.

    Args:
        table: a Parquet, Arrow or CSV file, by its ending; - reads CSV from standard input.
        output: likewise; - writes CSV to standard output.
        executor: of the circuit.
        compiled: `executor.vmap` of the question.
        given: values that are the same in every row; they win over columns of the same name.
        upstream: upstream gradients, the same in every row.
        of: the outputs.
        wrt: what is differentiated by.

    Raises:
        InputError: the table cannot be read, lacks a column, or has a value that is no number.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise MissingExtraError("--table needs `pip install 'circuitflow[tables]'`") from None
    types = _result_types(executor, of, wrt)
    schema = pa.schema([(name, pa.bool_() if dtype == "bool" else pa.float64()) for name, dtype in types.items()])
    shown = printable(table, 1000)
    try:
        with ExitStack() as stack:
            names, total, batches = _open(table, stack)
            columns = _columns(executor, names, given, shown)
            with _writer(output, schema) as write:
                first = 1
                for batch in track(batches(columns), f"rows of {shown}", total):
                    arrays = {name: _numbers(batch.column(name), dtype, f"{shown}: column '{name}'", first)
                              for name, dtype in columns.items()}
                    value, gradients = compiled({**given, **arrays}, upstream=upstream)
                    results = [*(value.values() if isinstance(value, dict) else [value]), *gradients.values()]
                    write(pa.record_batch([np.asarray(x) for x in results], schema))
                    first += batch.num_rows
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InputError(f"{shown}: {printable(str(error).partition(chr(10))[0], 200)}") from None
    except OSError as error:
        name = printable(error.filename or table, 1000)
        raise InputError(f"{name}: {os.strerror(error.errno) if error.errno else printable(str(error), 200)}") from None


def _result_types(executor: cf.Executor, of: Sequence[str], wrt: Sequence[str]) -> dict[str, str]:
    """The dtype of every column that is written, by name."""
    types: dict[str, str] = {}
    for name, reference in [*((name, name) for name in of), *((f"d{name}", name) for name in wrt)]:
        found = executor.circuit.find(reference)
        assert found is not None  # noqa: S101
        type_ = executor.circuit.type_of(found)
        if type_.shape:
            raise InputError(f"'{reference}' is no scalar, so it is no column of a table; choose others by --of and "
                             "--wrt")
        if name in types:
            raise InputError(f"column '{name}' would stand twice; choose outputs by --of and gradients by --wrt")
        types[name] = type_.dtype
    return types


def _columns(executor: cf.Executor, names: Sequence[str], given: Mapping[str, Any], table: str) -> dict[str, str]:
    """The columns that are read, with the dtypes of their inputs."""
    circuit = executor.circuit
    inputs = {name: node.types[0].dtype for name, node in circuit.nodes.items() if node.kind in ("input", "parameter")}
    columns = {name: dtype for name, dtype in inputs.items() if name in names and name not in given}
    listed = f"its columns are {listing(names)}" if names else "it has none"
    missing = [name for name in inputs if name not in columns and name not in given and name not in circuit.values]
    if missing:
        raise InputError(f"{table}: there is no column for input '{missing[0]}'{nearest(missing[0], names)}; {listed}")
    if not columns:
        raise InputError(f"{table}: no column has the name of an input; {listed}, the inputs are "
                         f"{listing(inputs) or 'none'}")
    twice = [name for name in columns if list(names).count(name) > 1]
    if twice:
        raise InputError(f"{table}: column '{twice[0]}' stands twice")
    return columns


def _numbers(column: Any, dtype: str, name: str, first: int) -> Any:
    """A column as an array."""
    import pyarrow as pa

    if column.null_count:
        row = first + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise InputError(f"{name} has no value in row {row}")
    numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if not (pa.types.is_boolean(column.type) if dtype == "bool" else numeric):
        raise InputError(f"{name} is {column.type}; expected {dtype}")
    return column.cast(pa.from_numpy_dtype(np.dtype(dtype))).to_numpy(zero_copy_only=False)


Batches = Callable[[Mapping[str, str]], Iterator[Any]]


def _open(table: str, stack: ExitStack) -> tuple[Sequence[str], int | None, Batches]:
    """The names of the columns, how many batches there are, if that is known, and a function that reads columns."""
    if table.endswith(".parquet"):
        import pyarrow.parquet as pq

        file = stack.enter_context(pq.ParquetFile(table))
        return (file.schema_arrow.names, -(-file.metadata.num_rows // BATCH),
                lambda columns: file.iter_batches(BATCH, columns=list(columns)))
    if table.endswith(_ARROW):
        import pyarrow as pa

        reader = stack.enter_context(pa.ipc.open_file(stack.enter_context(pa.OSFile(table))))
        return (reader.schema.names, reader.num_record_batches,
                lambda columns: (reader.get_batch(i).select(list(columns)) for i in range(reader.num_record_batches)))
    if table != "-" and not table.endswith(".csv"):
        raise InputError(f"{printable(table, 1000)}: expected a table as .parquet, {', '.join(_ARROW)} or .csv, or - "
                         "for CSV")
    import pyarrow as pa
    from pyarrow import csv

    source = stack.enter_context(pa.PythonFile(sys.stdin.buffer, "r") if table == "-" else pa.OSFile(table))
    # The names are the first line; the types are known only once they have been compared with the inputs.
    line = b""
    while not line.endswith(b"\n") and (byte := source.read(1)):
        line += byte
    names = csv.read_csv(pa.BufferReader(line)).column_names if line.strip() else []

    def read(columns: Mapping[str, str]) -> Iterator[Any]:
        types = {name: pa.from_numpy_dtype(np.dtype(dtype)) for name, dtype in columns.items()}
        try:
            yield from csv.open_csv(source, csv.ReadOptions(column_names=names, block_size=2**24),
                                    convert_options=csv.ConvertOptions(column_types=types, include_columns=list(types)))
        except pa.ArrowInvalid as error:
            if "Empty CSV file" not in str(error):
                raise

    return names, None, read


@contextmanager
def _writer(output: str, schema: Any) -> Iterator[Callable[[Any], None]]:
    """A function that writes batches; the file appears under its name when all are written."""
    import pyarrow as pa
    from pyarrow import csv

    made: Any
    form = form_of(output, ("parquet", *(ending[1:] for ending in _ARROW), "csv"), "a table", "csv")
    if output == "-":
        with csv.CSVWriter(pa.PythonFile(sys.stdout.buffer, "w"), schema) as made:
            yield made.write_batch
        return
    with writer(output) as file:
        if form == "parquet":
            import pyarrow.parquet as pq

            made = pq.ParquetWriter(file, schema)
        else:
            made = csv.CSVWriter(file, schema) if form == "csv" else pa.ipc.new_file(file, schema)
        with made:
            yield made.write_batch
