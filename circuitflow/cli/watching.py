"""`--watch`: a command again at every save.

Folders are watched, not files: an editor may replace a file by another one, or remove it for a moment. What counts is
whether a file is another one than before the last run, so that no save during a run is missed.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any

import typer

from circuitflow.cli.arguments import Options, Request, assigned_values, with_options
from circuitflow.cli.failures import FAILURES, words
from circuitflow.cli.text import console
from circuitflow.document.faults import Faults
from circuitflow.document.files import check_name
from circuitflow.document.output import is_stream
from circuitflow.document.reading import read
from circuitflow.errors import CircuitflowError, DocumentError, InputError, MissingExtraError
from circuitflow.text import printable

QUIET, TICK = 50, 1000
"""Milliseconds without a change before a run, and between two looks at files whose folder says nothing."""

Stamp = tuple[int, int, int] | None


@dataclass(frozen=True, kw_only=True)
class _Watched(Options):
    """Options that note which files a request reads.

    Attributes:
        files: the names of these files.
    """

    files: set[str] = field(default_factory=set)

    def request(self, *, forward: bool = False) -> Request:
        try:
            request = super().request(forward=forward)
        except DocumentError as error:
            for file in {fault.file for fault in error.faults}:
                self.files.update((file, *_named(file)))
            raise
        self.files.update(request.sources)
        return request


def watched(command: Callable[..., None]) -> Callable[..., None]:
    """The command `with_options`, and with `--watch`."""
    return with_options(command, _go_on)


def _go_on(command: Callable[..., None], options: Options, arguments: dict[str, Any]) -> None:
    """Run the command, and again whenever a file is another one; until Ctrl-C, whose exit status is 130."""
    tables = arguments.get("table", ())
    own = [options.file, options.inputs, *tables]
    for name in own:
        if name is not None and (name == "-" or "://" in name or is_stream(name)):
            label = "standard input" if name == "-" else f"'{printable(name, 1000)}'"
            raise InputError(f"--watch waits for saves of a file, and {label} is none; name a file, or leave out "
                             "--watch")
    try:
        from watchfiles import watch
    except ImportError:
        raise MissingExtraError("--watch needs `pip install 'circuitflow[watch]'`") from None
    files = {name for name in (*own, *assigned_values([*options.assignments, *options.upstream])) if name}
    noting = _Watched(**{each.name: getattr(options, each.name) for each in fields(Options)})
    try:
        with suppress(*FAILURES):
            noting.request()  # names the files, so that they are known before the first run reads them
        while True:
            before = _stamps(files | noting.files | _parts(tables))
            if sys.stdout.isatty():
                console().clear()
            _attempt(command, noting, arguments)
            if not before.keys() >= files | noting.files | _parts(tables):
                continue  # nothing tells whether a file that this run read first is still what it read
            changes = watch(*_folders(before), watch_filter=None, step=QUIET, debounce=4 * QUIET, rust_timeout=TICK,
                            yield_on_timeout=True, recursive=False)
            with suppress(FileNotFoundError):  # a folder that is gone: the next run says so
                next(None for _ in changes if _stamps(before) != before)
            changes.close()
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _parts(tables: Sequence[str]) -> set[str]:
    """The files that the names of tables mean now; what is wrong with them is told by the run."""
    if not tables:
        return set()
    from circuitflow.tables.places import find_parts

    with suppress(CircuitflowError):
        return {part.path for part in find_parts(tables)}
    return set()


def _attempt(command: Callable[..., None], options: Options, arguments: dict[str, Any]) -> None:
    """Run once. What is wrong with a file is printed, since the next save may mend it."""
    try:
        command(options, **arguments)
    except (typer.Exit, MissingExtraError) as end:
        if isinstance(end, MissingExtraError):
            raise
    except FAILURES as error:
        sys.stdout.flush()
        print(words(error)[0], file=sys.stderr, flush=True)
    sys.stdout.flush()


def _named(file: str) -> Iterator[str]:
    """The files that a document names that is not valid: one of them may be what is missing or wrong."""
    for literal in re.findall(r'"file"\s*:\s*("(?:[^"\\]|\\.)*")', read(file, Faults()).text or ""):
        with suppress(ValueError):  # a name that may not be
            yield os.path.join(os.path.dirname(file), check_name(json.loads(literal)))


def _stamps(names: Iterable[str]) -> dict[str, Stamp]:
    """What tells a file from another one of its name; None where there is none."""
    stamps: dict[str, Stamp] = {}
    for name in names:
        stamps[name] = None
        with suppress(OSError, ValueError):
            status = os.stat(name)
            stamps[name] = status.st_mtime_ns, status.st_size, status.st_ino
    return stamps


def _folders(names: Iterable[str]) -> set[str]:
    """The folders that say when a file changes; of one that is not there, the nearest above it."""
    folders = {os.path.dirname(place(name)) for name in names for place in (os.path.abspath, os.path.realpath)}
    return {_existing(folder) for folder in folders}


def _existing(folder: str) -> str:
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder
