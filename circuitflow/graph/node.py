"""A node of the graph: one vertex of the expanded circuit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from circuitflow.gates import ArrayType, Gate


class Edge(NamedTuple):
    """One operand of a node.

    Attributes:
        source: id of the node that it comes from.
        output: position of the output there; 0 unless the source's gate has several.
        port: name of the operand, or its position for a gate of any number of operands.
    """

    source: str
    output: int
    port: str | int


@dataclass(slots=True, eq=False)
class Node:
    """One vertex.

    Attributes:
        id: the id in the document; inside a call, a path such as "h1/dot".
        kind: "input", "parameter", "constant", the name of the gate, or the kind of node with a subcircuit.
        gate: the gate's row of the table; None for a source of data and for a node with a subcircuit.
        attributes: the gate's attributes.
        operands: where the operands come from, in operand order.
        outputs: names of the outputs where there are several.
        types: shape and dtype of every output; empty where they could not be inferred.
        label: free text of the document, or None.
    """

    id: str
    kind: str
    gate: Gate | None
    attributes: Mapping[str, Any]
    operands: tuple[Edge, ...]
    outputs: tuple[str, ...] = ()
    types: tuple[ArrayType, ...] = ()
    label: str | None = None

    @property
    def is_source(self) -> bool:
        """Whether it is an input, a parameter or a constant."""
        return self.kind in ("input", "parameter", "constant")

    @property
    def names(self) -> list[str]:
        """How each output is referred to: the id alone, or with the output's name where there are several."""
        return [f"{self.id}.{output}" for output in self.outputs] or [self.id]

    def name_of(self, output: int) -> str:
        """How the output at a position is referred to."""
        return f"{self.id}.{self.outputs[output]}" if self.outputs else self.id
