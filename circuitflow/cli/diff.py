"""`circuitflow diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import circuitflow as cf
from circuitflow.cli.arguments import Gates, Json, Limit, loaded
from circuitflow.cli.text import console, print_json
from circuitflow.document.writing import replace
from circuitflow.errors import InputError, printable
from circuitflow.pictures.changes import changes
from circuitflow.pictures.drawing import FORMS, as_file

_STYLES = {"removed": "red", "added": "green", "renamed": "cyan"}


def command(
    old: Annotated[str, typer.Argument(metavar="OLD", show_default=False, help="A circuit document.")],
    new: Annotated[str, typer.Argument(metavar="NEW", show_default=False, help="Another one; - reads standard input.")],
    json: Json = False,
    output: Annotated[str | None, typer.Option("--output", "-o", metavar="OUT", show_default=False,
                                               help="A picture with the changes coloured: .svg, .png, .pdf, .html, "
                                                    ".dot or .mmd.")] = None,
    theme: Annotated[str, typer.Option(help="Of the picture: light or dark.")] = "light",
    limit: Limit = [],  # noqa: B006
    gates: Gates = None,
) -> None:
    """What changed between two documents, by meaning.

    Nodes added, removed, renamed, changed and rewired; the order of nodes, how values are written and labels do not
    count. Exit status 0: the same; 1: they differ.

    Example: circuitflow diff old.json new.json -o changes.svg
    """
    form = None if output is None else Path(output).suffix[1:].lower()
    if form is not None and form not in FORMS:
        raise InputError(f"{printable(str(output), 1000)}: expected a picture as {', '.join(f'.{x}' for x in FORMS)}")
    before, after = loaded(old, limit, gates), loaded(new, limit, gates)
    difference = cf.diff(before, after)
    if json:
        print_json({"same": not difference, "changes": [change._asdict() for change in difference.changes]})
    else:
        for change in difference.changes:
            console().print(printable(str(change), 1000), style=_STYLES.get(change.kind, ""), soft_wrap=True)
    if output is not None and form is not None:
        replace(Path(output), as_file(after, changes(before, after, difference), form, theme))
    if difference:
        raise typer.Exit(1)
