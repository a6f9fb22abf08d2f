"""The lowest version of the format that can express a document."""

from __future__ import annotations

from typing import Any

from circuitflow.document.base import READABLE
from circuitflow.document.model import Body, Document, Node, ParameterNode

_KEYS = ("min", "max", "frozen")


def later_keys(node: Node) -> list[str]:
    """The keys of a node that format 1.0 does not have."""
    return [key for key in _KEYS if key in node.model_fields_set] if isinstance(node, ParameterNode) else []


def with_lowest_version(document: Document) -> Document:
    """The same document, stating the lowest version that can express it; likewise the documents inside of it."""
    return document.model_copy(update=_lower(document)[0])


def _lower(body: Body) -> tuple[dict[str, Any], str]:
    """What to update in a body, and the version that it needs."""
    least = READABLE["fit" in body.model_fields_set or any(map(later_keys, body.nodes))]
    circuits = dict(body.circuits or {})
    for name, inner in circuits.items():
        if isinstance(inner, Body):
            update, version = _lower(inner)
            circuits[name] = inner.model_copy(update=update)
            least = max(least, version, key=READABLE.index)
    return {**({"circuits": circuits} if circuits else {}),
            **({"circuitflow": least} if body.circuitflow is not None else {})}, least
