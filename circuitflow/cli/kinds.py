"""The kinds of nodes that are no gates: their keys in words, and an example document for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from circuitflow.document.base import DTYPES
from circuitflow.document.model import MODELS
from circuitflow.explanations.catalogue import Attribute, details, document_of

_TAKES = {
    "value": "a number, nested lists of numbers, or an object with 'data', 'file' or 'random'",
    "shape": "a list of sizes and of names of dimensions",
    "dtype": f"one of {', '.join(DTYPES)}",
    "inputs": "a list of ids, or an object from port to id",
    "circuit": "a name", "then": "a name", "else": "a name",
    "carry": "an object from input to output",
    "over": "a list of inputs",
    "reverse": "true or false",
    "cache": "an integer, 1 or more",
    "min": "a number, or nested lists of numbers", "max": "a number, or nested lists of numbers",
    "frozen": "true or false",
}
_MEANINGS = {"inputs": "where the operands come from; or edges lead there"}
_COMMON = {"id", "label", "description", "metadata", "gate"}


class NodeKind(NamedTuple):
    """What there is to say of a kind of nodes."""

    summary: str
    keys: list[Attribute]
    example: str


def describe(name: str) -> NodeKind:
    """A kind of nodes in words."""
    model = MODELS[name]
    keys = []
    for field, info in model.model_fields.items():
        key = info.alias or field
        if key not in _COMMON:
            default = "required" if info.is_required() else "none" if info.default is None else (
                str(info.default).lower())
            keys.append(Attribute(key, _MEANINGS.get(key) or str(info.description), _TAKES[key], default))
    nodes, output, *circuits = _EXAMPLES[name]
    example = document_of(nodes.strip().split("\n"), [output], *circuits)
    return NodeKind(" ".join((model.__doc__ or "").split()), keys, example)


def section() -> Iterator[str]:
    """The kinds of nodes as a part of the page of gates."""
    yield "\n## Kinds of nodes"
    for name in MODELS:
        description = describe(name)
        yield f"\n### {name}\n\n{description.summary}"
        yield from details("key", description.keys, description.example)


_DOUBLE = """
"double": {"nodes": [{"id": "x", "gate": "input"}, {"id": "y", "gate": "add", "inputs": ["x", "x"]}], "outputs": ["y"]}
"""
_SQUARE = """
"square": {"nodes": [{"id": "x", "gate": "input"}, {"id": "y", "gate": "square", "inputs": ["x"]}], "outputs": ["y"]}
"""
_EXAMPLES: dict[str, tuple[str, ...]] = {
    "input": ("""
{"id": "x", "gate": "input", "value": 3}
{"id": "batch", "gate": "input", "shape": ["rows", 2], "value": [[1, 2], [3, 4]]}
{"id": "f", "gate": "mul", "inputs": ["x", "batch"]}
{"id": "total", "gate": "reduce_sum", "inputs": ["f"]}
""", "total"),
    "parameter": ("""
{"id": "w", "gate": "parameter", "value": {"random": "normal", "shape": [3], "seed": 0}}
{"id": "f", "gate": "reduce_sum", "inputs": ["w"]}
""", "f"),
    "constant": ("""
{"id": "x", "gate": "input", "value": 3}
{"id": "two", "gate": "constant", "value": 2}
{"id": "f", "gate": "pow", "inputs": ["x", "two"]}
""", "f"),
    "call": ("""
{"id": "x", "gate": "input", "value": 3}
{"id": "f", "gate": "call", "circuit": "square", "inputs": ["x"]}
""", "f", _SQUARE),
    "checkpoint": ("""
{"id": "x", "gate": "input", "value": 3}
{"id": "f", "gate": "checkpoint", "circuit": "square", "inputs": ["x"]}
""", "f", _SQUARE),
    "scan": ("""
{"id": "start", "gate": "input", "value": 0}
{"id": "xs", "gate": "input", "value": [1, 2, 3]}
{"id": "f", "gate": "scan", "circuit": "step", "carry": {"sum": "next"}, "over": ["x"], "inputs": ["start", "xs"]}
""", "f", """
"step": {"nodes": [{"id": "sum", "gate": "input"}, {"id": "x", "gate": "input"}, \
{"id": "next", "gate": "add", "inputs": ["sum", "x"]}], "outputs": ["next"]}
"""),
    "if": ("""
{"id": "x", "gate": "input", "value": 3}
{"id": "zero", "gate": "constant", "value": 0}
{"id": "positive", "gate": "greater", "inputs": ["x", "zero"]}
{"id": "f", "gate": "if", "then": "square", "else": "double", "inputs": {"condition": "positive", "x": "x"}}
""", "f", _SQUARE.rstrip() + _DOUBLE),
}
