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
    _close(schema)
    return {"$schema": DIALECT, **schema, "title": "circuitflow circuit document"}


def _close(schema: Any) -> None:
    """Let objects whose keys have a pattern have no other keys, which pydantic leaves open."""
    pending = [schema]
    for part in pending:  # grows as parts are found
        if isinstance(part, dict) and "patternProperties" in part:
            part["additionalProperties"] = False
        children = part.values() if isinstance(part, dict) else part
        pending += [child for child in children if isinstance(child, dict | list)]
