"""Shape and dtype of every node, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable

from circuitflow.document.faults import Faults
from circuitflow.document.model import ConstantNode, InputNode, ParameterNode
from circuitflow.document.tensors import ValueFaultError
from circuitflow.document.values import Array, to_array, too_large
from circuitflow.gates.shapes import ArrayType, Dimension, Shape, ShapeError, Size, show
from circuitflow.graph.expansion import Placed
from circuitflow.graph.node import Node


def infer(placed: Iterable[Placed], nodes: dict[str, Node], faults: Faults) -> dict[str, Array]:
    """Infer the types of nodes in topological order; returns the values that the document gives.

    A node that needs one at fault is passed over: what would be said of it follows from the first fault.
    """
    values: dict[str, Array] = {}
    names: dict[str, dict[str, Dimension]] = {}
    for place in placed:
        node = place.node
        if not place.sound or not all(edge.source in nodes and nodes[edge.source].types for edge in node.operands):
            continue
        if node.gate is None:
            _source(place, values, faults)
        else:
            _gate(place, nodes, faults)
            if isinstance(place.site.node, InputNode) and node.types:
                _declared(place, names.setdefault(place.call, {}), faults)
        for type_ in node.types:
            shape = _sizes(type_.shape)
            if shape is not None and (message := too_large(shape, type_.dtype)):
                _fault(place, faults, message)
                node.types = ()
                break
    return values


def _fault(place: Placed, faults: Faults, message: str, *path: str | int) -> None:
    faults.add(place.definition.source, f"node '{place.node.id}': {message}", *place.site.pointer, *path,
               node=place.node.id)


def _sizes(shape: Shape) -> tuple[int, ...] | None:
    """The shape where it has no named dimension."""
    sizes = tuple(size for size in shape if isinstance(size, int))
    return sizes if len(sizes) == len(shape) else None


def _gate(place: Placed, nodes: dict[str, Node], faults: Faults) -> None:
    node, gate = place.node, place.node.gate
    assert gate is not None  # noqa: S101
    try:
        result = gate.shape(*(nodes[edge.source].types[edge.output] for edge in node.operands), **node.attributes)
    except ShapeError as error:
        _fault(place, faults, f"{node.kind} {error}", "gate")
    else:
        node.types = (result,) if isinstance(result, ArrayType) else tuple(result)


def _source(place: Placed, values: dict[str, Array], faults: Faults) -> None:
    node, site, written = place.node, place.site, place.site.node
    assert isinstance(written, InputNode | ParameterNode | ConstantNode)  # noqa: S101
    default = place.definition.dtype
    if written.value is not None and site.array is None:
        try:
            site.array = to_array(written.value, dtype=written.dtype, default=default,
                                  folder=place.definition.source.folder)
        except ValueFaultError as fault:
            _fault(place, faults, str(fault), "value", *fault.path)
            return
    declared = written.shape if isinstance(written, InputNode) else None
    shape: Shape = site.array.shape if site.array is not None else ()
    if declared is not None:
        if site.array is not None and not fits(shape, declared):
            _fault(place, faults, f"its value has shape {show(shape)}, its declared shape is {show(declared)}", "shape")
            return
        shape = tuple(Size.named(size) if isinstance(size, str) else size for size in declared)
    if site.array is not None:
        values[node.id] = site.array
    node.types = (ArrayType(shape, str(site.array.dtype) if site.array is not None else written.dtype or default),)


def fits(shape: Shape, declared: list[int | str]) -> bool:
    """Whether a shape is one that a declared shape allows, names standing for any size."""
    return len(shape) == len(declared) and all(isinstance(d, str) or d == s
                                               for s, d in zip(shape, declared, strict=True))


def _declared(place: Placed, sizes: dict[str, Dimension], faults: Faults) -> None:
    """Compare what a call gives to an input with what the input declares; equal names are equal sizes."""
    written, type_ = place.site.node, place.node.types[0]
    assert isinstance(written, InputNode)  # noqa: S101
    if written.dtype is not None and written.dtype != type_.dtype:
        place.node.types = ()
        _fault(place, faults, f"declared as {written.dtype}, the call gives {type_.dtype}", "dtype")
    if written.shape is not None:
        equal = fits(type_.shape, written.shape) and all(
            sizes.setdefault(name, size) == size
            for name, size in zip(written.shape, type_.shape, strict=True) if isinstance(name, str))
        if not equal:
            place.node.types = ()
            where = "".join(f"; {name} is {size}" for name, size in sizes.items())
            _fault(place, faults, f"declared as {show(written.shape)}, the call gives {show(type_.shape)}{where}",
                   "shape")
