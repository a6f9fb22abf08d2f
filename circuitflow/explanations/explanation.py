"""Explains a run stage by stage: the forward pass, the reverse sweep with each rule in words, and the meaning."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from circuitflow.errors import InputError
from circuitflow.explanations.expressions import Expression, python, right_side, sent_back
from circuitflow.explanations.formulas import Symbols
from circuitflow.gates import ArrayType, AtLeast
from circuitflow.gates.integers import name_of
from circuitflow.gates.record import spell_out
from circuitflow.graph.circuit import Circuit
from circuitflow.graph.typed import Node
from circuitflow.interpreter.contribution import Contribution
from circuitflow.interpreter.result import Result
from circuitflow.text import application, few, number, printable

_NO_RULE = {
    "scan": "goes back through its circuit step by step, from the last position to the first",
    "if": "goes back through the circuit that ran; the other one gets none",
    "checkpoint": "computes its circuit again and goes back through it",
}


class Stage(NamedTuple):
    """One line of code with its number.

    Attributes:
        left: the name of the result.
        sign: "=", or "+=" where a contribution adds to others.
        right: the expression; "" for a number alone.
        value: the number.
        remark: a remark, or "".
        of: the name of the value, or of the value whose gradient it is, as in results.
        expression: the right side; None for a number alone.
        total: the sum at a fork, with the last contribution to it; else "".
    """

    left: str
    sign: str
    right: str
    value: str
    remark: str
    of: str
    expression: Expression | None
    total: str = ""


class Block(NamedTuple):
    """Stages that belong together.

    Attributes:
        heading: the gate of the backward rule, or "".
        words: the gate's rule in words, or "".
        node: id of the node, or "".
        stages: the lines.
        names: the left side of the heading.
        expression: the right side of the heading, or None.
    """

    heading: str
    words: str
    node: str
    stages: Sequence[Stage]
    names: Sequence[str] = ()
    expression: Expression | None = None


class Explanation(NamedTuple):
    """An explanation. Its texts are not escaped.

    Attributes:
        title, description: the circuit's own words.
        sources: inputs, parameters and constants.
        forward: the forward pass.
        backward: the reverse sweep, gate by gate; empty where there was none.
        meaning: how far and which way the output moves with each source, the strongest first.
        symbols: the names in formulas.
    """

    title: str
    description: str
    sources: Sequence[Stage]
    forward: Sequence[Stage]
    backward: Sequence[Block]
    meaning: Sequence[str]
    symbols: Symbols


def explanation(result: Result) -> Explanation:
    """The staged computation of a run, in this circuit's names and numbers.

    Raises:
        InputError: the result does not have the value of every node.
    """
    parts = _Parts(result)
    document = result.circuit.document
    return Explanation(printable(result.circuit.name, 100), printable(document.description or "", 1000),
                       list(parts.sources()), list(parts.forward()), list(parts.backward()), list(parts.meaning()),
                       Symbols({name: np.ndim(value) for name, value in result.values.items()},
                               result.circuit.gradient_name))


BACKWARD, MEANING = "Reverse sweep", "What it means"
NOTE = "x̄ is the gradient with respect to x, which words call dx. Tensors are bold."


def sections(content: Explanation) -> Iterator[tuple[str, Sequence[Block]]]:
    """The parts with stages, each with its heading."""
    for heading, blocks in (("Given", [Block("", "", "", content.sources)]),
                            ("Forward pass", [Block("", "", "", content.forward)]), (BACKWARD, content.backward)):
        if any(block.stages for block in blocks):
            yield heading, blocks


class _Parts:
    """The parts of an explanation of a result."""

    def __init__(self, result: Result) -> None:
        self.result, self.circuit = result, result.circuit
        self.ran = [node for node in self.circuit.nodes.values() if node.name_of(0) in result.values]
        if any(source not in result.values for node in self.ran for source in self.circuit.operand_names(node)):
            raise InputError("this result has outputs only; an explanation needs the value of every node, which run "
                             "gives with cache='all'")
        self.arrivals = Counter(c.source for c in result.contributions) + Counter(list(result.upstream))

    def sources(self) -> Iterator[Stage]:
        for node in self.ran:
            if node.is_source:
                kind = f"{node.kind}{_bounds_in_words(self.circuit, node.id)}"
                label = f"{kind}: {printable(node.label, 60)}" if node.label else kind
                yield Stage(node.id, "=", "", number(self.result.values[node.id]), label, node.id, None)

    def forward(self) -> Iterator[Stage]:
        for node in self.ran:
            if not node.is_source:
                operands = self.circuit.operand_names(node)
                expression = right_side(node, operands)
                right = python(expression).text
                for name in node.names:
                    label = printable(node.label, 60) if node.label else ""
                    output = name.partition(".")[2] if node.outputs else ""
                    yield Stage(name, "=", right + (f".{output}" if output else ""), number(self.result.values[name]),
                                label, name, expression._replace(output=output))
                    if node.gate is None:  # the other outputs show the first operands alone
                        right = application(node.kind, operands)

    def backward(self) -> Iterator[Block]:
        so_far: dict[str, Any] = {}
        counts: Counter[str] = Counter()

        def arrive(name: str, right: Expression | None, value: Any) -> Stage:
            value = np.asarray(value)  # so that sums keep its precision
            counts[name] += 1
            first = name not in so_far
            with np.errstate(all="ignore"):  # a sum that is not finite is told as any other
                so_far[name] = value if first else so_far[name] + value
            remark = total = ""
            if self.arrivals[name] > 1:
                remark = (f"the first of {self.arrivals[name]} that add up" if first else
                          f"so far {number(so_far[name])}")
                if counts[name] == self.arrivals[name]:
                    total = number(self.result.gradients[name])
                    remark = f"{name} forks, its contributions add up: {total}"
            left = self.circuit.gradient_name(name)
            return Stage(left, "=" if first else "+=", "" if right is None else python(right).text, number(value),
                         remark, name, right, total)

        if self.result.upstream:
            yield Block("", "", "", [arrive(name, None, value)._replace(remark="the upstream gradient")
                                     for name, value in self.result.upstream.items()])
        for target, group in groupby(self.result.contributions, key=lambda c: c.target):
            node, contributions = self.circuit.nodes[target], list(group)
            rights = self._rights(node, contributions)
            expression = right_side(node, self.circuit.operand_names(node))
            heading = f"{' and '.join(node.names[:4])} = {python(expression).text}"
            yield Block(heading, self._words(node, contributions, rights), target, [
                arrive(c.source, right, c.value) for c, right in zip(contributions, rights, strict=True)],
                node.names[:4], expression)

    def _rights(self, node: Node, contributions: Sequence[Contribution]) -> list[Expression | None]:
        """Every contribution as an expression, None where it is too long."""
        names = self.circuit.operand_names(node)
        ports = [c.port for c in contributions]
        receiving = set(ports)
        receives = [edge.port in receiving for edge in node.operands]
        types = [ArrayType(tuple(x.shape), name_of(x.dtype)) for x in (self.result.values[name] for name in names)]
        rules = sent_back(node, self.circuit.gates, names, types, node.names, receives,
                          list(map(self.circuit.gradient_name, node.names)))
        by_port = {edge.port: rule for edge, rule in zip(node.operands, rules, strict=True)}
        return [by_port[port] for port in ports]

    def _words(self, node: Node, contributions: Sequence[Contribution],
               rights: Sequence[Expression | None]) -> str:
        """A gate's rule in words; of a gate that routes its gradient, also the operand that gets it."""
        if node.gate is None:
            return f"{node.kind} {_NO_RULE[node.kind]}"
        receivers = []
        if node.gate.facets.note.routes and all(np.ndim(c.value) == 0 for c in contributions):
            receivers = [c.source for c in contributions if np.any(np.asarray(c.value))]
        words = rule(self.circuit, node, formula=not receivers and not all(rights))
        return words + (f"; here {' and '.join(receivers)}" if receivers else "")

    # What it means

    def meaning(self) -> Iterator[str]:
        if not self.result.upstream:
            return
        target = self._target()
        free = [node for node in self.ran if node.is_argument and node.id in self.result.gradients]
        sizes = {node.id: _norm(self.result.gradients[node.id]) for node in free}
        for node in sorted(free, key=lambda node: -sizes[node.id] if math.isfinite(sizes[node.id]) else -math.inf):
            yield self._sentence(node.id, np.asarray(self.result.gradients[node.id]), target)

    def _target(self) -> str:
        names, upstream = list(self.result.upstream), self.result.upstream.values()
        plain = all(np.ndim(g) == 0 and float(g) == 1 for g in upstream)
        if len(names) > 1:
            return "the sum of the outputs" + (", each times its upstream gradient," if not plain else "")
        return names[0] if plain else f"the sum of {names[0]} times {self.circuit.gradient_name(names[0])}"

    @staticmethod
    def _sentence(name: str, gradient: Any, target: str) -> str:
        place, slope, steepest = name, 0.0, ""
        if gradient.size:
            index = np.unravel_index(int(np.argmax(np.nan_to_num(np.abs(gradient), nan=np.inf))), gradient.shape)
            slope = float(gradient[index])
            if index:
                place = f"{name}[{', '.join(map(str, index))}]"
                steepest = f", the steepest of {name}"
        if not math.isfinite(slope):
            return f"{place}: its gradient is {number(slope)}, which tells nothing of {target}"
        if slope == 0:
            return f"{name}: a small change leaves {target} where it is"
        way = "rises" if slope > 0 else "falls"
        return (f"{place}: raise it by 0.01, and {target} {way} by about {abs(slope) * 0.01:.3g} "
                f"(slope {number(slope)}{steepest})")


def rule(circuit: Circuit, node: Node, *, formula: bool) -> str:
    """The backward rule of a gate in words, in the names of this circuit; with `formula`, also as one.

    A gate whose row has no words is described by its summary.
    """
    gate = node.gate
    assert gate is not None  # noqa: S101
    operands = circuit.operand_names(node)
    names = {name: number(value) if isinstance(value, float) else str(value)
             for name, value in node.attributes.items()}
    if isinstance(gate.operands, AtLeast):
        *first, last = few(operands)
        names["operands"] = names["all"] = f"{', '.join(first)} and {last}" if first else last
    else:
        names |= {str(edge.port): name for edge, name in zip(node.operands, operands, strict=True)}
    for name in node.names:
        output = name.partition(".")[1:]
        names |= {"out" + "".join(output): name, "g" + "".join(output): circuit.gradient_name(name)}
    words, expression = (spell_out(text, names) for text in (gate.facets.note.words, gate.facets.note.gradient))
    if not words:
        return f"{node.kind}: {expression or gate.summary}"
    return f"{node.kind} {words} ({expression})" if formula else f"{node.kind} {words}"


def _bounds_in_words(circuit: Circuit, name: str) -> str:
    """Where a fit may move a parameter, in words; "" where nothing is said of it."""
    words = " (frozen)" if name in circuit.frozen else ""
    if name in circuit.bounds:
        least, most = circuit.bounds[name]
        sides = [(np.any(np.isfinite(least)), f"≥ {number(least)}"), (np.any(np.isfinite(most)), f"≤ {number(most)}")]
        words = f" {', '.join(text for is_finite, text in sides if is_finite)}".rstrip() + words
    return words


def _norm(gradient: Any) -> float:
    with np.errstate(all="ignore"):
        return float(np.max(np.abs(np.asarray(gradient, np.float64)), initial=0.0))
