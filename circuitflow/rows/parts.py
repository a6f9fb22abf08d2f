"""Writes one file of a folder of results, in whatever process."""

from __future__ import annotations

import json
from pathlib import Path

from circuitflow.errors import InputError
from circuitflow.rows.fixed_order import one_thread
from circuitflow.rows.tables import TableRun
from circuitflow.tables.places import Part
from circuitflow.text import printable

RUN, MANIFEST = "_run.json", "_manifest.json"
"""The file of a run that is not at its end, and that of one that is. Readers of data sets pass over such names."""


def write_part(run: TableRun, part: Part, folder: Path, name: str, digest: str) -> int:
    """Write the results of a file of a table: whole or not at all, the same bytes in each process.

    Args:
        run: the question; its kinds are those of the first file.
        part: the file.
        folder: the folder of results, which a run has begun.
        name: the file to write, below the folder.
        digest: of the run.

    Returns:
        How many rows there are.

    Raises:
        InputError: the folder is not of this run, at the begin or at the end; or see `TableRun.write`.
    """
    def refuse_other() -> None:
        if run_of(folder / RUN) != digest:
            raise InputError(f"{printable(str(folder), 1000)} is not of this run: it was moved or another run began in "
                             "it, or this process does not see the same file system; run again in a new folder")

    refuse_other()
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    with one_thread(over_rows=True):
        return run.write([part], str(folder / name), "parquet", refuse_other)


def run_of(path: Path) -> str:
    """The digest in a file that a run wrote; "" where there is none."""
    try:
        run = json.loads(path.read_text(encoding="utf-8"))["run"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        run = None
    return run if isinstance(run, str) else ""
