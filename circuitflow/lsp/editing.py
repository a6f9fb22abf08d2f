"""What the server offers to write into a text: a nearer spelling, the canonical layout, values beside the lines."""

from __future__ import annotations

from collections.abc import Iterator

from lsprotocol import types

from circuitflow.document.faults import Faults, Source
from circuitflow.document.reading import parse
from circuitflow.document.versions import with_lowest_version
from circuitflow.document.writing import dumps
from circuitflow.errors import DocumentError
from circuitflow.lsp.findings import MOST_VALUES, Findings
from circuitflow.lsp.syntax import Value, innermost
from circuitflow.lsp.text import Text
from circuitflow.text import suggestion_in


def formatted(text: Text) -> list[types.TextEdit]:
    """The edit that `circuitflow fmt --write` makes; none where the form is at fault or the layout canonical."""
    faults = Faults()
    try:
        reading = parse(Source(text=text.source), faults)
    except DocumentError:  # more faults than are listed
        return []
    if faults or reading is None:
        return []
    new = dumps(with_lowest_version(reading.document))
    return [] if new == text.source else [types.TextEdit(text.whole, new)]


def corrections(text: Text, diagnostics: list[types.Diagnostic]) -> Iterator[types.CodeAction]:
    """For every fault that names a nearer spelling, the edit that takes it."""
    for diagnostic in diagnostics:
        word = suggestion_in(diagnostic.message)
        place = innermost(text.tree, text.offset(diagnostic.range.start) + 1)
        span = _misspelled(place, diagnostic.message) if place is not None else None
        if word is not None and span is not None:
            yield types.CodeAction(
                f"Change to '{word}'", types.CodeActionKind.QuickFix, [diagnostic], is_preferred=True,
                edit=types.WorkspaceEdit({text.uri: [types.TextEdit(text.range(*span), word)]}))


def _misspelled(place: Value, message: str) -> tuple[int, int] | None:
    """The part of a word that a message quotes: of a reference `h.two` all, the node or the output."""
    if place.text is None:
        return None
    content, start = place.source[1:].removesuffix('"'), place.start + 1  # as it is written, with its escapes
    name, dot, _ = content.partition(".")
    for part, at in ((content, 0), (name, 0), (content[len(name) + 1 :], len(name) + len(dot))):
        if part and (f"'{part}'" in message or f'"{part}"' in message):
            return start + at, start + at + len(part)
    return (start, start + len(content)) if place.step == "gate" else None  # another gate may be meant


def hints(text: Text, findings: Findings, visible: types.Range) -> list[types.InlayHint]:
    """Value and gradient of every node, at the end of the line on which the node ends; beside them why one is wrong."""
    start, end = text.offset(visible.start), text.offset(visible.end)
    hints = []
    for path, facts in findings.facts.items():
        node = text.tree.at(path)
        if node is not None and start <= node.end and node.start <= end and facts.hint:
            whys = (str(why.diagnosis) for why in findings.whys.get(path, ())[:MOST_VALUES])
            hints.append(types.InlayHint(text.end_of_line(node.end), facts.hint, padding_left=True,
                                         tooltip="\n".join([f"{facts.gate}, {facts.types}", *whys])))
    return hints
