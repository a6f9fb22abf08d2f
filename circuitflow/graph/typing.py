"""Shape and dtype of every node, before anything runs: each body once for the types of its operands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial

from circuitflow.document.faults import Faults
from circuitflow.document.limits import Budget
from circuitflow.document.model import ConstantNode, IfNode, InputNode, ParameterNode, ScanNode
from circuitflow.gates import ArrayType, GateTable, ShapeError, Size
from circuitflow.gates.shapes import Dimension, Shape, allows, show
from circuitflow.graph.bodies import Definition, Operand, Output, Site
from circuitflow.graph.typed import Node, TypedBody

UNKNOWN = ArrayType((), "unknown")
"""The type of what is at fault: of an operand of a body, and of an output of a call."""

Fault = Callable[..., None]
"""Notes what is wrong with a node: the node, the message, and the path from the node to what is at fault."""


class Typing:
    """Infers types in topological order.

    A node that needs one at fault is passed over, because its faults would follow from the first.
    """

    def __init__(self, gates: GateTable, faults: Faults) -> None:
        self.gates, self.faults = gates, faults
        self._bodies: dict[tuple[Definition, tuple[tuple[str, ArrayType], ...]], TypedBody] = {}

    def body(self, definition: Definition, operands: Mapping[str, ArrayType], path: str = "",
             budget: Budget | None = None) -> TypedBody:
        """A body for the types of its operands; a fault in it names the first node that applies it.

        Inputs without a type among `operands` are sources. The budget is that of the circuit that the body is expanded
        in; by default it has one of its own. Ids in faults begin with `path`.
        """
        key = definition, tuple(operands.items())
        if key not in self._bodies:
            body = self._infer(definition, operands, path, budget or Budget(definition.source.limits))
            # An input that has the type of its default is the same input.
            types = tuple((name, _type_of(body.nodes, Output(name, 0))) for name in definition.inputs)
            self._bodies[key] = self._bodies.setdefault((definition, types), body)
        elif budget is not None:
            self._spend_again(self._bodies[key], path, budget)
        return self._bodies[key]

    def _fault(self, path: str, node: Node, message: str, *pointer: str | int) -> None:
        """Note a fault of a node."""
        site, name = node.site, path + node.id
        assert site is not None  # noqa: S101
        self.faults.add(site.source, f"node '{name}': {message}", *site.pointer, *pointer, node=name)

    def _infer(self, definition: Definition, inputs: Mapping[str, ArrayType], path: str, budget: Budget) -> TypedBody:
        fault = partial(self._fault, path)
        nodes: dict[str, Node] = {}
        sizes: dict[str, Dimension] = {}
        # Of gates whose nodes name no attributes, by their operands: their outputs, and whether those are scalars.
        outcomes: dict[tuple[str, tuple[ArrayType, ...]], tuple[tuple[ArrayType, ...], bool]] = {}
        for site in definition.order:
            if site.is_plain:
                outputs: tuple[str, ...] = ()
            elif site.callee is not None:
                self._call(site, site.callee, nodes, path, budget)
                continue
            else:
                outputs = tuple(site.outputs) if len(site.outputs) > 1 or not site.bodies else ()
            node = Node(site.node.id, site.node.gate, site.gate, site.attributes, site.operands, outputs, (), site)
            nodes[node.id] = node
            try:
                operands = tuple([nodes[source].types[output] for source, output, _ in node.operands])
            except (KeyError, IndexError):
                continue
            if not site.is_plain and (UNKNOWN in operands or not site.sound):
                continue
            is_default = site.is_plain or (node.gate is not None and not node.attributes)
            key = (node.kind, operands) if is_default else None
            if key in outcomes:
                node.types, is_scalar = outcomes[key]
                if not is_scalar:
                    _spend(node, budget, fault)
                continue
            if isinstance(site.node, InputNode) and node.id in inputs:
                _operand(node, site.node, inputs[node.id], sizes, fault)
            elif node.is_source:
                _source(node, site, definition.dtype, fault)
            elif node.gate is None:
                self._unit(node, site, operands, path, fault)
            else:
                _gate(node, operands, fault)
            _spend(node, budget, fault)
            if key is not None and node.types and site.is_plain:
                outcomes[key] = node.types, not any(type_.shape for type_ in node.types)
        return TypedBody(definition, nodes, self.gates)

    def _call(self, site: Site, callee: Definition, nodes: dict[str, Node], path: str, budget: Budget) -> None:
        """Add a call, after the sources inside of it that it gives no value."""
        name = site.node.id
        edges = {str(edge.port): edge for edge in site.operands}
        # Where the call is at fault, the inputs of its circuit are unknown, not absent.
        types = ({port: _type_of(nodes, Output(edge.source, edge.output)) for port, edge in edges.items()}
                 if site.sound else dict.fromkeys(callee.inputs, UNKNOWN))
        body = self.body(callee, types, f"{path}{name}/", budget)
        for port in body.inputs:
            if port not in types:
                inner, free = body.nodes[port], f"{name}/{port}"
                nodes[free] = Node(free, inner.kind, None, {}, (), (), inner.types, inner.site)
                edges[port] = Operand(free, 0, port)
        nodes[name] = Node(name, "call", None, {"circuit": body},
                           tuple(edges[port] for port in body.inputs if port in edges),
                           callee.names if len(callee.names) > 1 else (), tuple(_output_types(body).values()), site)

    def _spend_again(self, body: TypedBody, path: str, budget: Budget) -> None:
        """Count what the nodes of a body take at another call of it."""
        for node in body.nodes.values():
            if node.kind == "call":
                self._spend_again(node.attributes["circuit"], f"{path}{node.id}/", budget)
            elif "/" not in node.id:
                _spend(node, budget, partial(self._fault, path))

    def _unit(self, node: Node, site: Site, operands: Sequence[ArrayType], path: str, fault: Fault) -> None:
        """The bodies that a node applies, and the types of what comes of them."""
        types = {str(edge.port): type_ for edge, type_ in zip(node.operands, operands, strict=True)}
        try:
            if isinstance(site.node, IfNode):
                condition = types["condition"]
                if condition != ArrayType((), "bool"):
                    raise ShapeError(f"needs a scalar condition of dtype bool; it is {condition.dtype} "
                                     f"{show(condition.shape)}")
                branches = {key: self._body_of_unit(site, key, types, f"{path}{node.id}/{key}/")
                            for key in site.bodies}
                node.attributes = branches
                node.types = _choice(site.node, *map(_output_types, branches.values()))
            elif isinstance(site.node, ScanNode):
                length, over = _length(site.node, types), set(site.node.over)
                body = self._body_of_unit(site, "circuit", {
                    name: type_._replace(shape=type_.shape[1:]) if name in over else type_
                    for name, type_ in types.items()}, f"{path}{node.id}/")
                node.attributes = {"circuit": body, **{key: getattr(site.node, key)
                                                       for key in ("carry", "over", "reverse", "cache")}}
                node.types = _scan_types(site.node, length, types, _output_types(body))
            else:
                body = self._body_of_unit(site, "circuit", types, f"{path}{node.id}/")
                node.attributes = {"circuit": body}
                node.types = _whole(_output_types(body).values())
        except ShapeError as error:
            fault(node, f"{node.kind} {error}", "gate")

    def _body_of_unit(self, site: Site, key: str, operands: Mapping[str, ArrayType], path: str) -> TypedBody:
        """A body that runs as a unit inside a node: constants are the only sources of its own."""
        definition = site.bodies[key]
        body = self.body(definition, {name: operands[name] for name in definition.inputs}, path)
        for name in body.inputs:
            if name not in definition.inputs:
                node = body.nodes[name]
                self._fault(path, node, f"inside a node that runs as a unit there are no {node.kind}s of its own; make "
                                        "it an input of the circuit and give it a value from outside")
        return body


def known_types(body: TypedBody) -> dict[str, ArrayType]:
    """The types of a body's outputs, by reference; those at fault are left out."""
    return {text: type_ for text, type_ in _output_types(body).items() if type_ is not UNKNOWN}


def _output_types(body: TypedBody) -> dict[str, ArrayType]:
    """The types of a body's outputs, by reference; UNKNOWN where something is at fault."""
    return {text: _type_of(body.nodes, body.outputs.get(text)) for text in body.definition.names}


def _type_of(nodes: Mapping[str, Node], output: Output | None) -> ArrayType:
    """The type of an output; UNKNOWN where something is at fault."""
    node = nodes.get(output.node) if output else None
    return node.types[output.position] if output and node and node.types else UNKNOWN


def _spend(node: Node, budget: Budget, fault: Fault) -> None:
    """Count what a node's outputs take; one that takes too much is at fault. Scalars are within the limit of nodes."""
    for type_ in node.types:
        shape = _sizes(type_.shape) if type_.shape else None
        if shape is not None and (message := budget.spend(shape, type_.dtype)):
            fault(node, message)
            node.types = ()
            return


def _sizes(shape: Shape) -> tuple[int, ...] | None:
    """The shape where it has no named dimension."""
    sizes = tuple(size for size in shape if isinstance(size, int))
    return sizes if len(sizes) == len(shape) else None


def _gate(node: Node, operands: Sequence[ArrayType], fault: Fault) -> None:
    gate = node.gate
    assert gate is not None  # noqa: S101
    try:
        result = gate.shape(*operands, **node.attributes)
    except ShapeError as error:
        fault(node, f"{node.kind} {error}", "gate")
    else:
        node.types = (result,) if isinstance(result, ArrayType) else tuple(result)


def _whole(types: Iterable[ArrayType]) -> tuple[ArrayType, ...]:
    """The types of outputs; none where one of them is at fault."""
    types = tuple(types)
    return () if UNKNOWN in types else types


def _choice(node: IfNode, one: Mapping[str, ArrayType], other: Mapping[str, ArrayType]) -> tuple[ArrayType, ...]:
    """The types of an if from those of its branches."""
    if not (_whole(one.values()) and _whole(other.values())):
        return ()
    for name, type_ in one.items():
        if other[name] != type_:
            raise ShapeError(f"needs equal outputs of both circuits; {name} is {_in_words(type_)} in '{node.then}', "
                             f"{_in_words(other[name])} in '{node.else_}'")
    return tuple(one.values())


def _length(node: ScanNode, operands: Mapping[str, ArrayType]) -> Dimension:
    """How many steps a scan takes."""
    length: Dimension | None = None
    for name in node.over:
        shape = operands[name].shape
        if not shape:
            raise ShapeError(f"goes over {name}, which needs at least one axis; it is a scalar")
        if length not in (None, shape[0]):
            raise ShapeError(f"goes over axes of equal size; {node.over[0]} has {length}, {name} has {shape[0]}")
        length = shape[0]
    assert length is not None  # noqa: S101
    return length


def _scan_types(node: ScanNode, length: Dimension, operands: Mapping[str, ArrayType],
             types: Mapping[str, ArrayType]) -> tuple[ArrayType, ...]:
    """The types of a scan from those of its body."""
    if not _whole(types.values()):
        return ()
    for name, output in node.carry.items():
        if types[output] != operands[name]:
            raise ShapeError(f"needs a carry that keeps its type: {name} is {_in_words(operands[name])}, its next "
                             f"value {output} is {_in_words(types[output])}")
    last = set(node.carry.values())
    return tuple(type_ if name in last else ArrayType((length, *type_.shape), type_.dtype)
                 for name, type_ in types.items())


def _in_words(type_: ArrayType) -> str:
    return f"{type_.dtype} {show(type_.shape)}"


def _source(node: Node, site: Site, default: str, fault: Fault) -> None:
    assert isinstance(site.node, InputNode | ParameterNode | ConstantNode)  # noqa: S101
    sizes = site.node.shape if isinstance(site.node, InputNode) else None
    shape: Shape = site.array.shape if site.array is not None else ()
    if sizes is not None:
        if site.array is not None and not allows(sizes, shape):
            fault(node, f"its value has shape {show(shape)}, its declared shape is {show(sizes)}", "shape")
            return
        shape = tuple(Size.named(size) if isinstance(size, str) else size for size in sizes)
    dtype = _dtype_name(site.array.dtype) if site.array is not None else site.node.dtype or default
    node.types = (ArrayType(shape, dtype),)


_dtype_name = cache(str)  # for NumPy takes longer to name a dtype than all else takes here


def _operand(node: Node, declaration: InputNode, type_: ArrayType, sizes: dict[str, Dimension], fault: Fault) -> None:
    """Compare what a call gives to an input with what the input declares; equal names are equal sizes."""
    if type_ is UNKNOWN:
        return
    is_sound = True
    if declaration.dtype is not None and declaration.dtype != type_.dtype:
        is_sound = False
        fault(node, f"declared as {declaration.dtype}, the call gives {type_.dtype}", "dtype")
    if declaration.shape is not None:
        equal = allows(declaration.shape, type_.shape) and all(
            sizes.setdefault(name, size) == size
            for name, size in zip(declaration.shape, type_.shape, strict=True) if isinstance(name, str))
        if not equal:
            is_sound = False
            where = "".join(f"; {name} is {sizes[name]}" for name in dict.fromkeys(declaration.shape) if name in sizes)
            fault(node, f"declared as {show(declaration.shape)}, the call gives {show(type_.shape)}{where}", "shape")
    if is_sound:
        node.types = (type_,)
