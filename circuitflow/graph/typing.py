"""Shape and dtype of every node, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from circuitflow.document.faults import Faults
from circuitflow.document.limits import Budget
from circuitflow.document.model import ConstantNode, IfNode, InputNode, ParameterNode, ScanNode
from circuitflow.document.tensors import Array
from circuitflow.gates import ArrayType, GateTable, ShapeError, Size
from circuitflow.gates.shapes import Dimension, Shape, show
from circuitflow.graph.bodies import Definition
from circuitflow.graph.expansion import Placed, expand, resolved_outputs
from circuitflow.graph.network import Network
from circuitflow.graph.node import Edge, Node

Fault = Callable[..., None]
"""Notes what is wrong with a node: the place, the message, and the path from the node to what is at fault."""


class Instance(Network):
    """A body that runs as a unit inside nodes, for the types of its operands. The ids of its nodes are those inside.

    Attributes:
        definition: the body.
        values: the arrays of its constants, by id.
        inputs: ids of the nodes that stand for the operands, by name of the body's input.
        plans: its schedules, by the operands that a gradient is wanted on.
    """

    def __init__(self, definition: Definition, operands: Mapping[str, ArrayType], units: Units, path: str) -> None:
        self.name = definition.body.name or "circuit"
        self.definition = definition
        self.plans: dict[tuple[str, ...], Any] = {}
        self.inputs = {name: f"{name} given" for name in operands}
        nodes = {self.inputs[name]: Node(self.inputs[name], "input", None, {}, (), (), (type_,))
                 for name, type_ in operands.items()}
        given = {name: Edge(operand, 0, "x") for name, operand in self.inputs.items()}
        placed = list(expand(definition, units.gates, given))
        nodes |= {place.node.id: place.node for place in placed}
        self.nodes = nodes
        self.values = infer(placed, nodes, units, path)
        self.outputs = dict(resolved_outputs(definition))
        for place in placed:
            if place.node.kind in ("input", "parameter"):
                units.fault(place, path, f"inside a node that runs as a unit there are no {place.node.kind}s of its "
                                         "own; make it an input of the circuit and give it a value from outside")

    @property
    def types(self) -> tuple[ArrayType, ...] | None:
        """The types of the outputs; None where something is at fault."""
        if len(self.outputs) < len(self.definition.body.outputs) or not all(
                output.node in self.nodes and self.nodes[output.node].types for output in self.outputs.values()):
            return None
        return tuple(map(self.type_of, self.outputs.values()))


class Units:
    """The instances of a circuit's bodies: one for equal types of operands, however many nodes apply it.

    A document of a few lines can nest so many that each of its own would take gigabytes.
    """

    def __init__(self, gates: GateTable, faults: Faults) -> None:
        self.gates, self.faults = gates, faults
        self._made: dict[tuple[Definition, tuple[ArrayType, ...]], Instance] = {}

    def instance(self, definition: Definition, operands: Mapping[str, ArrayType], path: str) -> Instance:
        """The instance of a body; a fault in it names the first node that applies it, by the path to it."""
        key = definition, tuple(operands.values())
        if key not in self._made:
            self._made[key] = Instance(definition, operands, self, path)
        return self._made[key]

    def fault(self, place: Placed, path: str, message: str, *pointer: str | int) -> None:
        """Note a fault of a node."""
        name = path + place.node.id
        self.faults.add(place.definition.source, f"node '{name}': {message}", *place.site.pointer, *pointer, node=name)


def infer(placed: Iterable[Placed], nodes: dict[str, Node], units: Units, path: str = "") -> dict[str, Array]:
    """Infer the types of nodes in topological order; returns the values that the document gives.

    A node that needs one at fault is passed over: what would be said of it follows from the first fault.

    Args:
        placed: the nodes, each with its place in a document.
        nodes: the same by id, and those that stand for operands.
        units: the instances of bodies that run as a unit; notes faults.
        path: what stands before the ids in faults.
    """
    def fault(place: Placed, message: str, *pointer: str | int) -> None:
        units.fault(place, path, message, *pointer)

    placed = list(placed)
    values: dict[str, Array] = {}
    names: dict[str, dict[str, Dimension]] = {}
    # Of gates without attributes, by their operands: their outputs, and whether all of those are scalars.
    known: dict[tuple[str, tuple[ArrayType, ...]], tuple[tuple[ArrayType, ...], bool]] = {}
    budget = Budget(placed[0].definition.source.limits) if placed else Budget()
    for place in placed:
        node = place.node
        try:
            operands = tuple([nodes[source].types[output] for source, output, _ in node.operands])
        except (KeyError, IndexError):
            continue
        if not place.sound:
            continue
        key = (node.kind, operands) if node.gate is not None and not node.attributes else None
        if key in known:
            node.types, is_scalar = known[key]
            if not is_scalar:
                _spend(place, budget, fault)
            continue
        if node.is_source:
            _source(place, values, fault)
        elif node.gate is None:
            _structure(place, nodes, units, path, fault)
        else:
            _gate(place, operands, fault)
            if isinstance(place.site.node, InputNode) and node.types:
                _declared(place, names.setdefault(place.call, {}), fault)
        _spend(place, budget, fault)
        if key is not None and node.types and place.site.is_plain:
            known[key] = node.types, not any(type_.shape for type_ in node.types)
    return values


def _spend(place: Placed, budget: Budget, fault: Fault) -> None:
    """Count what a node's outputs take; one that takes too much is at fault. Scalars are within the limit of nodes."""
    for type_ in place.node.types:
        shape = _sizes(type_.shape) if type_.shape else None
        if shape is not None and (message := budget.spend(shape, type_.dtype)):
            fault(place, message)
            place.node.types = ()
            return


def _sizes(shape: Shape) -> tuple[int, ...] | None:
    """The shape where it has no named dimension."""
    sizes = tuple(size for size in shape if isinstance(size, int))
    return sizes if len(sizes) == len(shape) else None


def _gate(place: Placed, operands: Sequence[ArrayType], fault: Fault) -> None:
    node, gate = place.node, place.node.gate
    assert gate is not None  # noqa: S101
    try:
        result = gate.shape(*operands, **node.attributes)
    except ShapeError as error:
        fault(place, f"{node.kind} {error}", "gate")
    else:
        node.types = (result,) if isinstance(result, ArrayType) else tuple(result)


def _structure(place: Placed, nodes: dict[str, Node], units: Units, path: str, fault: Fault) -> None:
    """The instances of the bodies that a node applies, and the types of what comes of them."""
    node, written = place.node, place.site.node
    given = {str(edge.port): nodes[edge.source].types[edge.output] for edge in node.operands}

    def instance(key: str, types: Mapping[str, ArrayType]) -> Instance:
        definition = place.site.bodies[key]
        inside = f"{path}{node.id}/" if len(place.site.bodies) == 1 else f"{path}{node.id}/{key}/"
        return units.instance(definition, {name: types[name] for name in definition.inputs}, inside)

    try:
        if isinstance(written, IfNode):
            condition = given["condition"]
            if condition != ArrayType((), "bool"):
                raise ShapeError(f"needs a scalar condition of dtype bool; it is {condition.dtype} "
                                 f"{show(condition.shape)}")
            branches = {key: instance(key, given) for key in place.site.bodies}
            node.attributes = branches
            if not all(branch.types for branch in branches.values()):
                return
            one, other = (dict(zip(branch.outputs, branch.types or (), strict=True)) for branch in branches.values())
            for name, type_ in one.items():
                if other[name] != type_:
                    raise ShapeError(f"needs equal outputs of both circuits; {name} is {_said(type_)} in "
                                     f"'{written.then}', {_said(other[name])} in '{written.else_}'")
            node.types = tuple(one.values())
        elif isinstance(written, ScanNode):
            node.types = _scan(node, written, given, instance)
        else:
            body = instance("circuit", given)
            node.attributes = {"circuit": body}
            node.types = body.types or ()
    except ShapeError as error:
        fault(place, f"{node.kind} {error}", "gate")


def _scan(node: Node, written: ScanNode, given: Mapping[str, ArrayType],
          instance: Callable[[str, Mapping[str, ArrayType]], Instance]) -> tuple[ArrayType, ...]:
    length: Dimension | None = None
    for name in written.over:
        if not given[name].shape:
            raise ShapeError(f"goes over {name}, which needs at least one axis; it is a scalar")
        if length not in (None, given[name].shape[0]):
            raise ShapeError(f"goes over axes of equal size; {written.over[0]} has {length}, {name} has "
                             f"{given[name].shape[0]}")
        length = given[name].shape[0]
    assert length is not None  # noqa: S101
    over = set(written.over)
    body = instance("circuit", {name: type_._replace(shape=type_.shape[1:]) if name in over else type_
                                for name, type_ in given.items()})
    node.attributes = {"circuit": body, **{key: getattr(written, key) for key in ("carry", "over", "reverse", "cache")}}
    if body.types is None:
        return ()
    types = dict(zip(body.outputs, body.types, strict=True))
    for name, output in written.carry.items():
        if types[output] != given[name]:
            raise ShapeError(f"needs a carry that keeps its type: {name} is {_said(given[name])}, its next value "
                             f"{output} is {_said(types[output])}")
    last = set(written.carry.values())
    return tuple(type_ if name in last else ArrayType((length, *type_.shape), type_.dtype)
                 for name, type_ in types.items())


def _said(type_: ArrayType) -> str:
    return f"{type_.dtype} {show(type_.shape)}"


def _source(place: Placed, values: dict[str, Array], fault: Fault) -> None:
    node, site, written = place.node, place.site, place.site.node
    assert isinstance(written, InputNode | ParameterNode | ConstantNode)  # noqa: S101
    declared = written.shape if isinstance(written, InputNode) else None
    shape: Shape = site.array.shape if site.array is not None else ()
    if declared is not None:
        if site.array is not None and not fits(shape, declared):
            fault(place, f"its value has shape {show(shape)}, its declared shape is {show(declared)}", "shape")
            return
        shape = tuple(Size.named(size) if isinstance(size, str) else size for size in declared)
    if site.array is not None:
        values[node.id] = site.array
    dtype = _named(site.array.dtype) if site.array is not None else written.dtype or place.definition.dtype
    node.types = (ArrayType(shape, dtype),)


_named = cache(str)  # for NumPy takes longer to name a dtype than all else takes here


def fits(shape: Shape, declared: list[int | str]) -> bool:
    """Whether a shape is one that a declared shape allows, names standing for any size."""
    return len(shape) == len(declared) and all(isinstance(d, str) or d == s
                                               for s, d in zip(shape, declared, strict=True))


def _declared(place: Placed, sizes: dict[str, Dimension], fault: Fault) -> None:
    """Compare what a call gives to an input with what the input declares; equal names are equal sizes."""
    written, type_ = place.site.node, place.node.types[0]
    assert isinstance(written, InputNode)  # noqa: S101
    if written.dtype is not None and written.dtype != type_.dtype:
        place.node.types = ()
        fault(place, f"declared as {written.dtype}, the call gives {type_.dtype}", "dtype")
    if written.shape is not None:
        equal = fits(type_.shape, written.shape) and all(
            sizes.setdefault(name, size) == size
            for name, size in zip(written.shape, type_.shape, strict=True) if isinstance(name, str))
        if not equal:
            place.node.types = ()
            where = "".join(f"; {name} is {sizes[name]}" for name in dict.fromkeys(written.shape) if name in sizes)
            fault(place, f"declared as {show(written.shape)}, the call gives {show(type_.shape)}{where}", "shape")
