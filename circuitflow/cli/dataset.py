"""`circuitflow run --table … -o FOLDER/`: a Parquet file for every file of a table, and last a manifest."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

import circuitflow as cf
from circuitflow.cli.progress import track
from circuitflow.cli.table import TABLES, TableRun
from circuitflow.document.output import write
from circuitflow.errors import InputError
from circuitflow.rows.task import RowTask
from circuitflow.tables.opening import need_arrow
from circuitflow.tables.places import Part
from circuitflow.text import printable

RUN, MANIFEST = "_run.json", "_manifest.json"
"""The file of a run that is not at its end, and that of one that is. Readers of data sets pass over such names."""

_LEFTOVER = re.compile(r"\.circuitflow\.[0-9a-f]{16}\.part")
"""The name of a file that a kill left unfinished: see `document.output.writer`."""


def is_dataset(output: str) -> bool:
    """Whether an output is a folder: one with a slash at its end, or one that is there and has not a table's name."""
    is_named = output.lower().endswith(tuple(f".{ending}" for ending in TABLES))
    return output.endswith(("/", os.sep)) or (os.path.isdir(output) and not is_named)


def write_dataset(parts: Sequence[Part], output: str, task: RowTask, *, resume: bool) -> None:
    """Write a file of results for every file of a table, each whole or not at all, and the manifest last.

    Args:
        parts: the files; keys of their partitions that are not kept become folders.
        output: the folder, which is new or empty; with `resume` also one that the same run has begun.
        task: the question.
        resume: whether parts that are there are left as they are.

    Raises:
        InputError: the folder has files of something else, or a table cannot be read.
        MissingExtraError: pyarrow is not installed.
    """
    folder, label = Path(output), printable(output, 1000)
    need_arrow(label)
    names = [_name(i, part, task.keep) for i, part in enumerate(parts)]
    digest = _digest(parts, task)
    present = _begun(folder, label, names, digest, resume=resume)
    write(folder / RUN, json.dumps({"run": digest}) + "\n")
    with suppress(FileNotFoundError):
        (folder / MANIFEST).unlink()
    if resume and present:
        print(f"note: {label}: {len(present)} of {len(names)} parts are there", file=sys.stderr)
    run = TableRun(task, shows_rows=False)
    missing = [each for each in zip(parts, names, strict=True) if each[1] not in present]
    if missing:  # the first file decides, also where its part is there
        run.agree_with(parts[0])
    for part, name in track(missing, f"parts of {label}"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        run.write([part], str(folder / name))
    write(folder / MANIFEST, json.dumps({"run": digest, "parts": [
        {"file": name, "rows": _rows(folder / name), "source": part.shown}
        for part, name in zip(parts, names, strict=True)]}, indent=1) + "\n")
    (folder / RUN).unlink()


def _name(number: int, part: Part, keep: Sequence[str]) -> str:
    keys = [f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in part.keys.items() if key not in keep]
    return "/".join([*keys, f"part-{number:05}.parquet"])


def _rows(path: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def _begun(folder: Path, label: str, names: Sequence[str], digest: str, *, resume: bool) -> set[str]:
    """The parts that are there; makes the folder where there is none.

    Raises:
        InputError: the folder has files that are not of this run, or of it and `resume` is not given.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    except OSError as error:
        raise InputError(f"{label} cannot be written: {error.strerror}") from None
    leftovers = {name for name in files if _LEFTOVER.fullmatch(name.rpartition("/")[2])}
    files -= leftovers
    if files:
        _refuse_other(folder, label, files, names, digest, resume=resume)
    for name in leftovers:
        (folder / name).unlink()
    return files & set(names)


def _refuse_other(folder: Path, label: str, files: set[str], names: Sequence[str], digest: str, *,
                  resume: bool) -> None:
    """Refuse files that are not of this run, or are and `resume` is not given.

    Raises:
        InputError: there are such.
    """
    runs = {_run_of(folder / name) for name in (RUN, MANIFEST) if name in files}
    if not runs:
        raise InputError(f"{label} has files, and no run of circuitflow began it; choose a new or empty folder")
    if runs != {digest}:
        raise InputError(f"{label} is of another run: another document, question or table; choose another folder")
    if not resume:
        raise InputError(f"{label} is of an earlier run of the same; go on by --resume, or choose another folder")
    if strays := sorted(files - {*names, RUN, MANIFEST}):
        raise InputError(f"{label}: '{printable(strays[0], 200)}' is no part of this run; move it away")


def _run_of(path: Path) -> str:
    try:
        run = json.loads(path.read_text(encoding="utf-8"))["run"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        run = None
    return run if isinstance(run, str) else ""


def _digest(parts: Sequence[Part], task: RowTask) -> str:
    """SHA-256 of document, question and table."""
    circuit, plan = task.executor.circuit, task.question.plan
    facts = [cf.__version__, cf.dumps(circuit), _arrays(circuit.values), list(plan.of), list(plan.wrt),
             _arrays(task.inputs), _arrays({**circuit.upstream, **task.upstream}), task.engine, task.device,
             list(task.keep), task.defaults, [_stamp(part) for part in parts]]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _arrays(values: Mapping[str, Any]) -> list[Any]:
    arrays = {name: np.ascontiguousarray(value) for name, value in sorted(values.items())}
    return [[name, str(array.dtype), list(np.shape(values[name])), hashlib.sha256(array.tobytes()).hexdigest()]
            for name, array in arrays.items()]


def _stamp(part: Part) -> list[Any]:
    """What tells the contents of a file from others.

    Raises:
        InputError: it is standard input, which cannot be read again; or there is none.
    """
    if part.path == "-":
        raise InputError("a folder of results needs files, and standard input cannot be read again; write a file")
    if part.local is None:
        return [part.shown, str(part.system.ukey(part.path))]
    try:
        status = os.stat(part.path)
    except OSError as error:
        raise InputError(f"{part.shown}: {error.strerror}") from None
    return [part.shown, status.st_size, status.st_mtime_ns]
