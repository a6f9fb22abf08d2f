"""`circuitflow examples`."""

from __future__ import annotations

import json
import os
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer

import circuitflow as cf
from circuitflow.cli.documents import emit_document
from circuitflow.cli.output import emit
from circuitflow.cli.text import print_table
from circuitflow.document.output import write
from circuitflow.errors import InputError
from circuitflow.text import nearest, printable

FOLDERS = ("", "classics")
"""The folders of examples, below `circuits`."""


def _complete(incomplete: str) -> list[str]:
    """The examples whose names begin so, for a shell."""
    return [name for name in _examples() if name.startswith(incomplete)]


def command(
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False, autocompletion=_complete,
                                               help="An example; all of them by default.")] = None,
    folder: Annotated[str | None, typer.Option("--output", "-o", metavar="DIR", show_default=False,
                                               help="Folder to copy to; it is made if it does not exist, and no file "
                                                    "in it is replaced. Without this option, the examples are listed, "
                                                    "or the one called NAME is printed.")] = None,
) -> None:
    """List the examples that come with circuitflow, or copy them.

    Example: circuitflow examples olah -o .
    """
    examples = _examples()
    if name is not None and name not in examples:
        raise InputError(f"there is no example '{printable(name, 60)}'{nearest(name, examples)}; `circuitflow "
                         "examples` lists them")
    if folder in (None, "-"):
        if name is not None:
            emit(None, _read(name, examples[name]))
        else:
            print_table([("example", "bold"), ("what it is", "")],
                        [[name, json.loads(_read(name, place))["description"]] for name, place in examples.items()])
    elif name is not None:
        _copy({entry.name: entry for entry in _files(examples[name]) if Path(entry.name).stem == name}, str(folder))
    else:
        _copy({os.path.join(place, entry.name): entry for place in FOLDERS for entry in _files(place)}, str(folder))


def _home() -> Traversable:
    """The folder `circuits`: in an installed package inside of it, in a checkout beside it."""
    package = files("circuitflow")
    inside = package / "circuits"
    return inside if inside.is_dir() else Path(str(package)).parent / "circuits"


def _files(place: str) -> list[Traversable]:
    """The documents of a folder of examples, and the tables that lie beside them."""
    home = _home()
    entries = (home / place if place else home).iterdir()
    return sorted((entry for entry in entries if entry.is_file()), key=lambda entry: entry.name)


def _examples() -> dict[str, str]:
    """The folder of every example, by name."""
    return {Path(entry.name).stem: place for place in FOLDERS for entry in _files(place)
            if entry.name.endswith(".json")}


def _read(name: str, place: str) -> str:
    return _home().joinpath(place, f"{name}.json").read_text(encoding="utf-8")


def _copy(copies: dict[str, Traversable], folder: str) -> None:
    """Write copies, by their paths in a folder, and print where they are. A document names the nearest schema.

    Raises:
        InputError: the folder is a file, or a file is there already, and nothing is written; or one cannot be written.
    """
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise InputError(f"'{printable(folder, 1000)}' is not a folder; -o names the folder to copy to")
    targets = {os.path.join(folder, path): entry for path, entry in copies.items()}
    for target in targets:
        if os.path.lexists(target):
            raise InputError(f"'{printable(target, 1000)}' is there already, and nothing is written; choose another "
                             "folder with -o")
    for target, entry in targets.items():
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if target.endswith(".json"):
            with as_file(entry) as file:
                emit_document(cf.load(file).document, target)
        else:
            write(target, entry.read_bytes())
        print(printable(target, 1000))
