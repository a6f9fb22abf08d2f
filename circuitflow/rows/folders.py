"""A folder of results: a Parquet file for every file of a table, and last a manifest."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from circuitflow.arguments import checked
from circuitflow.document.output import write
from circuitflow.errors import InputError
from circuitflow.graph.circuit import Circuit, dumps
from circuitflow.interpreter.passes import Track, tracked, untracked
from circuitflow.interpreter.question import References
from circuitflow.rows.clusters import write_on
from circuitflow.rows.parts import MANIFEST, RUN, run_of, write_part
from circuitflow.rows.remote import Steps, absolute, need_client
from circuitflow.rows.tables import TableRun
from circuitflow.rows.task import RowTask, row_task
from circuitflow.tables.opening import need_arrow, refuse_damage
from circuitflow.tables.places import Part, find_parts
from circuitflow.tables.several import first_with_columns
from circuitflow.text import own_version, printable, short

_LEFTOVER = re.compile(r"\.circuitflow\.[0-9a-f]{16}\.part")
"""The name of a file that a kill left unfinished: see `document.output.writer`."""

READERS = 16
"""Threads that read the ends of parts: most of the time of each is that of the file system."""


@checked
def map_files(circuit: Circuit, tables: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
              folder: str | os.PathLike[str], of: References = None, wrt: References = None, *,
              inputs: Mapping[str, Any] | None = None, upstream: Mapping[str, Any] | None = None,
              engine: str = "auto", device: str | None = None, keep: Sequence[str] = (), defaults: bool = False,
              verify: bool = False, resume: bool = False, client: Any = None, track: Track = untracked) -> int:
    """Run a circuit over the rows of tables, and write a Parquet file for every file of them into a folder.

    Every row is an example, and the columns are as those of `map_batches`. Each file is written whole or not at all,
    and `_manifest.json` comes last. The bytes are the same with and without a cluster, whatever the number of workers.

    Args:
        circuit: the circuit.
        tables: a file, a folder, a pattern, a URL, or several; see the guide "Run over the rows of a table".
        folder: the folder of results, which is new or empty.
        of: see `map_batches`.
        wrt: see `map_batches`.
        inputs: see `map_batches`.
        upstream: see `map_batches`.
        engine: see `map_batches`.
        device: see `map_batches`.
        keep: see `map_batches`.
        defaults: see `map_batches`.
        verify: see `map_batches`.
        resume: whether `folder` may be one that the same run has begun; only what is missing is written.
        client: a `distributed.Client` of a Dask cluster, whose workers write the files. They share a file system with
            this process and have the same version of circuitflow. The files of a worker that dies are written by
            others.
        track: shows progress: a function of the files and a text, which gives the same files.

    Returns:
        How many rows the folder has.

    Raises:
        InputError: a table cannot be read, or see `map_batches`; the folder has files of something else; or the
            scheduler of the cluster is lost. The folder can be gone on with.
        CircuitflowError: a row cannot be computed. The message names file, row group and row, those of the first file
            at fault.
        MissingExtraError: pyarrow, distributed or a package of the engine is not installed.
    """
    names = [os.fspath(name) for name in ([tables] if isinstance(tables, str | os.PathLike) else tables)]
    task = row_task(circuit, of, wrt, inputs, upstream, engine, device, keep, defaults=defaults, verify=verify)
    return write_folder(find_parts(names), os.fspath(folder), task, resume=resume, client=client, track=track)


def write_folder(parts: Sequence[Part], output: str, task: RowTask, *, resume: bool, client: Any = None,
                 track: Track = untracked, note: Callable[[str], None] = lambda text: None) -> int:
    """Write a file of results for every file of a table, each whole or not at all, and the manifest last.

    Args:
        parts: the files; keys of their partitions that are not kept become folders.
        output: the folder, which is new or empty; with `resume` also one that the same run has begun.
        task: the question.
        resume: whether parts that are there are left as they are.
        client: of a cluster, whose workers write the parts.
        track: shows progress.
        note: takes what is to be said beside the result.

    Returns:
        How many rows the folder has.

    Raises:
        InputError: there is no table, the folder has files of something else, a table cannot be read, or the cluster
            is lost.
        CircuitflowError: a row cannot be computed.
        MissingExtraError: pyarrow or distributed is not installed.
    """
    folder, label = Path(output), printable(output, 1000)
    need_arrow(label)
    if client is not None:
        need_client(client)
    if not parts:
        raise InputError("there is no table; name a file, a folder or a pattern")
    names = [_name(i, part, task.keep) for i, part in enumerate(parts)]
    digest = _digest(parts, task)
    present = _begun(folder, label, names, digest, task.words.resume if not resume else None)
    rows = _rows(folder, present)
    write(folder / RUN, json.dumps({"run": digest}) + "\n")
    with suppress(FileNotFoundError):
        (folder / MANIFEST).unlink()
    if present:
        note(f"{label}: {len(present)} of {len(names)} parts are there")
    missing = {name: part for part, name in zip(parts, names, strict=True) if name not in present}
    run = TableRun(task, note=note)
    if missing:  # the same file decides, also where its part is there
        run.agree_with(absolute(first_with_columns(parts, task.executor.circuit.limits)))
    writing = _write(run, missing, folder, digest) if client is None else write_on(client, run, missing, folder, digest)
    for _ in tracked(track, Steps(_noted(writing, rows), len(missing)), f"parts of {label}"):  # type: ignore[arg-type]
        pass
    if (done := len(rows) - len(present)) < len(missing):
        raise InputError(f"track ended after {done} of {len(missing)} files; expected all; go on by "
                         f"{task.words.resume}")
    for leftover in _files(folder)[1] if client is not None else ():  # of workers that were killed
        (folder / leftover).unlink(missing_ok=True)
    entries = [{"file": name, "rows": rows[name], "source": part.shown}
               for name, part in zip(names, parts, strict=True)]
    write(folder / MANIFEST, json.dumps({"run": digest, "parts": entries}, indent=1) + "\n")
    (folder / RUN).unlink()
    return sum(rows.values())


def _write(run: TableRun, parts: Mapping[str, Part], folder: Path, digest: str) -> Iterator[tuple[str, int]]:
    """Write the parts one after the other; gives their names and how many rows each has."""
    for name, part in parts.items():
        yield name, write_part(run, part, folder, name, digest)


def _noted(steps: Iterator[tuple[str, int]], rows: dict[str, int]) -> Iterator[str]:
    """The names of parts, whose rows are noted."""
    for name, count in steps:
        rows[name] = count
        yield name


def _name(number: int, part: Part, keep: Sequence[str]) -> str:
    keys = [f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in part.keys.items() if key not in keep]
    return "/".join([*keys, f"part-{number:05}.parquet"])


def _rows(folder: Path, names: set[str]) -> dict[str, int]:
    """How many rows parts have that are there: by a manifest, otherwise by their own ends, which may be far away.

    Raises:
        InputError: a part is damaged.
    """
    import pyarrow.parquet as pq

    def counted(name: str) -> int:
        with refuse_damage(printable(str(folder / name), 1000)):
            return int(pq.read_metadata(folder / name).num_rows)

    rows = {name: count for name, count in _in_manifest(folder).items() if name in names}
    unknown = sorted(names - rows.keys())
    with ThreadPoolExecutor(READERS) as pool:
        return rows | dict(zip(unknown, pool.map(counted, unknown), strict=True))


def _in_manifest(folder: Path) -> dict[str, int]:
    """How many rows parts have by the manifest; nothing where there is none, or a damaged one."""
    try:
        parts = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["parts"]
        return {part["file"]: part["rows"] for part in parts if type(part["rows"]) is int}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _begun(folder: Path, label: str, names: Sequence[str], digest: str, remedy: str | None) -> set[str]:
    """The parts that are there; makes the folder where there is none.

    Raises:
        InputError: the folder has files that are not of this run, or of it and there is a `remedy`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files, leftovers = _files(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"{label} cannot be written: {getattr(error, 'strerror', error)}") from None
    if files:
        _refuse_other(folder, label, files, names, digest, remedy)
    for name in leftovers:
        (folder / name).unlink()
    return files & set(names)


def _files(folder: Path) -> tuple[set[str], set[str]]:
    """The files below a folder, and those that a kill left unfinished."""
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    leftovers = {name for name in files if _LEFTOVER.fullmatch(name.rpartition("/")[2])}
    return files - leftovers, leftovers


def _refuse_other(folder: Path, label: str, files: set[str], names: Sequence[str], digest: str,
                  remedy: str | None) -> None:
    """Refuse files that are not of this run, or are and there is a remedy.

    Raises:
        InputError: there are such.
    """
    runs = {run_of(folder / name) for name in (RUN, MANIFEST) if name in files}
    if not runs:
        raise InputError(f"{label} has files, and no run of circuitflow began it; choose a new or empty folder")
    if runs != {digest}:
        raise InputError(f"{label} is of another run: another document, question or table; choose another folder")
    if remedy:
        raise InputError(f"{label} is of an earlier run of the same; go on by {remedy}, or choose another folder")
    if strays := sorted(files - {*names, RUN, MANIFEST}):
        raise InputError(f"{label}: '{printable(strays[0], 200)}' is no part of this run; move it away")


def _digest(parts: Sequence[Part], task: RowTask) -> str:
    """SHA-256 of document, question and table."""
    circuit, plan = task.executor.circuit, task.question.plan
    facts = [own_version(), dumps(circuit), _arrays(circuit.values), list(plan.of), list(plan.wrt),
             _arrays(task.inputs), _arrays({**circuit.upstream, **task.upstream}), task.engine, task.device,
             list(task.keep), task.defaults, [_stamp(part) for part in parts]]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _arrays(values: Mapping[str, Any]) -> list[Any]:
    """The contents of values.

    Raises:
        InputError: one is no array.
    """
    facts = []
    for name in sorted(values):
        try:
            array = np.asarray(values[name])
        except ValueError:
            raise InputError(f"'{printable(name, 60)}' is {short(values[name])}; expected a number or an array, whose "
                             "rows have one length") from None
        facts.append([name, str(array.dtype), list(array.shape),
                      hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()])
    return facts


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
    except (OSError, ValueError) as error:
        raise InputError(f"{part.shown}: {getattr(error, 'strerror', error)}") from None
    return [part.shown, status.st_size, status.st_mtime_ns]
