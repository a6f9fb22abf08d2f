"""A function over batches of rows that other programs send to their processes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from circuitflow.arguments import checked
from circuitflow.errors import InputError
from circuitflow.graph.circuit import Circuit
from circuitflow.interpreter.question import References
from circuitflow.rows.answering import RowFunction
from circuitflow.rows.holding import loaded, once, pickled
from circuitflow.rows.matching import match_columns
from circuitflow.rows.task import RowTask, row_task
from circuitflow.tables.arrow import ArrowColumns, arrow_array, arrow_type
from circuitflow.tables.opening import need_arrow
from circuitflow.text import listing, printable, short


@checked
def map_batches(circuit: Circuit, of: References = None, wrt: References = None, *,
                inputs: Mapping[str, Any] | None = None, upstream: Mapping[str, Any] | None = None,
                engine: str = "auto", device: str | None = None, keep: Sequence[str] = (), defaults: bool = False,
                verify: bool = False) -> BatchMap:
    """A function from record batches of Arrow to record batches, for Spark, Dask, Ray, Polars, DuckDB and the like.

    Every row is an example: its columns are inputs by name, scalars or lists. The result has the columns of `keep`,
    then one for each output, by its name, and one for each gradient, by `d` and its name; arrays are lists of fixed
    size. Batches need no order, and no state passes between them. The function may be pickled, copied, forked and
    shared among threads: it carries the document and its tensors. A process compiles it once.

    Args:
        circuit: the circuit.
        of: the outputs to compute and differentiate; all of the document's by default.
        wrt: the nodes to differentiate by, none for `()`; all floating-point inputs and parameters by default.
        inputs: values that are the same in every row; they win over columns of the same name.
        upstream: upstream gradients, by output, the same in every row.
        engine: see `Executor.vmap`; a circuit that no engine takes over rows runs row by row.
        device: see `Executor.vmap`.
        keep: columns to copy to the front of the result.
        defaults: whether an input without a column has the document's value.
        verify: whether every row is compared with the interpreter.

    Raises:
        InputError: an unknown reference or engine, a column that would stand twice, or a gate table with functions that
            cannot be pickled.
        MissingExtraError: pyarrow or a package of the engine is not installed.
    """
    need_arrow("map_batches")
    task = row_task(circuit, of, wrt, inputs, upstream, engine, device, keep, defaults=defaults, verify=verify)
    made = BatchMap(pickled(task, "map_batches"))
    once(made.digest, lambda: task)
    return made


class BatchMap:
    """A function from an iterable of record batches to an iterator of record batches; `map_batches` makes it.

    Attributes:
        digest: SHA-256 of document and question, in hexadecimal.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self.digest = data, hashlib.sha256(data).hexdigest()

    def __call__(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Record batches of results, in the order of their rows; a large batch gives several.

        Raises:
            InputError: a batch is none, lacks a column, or has a cell that cannot be read; the message names batch, row
                and column, each counted from 1.
            CircuitflowError: a row cannot be computed.
        """
        import pyarrow as pa

        task = self._task()
        if isinstance(batches, pa.RecordBatch | pa.Table):
            raise InputError("map_batches: expected an iterable of record batches, so give a list of batches, such as "
                             "table.to_batches()")
        schema = None
        for number, batch in enumerate(batches, 1):
            place = f"batch {number}"
            if not isinstance(batch, pa.RecordBatch):
                raise InputError(f"{place} is {short(batch)}; expected a pyarrow.RecordBatch, as table.to_batches() "
                                 "gives them")
            reader = _reader(batch.schema, place, batch)
            match = match_columns(task, reader, place)
            function = self._function(task, match.lengths)
            found = self._schema(task, reader, match.selection.kept, function.shapes)
            schema = schema or found
            if found != schema:
                raise InputError(f"{place}: its columns are {listing(map(str, batch.schema.types))}, and those of the "
                                 "batches before it give a result of other types; cast the batches to one schema")
            for part in reader.batches(match.selection):
                for columns in function(part):
                    yield pa.record_batch([arrow_array(column, type_) for column, type_ in
                                           zip(columns, schema.types, strict=True)], schema)

    def schema(self, input_schema: Any = None) -> Any:
        """The Arrow schema of the results.

        Args:
            input_schema: that of the batches. It is needed for the types of columns that are kept, and for the sizes of
                named dimensions.

        Raises:
            InputError: it is needed, or has no columns for the task.
        """
        task = self._task()
        if input_schema is None:
            if task.keep:
                raise InputError("schema: the columns of keep have the types that they have in the batches; give "
                                 "schema(input_schema)")
            return self._schema(task, None, (), task.shapes(task.sizes({})))
        reader = _reader(input_schema, "schema")
        match = match_columns(task, reader, "schema")
        return self._schema(task, reader, match.selection.kept, task.shapes(task.sizes(match.lengths)))

    @staticmethod
    def _schema(task: RowTask, reader: ArrowColumns | None, kept: Sequence[int],
                shapes: Mapping[str, tuple[int, ...]]) -> Any:
        import pyarrow as pa

        copies = [(name, reader.type_of(position)) for name, position in zip(task.keep, kept, strict=True) if reader]
        results = task.results()
        return pa.schema([*copies, *((name, arrow_type(results[name].dtype, shape)) for name, shape in shapes.items())])

    def _task(self) -> RowTask:
        task: RowTask = once(self.digest, partial(loaded, self._data, "map_batches"))
        return task

    def _function(self, task: RowTask, lengths: Mapping[str, Sequence[int | None]]) -> RowFunction:
        sizes = task.sizes(lengths)
        function: RowFunction = once((self.digest, *sorted(sizes.items())), partial(RowFunction, task, sizes))
        return function

    def __reduce__(self) -> tuple[Any, ...]:
        return BatchMap, (self._data,)

    def __repr__(self) -> str:
        task = self._task()
        return f"<map_batches of '{printable(task.executor.circuit.name, 60)}': {listing(task.results())}>"


def _reader(schema: Any, place: str, *batches: Any) -> ArrowColumns:
    return ArrowColumns(schema, None, lambda names, group: (batch.select(names) for batch in batches), place)
