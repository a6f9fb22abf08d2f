"""JSON Schema of documents, for editors and other tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from circuitflow.document.model import NODES, Document

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class GateForm(NamedTuple):
    """What a schema says of a gate: a sentence, and its attributes."""

    description: str
    attributes: type[BaseModel]


def document_schema(gates: Mapping[str, GateForm]) -> dict[str, Any]:
    """The schema of documents over a gate table: a node's `gate` decides which keys it may have."""
    schema = Document.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    generic = definitions.pop("GateNode")
    own = {kind: f"{kind.capitalize()}Node" for kind in NODES}
    for name, form in gates.items():
        attributes = form.attributes.model_json_schema()
        definitions[f"gate_{name}"] = {
            "title": name,
            "description": form.description,
            "type": "object",
            "properties": {**dict.fromkeys(generic["properties"], True), "gate": {"const": name},
                           **attributes.get("properties", {})},
            "required": ["id", "gate", *attributes.get("required", [])],
            "additionalProperties": False,
        }
    references = {**own, **{name: f"gate_{name}" for name in gates}}
    definitions["Node"] = {
        "title": "Node",
        "type": "object",
        "properties": {
            **generic["properties"],
            "gate": {"enum": list(references), "description": f"{', '.join(NODES)}, or a gate's name"},
        },
        "required": ["id", "gate"],
        "allOf": [{"if": {"properties": {"gate": {"const": name}}, "required": ["gate"]},
                   "then": {"$ref": f"#/$defs/{reference}"}} for name, reference in references.items()],
    }
    for body in (schema, definitions["Body"]):
        body["properties"]["nodes"]["items"] = {"$ref": "#/$defs/Node"}
    return {"$schema": DIALECT, **schema, "title": "circuitflow circuit document"}
