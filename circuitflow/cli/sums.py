"""`circuitflow run --table --sum` and `--mean`: one row for all rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import circuitflow as cf
from circuitflow.cli.dataset import is_dataset
from circuitflow.cli.table import form_of_results, table_run
from circuitflow.cli.text import print_json
from circuitflow.errors import InputError
from circuitflow.rows.summing import Totals, sum_dtype, sum_rows
from circuitflow.rows.task import RowTask
from circuitflow.tables.output import table_writer
from circuitflow.tables.places import Part


def write_sums(parts: Sequence[Part], output: str, task: RowTask, *, mean: bool, json: bool) -> None:
    """Write the sums of outputs and gradients over all rows, or their means, in columns of the same names.

    Args:
        parts: the files of the table.
        output: the file, or - for standard output.
        task: the question.
        mean: whether sums are divided by the number of rows.
        json: whether standard output gets one JSON object instead.

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
    with table_run(task).reading(parts) as (function, _, batches):
        if json:
            columns = _reduced(sum_rows(function, batches), mean=mean)
            plan, circuit, arrays = task.question.plan, task.executor.circuit, list(columns.values())
            outputs = dict(zip(plan.of, arrays, strict=False))
            gradients = dict(zip(plan.wrt, arrays[len(plan.of) :], strict=True))
            print_json(cf.Result(circuit, outputs, outputs, gradients, []).to_dict(values=(), contributions=False))
            return
        kinds = {name: ("float64" if mean else sum_dtype(function.dtypes[name]), shape)
                 for name, shape in function.shapes.items()}
        with table_writer(output, form, kinds) as write:  # before the rows are read, which may take long
            write([array[None] for array in _reduced(sum_rows(function, batches), mean=mean).values()])


def _reduced(totals: Totals, *, mean: bool) -> dict[str, Any]:
    return totals.means() if mean else totals.sums()
