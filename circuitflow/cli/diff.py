"""`circuitflow diff`."""

from __future__ import annotations

from typing import Annotated

import typer

import circuitflow as cf
from circuitflow.cli.arguments import Dims, Gates, Json, Limit, ThemeName, gate_files, is_model, load_circuit
from circuitflow.cli.output import apart, emit, form_of
from circuitflow.cli.text import print_json, print_line
from circuitflow.pictures.changes import changes
from circuitflow.pictures.drawing import FORMS, as_file
from circuitflow.text import printable

_STYLES = {"removed": "red", "added": "green", "renamed": "cyan"}


def command(
    old: Annotated[str, typer.Argument(metavar="OLD", show_default=False,
                                       help="A circuit document, or an ONNX model.")],
    new: Annotated[str, typer.Argument(metavar="NEW", show_default=False,
                                       help="Another one; - reads a document from standard input.")],
    *,
    dims: Dims,
    limit: Limit,
    json: Json = False,
    output: Annotated[str | None, typer.Option("--output", "-o", metavar="OUT", show_default=False,
                                               help="A picture with the changes coloured: .svg, .png, .pdf, .html, "
                                                    ".dot or .mmd.")] = None,
    theme: ThemeName = "light",
    gates: Gates = None,
) -> None:
    """Show what changed between two circuits, by meaning.

    It lists the nodes that were added, removed, renamed, changed and rewired. The order of nodes, the spelling of
    values and labels do not count. The exit status is 0 if the circuits mean the same, else 1.

    Example: circuitflow diff old.json new.json -o changes.svg
    """
    form = None if output is None else form_of(output, FORMS, "a picture", "svg")
    sizes = {file: dims for file in (old, new) if is_model(file)} or {old: dims}
    before, after = (load_circuit(file, limit, gates, sizes.get(file)) for file in (old, new))
    apart(output, [old, new, *before.files, *after.files, *gate_files(gates)])
    difference = cf.diff(before, after)
    if json:
        print_json({"same": not difference, "changes": [change._asdict() for change in difference.changes]})
    else:
        for change in difference.changes:
            print_line(printable(str(change), 1000), _STYLES.get(change.kind, ""))
    if output is not None and form is not None:
        emit(output, as_file(after, changes(before, after, difference), form, theme))
    if difference:
        raise typer.Exit(1)
