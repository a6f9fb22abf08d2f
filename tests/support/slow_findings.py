"""Work for the process of the language server that tells something, and then more, or nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator

from circuitflow.gates import GateTable
from circuitflow.lsp.findings import Findings


def told_and_more(path: str | None, text: str, gates: GateTable) -> Iterator[Findings | None]:
    """Tells the text, then, after a text of "sleep" or "die", sleeps or dies, else tells it again after a turn."""
    yield Findings(reason=text)
    yield None
    while text == "sleep":
        time.sleep(1)
    if text == "die":
        raise EOFError
    yield Findings(reason=f"{text} more")


def many_turns(path: str | None, text: str, gates: GateTable) -> Iterator[Findings | None]:
    """Tells the text, and gives others their turn; after a text that begins with "wait" without an end."""
    yield Findings(reason=text)
    while text.startswith("wait"):
        yield None
