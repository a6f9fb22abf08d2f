"""`circuitflow run --table … -o FOLDER/`: a file for every file of a table, here or on the workers of a cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from circuitflow.cli.cluster import client_of
from circuitflow.cli.progress import track
from circuitflow.cli.table import note
from circuitflow.rows.folders import write_folder
from circuitflow.rows.task import RowTask
from circuitflow.tables.output import TABLES
from circuitflow.tables.places import Part


def is_dataset(output: str) -> bool:
    """Whether an output is a folder: one with a slash at its end, or one that is there and has not a table's name."""
    is_named = output.lower().endswith(tuple(f".{ending}" for ending in TABLES))
    return output.endswith(("/", os.sep)) or (os.path.isdir(output) and not is_named)


def write_dataset(parts: Sequence[Part], output: str, task: RowTask, *, resume: bool, cluster: str | None) -> None:
    """Write the folder; see `write_folder`. After Ctrl-C the exit status is 130.

    Raises:
        InputError, CircuitflowError, MissingExtraError: see `write_folder` and `client_of`.
    """
    try:
        with client_of(cluster) as client:
            write_folder(parts, output, task, resume=resume, client=client, track=track, note=note)
    except KeyboardInterrupt:
        print("interrupted; to go on from there, give the same command with --resume", file=sys.stderr)
        raise typer.Exit(130) from None
