"""Converts the values of a document, or of a run, to arrays within one budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from circuitflow.document.base import Model
from circuitflow.document.faults import Faults, Source
from circuitflow.document.files import ValueFaultError
from circuitflow.document.limits import Budget
from circuitflow.document.model import ConstantNode, InputNode, ParameterNode, Value
from circuitflow.document.positions import Path as Pointer
from circuitflow.document.tensors import Array, TensorFiles
from circuitflow.document.values import announce, to_array
from circuitflow.gates import ArrayType
from circuitflow.gates.shapes import Shape, allows, show
from circuitflow.graph.bodies import Definition
from circuitflow.graph.bounds import read_bounds

K = TypeVar("K")


class Datum(NamedTuple):
    """A value and its place in a document.

    Attributes:
        whose: what a fault begins with, such as "node 'x': ".
        value: as the document holds it.
        dtype: the dtype that is declared for it, or None.
        default: the dtype of numbers that say none of their own.
        source, pointer: where it stands.
        node: id of the node that it belongs to, or None.
        output: the type of the output that it is the upstream gradient on, or None.
    """

    whose: str
    value: Value
    dtype: str | None
    default: str
    source: Source
    pointer: Pointer
    node: str | None = None
    output: ArrayType | None = None


def read_values(values: Mapping[K, Datum], files: TensorFiles, faults: Faults) -> dict[K, Array] | None:
    """Read-only arrays, without those at fault; None, before the first is made, if together they exceed the limits."""
    budget = Budget(files.limits)
    refusals = set()
    for key, item in values.items():
        if not isinstance(item.value, Model):
            continue
        try:
            ahead = announce(item.value, dtype=item.dtype, default=item.default, folder=item.source.folder,
                             files=files)
            if ahead is not None and item.output is not None:
                _expect(item.output, ahead.shape, item.output.dtype)
        except ValueFaultError as fault:
            _note(item, faults, str(fault), *fault.path)
            refusals.add(key)
        else:
            if ahead is not None and (message := budget.spend(ahead.shape, ahead.dtype)):
                _note(item, faults, message, ahead.key)
                return None
    arrays = {}
    for key, item in values.items():
        if key in refusals:
            continue
        try:
            array = to_array(item.value, dtype=item.dtype, default=item.default, folder=item.source.folder, files=files)
            if item.output is not None:
                _expect(item.output, array.shape, str(array.dtype))
        except ValueFaultError as fault:
            _note(item, faults, str(fault), *fault.path)
        else:
            arrays[key] = array
    return arrays


def read_sources(bodies: Sequence[Definition], files: TensorFiles, faults: Faults) -> bool:
    """Put values and bounds into the sites of bodies as arrays; a site whose value is at fault is no longer sound.

    True if they are within the limits all together; if not, none is made.
    """
    values = {}
    for body in bodies:
        for site in body.sites.values():
            node = site.node
            if isinstance(node, InputNode | ParameterNode | ConstantNode) and node.value is not None and site.sound:
                values[site] = Datum(f"node '{node.id}': ", node.value, node.dtype, body.dtype, body.source,
                                     (*site.pointer, "value"), node.id)
    arrays = read_values(values, files, faults)
    for site in values:
        site.array = arrays.get(site) if arrays is not None else None
        site.sound = site.array is not None
        if site.sound and isinstance(site.node, ParameterNode):
            site.bounds = read_bounds(site, site.node, files, faults)
    return arrays is not None


def read_upstream(root: Definition, types: Mapping[str, ArrayType], files: TensorFiles,
                  faults: Faults) -> dict[str, Array]:
    """The document's upstream gradients on outputs whose types are known, each in the shape and dtype of its output."""
    values = {}
    for text, value in (root.body.upstream or {}).items():
        if text in types:
            output = types[text]
            values[text] = Datum(f"upstream '{text}': ", value, None if getattr(value, "dtype", None) else output.dtype,
                                 output.dtype, root.source, ("upstream", text), output=output)
    return read_values(values, files, faults) or {}


def _expect(output: ArrayType, shape: Shape, dtype: str) -> None:
    """Compare an upstream gradient with its output; a named dimension takes any size."""
    if dtype != output.dtype or not allows(output.shape, shape):
        raise ValueFaultError(f"it is {dtype} {show(shape)}; expected {output.dtype} {show(output.shape)}, as the "
                              "output")


def _note(item: Datum, faults: Faults, message: str, *path: str | int) -> None:
    faults.add(item.source, item.whose + message, *item.pointer, *path, node=item.node)
