"""What may stand at a place of a document: keys, and the words that are values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from circuitflow.document.base import DTYPES, READABLE
from circuitflow.document.fit import FIT_PARTS, DataFile, Fraction
from circuitflow.document.model import (
    FANS,
    MODELS,
    Body,
    CircuitFile,
    Document,
    Edge,
    GateNode,
    RandomNormal,
    RandomUniform,
    TensorData,
    TensorFile,
)
from circuitflow.explanations.catalogue import attributes
from circuitflow.fitting.methods import METHODS
from circuitflow.gates import AtLeast, GateTable
from circuitflow.lsp.names import Body as NamedBody
from circuitflow.lsp.syntax import Path, Value
from circuitflow.lsp.text import Text

_FORMS: Mapping[str, type[BaseModel]] = {"data": TensorData, "file": TensorFile, "random": RandomUniform}


class Choice(NamedTuple):
    """A word that may stand at a place.

    Attributes:
        word: the word; the JSON of it where it is no text.
        kind: "key", "gate", "node", "circuit", "port", "word" or "file".
        detail: a few words about it.
        meaning: a sentence about it.
    """

    word: str
    kind: str
    detail: str = ""
    meaning: str = ""


def place_in(body: NamedBody, path: Path) -> Path:
    """The rest of a path inside of a body."""
    return path[len(body.path):]


def keys(text: Text, container: Value) -> Iterator[Choice]:
    """The keys of an object."""
    path, around = container.path, container.parent or container  # a path may lead to another one: keys can be repeated
    body = text.names.body_at(path)
    match place_in(body, path):
        case ():
            is_whole = not body.path or body.value.get("circuitflow") is not None
            yield from _fields(Document if is_whole else Body)
        case ("circuits", str()):
            yield from _fields(CircuitFile)
            yield from _fields(Body)
        case ("nodes", int()):
            yield from _node_keys(text, container)
        case ("nodes", int(), "inputs"):
            yield from ports(text, body, around)
        case ("nodes", int(), "carry"):
            for circuit in body.applied(around):
                yield from (Choice(name, "port", "input") for name in circuit.inputs)
        case ("nodes", int(), "value") | ("upstream", str()):
            form = next((_FORMS[key] for key in _FORMS if container.get(key)), None)
            if form is RandomUniform and container.text_of("random") == "normal":
                form = RandomNormal
            yield from _fields(form) if form else (Choice(key, "key") for key in _FORMS)
        case ("edges", int()):
            yield from _fields(Edge)
        case ("upstream",):
            yield from (Choice(name, "node", "output") for name in body.outputs)
        case ("layout",):
            yield from nodes(body)
        case ("fit", "validation"):
            yield from _fields(DataFile)
            yield from _fields(Fraction)
        case ("fit", "columns"):
            yield from (Choice(name, "node", "input") for name in body.inputs)
        case ("fit", "constraints"):
            yield from references(text, body)
        case ("fit", *rest) if (form := FIT_PARTS.get(tuple(map(str, rest)))) is not None:
            yield from _fields(form)


def words(text: Text, path: Path) -> Iterator[Choice]:
    """The words that may be the value at a path."""
    body = text.names.body_at(path)
    rest = place_in(body, path)
    node = body.value.at(rest[:2]) if rest[:1] in (("nodes",), ("edges",)) and len(rest) > 1 else None
    match rest:
        case ("circuitflow",):
            yield from (Choice(version, "word") for version in READABLE)
        case ("outputs", int()):
            yield from references(text, body)
        case ("nodes", int(), "gate"):
            yield from gates(text.gates)
        case ("nodes", int(), "inputs", _):
            own = node.text_of("id") if node else None
            yield from (choice for choice in references(text, body) if choice.word.partition(".")[0] != own)
        case ("nodes", int(), "circuit" | "then" | "else"):
            yield from (Choice(name, "circuit") for name in dict.fromkeys(body.in_scope()))
        case ("nodes", int(), "over", int()) if node is not None:
            yield from (Choice(name, "port", "input") for circuit in body.applied(node) for name in circuit.inputs)
        case ("nodes", int(), "carry", str()) if node is not None:
            yield from (Choice(name, "port", "output") for circuit in body.applied(node) for name in circuit.outputs)
        case ("nodes", int(), str(key)) if node is not None:
            yield from _attribute_words(text, node, key)
        case ("edges", int(), "source"):
            yield from references(text, body)
        case ("edges", int(), "target"):
            yield from nodes(body)
        case ("edges", int(), "port") if node is not None:
            target = body.nodes.get(node.text_of("target") or "")
            if target is not None:
                yield from ports(text, body, target)
        case ("fit", "residuals" | "loss" | "sigma"):
            yield from references(text, body)
        case ("fit", "method", "name"):
            yield from (Choice(name, "word") for name in METHODS)
        case ("fit", *inner, str(key)) if (form := FIT_PARTS.get(tuple(map(str, inner)))) is not None:
            yield from _words_of(_schema(form).get(key, {}))
        case (*_, "dtype"):
            yield from (Choice(name, "word") for name in DTYPES)
        case (*_, "random"):
            yield from (Choice(name, "word") for name in ("normal", "uniform", *FANS))


def meaning(text: Text, key: Value) -> Choice | None:
    """What is known of a key of an object."""
    choices = keys(text, key.parent) if key.parent else ()
    return next((choice for choice in choices if choice.word == key.step and choice.kind == "key"), None)


def references(text: Text, body: NamedBody) -> Iterator[Choice]:
    """What an operand may refer to: the nodes, and the outputs of those that have several."""
    for name, node in body.nodes.items():
        outputs = _outputs(text, body, node)
        if len(outputs) < 2:
            yield Choice(name, "node", node.text_of("gate") or "")
        else:
            yield from (Choice(f"{name}.{output}", "node", node.text_of("gate") or "") for output in outputs)


def nodes(body: NamedBody) -> Iterator[Choice]:
    """The nodes of a body."""
    return (Choice(name, "node", node.text_of("gate") or "") for name, node in body.nodes.items())


def gates(table: GateTable) -> Iterator[Choice]:
    """The gates, and the kinds of nodes that are none."""
    for name, model in MODELS.items():
        yield Choice(name, "gate", "", (model.__doc__ or "").strip())
    for name, gate in table.items():
        yield Choice(name, "gate", gate.formula, gate.summary)


def ports(text: Text, body: NamedBody, node: Value) -> Iterator[Choice]:
    """The ports of a node."""
    if node.text_of("gate") == "if":
        yield Choice("condition", "port", "", "chooses the circuit that runs")
    for circuit in body.applied(node):
        yield from (Choice(name, "port", "input") for name in circuit.inputs)
    gate = text.gates.get(node.text_of("gate") or "")
    if gate is not None and not isinstance(gate.operands, AtLeast):
        least = len(gate.operands) - gate.optional
        for i, name in enumerate(gate.operands):
            yield Choice(name, "port", "" if i < least else "optional")


def _outputs(text: Text, body: NamedBody, node: Value) -> tuple[str, ...]:
    if applied := body.applied(node):
        return tuple(applied[0].outputs)
    gate = text.gates.get(node.text_of("gate") or "")
    if gate is None:
        return ()
    stated: dict[str, Any] = {}
    for member in node.members:
        if member.value is not None and member.name in gate.attributes.model_fields and member.value.kind != "object":
            try:
                stated[member.name] = json.loads(member.value.source)
            except ValueError:
                continue
    try:
        gate.attributes.model_validate(stated)
    except ValueError:
        return ()
    return gate.output_names({**gate.defaults, **stated})


def _node_keys(text: Text, node: Value) -> Iterator[Choice]:
    kind = node.text_of("gate") or ""
    yield from _fields(MODELS.get(kind, GateNode))
    if kind in text.gates:
        for name, sentence, takes, default in attributes(text.gates[kind]):
            yield Choice(name, "key", f"{takes}; {default}" + " by default" * (default != "required"), sentence)


def _attribute_words(text: Text, node: Value, key: str) -> Iterator[Choice]:
    kind = node.text_of("gate") or ""
    for form in (MODELS.get(kind, GateNode), *([text.gates[kind].attributes] if kind in text.gates else [])):
        yield from _words_of(_schema(form).get(key, {}))


def _words_of(schema: Mapping[str, Any]) -> Iterator[Choice]:
    for part in schema.get("anyOf", [schema]):
        if part.get("type") == "boolean":
            yield from (Choice(word, "literal") for word in ("true", "false"))
        options = part.get("enum", [part["const"]] if "const" in part else [])
        yield from (Choice(option, "word") for option in options if isinstance(option, str))


_SCHEMAS: dict[type[BaseModel], Mapping[str, Any]] = {}


def _schema(form: type[BaseModel]) -> Mapping[str, Any]:
    if form not in _SCHEMAS:
        _SCHEMAS[form] = form.model_json_schema(by_alias=True).get("properties", {})
    return _SCHEMAS[form]


def _fields(form: type[BaseModel]) -> Iterator[Choice]:
    for name, schema in _schema(form).items():
        yield Choice(name, "key", "", schema.get("description", ""))
