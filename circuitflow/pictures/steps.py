"""The steps of a walk through a picture: which marks appear at each gate of the forward pass and the reverse sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from circuitflow.explanations.explanation import Block, Stage, explanation
from circuitflow.graph.circuit import Circuit
from circuitflow.interpreter.result import Result
from circuitflow.pictures.picture import Kind, Picture


def steps(subject: Circuit | Result, picture: Picture) -> Iterator[dict[str, Any]]:
    """The forward pass and the reverse sweep, gate by gate, each with the marks that appear."""
    if not isinstance(subject, Result) or any(vertex.kind == Kind.BAND for vertex in picture.vertices):
        return
    content, stages = explanation(subject), _Stages(picture)
    for stage in (*content.sources, *content.forward):
        yield stages.forward(stage)
    counts = Counter(stage.of for block in content.backward for stage in block.stages)
    for block in content.backward:
        alone = [stage.of for stage in block.stages if counts[stage.of] == 1]
        yield stages.backward(block, alone)
        for stage in block.stages:
            if stage.total:
                yield stages.fork(stage)


class _Stages:
    """Stages with their vertices, and the marks on wires that they add."""

    def __init__(self, picture: Picture) -> None:
        self.vertices = {vertex.node: vertex.key for vertex in reversed(picture.vertices) if vertex.node}
        kinds = {vertex.key: vertex.kind for vertex in picture.vertices}
        self.values: dict[str, list[str]] = {}
        self.arrivals: dict[str, list[str]] = {}
        self.totals: dict[str, list[str]] = {}
        self.contributions: dict[str, list[str]] = {}
        for wire in picture.wires:
            self.values.setdefault(wire.of, []).append(wire.key)
            for target, _ in wire.edges:
                self.contributions.setdefault(target, []).append(wire.key)
            if kinds[wire.target] == Kind.FORK:
                self.totals.setdefault(wire.of, []).append(wire.key)
            elif kinds[wire.target] == Kind.OUTPUT:
                self.arrivals.setdefault(wire.of, []).append(wire.key)

    def at(self, node: str) -> list[str]:
        """The vertex of a node, or of the closed call that it is in."""
        while node and node not in self.vertices:
            node = node.rpartition("/")[0]
        return [self.vertices[node]] if node else []

    def forward(self, stage: Stage) -> dict[str, Any]:
        return {"phase": "forward pass", "at": self.at(stage.of.partition(".")[0]), "lines": [_line(stage)],
                "values": self.values.get(stage.of, [])}

    def backward(self, block: Block, alone: list[str]) -> dict[str, Any]:
        """A block; what gets one contribution in all, `alone`, has its total at once, though its value forks."""
        totals = [key for name in alone for key in self.totals.get(name, [])]
        if not block.node:
            return {"phase": "reverse sweep", "at": [], "lines": list(map(_line, block.stages)),
                    "gradients": [key for stage in block.stages for key in self.arrivals.get(stage.of, [])]
                    + totals}
        return {"phase": "reverse sweep", "at": self.at(block.node), "heading": block.heading, "words": block.words,
                "lines": list(map(_line, block.stages)), "gradients": self.contributions.get(block.node, []) + totals}

    def fork(self, stage: Stage) -> dict[str, Any]:
        return {"phase": "reverse sweep, a fork", "at": self.at(stage.of.partition(".")[0]),
                "words": f"{stage.of} forks: its contributions add up.", "lines": [f"{stage.left} = {stage.total}"],
                "gradients": self.totals.get(stage.of, [])}


def _line(stage: Stage) -> str:
    right = f"{stage.right} = " if stage.right else ""
    remark = f"  # {stage.remark}" if stage.remark else ""
    return f"{stage.left} {stage.sign} {right}{stage.value}{remark}"
