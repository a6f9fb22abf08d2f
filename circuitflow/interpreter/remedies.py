"""The smallest change that gives a gradient back: a number added to a value, found at one gate, tried in a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from circuitflow.errors import GateError
from circuitflow.graph.typed import TypedBody
from circuitflow.interpreter.opened import base_of
from circuitflow.interpreter.plan import Step
from circuitflow.interpreter.rerun import Sweep, is_alive, size_of
from circuitflow.text import number

SHARE = 0.1
"""The share of the elements of a gate that a change must reach."""

LEAST, MOST = 1e-3, 1e3
"""How much of what arrives a gate sends after a change: on such a share of elements so much, and nowhere more."""

RUNS = 4
"""How many changes of one gate are tried in a run."""

LOW, HIGH = 1e-300, 1e300
"""The bounds of all sizes of changes."""

SEARCH = [10.0**k for k in range(-12, 13)]
"""The sizes of changes that are tried, before the smallest that helps is narrowed down."""


class Change(NamedTuple):
    """A change that revives a gradient, as a run with it has shown.

    Attributes:
        node: the node whose value changes, or the gate that goes.
        shift: what is added to the value; None where the gate gives way to its operand.
        gradient: the largest magnitude of the gradient that the run with the change gives.
    """

    node: str
    shift: float | None
    gradient: float | None

    def __str__(self) -> str:
        if self.shift is None:
            return f"leave out '{self.node}'"
        verb = "raise" if self.shift > 0 else "lower"
        return (f"{verb} '{self.node}' by {number(abs(self.shift))}: the largest gradient is then "
                f"{number(self.gradient)}")


def change_for(circuit: TypedBody, sweep: Sweep, k: int, receivers: Sequence[int] | None,
               is_right: Callable[[Any], bool]) -> Change | None:
    """The smallest shift of one operand of a gate that helps there, and that makes the gradient right in a run.

    Args:
        circuit: the circuit.
        sweep: the passes as they are.
        k: the position of the gate in the schedule.
        receivers: the positions of the operands that the gate should send something to; None for all.
        is_right: tells whether a gradient is as it should be.
    """
    step = sweep.plan.steps[k]
    shifts = []
    for j, slot in enumerate(step.operands):
        if np.asarray(sweep.values[slot]).dtype.kind == "f":
            # Of two as large, the raise comes first: a relu, a square or a sqrt of 0 cannot be lower.
            shifts += [(abs(shift), shift < 0, slot, shift) for sign in (1.0, -1.0)
                       if (shift := _smallest(sweep, k, j, sign, receivers)) is not None]
    places = [(name, place, sign * shift) for _, _, slot, shift in sorted(shifts)
              for name, place, sign in _places(circuit, sweep, slot)]
    for name, place, shift in places[:RUNS]:
        base = base_of(name)[0]
        here = [place] if base == name else [slot for slot, other in enumerate(sweep.plan.names)
                                             if base_of(other)[0] == base]  # at all positions of a scan
        gradient = sweep.moved_gradient(dict.fromkeys(here, shift))
        if is_right(gradient):
            return Change(base, shift, size_of(gradient))
    return None


def _smallest(sweep: Sweep, k: int, j: int, sign: float, receivers: Sequence[int] | None) -> float | None:
    """The smallest shift of an operand in one direction that helps, to two digits."""
    step = sweep.plan.steps[k]
    values = [np.asarray(sweep.values[slot]) for slot in step.operands]
    arrived = (sweep.gradients[slot] for slot in step.slots)
    upstream = [probe if g is None or not is_alive(g) else np.asarray(g)
                for g, probe in zip(arrived, sweep.probe(step), strict=True)]
    size = max((size_of(g) for g in upstream if g is not None), default=0.0)

    def good(shift: float) -> bool:
        moved = list(values)
        with np.errstate(all="ignore"):
            moved[j] = (values[j] + sign * shift).astype(values[j].dtype)
        try:
            outs, sent = sweep.alone(step, moved, upstream)
        except GateError:
            return False
        parts = [sent.get(i, np.zeros(1)) for i in (sent if receivers is None else receivers)]
        return all(np.all(np.isfinite(out)) for out in outs) and all(
            np.sum(np.abs(part) >= LEAST * size) >= SHARE * part.size and size_of(part) <= MOST * size
            for part in parts)

    tried = sorted({*SEARCH, *_distances(step, values, j)})
    at = next((n for n, shift in enumerate(tried) if good(shift)), None)
    if at is None:
        return None
    low, high = tried[at - 1] if at else tried[0] / 10, tried[at]
    for _ in range(10):
        middle = math.sqrt(low) * math.sqrt(high)
        low, high = (low, middle) if good(middle) else (middle, high)
    digits = 10.0 ** (math.floor(math.log10(high)) - 1)
    rounded = math.ceil(high / digits - 1e-9) * digits
    return sign * (float(f"{rounded:.2g}") if good(rounded) else high)


def _distances(step: Step, values: Sequence[Any], j: int) -> Iterator[float]:
    """How far an operand lies from 0, from the numbers among the gate's attributes, and from the other operands."""
    anchors = [0.0, *(value for value in step.attributes.values() if isinstance(value, float | int)),
               *(value for i, value in enumerate(values) if i != j and value.dtype.kind == "f")]
    finite = ((x := np.asarray(anchor, np.float64))[np.isfinite(x)] for anchor in [values[j], *anchors])
    ends = [np.quantile(x, [0, 0.5, 1]) for x in finite if x.size]
    for anchor in ends[1:]:
        yield from (float(x) for x in np.abs(np.subtract.outer(ends[0], anchor)).flat if LOW < x < HIGH)


def _places(circuit: TypedBody, sweep: Sweep, slot: int) -> Iterator[tuple[str, int, float]]:
    """Where a value can be moved: at a parameter or an input that is added to it, or at the value itself."""
    names, plan = sweep.plan.names, sweep.plan
    step = next((step for step in plan.steps if slot in step.slots), None)
    if step is not None and len(step.slots) == 1:
        own = [(circuit.nodes[names[source]].kind != "parameter", i, source) for i, source in enumerate(step.operands)
               if names[source] in circuit.nodes and circuit.nodes[names[source]].is_argument]
        for _, i, source in sorted(own):
            if slope := _slope(sweep, step, i):
                yield names[source], source, slope
    yield names[slot], slot, 1.0


def _slope(sweep: Sweep, step: Step, i: int) -> float:
    """1 or -1 where all elements of an operand are added or subtracted at the values as they are, else 0."""
    values = [np.asarray(sweep.values[slot]) for slot in step.operands]
    out = np.asarray(sweep.values[step.output])
    sent = sweep.alone(step, values, [np.ones_like(out)])[1].get(i)
    share = values[i].size / max(out.size, 1)  # a gradient adds up over what is broadcast
    return next((sign for sign in (1.0, -1.0) if sent is not None and sent.size and np.all(sent * share == sign)), 0.0)
