"""Where a name is defined and used, its new name, and the outline of a document."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from lsprotocol import types

from circuitflow.document.base import ID
from circuitflow.document.files import ValueFaultError, beside
from circuitflow.lsp.names import Body, Symbol
from circuitflow.lsp.syntax import Path as Steps
from circuitflow.lsp.syntax import Value, innermost
from circuitflow.lsp.text import Text
from circuitflow.text import printable

LONGEST = 128
"""The most characters of an id."""


class RenameError(ValueError):
    """A name cannot become another; the message says why."""


def definition(text: Text, position: types.Position) -> list[types.Location]:
    """Where the word at a position is defined: in the text, or in the file of a circuit."""
    offset = text.offset(position)
    locations = []
    for mention in text.names.at(offset):
        circuit, symbol, file = _circuit(text, mention.symbol), mention.symbol, text.names.body_of(mention.symbol).file
        name = circuit.text_of("file") if isinstance(circuit, Value) else None
        if name is not None and not mention.is_definition:
            locations += _in_file(text.folder, name)
        elif (other := text.file(file) if file else text) is not None:
            place = other.names.definition(symbol._replace(body=()) if file else symbol)
            if place is not None:
                locations.append(types.Location(other.uri, other.range(place.start, place.end)))
    value = innermost(text.tree, offset)
    if not locations and value is not None and value.step == "file" and value.text is not None:
        locations += _in_file(text.folder, value.text)
    return locations


def references(text: Text, position: types.Position, *, with_definition: bool) -> list[types.Location]:
    """Where what the word at a position means is used."""
    symbols = {mention.symbol for mention in text.names.at(text.offset(position))}
    return [types.Location(text.uri, text.range(mention.start, mention.end)) for mention in text.names.mentions
            if mention.symbol in symbols and (with_definition or not mention.is_definition)]


def renamed_word(text: Text, position: types.Position) -> types.Range | None:
    """The name at a position that can be renamed; None where there is none."""
    mention = next(iter(text.names.at(text.offset(position))), None)
    return text.range(mention.start, mention.end) if mention else None


def rename(text: Text, position: types.Position, name: str) -> list[types.TextEdit]:
    """The edits that give what a word means another name, in all places of the text.

    The document means the same afterwards. Only its ids differ: those of outputs and inputs are also what other
    documents and tables call them.

    Raises:
        RenameError: the name is not one, or is taken.
    """
    names = text.names
    symbols = names.bound_to({mention.symbol for mention in names.at(text.offset(position))})
    if not symbols:
        raise RenameError("there is no id here that can be renamed")
    if re.fullmatch(ID, name) is None or len(name) > LONGEST:
        raise RenameError(f"'{printable(name, 40)}' is no id: expected letters, digits and underscores, not beginning "
                          f"with a digit, {LONGEST} at most")
    for symbol in symbols:
        body = names.body_of(symbol)
        if body.file:
            raise RenameError(f"'{printable(symbol.name, 40)}' stands in {printable(body.file, 80)}, which others may "
                              "use; rename it there first")
        taken = body.nodes if symbol.kind == "node" else _seen_circuits(names.bodies.values(), body)
        if name in taken and name != symbol.name:
            raise RenameError(f"there is a {symbol.kind} '{name}' already")
    mentions = {(mention.start, mention.end) for mention in names.mentions if mention.symbol in symbols}
    return [types.TextEdit(text.range(start, end), name) for start, end in sorted(mentions)]


def _seen_circuits(bodies: Iterable[Body], body: Body) -> set[str]:
    """The names of circuits that a name of this body could hide, or that could hide it."""
    taken = set(body.in_scope())
    for other in bodies:
        around: Body | None = other
        while around is not None and around is not body:
            around = around.outer
        if around is body:
            taken |= other.circuits.keys()
    return taken


def _circuit(text: Text, symbol: Symbol) -> Body | Value | None:
    return text.names.bodies[symbol.body].circuits.get(symbol.name) if symbol.kind == "circuit" else None


def _in_file(folder: Path | None, name: str) -> list[types.Location]:
    """The start of a file beside the document, if a document may name it."""
    try:
        with beside(folder, name) as entry:
            uri = entry.path.as_uri()
    except (ValueFaultError, OSError):
        return []
    start = types.Position(0, 0)
    return [types.Location(uri, types.Range(start, start))]


# Outline --------------------------------------------------------------------------------------------------------------

_SOURCES = {"input": types.SymbolKind.Variable, "parameter": types.SymbolKind.Property,
            "constant": types.SymbolKind.Constant}


def symbols(text: Text) -> list[types.DocumentSymbol]:
    """The circuits with their nodes, and the nodes of the document."""
    outlines: dict[Steps, list[types.DocumentSymbol]] = {}
    for path, body in sorted(text.names.bodies.items(), key=lambda entry: -len(entry[0])):
        circuits = body.value.get("circuits")
        outlines[path] = [
            _symbol(text, member.name, "circuit", types.SymbolKind.Module, member.key, member.key.start,
                    member.value.end, outlines.get((*path, "circuits", member.name)))
            for member in (circuits.members if circuits else ()) if member.value is not None]
        for node in body.value.list_of("nodes"):
            name, kind = node.get("id"), node.text_of("gate") or ""
            if name is not None and name.text is not None:
                outlines[path].append(_symbol(text, name.text, kind, _SOURCES.get(kind, types.SymbolKind.Function),
                                              name, node.start, node.end))
    return outlines[()]


def _symbol(text: Text, name: str, kind: str, symbol_kind: types.SymbolKind, word: Value, start: int, end: int,
            children: list[types.DocumentSymbol] | None = None) -> types.DocumentSymbol:
    # Editors refuse a symbol without a name.
    return types.DocumentSymbol(printable(name, LONGEST) or "?", symbol_kind, text.range(start, end),
                                text.range(word.start, word.end), printable(kind, LONGEST), children=children)


def folds(text: Text) -> list[types.FoldingRange]:
    """The objects and lists that go over several lines; the line of the closing bracket stays."""
    ranges = []
    pending = [text.tree]
    while pending:
        value = pending.pop()
        pending += [*value.items, *(member.value for member in value.members if member.value is not None)]
        if value.kind in ("object", "list", "numbers"):
            start, end = text.line(value.start), text.line(value.end)
            if end - value.is_closed > start:
                ranges.append(types.FoldingRange(start, end - value.is_closed))
    return sorted(ranges, key=lambda fold: fold.start_line)
