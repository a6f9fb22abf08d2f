"""Nodes in topological order with their outputs."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from circuitflow.arguments import checked
from circuitflow.gates import ArrayType, Gate
from circuitflow.graph.bodies import SOURCES, Definition, Operand, Output, Site
from circuitflow.graph.expansion import outputs_of_call
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


class Network:
    """Nodes and outputs.

    Attributes:
        name: what it is called in messages.
        definition: the body.
        nodes: every node by id, in topological order, as near to the document's order as that allows.
        outputs: the outputs by reference, as the document lists them.
        paths: of the calls that are expanded; None where all are.
    """

    name: str
    definition: Definition
    nodes: Mapping[str, Node]
    outputs: Mapping[str, Output]
    paths: Container[str] | None = None

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
        used = self.needed({output.node for output in self.outputs.values()})
        return [name for name in self.nodes if name not in used]

    @checked
    def needed(self, names: set[str]) -> set[str]:
        """These nodes and their ancestors."""
        used = set(names)
        for name in reversed(list(self.nodes)):
            if name in used:
                for edge in self.nodes[name].operands:
                    used.add(edge.source)
        return used
