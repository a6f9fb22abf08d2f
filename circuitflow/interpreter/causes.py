"""What is said of a gate that is to blame for a gradient."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import numpy as np

from circuitflow.graph.bodies import Output
from circuitflow.graph.typed import TypedBody
from circuitflow.interpreter.factors import OUTPUT, Factor
from circuitflow.interpreter.opened import APPLYING, base_of
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
    values = [np.asarray(sweep.values[slot]) for slot in step.operands]
    if not any(np.size(sweep.values[slot]) for slot in step.slots):
        return "has no elements"
    axis = step.attributes.get("axis") if step.node.gate is not None else None
    if isinstance(axis, int) and values and axis < values[0].ndim and values[0].shape[axis] == 1:
        return f"goes along axis {axis}, which has one element"
    if step.node.gate is not None and not any(step.gate.reaches(i) for i in operands):
        return "lets no gradient through"
    words = _words(step)

    def sends(gradients: list[Any]) -> bool:
        _, sent = sweep.alone(step, values, gradients)
        return any(np.any(sent[i]) for i in operands if i in sent)

    arrived = [sweep.gradients[slot] for slot in step.slots]
    if any(g is not None and np.any(g) for g in arrived):
        if sends([None if g is None else _of_size_one(g) for g in arrived]):
            return "underflows"
        probes = sweep.probe(step)
        if sends([None if g is None or probe is None else probe * (np.asarray(g) != 0)
                  for g, probe in zip(arrived, probes, strict=True)]):
            return "sends nothing of the gradient that arrives"  # but of another one, at the same elements
        if sends(probes):
            return f"{words} where the gradient arrives"
    return words


def _words(step: Step) -> str:
    """Why a gate sends nothing back though its rule could."""
    if step.node.kind in APPLYING:
        closed = ", or the branch sends nothing back" * (step.node.gate is None)
        return f"takes the other branch{closed}" if step.node.kind == "if" else "sends nothing back"
    return step.gate.facets.note.dead or "has slope 0 here"


def _of_size_one(g: Any) -> Any:
    g = np.nan_to_num(np.asarray(g))
    return g / (size_of(g) or 1.0)


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
    """What makes the gradient small or large; `total` is the logarithm of all factors."""
    if found.step is None:
        return fork(sweep, found.operand)
    if found.step == OUTPUT:
        words = f"has an upstream gradient of {number(found.sent)}, and another output of {number(found.upstream)}"
        return Blame(sweep.plan.names[found.operand], "output", words, 1, 1, found.upstream, found.sent)
    step = sweep.plan.steps[found.step]
    share = f", {found.logarithm / total:.0%} of the whole on a scale of logarithms" if total else ""
    elements = sum(np.asarray(sweep.values[slot]).size for slot in step.slots)
    words = (f"sends {number(found.sent)} of {number(found.upstream)}: times {_power(found.logarithm)}{share}"
             + _numbers(sweep, step))
    return Blame(step.node.id, step.node.kind, words, elements, elements, found.upstream, found.sent)


def _power(logarithm: float) -> str:
    """Of e; also where it is larger than any float."""
    return number(math.exp(logarithm)) if abs(logarithm) < 700 else f"1e{logarithm / math.log(10):+.0f}"


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


def gathered(sweep: Sweep, blamed: Iterable[Blame], dead: Collection[str] = ()) -> list[Blame]:
    """The blame with that of one gate at several positions of a scan in one; `dead` are all that send nothing back."""
    places: dict[tuple[str, str], list[tuple[str, Blame]]] = {}
    for blame in blamed:
        name, position = base_of(blame.node)
        places.setdefault((name, blame.gate), []).append((position, blame))
    counts, counts_of_dead = (Counter(base_of(other)[0] for other in names)
                              for names in ([step.node.id for step in sweep.plan.steps], dead))
    found: list[Blame] = []
    for (name, _), group in places.items():
        positions, parts = zip(*sorted(group, key=lambda pair: [int(t) for t in pair[0].split("/") if t]), strict=True)
        if not positions[0]:
            found += parts
            continue
        where = f" at position {positions[0]}"
        if len(parts) > 1:
            where += f", and likewise at {', '.join(few(positions[1:], 4))},"
        where += f" of {counts[name] or len(parts)}"
        if counts_of_dead[name] > len(parts):
            where += f", and sends nothing back at {counts_of_dead[name]}"
        found.append(Blame(name, parts[0].gate, parts[0].cause + where, sum(part.killed for part in parts),
                           sum(part.elements for part in parts), max(part.upstream for part in parts),
                           max(part.sent for part in parts)))
    return found


def partly_dead(sweep: Sweep) -> list[Blame]:
    """The gates that send fewer elements than arrive, at most four: those of the largest shares."""
    found: dict[int, Blame] = {}
    for (k, _), sent in sweep.sent.items():
        step = sweep.plan.steps[k]
        arrived: Any = [g for g in sweep.upstream_of(step) if g.shape == sent.shape]
        killed = int(np.count_nonzero(arrived[0])) - int(np.count_nonzero(sent)) if arrived else 0
        if killed > (found[k].killed if k in found else 0):
            found[k] = Blame(step.node.id, step.node.kind, _words(step) + _numbers(sweep, step), killed, sent.size,
                             size_of(arrived[0]), size_of(sent))
    return sorted(gathered(sweep, found.values()), key=lambda blame: -blame.killed / blame.elements)[:4]


def dependents(circuit: TypedBody, output: Output) -> set[tuple[str, int]]:
    """The outputs of nodes that depend on one, through any gate; itself among them."""
    reached: set[tuple[str, int]] = {output}
    for node in circuit.nodes.values():
        if any((source, position) in reached for source, position, _ in node.operands):
            reached.update((node.id, position) for position in range(len(node.types)))
    return reached


def dead_ends(circuit: TypedBody, reached: Collection[tuple[str, int]], outputs: Collection[str]) -> list[Blame]:
    """Where the paths from a node end, none of them at an output that ran; `reached` is what depends on the node."""
    used = {source for node in circuit.nodes.values() for source, position, _ in node.operands
            if (source, position) in reached}
    ends = {circuit.nodes[name].name_of(position): circuit.nodes[name].kind
            for name, position in sorted(reached) if name not in used}
    what = "leads to none of the outputs" if len(outputs) > 1 else f"does not lead to {', '.join(outputs)}"
    return [Blame(name, kind, what, 1, 1, 0.0, 0.0) for name, kind in ends.items()]
