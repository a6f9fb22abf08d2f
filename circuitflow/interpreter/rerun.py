"""One gradient of a finished run, computed again with all that its edges send, or with some values moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from circuitflow.errors import GateError
from circuitflow.graph.typed import TypedBody
from circuitflow.interpreter.binding import library_of
from circuitflow.interpreter.masked import plain
from circuitflow.interpreter.passes import apply, fill_in, send_back
from circuitflow.interpreter.plan import Plan, Step, make_plan
from circuitflow.interpreter.units import unit_gate
from circuitflow.interpreter.vocabulary import Vocabulary

Edge = tuple[int, int]
"""The position of a step in the schedule, and that of one of its operands."""


class Sweep:
    """The two passes for the gradient on one node, in NumPy.

    Attributes:
        plan: the schedule.
        target: the slot of the node.
        values: the value in every slot.
        gradients: the gradient in every slot, None where none arrived.
        sent: what every edge sent back.
    """

    def __init__(self, circuit: TypedBody, plan: Plan, sources: Mapping[str, Any], upstream: Mapping[str, Any],
                 moved: Mapping[int, Any] | None = None) -> None:
        """Run; `moved` is what is added to values, by slot, before their gates go on."""
        self._circuit, self.plan, self._sources, self._upstream = circuit, plan, sources, upstream
        (self.target,) = plan.wrt.values()
        moved, xp = moved or {}, library_of(None).xp
        self._random = np.random.default_rng(0)
        self.op = Vocabulary(xp, circuit.gates)
        with np.errstate(all="ignore"):
            self.values: list[Any] = [None] * len(plan.names)
            for name, slot in plan.sources.items():
                self.values[slot] = np.asarray(sources[name])
                self._move(moved, slot)
            for step in plan.steps:
                apply(step, xp, self.values)
                for slot in step.slots:
                    self._move(moved, slot)
            names = {plan.names[slot]: slot for slot in plan.of.values()}
            self.seeds = {slot: np.asarray(upstream[name]) for name, slot in names.items()
                          if plan.active[slot] and name in upstream}
            self.gradients: list[Any] = [None] * len(self.values)
            for slot, seed in self.seeds.items():
                self.gradients[slot] = seed
            self.sent: dict[Edge, Any] = {}
            for k in range(len(plan.steps) - 1, -1, -1):
                if plan.steps[k].receivers:
                    self.sent |= {(k, i): np.asarray(x) for i, x in
                                  send_back(plan.steps[k], self.op, self.values, self.gradients)}
            self.gradients = [plain(g) for g in self.gradients]
            fill_in(plan, self.op, self.values, self.gradients)

    @classmethod
    def of(cls, circuit: TypedBody, outputs: Sequence[str], wrt: str, sources: Mapping[str, Any],
           upstream: Mapping[str, Any]) -> Sweep:
        """The passes for a question."""
        return cls(circuit, make_plan(circuit, outputs, (wrt,), unit_gate), sources, upstream)

    def of_body(self, body: TypedBody, sources: Mapping[str, Any]) -> Sweep:
        """The same passes through a circuit that computes the same."""
        return Sweep.of(body, list(self.plan.of), next(iter(self.plan.wrt)), sources, self._upstream)

    def _move(self, moved: Mapping[int, Any], slot: int) -> None:
        if slot in moved:
            value = np.asarray(self.values[slot])
            self.values[slot] = (value + moved[slot]).astype(value.dtype)

    @property
    def gradient(self) -> Any:
        """The gradient on the node."""
        return np.asarray(self.gradients[self.target])

    def moved_gradient(self, moved: Mapping[int, Any]) -> Any:
        """The gradient with something added to the values in some slots; NaN if a gate refuses them."""
        try:
            return Sweep(self._circuit, self.plan, self._sources, self._upstream, moved).gradient
        except GateError:
            return np.full_like(self.gradient, np.nan)

    def between(self, stopped: Step) -> bool:
        """Whether a gradient would arrive if one gate of one operand, which stops it, let it through unchanged."""
        plan = make_plan(self._circuit, list(self.plan.of), (stopped.node.id,), unit_gate)
        above = Sweep(self._circuit, plan, self._sources, self._upstream).gradient
        operand = self.plan.names[stopped.operands[0]]
        below = make_plan(self._circuit, (operand,), list(self.plan.wrt), unit_gate)
        return is_alive(Sweep(self._circuit, below, self._sources, {operand: above}).gradient)

    def upstream_of(self, step: Step) -> list[Any]:
        """The gradients that arrived at the outputs of a gate."""
        return [np.asarray(self.gradients[slot]) for slot in step.slots if self.gradients[slot] is not None]

    def alone(self, step: Step, operands: Sequence[Any], upstream: Sequence[Any]) -> tuple[Any, dict[int, Any]]:
        """What one gate alone gives, and sends back, for other operands and gradients on its outputs."""
        count = len(operands)
        receivers = step.receivers if step.node.gate is None else tuple(
            step.gate.reaches(i) and operand.dtype.kind not in "iub" for i, operand in enumerate(operands))
        step = step._replace(operands=tuple(range(count)), output=count, receivers=receivers)
        values, gradients = [*operands, *upstream], [*[None] * count, *upstream]
        with np.errstate(all="ignore"):
            apply(step, self.op.xp, values)
            return values[count:], {i: np.asarray(x) for i, x in send_back(step, self.op, values, gradients)}

    def probe(self, step: Step) -> list[Any]:
        """Gradients for the outputs of a gate as they may come: no two elements are the same."""
        return [self._random.uniform(0.5, 1.5, value.shape).astype(value.dtype) if value.dtype.kind == "f" else None
                for value in (np.asarray(self.values[slot]) for slot in step.slots)]

    def arriving(self, slot: int) -> Iterator[tuple[Edge, Any]]:
        """The contributions that add up at a slot."""
        for edge in self._readers.get(slot, ()):
            if edge in self.sent:
                yield edge, self.sent[edge]

    @property
    def _readers(self) -> Mapping[int, list[Edge]]:
        if not hasattr(self, "_by_slot"):
            self._by_slot: dict[int, list[Edge]] = {}
            for k, step in enumerate(self.plan.steps):
                for i, slot in enumerate(step.operands):
                    self._by_slot.setdefault(slot, []).append((k, i))
        return self._by_slot


def size_of(x: Any) -> float:
    """The largest magnitude; NaN where an element is NaN."""
    with np.errstate(all="ignore"):
        return float(np.max(np.abs(np.asarray(x, np.float64)), initial=0.0))


def is_alive(gradient: Any) -> bool:
    """Whether a gradient is finite everywhere, and somewhere not 0."""
    return bool(np.all(np.isfinite(gradient)) and np.any(gradient))
