"""`circuitflow lsp`."""

from __future__ import annotations

from functools import partial

from circuitflow import __version__
from circuitflow.cli.arguments import Gates, table_of
from circuitflow.cli.streams import pipes_are_errors
from circuitflow.errors import MissingExtraError


def command(gates: Gates = None) -> None:
    """Answer an editor by the Language Server Protocol, over standard input and output.

    It finds faults, completes, renames, formats, and shows value and gradient of every node beside its line. Editors
    start it themselves; docs/guides/editors.md says how to tell them.

    Example: circuitflow lsp
    """
    try:
        from circuitflow.lsp.server import serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("pygls", "lsprotocol", "cattrs", "attrs"):
            raise
        raise MissingExtraError("the language server needs pygls; install it with: pip install 'circuitflow[lsp]'"
                                ) from None
    with pipes_are_errors():  # as to the process that reads documents, which may be killed meanwhile
        serve(partial(table_of, gates), __version__)
