"""Writes the results of commands to files or standard output."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

from circuitflow.document.output import is_stream, write
from circuitflow.errors import InputError
from circuitflow.text import printable


def emit(output: str | None, content: str | bytes) -> None:
    """Write to a file, or to standard output for None and "-". A terminal gets its own encoding, all else UTF-8.

    Raises:
        InputError: it cannot be written.
    """
    if output is not None and output != "-":
        sys.stdout.flush()  # which the file may be, as /dev/stdout
        write(output, content)
    elif isinstance(content, str) and sys.stdout.isatty():
        print(content, end="")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(content.encode() if isinstance(content, str) else content)


def form_of(output: str, forms: Collection[str], kind: str, default: str) -> str:
    """The form of a file by the ending of its name, without the dot. "-", pipes and devices have a default.

    Raises:
        InputError: there is no such form.
    """
    form = default if output == "-" else Path(output).suffix[1:].lower()
    if form in forms:
        return form
    if is_stream(output):
        return default
    raise InputError(f"{printable(output, 1000)}: expected {kind} as {', '.join(f'.{name}' for name in forms)}")


def apart(output: str | None, sources: Iterable[str | None]) -> None:
    """Refuses an output that is one of the inputs. Names are those of the command line; missing files do not count.

    Raises:
        InputError: the output is one of the sources, also by another name.
    """
    place = _identity(output or "-", 1)
    for source in sources if place else ():
        if source and _identity(source, 0) == place:
            raise InputError(f"{_label(output, 'output')} and {_label(source, 'input')} are the same file; write to "
                             "another one")


def spare(place: str, output: str, mark: str | None) -> None:
    """Refuses to replace a file beside the output that has no mark of an earlier export near its beginning.

    An empty file counts as none.

    Raises:
        InputError: there is such a file.
    """
    if mark is None or not os.path.isfile(place):
        return
    try:
        with open(place, "rb") as file:
            head = file.read(2**16)
    except OSError:  # the writer says what is wrong with it
        return
    if head and mark.encode() not in head:
        raise InputError(f"'{printable(place, 1000)}', which goes with '{printable(output, 1000)}', is there already, "
                         "and no earlier export wrote it; move it away, or choose another name with -o")


def _identity(name: str, standard: int) -> tuple[int, int] | None:
    """Device and inode of a regular file; None for anything else."""
    try:
        status = os.fstat(standard) if name == "-" else os.stat(name)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _label(name: str | None, standard: str) -> str:
    return f"standard {standard}" if name in (None, "-") else f"'{printable(str(name), 1000)}'"
