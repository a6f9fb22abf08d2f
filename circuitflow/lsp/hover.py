"""What is shown beside a word of a document. Text of a document is shown as code, which nothing interprets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from urllib.parse import quote

from lsprotocol import types

from circuitflow.explanations.catalogue import facts as facts_of
from circuitflow.interpreter.why import MOST_LISTED
from circuitflow.lsp import keys
from circuitflow.lsp.findings import MOST_VALUES, Findings, Why
from circuitflow.lsp.names import Symbol
from circuitflow.lsp.syntax import Value, innermost
from circuitflow.lsp.text import Text
from circuitflow.text import printable

LONGEST = 300
"""The most characters of a text of the document that are shown."""


def hover(text: Text, findings: Findings, position: types.Position) -> types.Hover | None:
    """What there is to say of the word at a position; None where there is nothing."""
    offset = text.offset(position)
    value = innermost(text.tree, offset)
    if value is None:
        return None
    mentions = text.names.at(offset)
    lines: list[str] = []
    if mentions:
        for mention in mentions:
            lines += _symbol(text, findings, mention.symbol)
    elif _is_key(value):
        lines += _key(text, value)
    elif value.step == "gate" and value.text is not None:
        lines += _gate(text, value.text)
    if not lines:
        return None
    return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, "\n\n".join(lines)),
                       text.range(value.start, value.end))


def _is_key(value: Value) -> bool:
    return value.parent is not None and any(member.key is value for member in value.parent.members)


def _key(text: Text, key: Value) -> Iterator[str]:
    choice = keys.meaning(text, key)
    if choice is not None:
        yield f"**{choice.word}**" + f": {choice.meaning}" * bool(choice.meaning)
        if choice.detail:
            yield choice.detail


def _symbol(text: Text, findings: Findings, symbol: Symbol) -> Iterator[str]:
    body = text.names.body_of(symbol)
    if symbol.kind == "circuit":
        circuit = body.circuits[symbol.name]
        value = circuit if isinstance(circuit, Value) else circuit.value
        yield f"circuit {code(symbol.name)}"
        if file := value.text_of("file"):
            yield f"in the file {code(file)}"
    else:
        value = body.nodes[symbol.name]
        kind = value.text_of("gate") or ""
        gate = text.gates.get(kind)
        yield f"{code(symbol.name)}: {code(kind)}" + (f" {code(gate.formula)}" if gate else "")
        known = None if body.file else findings.facts.get(value.path)
        if body.file:
            yield f"in the file {code(body.file)}"
        elif known is not None:
            yield code(known.types)
            if known.values:
                yield f"value {code(', '.join(known.values))}"
            if known.gradients:
                yield f"gradient {code(', '.join(known.gradients))}"
            if not known.values and findings.reason:
                yield f"no value: {code(findings.reason)}"
            for why in findings.whys.get(value.path, ())[:MOST_VALUES]:
                yield _why(text, why)
    for key in ("label", "description"):
        if (words := value.text_of(key)) is not None:
            yield code(words)


def _why(text: Text, why: Why) -> str:
    """The lines of a diagnosis as a list, each gate to blame with a link to its place."""
    first, *lines = str(why.diagnosis).splitlines()
    places = map(text.tree.at, why.places[:MOST_LISTED])
    links = (_link(text, value) if value else "" for value in places)
    items = (f"- {code(line)}{link}" for line, link in zip_longest(lines, links, fillvalue=""))
    return "\n".join([f"why {code(first)}:\n", *items])


def _link(text: Text, value: Value) -> str:
    """A link to a line of the text, which has no document's words; "" where the text is no file."""
    line = text.line(value.start) + 1
    address = quote(text.uri, safe="/:%")
    return f" ([line {line}]({address}#L{line}))" if address.startswith("file:///") else ""


def _gate(text: Text, name: str) -> Iterator[str]:
    choice = next((choice for choice in keys.gates(text.gates) if choice.word == name), None)
    if choice is None:
        return
    yield f"**{name}**" + (f" {code(choice.detail)}" if choice.detail else "")
    yield choice.meaning
    if name in text.gates:
        yield "\n".join(f"- {heading}: {code(content)}" for heading, content in facts_of(text.gates[name]))


def code(text: str) -> str:
    """A text as code of Markdown, on one line: nothing in it has a meaning there."""
    shown = printable(text, LONGEST).replace("\n", " ").strip() or " "
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{fence} {shown} {fence}" if "`" in shown else f"{fence}{shown}{fence}"
