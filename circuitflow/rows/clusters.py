"""Answers a question for the rows of tables on the workers of a Dask cluster.

A folder of results: a task is one file, where it is read and the name to write. It answers with the number of rows.
Where it runs twice, it writes the same bytes again, whole or not at all. Sums: a task is a span of rows. It answers
with whole trees over its blocks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from circuitflow.interpreter.passes import Track, tracked
from circuitflow.rows.parts import write_part
from circuitflow.rows.remote import Remote, Steps, absolute
from circuitflow.rows.summing import Blocks, Totals, Trees, sum_blocks, totals
from circuitflow.rows.tables import TableRun
from circuitflow.tables.places import Part
from circuitflow.tables.reader import first_of
from circuitflow.tables.several import first_with_columns
from circuitflow.tables.spans import Span


def write_on(client: Any, run: TableRun, parts: Mapping[str, Part], folder: Path,
             digest: str) -> Iterator[tuple[str, int]]:
    """Write parts on the workers; gives their names and how many rows each has, in the order in which they end.

    After a fault, the parts before it are still awaited, so that the first part at fault is the one reported.

    Args:
        client: of the cluster.
        run: the question, with its kinds.
        parts: the files of the table, by the names to write.
        folder: the folder of results, which a run has begun.
        digest: of the run.

    Raises:
        InputError: see `Remote.ask`.
        CircuitflowError: see `write_part`.
    """
    remedy = f"what is written stays, so go on by {run.task.words.resume}, with or without a cluster"
    items = [(name, absolute(part)) for name, part in parts.items()]
    with Remote(client, run, remedy) as remote:
        for number, rows in remote.ask(_write, items, [part.shown for part in parts.values()], os.path.abspath(folder),
                                       digest):
            yield items[number][0], rows


def sum_on(client: Any, run: TableRun, parts: Sequence[Part], track: Track) -> Totals:
    """Sum the results for all rows on the workers, to the bits of one process.

    Args:
        client: of the cluster.
        run: the question.
        parts: the files of the table.
        track: shows progress, of spans of rows.

    Raises:
        InputError: see `Remote.ask`.
        CircuitflowError: see `sum_rows`.
    """
    with run.reading(parts) as (function, _, batches):
        first = next((batch for batch in batches if batch.rows), None)
    if first is None:
        return totals(function, 0, [])
    blocks, parts = Blocks.of(function, first), [absolute(part) for part in parts]
    with Remote(client, run, "nothing is written, so run again, with or without a cluster") as remote:
        spans = remote.spans(parts, run.task.executor.circuit.limits, blocks.rows)
        like = first_with_columns(parts, run.task.executor.circuit.limits)
        answers = remote.in_order(_sum, spans, [span.parts[0].shown for span in spans], blocks, like)
        words = f"rows of {parts[0].shown}{' and others' * (len(parts) > 1)}"
        found = (tree for trees in tracked(track, Steps(answers, len(spans)), words)  # type: ignore[arg-type]
                 for tree in trees)
        return totals(function, sum(span.rows for span in spans), found)


# On a worker ----------------------------------------------------------------------------------------------------------

def _write(run: TableRun, item: tuple[str, Part], folder: str, digest: str) -> int:
    name, part = item
    return write_part(run, part, Path(folder), name, digest)


def _sum(run: TableRun, span: Span, blocks: Blocks, like: Part) -> Trees:
    with run.reading(span.parts, like=like, skip=span.skip) as (function, _, batches):
        return sum_blocks(function, first_of(batches, span.rows), blocks, span.first // blocks.rows)
