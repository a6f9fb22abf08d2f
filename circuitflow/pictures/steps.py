"""The steps of a walk through a picture: which marks appear at each gate of the forward pass and the reverse sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from circuitflow.explanations.explanation import Block, Explanation, Stage
from circuitflow.pictures.picture import Kind, Picture

Line = Callable[[Stage, str], Any]
"""Gives a stage as a line of a step; the second argument is the node that sends it, "" in the forward pass."""


def steps(content: Explanation, picture: Picture, line: Line | None = None) -> Iterator[dict[str, Any]]:
    """The forward pass and the reverse sweep, gate by gate, each with the marks that appear; lines are texts."""
    if picture.is_overview:
        return
    stages = _Stages(picture, line or (lambda stage, _: text_of(stage)))
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

    def __init__(self, picture: Picture, line: Line) -> None:
        self.line = line
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
        return {"phase": "forward pass", "at": self.at(stage.of.partition(".")[0]), "lines": self._lines([stage]),
                "values": self.values.get(stage.of, [])}

    def backward(self, block: Block, alone: list[str]) -> dict[str, Any]:
        """A block; what gets one contribution in all, `alone`, has its total at once, though its value forks."""
        totals = [key for name in alone for key in self.totals.get(name, [])]
        if not block.node:
            return {"phase": "reverse sweep", "at": [], "lines": self._lines(block.stages),
                    "gradients": [key for stage in block.stages for key in self.arrivals.get(stage.of, [])]
                    + totals}
        return {"phase": "reverse sweep", "at": self.at(block.node), "heading": block.heading, "words": block.words,
                "lines": self._lines(block.stages, block.node),
                "gradients": self.contributions.get(block.node, []) + totals}

    def fork(self, stage: Stage) -> dict[str, Any]:
        total = stage._replace(sign="=", right="", value=stage.total, remark="", expression=None)
        return {"phase": "reverse sweep, a fork", "at": self.at(stage.of.partition(".")[0]),
                "words": f"{stage.of} forks: its contributions add up.", "lines": self._lines([total]),
                "gradients": self.totals.get(stage.of, [])}

    def _lines(self, stages: Sequence[Stage], node: str = "") -> list[Any]:
        return [self.line(stage, node) for stage in stages]


def text_of(stage: Stage) -> str:
    """A stage as a line of code with its number and its remark."""
    right = f"{stage.right} = " if stage.right else ""
    remark = f"  # {stage.remark}" if stage.remark else ""
    return f"{stage.left} {stage.sign} {right}{stage.value}{remark}"
