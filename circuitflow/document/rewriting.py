"""Rewrites a document: operands as edges or as `inputs`, and other values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from circuitflow.document.fit import Fit
from circuitflow.document.model import Body, Document, Edge, GateNode, SubcircuitNode
from circuitflow.document.versions import with_lowest_version


def with_inputs(document: Document) -> Document:
    """The same circuit with every operand written as `inputs` of its node, and no edges."""
    return _rewritten(document, _inline)


def with_edges(document: Document) -> Document:
    """The same circuit with every operand written as an edge, and no `inputs`."""
    return _rewritten(document, _outline)


_Body = TypeVar("_Body", bound=Body)


def _rewritten(body: _Body, rewrite: Callable[[Body], dict[str, Any]]) -> _Body:
    circuits = {name: _rewritten(inner, rewrite) if isinstance(inner, Body) else inner
                for name, inner in (body.circuits or {}).items()}
    return body.model_copy(update={**rewrite(body), **({"circuits": circuits} if circuits else {})})


def with_new_values(document: Document, values: Mapping[str, Any], dtypes: Mapping[str, str]) -> Document:
    """The same circuit with other values of some of its inputs, parameters and constants, whose dtypes stay."""
    nodes = []
    for node in document.nodes:
        if node.id in values:
            fields = {key: getattr(node, key) for key in node.model_fields_set} | {"value": values[node.id]}
            says = getattr(fields["value"], "dtype", None) or (dtypes[node.id] == "bool" and fields["value"] != [])
            if not says and fields.get("dtype") is None and dtypes[node.id] != (document.dtype or "float64"):
                fields["dtype"] = dtypes[node.id]
            node = type(node).model_construct(set(fields), **fields)
        nodes.append(node)
    return document.model_copy(update={"nodes": nodes})


def with_fit(document: Document, fit: Fit | None) -> Document:
    """The same circuit with another fit, or none; the document states the lowest version that can express it."""
    fields = {key: getattr(document, key) for key in document.model_fields_set if key != "fit"}
    if fit is not None:
        fields["fit"] = fit
    return with_lowest_version(Document.model_construct(set(fields), **fields))


def _inline(body: Body) -> dict[str, Any]:
    incoming: dict[str, list[Edge]] = {}
    for edge in body.edges:
        incoming.setdefault(edge.target, []).append(edge)
    nodes = []
    for node in body.nodes:
        edges = incoming.get(node.id, [])
        if not edges:
            nodes.append(node)
        elif sorted(str(edge.port) for edge in edges) == sorted(map(str, range(len(edges)))):
            nodes.append(node.model_copy(update={"inputs": [
                edge.source for edge in sorted(edges, key=lambda edge: int(edge.port or 0))]}))
        elif edges[0].port is None:
            nodes.append(node.model_copy(update={"inputs": [edge.source for edge in edges]}))
        else:
            nodes.append(node.model_copy(update={"inputs": {str(edge.port): edge.source for edge in edges}}))
    return {"nodes": nodes, "edges": []}


def _outline(body: Body) -> dict[str, Any]:
    nodes, edges = [], list(body.edges)
    for node in body.nodes:
        if isinstance(node, GateNode | SubcircuitNode) and node.inputs is not None:
            if isinstance(node.inputs, list):
                edges += [Edge(source=source, target=node.id) for source in node.inputs]
            else:
                edges += [Edge(source=source, target=node.id, port=int(port) if port.isdecimal() else port)
                          for port, source in node.inputs.items()]
            fields = {key: getattr(node, key) for key in node.model_fields_set if key != "inputs"}
            node = type(node).model_construct(set(fields), **fields)
        nodes.append(node)
    return {"nodes": nodes, "edges": edges}
