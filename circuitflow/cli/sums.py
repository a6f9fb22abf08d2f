"""`circuitflow run --table --sum` and `--mean`: one row for all rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import circuitflow as cf
from circuitflow.cli.cluster import client_of
from circuitflow.cli.dataset import is_dataset
from circuitflow.cli.progress import track
from circuitflow.cli.table import form_of_results, table_run
from circuitflow.cli.text import print_json
from circuitflow.errors import InputError
from circuitflow.rows.clusters import sum_on
from circuitflow.rows.remote import absolute
from circuitflow.rows.summing import Totals, sum_dtype, sum_rows
from circuitflow.rows.tables import TableRun
from circuitflow.rows.task import RowTask
from circuitflow.tables.output import table_writer
from circuitflow.tables.places import Part
from circuitflow.tables.several import first_with_columns


def write_sums(parts: Sequence[Part], output: str, task: RowTask, *, mean: bool, json: bool,
               cluster: str | None) -> None:
    """Write the sums of outputs and gradients over all rows, or their means, in columns of the same names.

    Args:
        parts: the files of the table.
        output: the file, or - for standard output.
        task: the question.
        mean: whether sums are divided by the number of rows.
        json: whether standard output gets one JSON object instead.
        cluster: whose workers compute the sums; see `client_of`.

    Raises:
        InputError: the table cannot be read, the output has several rows or files, or a sum of integers does not fit.
        MissingExtraError: pyarrow is needed and not installed.
    """
    option = "--mean" if mean else "--sum"
    if task.keep:
        raise InputError(f"--keep copies a column row by row, and {option} gives one row for all; leave one out")
    if is_dataset(output):
        raise InputError(f"{option} gives one row, and a folder has a file for every file of the table; write one "
                         "file, such as -o sums.parquet")
    if json and output != "-":
        raise InputError("--json prints on standard output; leave out -o, or write a table without --json")
    form = "" if json else form_of_results(output, task)
    with _kinds_and_totals(table_run(task), parts, cluster) as (kinds, totals):
        def reduced() -> dict[str, Any]:
            return totals().means() if mean else totals().sums()

        if json:
            plan, circuit, arrays = task.question.plan, task.executor.circuit, list(reduced().values())
            outputs = dict(zip(plan.of, arrays, strict=False))
            gradients = dict(zip(plan.wrt, arrays[len(plan.of) :], strict=True))
            print_json(cf.Result(circuit, outputs, outputs, gradients, []).to_dict(values=(), contributions=False))
            return
        of_sums = {name: ("float64" if mean else sum_dtype(dtype), shape) for name, (dtype, shape) in kinds.items()}
        with table_writer(output, form, of_sums) as write:  # before the rows are read, which may take long
            write([array[None] for array in reduced().values()])


@contextmanager
def _kinds_and_totals(run: TableRun, parts: Sequence[Part], cluster: str | None
                      ) -> Iterator[tuple[Mapping[str, Any], Callable[[], Totals]]]:
    """The kinds of the results in a row, which are known at once, and what computes their sums."""
    if cluster is None:
        with run.reading(parts) as (function, kinds, batches):
            yield kinds, lambda: sum_rows(function, batches)
        return
    parts = [absolute(part) for part in parts]
    kinds = run.agree_with(first_with_columns(parts, run.task.executor.circuit.limits))
    with client_of(cluster) as client:
        yield kinds, lambda: sum_on(client, run, parts, track)
