"""A document to text: the canonical layout, one node and one edge a line."""

from __future__ import annotations

import json
import math
from typing import Any

from circuitflow.document.model import Document, Node
from circuitflow.errors import InputError
from circuitflow.text import escape_hidden, short

WIDTH = 120
_BY_LINE = ("nodes", "edges", "circuits")
_FIRST = ("$schema", "circuitflow", "name", "description", "dtype", "circuits", "nodes", "edges", "outputs", "upstream",
          "fit", "layout", "metadata")
_NODE = ("id", "gate", "circuit", "inputs", "value", "shape", "dtype", "min", "max", "frozen")
_LAST = ("label", "description", "metadata")


def dumps(document: Document) -> str:
    """The canonical text of a document: keys in the order of the format, without those that are not set."""
    raw = document.model_dump(mode="python", by_alias=True, exclude_unset=True)
    return _layout(_in_order(raw), 0) + "\n"


def dumps_node(node: Node) -> str:
    """The canonical text of one node, on one line."""
    return _flat(_node_in_order(node.model_dump(mode="python", by_alias=True, exclude_unset=True)))


def dumps_value(value: Any) -> str:
    """The text of a value as a program has it: non-finite numbers by name.

    Raises:
        InputError: it is nothing that JSON can say.
    """
    try:
        return json.dumps(spell(value), ensure_ascii=False, allow_nan=False)
    except (TypeError, RecursionError):
        raise InputError(f"{short(value)} is no value: expected a number, nested lists of numbers, an array, or an "
                         "object with 'data', 'file' or 'random'") from None


def spell(value: Any) -> Any:
    """Spell numbers that are not finite as documents have them, by name, in lists too."""
    if isinstance(value, list | tuple):
        return list(map(spell, value))
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def tidy(value: Any) -> Any:
    """Numbers as a person would write them in a document, in lists too."""
    if isinstance(value, list | tuple):
        return list(map(tidy, value))
    if not isinstance(value, float) or not math.isfinite(value):
        return spell(value)
    is_whole = value.is_integer() and abs(value) < 2**53 and (value or math.copysign(1, value) > 0)
    return int(value) if is_whole else value


def _in_order(body: dict[str, Any]) -> dict[str, Any]:
    """The keys of a body and of its nodes in canonical order; a node's free text stands last."""
    body = {key: body[key] for key in _FIRST if key in body and (key, body[key]) != ("edges", [])}
    if "circuits" in body:
        body["circuits"] = {name: _in_order(inner) if "nodes" in inner else inner
                            for name, inner in body["circuits"].items()}
    body["nodes"] = [_node_in_order(node) for node in body["nodes"]]
    return body


def _node_in_order(node: dict[str, Any]) -> dict[str, Any]:
    if node["gate"] not in ("input", "parameter", "constant"):
        node = {key: node[key] for key in ("id", "gate", "circuit", "then", "else", "inputs") if key in node} | node
    else:
        node = {key: node[key] for key in _NODE if key in node} | node
    return {key: value for key, value in node.items() if key not in _LAST} | {
        key: node[key] for key in _LAST if key in node}


def _layout(value: Any, indent: int, *, breaks: bool = False) -> str:
    """JSON on one line where it fits; otherwise one member a line, a long list of numbers filled to the width."""
    flat = _flat(value)
    is_body = isinstance(value, dict) and "nodes" in value
    if not value or not isinstance(value, dict | list) or not (breaks or is_body or indent + len(flat) > WIDTH):
        return flat
    inner, outer = " " * (indent + 2), " " * indent
    if isinstance(value, list):
        if all(isinstance(item, int | float | str) for item in value):
            return f"[\n{_fill([_flat(item) for item in value], inner)}\n{outer}]"
        items = [_layout(item, indent + 2) for item in value]
        return "[\n" + ",\n".join(inner + item for item in items) + f"\n{outer}]"
    members = [f"{inner}{_flat(key)}: {_layout(item, indent + 2, breaks=is_body and key in _BY_LINE)}"
               for key, item in value.items()]
    return "{\n" + ",\n".join(members) + f"\n{outer}}}"


def _fill(items: list[str], indent: str) -> str:
    lines, line = [], indent
    for item in items:
        if line != indent and len(line) + len(item) + 2 > WIDTH:
            lines.append(line.rstrip())
            line = indent
        line += item + ", "
    return "\n".join([*lines, line.rstrip(", ")])


def _flat(value: Any) -> str:
    """JSON on one line; what a terminal would not show, or would obey, is written as an escape."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return escape_hidden(text, lambda c: json.dumps(c)[1:-1])
