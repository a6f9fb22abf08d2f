"""Nodes with types, typed bodies, and their expansion: the nodes of a call in the place of the call."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from circuitflow.arguments import checked
from circuitflow.document.tensors import Array
from circuitflow.gates import IDENTITY, ArrayType, Gate, GateTable
from circuitflow.graph.bodies import SOURCES, Definition, Operand, Output, Site
from circuitflow.graph.expansion import outputs_of_call, resolve
from circuitflow.text import nearest


@dataclass(slots=True, eq=False)
class Node:
    """One vertex: a site with types. An expanded circuit has one for every call of the body.

    Attributes:
        id: the id in the document; inside a call, a path such as "h1/dot".
        kind: "input", "parameter", "constant", the name of the gate, or the kind of node with a subcircuit.
        gate: the gate's row of the table; None for a source of data and for a node with a subcircuit.
        attributes: the gate's attributes; of a node with subcircuits the typed bodies, by key.
        operands: where the operands come from, in operand order.
        outputs: names of the outputs where there are several.
        types: shape and dtype of every output; empty where they could not be inferred.
        site: where it stands in the document.
    """

    id: str
    kind: str
    gate: Gate | None
    attributes: Mapping[str, Any]
    operands: tuple[Operand, ...]
    outputs: tuple[str, ...] = ()
    types: tuple[ArrayType, ...] = ()
    site: Site | None = None

    @property
    def label(self) -> str | None:
        """Free text of the document."""
        return self.site.node.label if self.site else None

    @property
    def is_argument(self) -> bool:
        """Whether a run may give it a value: it is an input or a parameter."""
        return self.kind in ("input", "parameter")

    @property
    def is_source(self) -> bool:
        """Whether it is an input, a parameter or a constant."""
        return self.kind in SOURCES

    @property
    def names(self) -> list[str]:
        """How each output is referred to: the id alone, or with the output's name where there are several."""
        return [f"{self.id}.{output}" for output in self.outputs] or [self.id]

    def name_of(self, output: int) -> str:
        """How the output at a position is referred to."""
        return f"{self.id}.{self.outputs[output]}" if self.outputs else self.id


class TypedBody:
    """A body for the types of its operands: one, however many nodes apply it.

    A document of a few lines can apply a body so often that a copy for each application would take gigabytes. Calls
    are nodes, with the typed body that they apply among their attributes, unless they are expanded. The parameters
    inside a call, and the inputs there that the call gives no value, are nodes too, ahead of the call and among its
    operands: the parameter `w` of the circuit that `h1` calls is `h1/w` here.

    Attributes:
        name: what it is called in messages.
        definition: the body without types.
        nodes: every node by id, in topological order, as near to the document's order as that allows.
        gates: the gate table.
        paths: of the calls that are expanded; None where all are.
        plans: schedules of the expansion, by the operands that a gradient is needed on.
    """

    def __init__(self, definition: Definition, nodes: Mapping[str, Node], gates: GateTable,
                 paths: Collection[str] | None = ()) -> None:
        self.name = definition.body.name or "circuit"
        self.definition, self.nodes, self.gates, self.paths = definition, nodes, gates, paths
        self.plans: dict[tuple[str, ...], Any] = {}

    @cached_property
    def outputs(self) -> Mapping[str, Output]:
        """The outputs by reference, as the document lists them."""
        return MappingProxyType({text: resolve(self.definition, "", *output, self.paths)
                                 for text, output in self.definition.outputs.items()})

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The ids of inputs and parameters, in order."""
        return tuple(node.id for node in self.nodes.values() if node.is_argument)

    @cached_property
    def values(self) -> Mapping[str, Array]:
        """The read-only arrays that the document gives for inputs, parameters and constants, by id."""
        return MappingProxyType({node.id: node.site.array for node in self.nodes.values()
                                 if node.gate is None and node.site is not None and node.site.array is not None})

    @property
    def expansion(self) -> TypedBody:
        """The body with all calls expanded, to be run; itself where it has none."""
        return self._expansion or self

    @cached_property
    def _expansion(self) -> TypedBody | None:
        """Not itself, so that no circle keeps it in memory."""
        return expand(self, None) if "call" in [node.kind for node in self.nodes.values()] else None

    @checked
    def find(self, reference: str) -> Output | None:
        """The output that a reference means, None where there is none.

        A reference is `id`, `id.output` where there are several, `id` or `id.output` of a call, or one of these inside
        a call, after the path that leads there: `outer/h.output`.
        """
        if reference in self.outputs:
            return self.outputs[reference]
        name, dot, output = reference.partition(".")
        node = self.nodes.get(name)
        if node is None or (output not in node.outputs if dot else node.outputs):
            return self._call(name).get(output if dot else None)
        return Output(name, node.outputs.index(output) if dot else 0)

    @checked
    def names_of(self, name: str) -> list[str]:
        """How the outputs of a node, or of a call, are referred to; none where there is no such node."""
        node = self.nodes.get(name)
        return node.names if node else [f"{name}.{output}" for output in self._call(name) if output]

    @checked
    def gradient_name(self, reference: str) -> str:
        """The name of the gradient on an output among values: `df`, or `df_2` where a node is called `df`."""
        if reference not in self._gradient_names:
            name, number = f"d{reference}", 1
            # Nor is it what the gradient on another node is called.
            while self._is_name(name) or (number > 1 and self._is_name(name[1:])):
                number += 1
                name = f"d{reference}_{number}"
            self._gradient_names[reference] = name
        return self._gradient_names[reference]

    @cached_property
    def _gradient_names(self) -> dict[str, str]:
        """The names chosen so far. Finding a free one may take long."""
        return {}

    def _is_name(self, name: str) -> bool:
        return name in self.nodes or self.find(name) is not None

    def _call(self, path: str) -> Mapping[str | None, Output]:
        """The outputs of a call, from a cache."""
        if path in self._calls:
            return self._calls[path]
        outputs = outputs_of_call(self.definition, path, self.paths)
        if outputs:
            self._calls[path] = outputs
        return outputs

    @cached_property
    def _calls(self) -> dict[str, Mapping[str | None, Output]]:
        """The outputs of calls looked up so far."""
        return {}

    @checked
    def type_of(self, output: Output) -> ArrayType:
        """Shape and dtype of one output."""
        node = self.nodes[output.node]
        return node.types[output.position]

    @checked
    def operand_names(self, node: Node) -> list[str]:
        """How each operand of a node is referred to."""
        return [self.nodes[edge.source].name_of(edge.output) for edge in node.operands]

    @checked
    def suggestion(self, reference: str) -> str:
        """A clause that suggests the nearest right spelling of a reference."""
        return nearest(reference, [name for node in self.nodes.values() for name in node.names])

    def unused(self) -> list[str]:
        """The nodes that reach no output, in topological order."""
        ancestors = self.needed({output.node for output in self.outputs.values()})
        return [name for name in self.nodes if name not in ancestors]

    @checked
    def needed(self, names: set[str]) -> set[str]:
        """These nodes and their ancestors."""
        ancestors = set(names)
        for name in reversed(list(self.nodes)):
            if name in ancestors:
                for edge in self.nodes[name].operands:
                    ancestors.add(edge.source)
        return ancestors


def expand(body: TypedBody, paths: Collection[str] | None) -> TypedBody:
    """A body with the calls at some paths expanded, or all of them where that is None."""
    return TypedBody(body.definition, {node.id: node for node in _expanded_nodes(body, paths)}, body.gates, paths)


def _expanded_nodes(root: TypedBody, paths: Collection[str] | None) -> Iterator[Node]:
    """The nodes of a body in topological order, those of a call in its place."""
    pending: list[tuple[TypedBody, str, Mapping[str | int, Operand], Iterator[Node]]] = [
        (root, "", {}, iter(root.nodes.values()))]

    def is_expanded(path: str) -> bool:
        return paths is None or path in paths

    while pending:
        body, call, operands, nodes = pending[-1]
        for node in nodes:
            owner, is_inside, _ = node.id.partition("/")
            if is_inside and is_expanded(call + owner):
                continue  # it comes up again inside the call
            edges = _edges(body.definition, call, node, paths)
            if node.kind == "call" and is_expanded(call + node.id):
                own = {edge.port: edge for edge, old in zip(edges, node.operands, strict=True) if "/" not in old.source}
                inner: TypedBody = node.attributes["circuit"]
                pending.append((inner, f"{call}{node.id}/", own, iter(inner.nodes.values())))
                break
            if node.id in operands and node.is_argument:
                edge = operands[node.id]._replace(port="x")
                yield Node(call + node.id, IDENTITY, body.gates[IDENTITY], {}, (edge,), (), node.types, node.site)
            elif call or edges != node.operands:
                yield Node(call + node.id, node.kind, node.gate, node.attributes, edges, node.outputs, node.types,
                           node.site)
            else:
                yield node
        else:
            pending.pop()


def _edges(definition: Definition, call: str, node: Node, paths: Collection[str] | None) -> tuple[Operand, ...]:
    """The operands of a node in an expansion."""
    return tuple([Operand(call + source, output, port) if "/" in source else
                  Operand(*resolve(definition, call, source, output, paths), port)
                  for source, output, port in node.operands])
