"""JSON Schema of documents, for editors and other tools.

A validator's cost is the number of subschemas that it evaluates for each node. A balanced tree of `if` and `else` over
`gate` keeps that number small; a chain over all gates would be ten times as long. The schema uses only standard
keywords and states every type, as strict validators demand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from circuitflow.document.base import READABLE
from circuitflow.document.model import NODES, Document

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def identifier(name: str, version: str) -> str:
    """The `$id` of a schema: it names a version of the format and is no address."""
    return f"urn:circuitflow:{version}:{name}"


class GateForm(NamedTuple):
    """What a schema says of a gate: its documentation, and its attributes."""

    description: str
    attributes: type[BaseModel]


class KeySet(NamedTuple):
    """A set of keys beside those of every node, and the gates that have exactly these."""

    gates: dict[str, str]
    keys: Schema


def document_schema(gates: Mapping[str, GateForm]) -> Schema:
    """The schema of documents over a gate table: a node's `gate` decides which keys it may have."""
    schema = Document.model_json_schema(by_alias=True, schema_generator=Generator)
    definitions = schema["$defs"]
    generic = definitions.pop("GateNode")["properties"]
    own = {name: definitions.pop(f"{name.capitalize()}Node") for name in NODES}
    attributes = {name: form.attributes.model_json_schema(schema_generator=Generator) for name, form in gates.items()}
    # Python without docstrings (-OO) has no words for them.
    documentation = {**{name: str(form.get("description", "")) for name, form in own.items()},
                     **{name: form.description for name, form in gates.items()}}
    keys = {name: _keys(form["properties"], form["required"], generic) for name, form in own.items()}
    for name, form in attributes.items():
        keys[name] = _keys({**generic, **form.get("properties", {})}, form.get("required", ()), generic)
    forms = _forms(keys, documentation)
    definitions["Node"] = {
        "type": "object",
        "properties": {**generic, "gate": {"description": f"{', '.join(NODES)}, or the name of a gate"}},
        "required": ["id", "gate"],
        # Only an empty or missing `gate` fits this condition. There an editor proposes every gate.
        **_if_gate({"type": "string", "maxLength": 0}, {"properties": {"gate": {"anyOf": [
            {"const": name, "description": text} for name, text in documentation.items()]}}}, _by_gate(forms)),
    }
    for body in (schema, definitions["Body"]):
        body["properties"]["nodes"]["items"] = {"$ref": "#/$defs/Node"}
    return {"$schema": DIALECT, "$id": identifier("circuit", READABLE[-1]), "title": "circuitflow circuit document",
            **schema}


# Dispatch on the gate -------------------------------------------------------------------------------------------------

def _keys(properties: Schema, needs: Iterable[str], generic: Schema) -> Schema:
    """The keys of one kind of node. Keys that every node has are `true` here, since they are checked elsewhere."""
    return {"properties": {key: True if key in generic else value for key, value in properties.items()},
            "required": [key for key in needs if key not in generic]}


def _forms(keys: Mapping[str, Schema], documentation: Mapping[str, str]) -> list[KeySet]:
    """Gates with the same keys together, in the order of the table."""
    forms: dict[str, KeySet] = {}
    for name, own in keys.items():
        forms.setdefault(json.dumps(own), KeySet({}, own)).gates[name] = documentation[name]
    return list(forms.values())


def _by_gate(forms: Sequence[KeySet]) -> Schema:
    """The keys that a gate allows: first the form of most gates, then the kinds of nodes, then all others."""
    common = max(forms, key=lambda form: len(form.gates))
    own = [form for form in forms if form is not common and not form.gates.keys().isdisjoint(NODES)]
    others = [form for form in forms if form is not common and form not in own]
    schema: Schema = {"properties": {"gate": {"enum": [gate for form in forms for gate in form.gates]}}}
    for part in filter(None, (others, own, [common])):
        choices = [(list(form.gates), _node_schema(form)) for form in part]
        schema = _if_gate({"enum": _names(choices)}, _tree(choices, _if_gate), schema)
    return schema


def _node_schema(form: KeySet) -> Schema:
    """The schema of the nodes of one form, with documentation on the gate."""
    gate: Schema = {"description": next(iter(form.gates.values()))}
    if len(form.gates) > 1:
        # The first alternative holds for every gate, and there a validator may stop; an editor goes on and finds the
        # documentation.
        gate = {"anyOf": [True, _tree([([name], {"description": text}) for name, text in form.gates.items()], _if)]}
    return {"properties": {**form.keys["properties"], "gate": gate}, "required": form.keys["required"],
            "additionalProperties": False}


Choice = tuple[list[str], Schema]


def _tree(choices: Sequence[Choice], test: Callable[[Schema, Schema, Schema], Schema]) -> Schema:
    """A balanced tree of tests that leads every name to its schema."""
    if len(choices) == 1:
        return choices[0][1]
    first, second = choices[: len(choices) // 2], choices[len(choices) // 2:]
    return test({"enum": _names(first)}, _tree(first, test), _tree(second, test))


def _names(choices: Sequence[Choice]) -> list[str]:
    return [name for names, _ in choices for name in names]


def _if(condition: Schema, then: Schema, otherwise: Schema) -> Schema:
    return {"if": condition, "then": then, "else": otherwise}


def _if_gate(condition: Schema, then: Schema, otherwise: Schema) -> Schema:
    return _if({"properties": {"gate": condition}}, then, otherwise)


# What pydantic generates ----------------------------------------------------------------------------------------------

class Generator(GenerateJsonSchema):
    """Leaves out redundant keywords and flattens unions."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """No titles: they would repeat the names of the keys."""
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """No default of null: a key that is left out."""
        result = super().default_schema(schema)
        if result.get("default", ...) is None:
            del result["default"]
        return result

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """No keys beside those that have the pattern, which pydantic leaves open."""
        result = super().dict_schema(schema)
        return {**result, "additionalProperties": False} if "patternProperties" in result else result

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        """`anyOf` for `oneOf`: no value fits two members, so a validator may stop at the first that fits."""
        members: list[JsonSchemaValue] = []
        for member in map(self.generate_inner, schema["choices"].values()):
            members += member["anyOf"] if member.keys() == {"anyOf"} else [member]
        return {"anyOf": members}

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Null as one more type, or as one more member of a union."""
        result = self.generate_inner(schema["schema"])
        if "anyOf" in result:
            return {**result, "anyOf": [*result["anyOf"], {"type": "null"}]}
        if "type" in result and "enum" not in result:
            return {**result, "type": [result["type"], "null"]}
        return {"anyOf": [result, {"type": "null"}]}
