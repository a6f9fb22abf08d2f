"""`circuitflow run --table`: a circuit over the rows of a table, a batch at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

from circuitflow.cli.output import form_of
from circuitflow.cli.progress import track
from circuitflow.cli.text import sum_of
from circuitflow.document.output import writer
from circuitflow.errors import InputError
from circuitflow.gates.shapes import show
from circuitflow.rows.answering import RowFunction
from circuitflow.rows.matching import Match, match_columns
from circuitflow.rows.summing import Totals, sum_rows
from circuitflow.rows.task import RowTask
from circuitflow.tables.arrow import arrow_array, arrow_type
from circuitflow.tables.opening import ARROW, PARQUET, need_arrow, refuse_damage
from circuitflow.tables.places import Part
from circuitflow.tables.reader import Batch, Reader
from circuitflow.tables.several import open_parts
from circuitflow.tables.writing import header, line_writer
from circuitflow.text import printable

_LINES = 2**16
"""Lines that are converted to text at a time; more are slower."""

TABLES = [ending[1:] for ending in (*PARQUET, *ARROW, ".csv")]
"""The forms of tables that are written."""


class TableRun:
    """Writes answers to tables. It compiles once for all of them."""

    def __init__(self, task: RowTask, *, shows_rows: bool = True) -> None:
        """Set up; `shows_rows` is whether there is a progress bar of rows."""
        self._task, self._shows_rows = task, shows_rows
        self._functions: dict[tuple[tuple[str, int], ...], RowFunction] = {}
        self._kinds: dict[str, Any] | None = None
        self._first = ""
        self._has_written = False

    def write(self, parts: Sequence[Part], output: str) -> None:
        """Write the columns that are kept, and one for every output and every gradient, in the order of the rows.

        After an error no output file is left. The endings of names choose the formats; - is CSV on a standard stream.
        The rows of several files come one file after the other.

        Raises:
            InputError: the table cannot be read, or does not fit the question, or gives columns of other types than the
                table before it; the message names row and column.
            MissingExtraError: pyarrow is needed and not installed.
        """
        refuse_arrays(output, self._task)
        with self._reading(parts) as (function, kinds, batches), table_writer(output, kinds) as write:
            for batch in batches:
                for columns in function(batch):
                    write(columns)

    def totals(self, parts: Sequence[Part]) -> Totals:
        """The sums of outputs and gradients over all rows.

        Raises:
            InputError, MissingExtraError: see `write`.
        """
        with self._reading(parts) as (function, _, batches):
            return sum_rows(function, batches)

    def agree_with(self, part: Part) -> None:
        """Take the types of results from a file, whose rows are not read: those of later ones must be the same.

        Raises:
            InputError, MissingExtraError: see `write`.
        """
        with refuse_damage(part.shown), ExitStack() as stack:
            self._open([part], stack)

    @contextmanager
    def _reading(self, parts: Sequence[Part]) -> Iterator[tuple[RowFunction, dict[str, Any], Iterable[Batch]]]:
        """The function of the batches of a table, the kinds of its results, and the batches."""
        place = parts[0].shown
        with refuse_damage(place), ExitStack() as stack:
            reader, match, function, kinds = self._open(parts, stack)
            if not self._has_written:
                self._note(match.unread, place)
            self._has_written = True
            batches = reader.batches(match.selection)
            words = f"rows of {place}{' and others' * (len(parts) > 1)}"
            yield function, kinds, track(batches, words, reader.total) if self._shows_rows else batches

    def _open(self, parts: Sequence[Part], stack: ExitStack) -> tuple[Reader, Match, RowFunction, dict[str, Any]]:
        """A table, its columns, the function of its batches, and the kinds of its results."""
        task, place = self._task, parts[0].shown
        reader = open_parts(parts, task.executor.circuit.limits, stack)
        match = match_columns(task, reader, place)
        function = self._function(task.sizes(match.lengths))
        kinds = dict(zip(task.keep, map(reader.type_of, match.selection.kept), strict=True))
        kinds |= {name: (function.dtypes[name], shape) for name, shape in function.shapes.items()}
        if self._kinds is None:
            self._kinds, self._first = kinds, place
        elif kinds != self._kinds:
            raise InputError(f"{place}: its columns give results of other types than those of {self._first}; cast "
                             "them to the same")
        return reader, match, function, kinds

    def _function(self, sizes: Mapping[str, int]) -> RowFunction:
        key = tuple(sorted(sizes.items()))
        if key not in self._functions:
            self._functions[key] = RowFunction(self._task, sizes)
        return self._functions[key]

    def _note(self, unread: str, place: str) -> None:
        """Say what is not read, and what gradients are those of."""
        task, plan = self._task, self._task.question.plan
        if unread:
            print(f"note: {place}: no input takes {unread}", file=sys.stderr)
        floats = [name for name, type_ in task.question.outputs.items() if type_.is_float]
        if len(floats) > 1 and plan.wrt:
            is_weighted = bool(task.upstream or task.executor.circuit.upstream)
            print(f"note: {sum_of(floats, is_weighted=is_weighted)}; --of chooses one", file=sys.stderr)


def refuse_arrays(output: str, task: RowTask) -> None:
    """Refuse to write arrays to CSV.

    Raises:
        InputError: a result is an array in each row, and the output is CSV.
    """
    if form_of(output, TABLES, "a table", "csv") == "csv":
        for name, type_ in task.results().items():
            if type_.shape:
                raise InputError(f"column '{name}' has shape {show(type_.shape)} in each row, and CSV has one "
                                 f"number; write .parquet or .arrow, {task.words.choice}")


@contextmanager
def table_writer(output: str, kinds: Mapping[str, Any]) -> Iterator[Callable[[Sequence[Any]], None]]:
    """A function that writes columns; the file appears under its name when all are written.

    The kind of a column is a dtype with the shape in a row, an Arrow type, or None for text.
    """
    form = form_of(output, TABLES, "a table", "csv")
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
