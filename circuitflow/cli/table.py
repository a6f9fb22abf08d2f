"""`circuitflow run --table`: a circuit over the rows of a table, a batch at a time."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from circuitflow.cli.output import form_of
from circuitflow.cli.progress import track
from circuitflow.errors import InputError
from circuitflow.gates.shapes import show
from circuitflow.rows.tables import TableRun
from circuitflow.rows.task import RowTask
from circuitflow.tables.output import TABLES
from circuitflow.tables.places import Part


def write_table(parts: Sequence[Part], output: str, task: RowTask) -> None:
    """Write the results of all rows to one file; - is CSV on standard output.

    Raises:
        InputError, MissingExtraError: see `TableRun.write`.
    """
    form = form_of_results(output, task)
    table_run(task).write(parts, output, form)


def table_run(task: RowTask) -> TableRun:
    """The task over rows, with notes and progress on standard error."""
    return TableRun(task, note=note, track=track)


def form_of_table(output: str) -> str:
    """The form of a table to write, by its name.

    Raises:
        InputError: there is no such form.
    """
    return form_of(output, TABLES, "a table", "csv")


def form_of_results(output: str, task: RowTask) -> str:
    """The form of a table of results.

    Raises:
        InputError: there is no such form, or a result is an array in each row, and the output is CSV.
    """
    form = form_of_table(output)
    if form == "csv":
        for name, type_ in task.results().items():
            if type_.shape:
                raise InputError(f"column '{name}' has shape {show(type_.shape)} in each row, and CSV has one "
                                 f"number; write .parquet or .arrow, {task.words.choice}")
    return form


def note(text: str) -> None:
    """Say something beside the result, on standard error."""
    print(f"note: {text}", file=sys.stderr)
