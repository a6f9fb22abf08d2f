"""Why a gradient is zero, vanishing, exploding or not finite: the gates to blame, and the smallest change that helps.

The gradient on a node is finite, and its largest magnitude is compared with that of the upstream gradient:

- zero: every element is exactly 0. To blame is the smallest set of gates that every path from the outputs to the node
  goes through (`circuitflow.interpreter.cut`), each of which sends nothing back; or nothing leads from the node to an
  output. Where the gradient of an element is not 0 on both sides of the node, that is at a stationary point, such as
  an optimum: no gate is to blame.
- vanishing: below `SMALL` times the upstream gradient; a node of large values counts as that much larger. To blame are
  the fewest gates on the strongest path without whose factors it would not vanish
  (`circuitflow.interpreter.factors`).
- exploding: above `LARGE` times the upstream gradient, likewise.
- not finite: an element is infinite or NaN. To blame is every gate that makes it so of finite numbers.

A node with some elements of 0 is healthy; the gates that send fewer elements than they get are reported, not blamed. A
change is a number that is added to a value. It is reported only if a run with it gives a gradient that is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from circuitflow.document.values import from_array
from circuitflow.errors import InputError
from circuitflow.graph.circuit import Circuit
from circuitflow.graph.typed import TypedBody
from circuitflow.interpreter.causes import (
    Blame,
    dead_ends,
    dead_gate,
    dependents,
    factor,
    fork,
    gate,
    gathered,
    partly_dead,
)
from circuitflow.interpreter.cut import minimum_cut
from circuitflow.interpreter.factors import OUTPUT, fewest, origins, strongest_path
from circuitflow.interpreter.opened import base_of, opened
from circuitflow.interpreter.plan import differentiable, output_of
from circuitflow.interpreter.remedies import Change, change_for
from circuitflow.interpreter.rerun import Sweep, is_alive, size_of
from circuitflow.text import number

SMALL, LARGE = 1e-8, 1e8
"""The least and the largest ratio of a healthy gradient to the upstream gradient."""

MOST_LISTED = 12
"""The most gates to blame that are listed in words."""


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with the gradient on one node, if anything.

    Attributes:
        wrt: the node, as it was named.
        verdict: "healthy", "stationary", "zero", "vanishing", "exploding", "not finite" or "frozen".
        gradient: the largest magnitude of the gradient.
        upstream: the largest magnitude of the upstream gradients.
        zeros: how many elements of the gradient are exactly 0.
        elements: how many elements it has.
        blamed: the gates to blame; of a healthy gradient those that send some elements nothing.
        change: the smallest change that revives the gradient; None where there is none, or none was found.
    """

    wrt: str
    verdict: str
    gradient: float
    upstream: float
    zeros: int
    elements: int
    blamed: tuple[Blame, ...] = ()
    change: Change | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is to blame."""
        return self.verdict in ("healthy", "stationary")

    def __str__(self) -> str:
        size = f"largest {number(self.gradient)}, upstream {number(self.upstream)}"
        if self.elements > 1:
            size += f", {self.zeros} of {self.elements} elements are 0"
        head = {"stationary": "zero, as at a stationary point: no gate is to blame", "healthy": "nothing is wrong",
                "frozen": "frozen: a fit leaves it as it is"}.get(self.verdict, self.verdict)
        lines = [f"{self.wrt}: {head} ({size})", *(f"  {blame}" for blame in self.blamed[:MOST_LISTED])]
        if (more := len(self.blamed) - MOST_LISTED) > 0:
            lines.append(f"  … {more} more gates are to blame")
        if self.change is not None:
            lines.append(f"  smallest change: {self.change}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for `json.dumps`; numbers that are not finite are strings, as in documents."""
        return {**_spelled(asdict(self)), "ok": self.ok,
                "blamed": [_spelled(blame._asdict()) for blame in self.blamed],
                "change": None if self.change is None else _spelled(self.change._asdict())}


def arguments(circuit: Circuit) -> list[str]:
    """The nodes that are looked into where none are named: inputs and parameters of floats that are not frozen."""
    return [node.id for node in circuit.nodes.values()
            if node.is_argument and node.types[0].is_float and node.id not in circuit.frozen]


def suspects(names: Iterable[str], values: Mapping[str, Any], gradients: Mapping[str, Any],
             upstream: Mapping[str, Any]) -> Iterator[str]:
    """Those of some nodes whose gradient is missing, or by its size may be other than healthy.

    A diagnosis compares with the outputs that depend on the node, which are not known here. Its verdict is healthy if
    it is for the largest and for the smallest upstream gradient of the run, and for one of 0 if there is one.
    """
    sizes = sorted({size_of(seed) for seed in upstream.values()} or {0.0})
    for name in names:
        if name not in gradients or any(_verdict(gradients[name], size, values[name]) != "healthy"
                                        for size in (*sizes[:2], *sizes[-1:])):
            yield name


def diagnose(circuit: Circuit, outputs: Sequence[str], wrt: str, values: Mapping[str, Any],
             gradients: Mapping[str, Any], upstream: Mapping[str, Any]) -> Diagnosis:
    """The diagnosis of the gradient on a node, of a run whose values, gradients and upstream gradients these are.

    Raises:
        InputError: there is no such node, its type has no gradient, or the run kept no values or gradients.
    """
    output = differentiable(circuit, wrt, output_of(circuit, wrt, "why"))
    name = circuit.nodes[output.node].name_of(output.position)
    ends = {circuit.nodes[end.node].name_of(end.position): end
            for end in (output_of(circuit, text, "of") for text in outputs)}
    reached = dependents(circuit, output)
    live = [text for text, end in ends.items() if end in reached]
    needed = circuit.needed({end.node for end in ends.values()})
    sources = [node.id for node in circuit.nodes.values() if node.is_source and node.id in needed]
    if missing := [text for text in (*sources, *ends, *([name] if live else [])) if text not in values]:
        raise InputError(f"why: the run has no value of '{missing[0]}'; run with cache=\"all\"")
    seeds = {**_defaults(circuit, outputs, values), **upstream}
    if not live:
        shape = [size if isinstance(size, int) else 1 for size in circuit.type_of(output).shape]
        return _diagnosis(circuit, wrt, name, "zero", np.zeros(shape), max(map(size_of, seeds.values()), default=0.0),
                          dead_ends(circuit, reached, outputs))
    if name in gradients and np.all(gradient := np.asarray(gradients[name])):
        arriving = max((size_of(upstream[text]) for text in live if text in upstream), default=0.0)
        if (verdict := _verdict(gradient, arriving, values[name])) == "healthy":
            return _diagnosis(circuit, wrt, name, verdict, gradient, arriving)
    sweep = Sweep.of(circuit, outputs, wrt, values, seeds)
    gradient, value = sweep.gradient, values[name]
    arriving = max(map(size_of, sweep.seeds.values() or seeds.values()), default=0.0)
    verdict = _verdict(gradient, arriving, value)

    def is_right(other: Any) -> bool:
        return is_alive(other) and _verdict(other, arriving, value) == "healthy"

    blamed: list[Blame] = []
    change = None
    body, inside = look_inside(circuit, sweep, values)
    body, sweep = (body, inside) if _verdict(inside.gradient, arriving, value) == verdict else (circuit, sweep)
    if verdict == "healthy":
        blamed = partly_dead(sweep) if np.any(gradient == 0) and gradient.size else []
    elif verdict == "zero":
        verdict, blamed, change = _zero(body, sweep, outputs, name, is_right)
    elif verdict == "not finite":
        blamed, change = _not_finite(body, sweep, is_right)
    else:
        allowed = SMALL / max(1.0, size_of(value)) if verdict == "vanishing" else LARGE
        blamed, change = _scaled(body, sweep, arriving, allowed, is_right)
    return _diagnosis(circuit, wrt, name, verdict, gradient, arriving, blamed, change)


def look_inside(body: TypedBody, sweep: Sweep, values: Mapping[str, Any]) -> tuple[TypedBody, Sweep]:
    """The circuit and the passes with what is inside of scans, ifs and checkpoints, as deep as there are any."""
    while units := {step.node.id: [sweep.values[slot] for slot in step.operands] for step in sweep.plan.steps
                    if step.node.gate is None and step.receivers}:
        found = opened(body, units)
        if found is None:
            break
        body, values = found, {**values, **found.constants}
        sweep = sweep.of_body(body, values)
    return body, sweep


def _defaults(circuit: Circuit, outputs: Sequence[str], values: Mapping[str, Any]) -> dict[str, Any]:
    """Upstream gradients for outputs that no gradient could flow from, so that the run has none: ones, if not given."""
    defaults = {}
    for text in outputs:
        output = output_of(circuit, text, "of")
        name = circuit.nodes[output.node].name_of(output.position)
        value = np.asarray(values[name])
        if value.dtype.kind == "f":
            stored = circuit.upstream_name(text)
            defaults[name] = np.ones_like(value) if stored is None else circuit.upstream[stored]
    return defaults


def _diagnosis(circuit: Circuit, wrt: str, name: str, verdict: str, gradient: Any, upstream: float,
               blamed: Sequence[Blame] = (), change: Change | None = None) -> Diagnosis:
    gradient = np.asarray(gradient)
    if verdict == "healthy" and name in circuit.frozen:
        verdict, blamed = "frozen", [Blame(name, "parameter", "is frozen: set \"frozen\" to false to fit it",
                                           gradient.size, gradient.size, upstream, size_of(gradient))]
    return Diagnosis(wrt, verdict, size_of(gradient), upstream, int(np.sum(gradient == 0)), gradient.size,
                     tuple(blamed), change)


def _verdict(gradient: Any, upstream: float, value: Any) -> str:
    if not np.all(np.isfinite(gradient)):
        return "not finite"
    if not np.any(gradient):
        return "zero" if gradient.size else "healthy"
    ratio = size_of(gradient) / upstream if upstream else 1.0
    if ratio * max(1.0, size_of(value)) < SMALL:
        return "vanishing"
    return "exploding" if ratio > LARGE else "healthy"


def _zero(body: TypedBody, sweep: Sweep, outputs: Sequence[str], name: str,
          is_right: Any) -> tuple[str, list[Blame], Change | None]:
    plan = sweep.plan
    if _is_stationary(sweep):
        return "stationary", [], None
    reached = dependents(body, output_of(body, name, "why"))
    names = {body.nodes[node].name_of(position) for node, position in reached}
    slots = {slot for slot, text in enumerate(plan.names) if text in names}
    if slots.isdisjoint(plan.of.values()):  # all paths end inside of a subcircuit
        return "zero", gathered(sweep, dead_ends(body, reached, outputs)), None
    cut = minimum_cut(sweep, slots)
    dead = [plan.steps[k].node.id for k in cut.dead]
    blamed = gathered(sweep, (dead_gate(sweep, k, operands) for k, operands in cut.steps.items()), dead)
    blamed += [fork(sweep, slot) for slot in cut.forks]
    blamed += [Blame(plan.names[slot], "output", "has an upstream gradient of 0", 1, 1, 0.0, 0.0)
               for slot in cut.outputs]
    for k, operands in cut.steps.items():
        step = plan.steps[k]
        if _stops_alone(sweep, k):
            if sweep.between(step):
                return "zero", blamed, Change(base_of(step.node.id)[0], None, None)
        elif change := change_for(body, sweep, k, operands, is_right):
            return "zero", blamed, change
    return "zero", blamed, None


def _stops_alone(sweep: Sweep, k: int) -> bool:
    """Whether a gate gives its one operand as it is, and lets no gradient through."""
    step = sweep.plan.steps[k]
    return (step.node.gate is not None and len(step.operands) == 1 and not step.gate.reaches(0)
            and np.array_equal(sweep.values[step.output], sweep.values[step.operands[0]], equal_nan=True))


def _is_stationary(sweep: Sweep) -> bool:
    """Whether the gradient is finite, and of some element not 0, a little to either side of the node."""
    value = np.asarray(sweep.values[sweep.target])
    with np.errstate(all="ignore"):
        step = float(np.finfo(value.dtype).eps) ** (1 / 3)
        away = np.random.default_rng(0).uniform(0.5, 1.5, value.shape) * step * np.maximum(np.abs(value), 1)
    above, below = (sweep.moved_gradient({sweep.target: sign * away}) for sign in (1, -1))
    return is_alive(above) and is_alive(below) and bool(np.any((above != 0) & (below != 0)))


def _not_finite(body: TypedBody, sweep: Sweep, is_right: Any) -> tuple[list[Blame], Change | None]:
    found, names = origins(sweep), sweep.plan.names
    blamed = [gate(sweep, k, None) for k in found.forward] + [gate(sweep, k, i) for k, i in found.backward]
    blamed += [fork(sweep, slot) for slot in found.forks]
    for slots, kind, words in ((found.sources, "", "has a value that is not finite"),
                               (found.upstream, "output", "has an upstream gradient that is not finite")):
        blamed += [Blame(names[slot], kind or body.nodes[names[slot]].kind, words, 1, 1, float("nan"), float("nan"))
                   for slot in slots]
    for k, operands in [*((k, None) for k in found.forward), *((k, [i]) for k, i in found.backward)]:
        if change := change_for(body, sweep, k, operands, is_right):
            return gathered(sweep, blamed), change
    return gathered(sweep, blamed), None


def _scaled(body: TypedBody, sweep: Sweep, arriving: float, allowed: float,
            is_right: Any) -> tuple[list[Blame], Change | None]:
    path = strongest_path(sweep, arriving)
    factors = fewest(path, allowed) or sorted(path, key=lambda f: -abs(f.logarithm))[:1]
    total = sum(each.logarithm for each in path)
    blamed = gathered(sweep, (factor(sweep, each, total) for each in factors))
    step = factors[0].step
    if len(factors) != 1 or step is None or step == OUTPUT:
        return blamed, None
    return blamed, change_for(body, sweep, step, [factors[0].operand], is_right)


def _spelled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, with floats as documents spell them."""
    return {name: from_array(np.asarray(value)) if isinstance(value, float) else value
            for name, value in fields.items()}
