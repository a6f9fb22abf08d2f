"""Answers a question for the rows of tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from threading import Lock
from typing import Any, NamedTuple

from circuitflow.errors import InputError
from circuitflow.rows.answering import RowFunction
from circuitflow.rows.matching import Match, match_columns
from circuitflow.rows.task import RowTask
from circuitflow.tables.opening import refuse_damage
from circuitflow.tables.output import table_writer
from circuitflow.tables.places import Part
from circuitflow.tables.reader import Batch, Reader
from circuitflow.tables.several import open_parts
from circuitflow.text import sum_of


class Kinds(NamedTuple):
    """The kinds of columns of a result, and the table that decided them.

    Attributes:
        columns: kinds by the name of a column, as `table_writer` takes them.
        table: the table in words.
    """

    columns: Mapping[str, Any]
    table: str


class TableRun:
    """Answers a question for one table after the other. It compiles once for all of them. Threads may share it.

    Attributes:
        task: the question.
        kinds: of the results, which all tables must have; the first table that is opened decides where None.
        like: the file whose columns a file has that does not say which; None where no other file does.
    """

    def __init__(self, task: RowTask, *, kinds: Kinds | None = None, like: Part | None = None,
                 note: Callable[[str], None] = lambda text: None,
                 track: Callable[[Iterable[Batch], str, int | None], Iterable[Batch]] = lambda batches, *_: batches
                 ) -> None:
        """Set up.

        Args:
            task: the question.
            kinds: see the class.
            like: see the class.
            note: takes what is to be said of the first table.
            track: shows progress, of the batches of a table, words, and how many there are if that is known.
        """
        self.task, self.kinds, self.like = task, kinds, like
        self._note, self._track = note, track
        self._functions: dict[tuple[tuple[str, int], ...], RowFunction] = {}
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy has the question, the kinds and the file for columns, without notes and progress."""
        return partial(TableRun, kinds=self.kinds, like=self.like), (self.task,)

    def write(self, parts: Sequence[Part], output: str, form: str, finish: Callable[[], None] = lambda: None) -> int:
        """Write the columns that are kept, and one for every output and every gradient, in the order of the rows.

        After an error no output file is left. The rows of several files come one file after the other.

        Args:
            parts: the files of the table.
            output: the file to write; - is standard output, for CSV.
            form: of the output, one of `TABLES`.
            finish: called when all rows are written, before the file gets its name.

        Returns:
            How many rows there are.

        Raises:
            InputError: the table cannot be read, or does not fit the question, or gives columns of other types than the
                table before it; the message names row and column.
            MissingExtraError: pyarrow is needed and not installed.
        """
        rows = 0
        with self.reading(parts) as (function, kinds, batches), table_writer(output, form, kinds) as write:
            for batch in batches:
                rows += batch.rows
                for columns in function(batch):
                    write(columns)
            finish()
        return rows

    def agree_with(self, part: Part) -> dict[str, Any]:
        """Take the kinds of results from a file, whose rows are not read: those of later ones must be the same.

        A later file that does not say which columns it has, has those of this one.

        Raises:
            InputError, MissingExtraError: see `write`.
        """
        self.like = part
        with refuse_damage(part.shown), ExitStack() as stack:
            return self._open([part], stack)[-1]

    @contextmanager
    def reading(self, parts: Sequence[Part], *, like: Part | None = None,
                skip: int = 0) -> Iterator[tuple[RowFunction, dict[str, Any], Iterable[Batch]]]:
        """The function of the batches of a table, the kinds of the columns that it gives, and the batches.

        Args:
            parts: the files of the table.
            like: the file whose columns all must have; see `open_parts`.
            skip: the number of rows of the first file that are left out.

        Raises:
            InputError, MissingExtraError: see `write`.
        """
        place = parts[0].shown
        with refuse_damage(place), ExitStack() as stack:
            reader, match, function, kinds = self._open(parts, stack, like)
            words = f"rows of {place}{' and others' * (len(parts) > 1)}"
            yield function, kinds, self._track(reader.batches_after(match.selection, skip), words, reader.total)

    def _open(self, parts: Sequence[Part], stack: ExitStack,
              like: Part | None = None) -> tuple[Reader, Match, RowFunction, dict[str, Any]]:
        """A table, its columns, the function of its batches, and the kinds of its results."""
        task, limits = self.task, self.task.executor.circuit.limits
        reader = open_parts(parts, limits, stack, like=like)
        if reader.is_blank and self.like is not None:
            reader = open_parts(parts, limits, stack, like=self.like)
        place = reader.place
        match = match_columns(task, reader, place)
        function = self._function(task.sizes(match.lengths))
        kinds = dict(zip(task.keep, map(reader.type_of, match.selection.kept), strict=True))
        kinds |= {name: (function.dtypes[name], shape) for name, shape in function.shapes.items()}
        with self._lock:
            before = self.kinds
            self.kinds = decided = before or Kinds(kinds, place)
        if before is None:
            self._say(match.unread, place)
        elif kinds != decided.columns:
            raise InputError(f"{place}: its columns give results of other types than those of {decided.table}; cast "
                             "them to the same")
        return reader, match, function, kinds

    def _function(self, sizes: Mapping[str, int]) -> RowFunction:
        key = tuple(sorted(sizes.items()))
        with self._lock:
            if key not in self._functions:
                self._functions[key] = RowFunction(self.task, sizes)
            return self._functions[key]

    def _say(self, unread: str, place: str) -> None:
        """Say what is not read, and what gradients are those of."""
        task, plan = self.task, self.task.question.plan
        if unread:
            self._note(f"{place}: no input takes {unread}")
        floats = [name for name, type_ in task.question.outputs.items() if type_.is_float]
        if len(floats) > 1 and plan.wrt:
            is_weighted = bool(task.upstream or task.executor.circuit.upstream)
            self._note(f"{sum_of(floats, is_weighted=is_weighted)}; {task.words.output} chooses one")
