"""What is said of a gate that is to blame for a gradient."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np

from circuitflow.graph.circuit import Circuit
from circuitflow.interpreter.factors import Factor
from circuitflow.interpreter.plan import Step
from circuitflow.interpreter.rerun import Sweep, size_of
from circuitflow.text import few, number


class Blame(NamedTuple):
    """A gate, or another node, that is to blame, and the numbers there.

    Attributes:
        node: its id, a path inside a call.
        gate: its gate, or the kind of source; "output" where the upstream gradient is to blame.
        cause: what it does, in words.
        killed: on how many elements of its output.
        elements: of how many.
        upstream: the largest magnitude of the gradient that arrives at it.
        sent: the largest magnitude of what it sends towards the node.
    """

    node: str
    gate: str
    cause: str
    killed: int
    elements: int
    upstream: float
    sent: float

    def __str__(self) -> str:
        share = f" on {self.killed} of {self.elements} elements" if self.elements > 1 else ""
        return f"node '{self.node}': {self.gate} {self.cause}{share}"


_CAUSES = {
    "abs": "has slope 0 at 0", "clip": "is outside of its bounds",
    "gelu": "is saturated", "hard_sigmoid": "is saturated", "hard_swish": "is saturated",
    "log_softmax": "is saturated", "max": "takes another operand", "maximum": "takes another operand",
    "min": "takes another operand", "minimum": "takes another operand", "mul": "multiplies by 0",
    "reduce_max": "takes other elements", "reduce_min": "takes other elements", "relu": "is inactive",
    "sigmoid": "is saturated", "softmax": "is saturated", "softplus": "is saturated",
    "stop_gradient": "lets no gradient through", "tanh": "is saturated", "where": "takes the other branch",
    "if": "takes the other branch, or the branch sends nothing back",
}
"""Why a gate sends nothing back though its rule could."""


def dead_gate(sweep: Sweep, k: int, operands: list[int]) -> Blame:
    """A gate that sends nothing to some operands."""
    step = sweep.plan.steps[k]
    upstream = [g for g in sweep.upstream_of(step) if np.any(g)] or [g for g in sweep.probe(step) if g is not None]
    elements = sum(np.asarray(sweep.values[slot]).size for slot in step.slots)
    killed = sum(int(np.count_nonzero(g)) for g in upstream) if upstream else elements
    arrived = max(map(size_of, sweep.upstream_of(step)), default=0.0)
    return Blame(step.node.id, step.node.kind, _cause(sweep, k, operands) + _numbers(sweep, step), killed, elements,
                 arrived, 0.0)


def _cause(sweep: Sweep, k: int, operands: list[int]) -> str:
    step = sweep.plan.steps[k]
    axis = step.attributes.get("axis") if step.node.gate is not None else None
    if isinstance(axis, int) and step.operands and (shape := np.shape(sweep.values[step.operands[0]])) and (
            shape[axis] == 1):
        return f"goes along axis {axis}, which has one element"
    if step.node.gate is not None and not all(step.gate.reaches(i) for i in operands):
        return "lets no gradient through"
    if step.node.gate is None and not step.receivers:
        return "has no path inside that passes a gradient"
    if step.node.kind in ("mul", "exp") and all(np.all(sweep.values[slot]) for slot in step.operands):
        return "underflows"
    _, probed = sweep.alone(step, [sweep.values[slot] for slot in step.operands], sweep.probe(step))
    words = _CAUSES.get(step.node.kind)
    if any(np.any(probed[i]) for i in operands if i in probed):
        return f"{words} where the gradient arrives" if words else "underflows"
    return words or "has slope 0 here"


def _numbers(sweep: Sweep, step: Step) -> str:
    """The operands, with their ranges."""
    texts = []
    for slot in dict.fromkeys(step.operands):
        value = np.asarray(sweep.values[slot])
        if value.dtype.kind == "f" and value.size:
            low, high = number(value.min()), number(value.max())
            texts.append(f"{sweep.plan.names[slot]} " + (f"= {low}" if value.size == 1 else f"from {low} to {high}"))
    return f" ({', '.join(few(texts, 4))})" if texts else ""


def fork(sweep: Sweep, slot: int) -> Blame:
    """A fork whose contributions cancel, or overflow when they are added."""
    arriving = list(sweep.arriving(slot))
    parts = [f"{number(size_of(x))} from {sweep.plan.steps[k].node.id}" for (k, _), x in arriving]
    total = np.asarray(sweep.gradients[slot])
    what = "cancel" if np.all(np.isfinite(total)) else "add up to what is not finite"
    name = sweep.plan.names[slot]
    return Blame(name, "fork", f"has contributions that {what}: largest magnitudes {', '.join(few(parts, 4))}",
                 total.size, total.size, max(size_of(x) for _, x in arriving), size_of(total))


def factor(sweep: Sweep, found: Factor, total: float) -> Blame:
    """A gate, or a fork, that makes the gradient small or large; `total` is the logarithm of all factors."""
    if found.step is None:
        return fork(sweep, found.operand)
    step = sweep.plan.steps[found.step]
    share = f", {found.logarithm / total:.0%} of the whole on a scale of logarithms" if total else ""
    elements = sum(np.asarray(sweep.values[slot]).size for slot in step.slots)
    words = (f"sends {number(found.sent)} of {number(found.upstream)}: times {number(math.exp(found.logarithm))}{share}"
             + _numbers(sweep, step))
    return Blame(step.node.id, step.node.kind, words, elements, elements, found.upstream, found.sent)


def gate(sweep: Sweep, k: int, operand: int | None) -> Blame:
    """A gate that makes what is not finite: of its operands, or of the gradient that arrives."""
    step = sweep.plan.steps[k]
    bad = ([np.asarray(sweep.values[slot]) for slot in step.slots] if operand is None else
           [sweep.sent[k, operand]])
    killed = sum(int(np.sum(~np.isfinite(x))) for x in bad if x.dtype.kind == "f")
    first = next(x[~np.isfinite(x)].flat[0] for x in bad if not np.all(np.isfinite(x)))
    verb = "gives" if operand is None else "sends back"
    return Blame(step.node.id, step.node.kind, f"{verb} {number(first)}{_numbers(sweep, step)}", killed,
                 sum(x.size for x in bad), max(map(size_of, sweep.upstream_of(step)), default=0.0), float(first))


def partly_dead(sweep: Sweep) -> list[Blame]:
    """The gates that send fewer elements than arrive, at most four: those of the largest shares."""
    found = []
    for (k, _), sent in sweep.sent.items():
        step = sweep.plan.steps[k]
        arrived: Any = [g for g in sweep.upstream_of(step) if g.shape == sent.shape]
        if arrived and (killed := int(np.count_nonzero((arrived[0] != 0) & (sent == 0)))):
            found.append(Blame(step.node.id, step.node.kind, _CAUSES.get(step.node.kind, "sends nothing")
                               + _numbers(sweep, step), killed, sent.size, size_of(arrived[0]), size_of(sent)))
    return sorted(found, key=lambda blame: -blame.killed / blame.elements)[:4]


def dead_ends(circuit: Circuit, name: str, outputs: Collection[str]) -> list[Blame]:
    """Where the paths from a node end, none of them at an output that ran."""
    first = name.partition(".")[0]
    reached, used = {first}, set()
    for node in circuit.nodes.values():
        sources = {operand.source for operand in node.operands} & reached
        if sources:
            reached.add(node.id)
            used |= sources
    ends = [circuit.nodes[id_] for id_ in circuit.nodes if id_ in reached and id_ not in used]
    what = "leads to none of the outputs" if len(outputs) > 1 else f"does not lead to {', '.join(outputs)}"
    return [Blame(node.id, node.kind, what, 1, 1, 0.0, 0.0) for node in ends]
