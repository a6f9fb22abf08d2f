"""A scan: a circuit applied at one position of its operands after the other, with a carry.

Every n-th carry is kept for the reverse sweep, and the result shows them as `scan/carry`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from circuitflow.gates.special import Namespace
from circuitflow.graph.typed import Node, TypedBody
from circuitflow.interpreter.application import Application, as_gate, receiving
from circuitflow.interpreter.loops import Loop, has_loop
from circuitflow.interpreter.masked import is_marked, mark, may_mask, plain
from circuitflow.interpreter.plan import Plan, UnitGate


def arrivals(plan: Plan, inputs: Mapping[str, int], carry: Mapping[str, str],
             upstream: Collection[str]) -> tuple[list[str], bool]:
    """The carries of a scan on which a gradient arrives, and whether it arrives there at every position.

    The plan is that of the body, which has the carries in the slots `inputs`. `upstream` are the outputs of the scan
    that have an upstream gradient.
    """
    steps = {slot: step for step in plan.steps if step.receivers for slot in step.slots}
    names = {slot: name for name, slot in inputs.items()}
    arrived, seen = set(upstream), set()
    pending = [plan.of[text] for text in upstream]
    while pending:  # back through the body, and from an input that is carried to the output that becomes it
        slot = pending.pop()
        if slot in seen or not plan.active[slot]:
            continue
        seen.add(slot)
        if slot in names:
            arrived.add(carry[names[slot]])
            pending.append(plan.of[carry[names[slot]]])
        if slot in steps:
            pending += (x for x, receives in zip(steps[slot].operands, steps[slot].receivers, strict=True) if receives)
    carries = [name for name in inputs if carry[name] in arrived]
    return carries, all(carry[name] in upstream and inputs[name] in seen for name in carries)


class Scan:
    """A scan. If it is differentiated, its hidden outputs are the kept carries."""

    def __init__(self, node: Node, receivers: Sequence[bool], unit_gate: UnitGate) -> None:
        body: TypedBody = node.attributes["circuit"]
        self.carry: Mapping[str, str] = node.attributes["carry"]
        self.over = dict.fromkeys(node.attributes["over"])  # quick to look up
        self.from_end, self.every = node.attributes["reverse"], node.attributes["cache"]
        self.ports = [str(edge.port) for edge in node.operands]
        self.outputs = list(body.outputs)
        self.targets = dict.fromkeys(receiving(node, receivers))
        self.floats = [name for name in self.carry if body.nodes[name].types[0].is_float]
        # A gradient on one operand may come by way of any carry.
        wrt = list(dict.fromkeys([*self.targets, *self.floats])) if self.targets else []
        self.application = Application(body, wrt, node.id, unit_gate)
        hidden = [f"{node.id}/{name}" for name in self.carry] if self.targets else []
        self.keeps, self.masks = bool(hidden), may_mask(body)
        self.arriving: dict[frozenset[str], tuple[list[str], bool]] = {}  # by the outputs on which a gradient arrives
        self.loop = Loop(self.application, self.carry, self.over, self.from_end, self.every, self.targets)
        self.gate = as_gate(node, self.forward, self.backward, hidden)

    def _arrivals(self, upstream: Mapping[str, Any]) -> tuple[list[str], bool]:
        arrived = frozenset(name for name, g in upstream.items() if g is not None)
        if arrived not in self.arriving:
            plan = self.application.plan
            slots = {name: plan.wrt[name] for name in self.floats}
            self.arriving[arrived] = arrivals(plan, slots, self.carry, arrived)
        return self.arriving[arrived]

    def _positions(self, operands: Mapping[str, Any]) -> list[int]:
        positions = list(range(operands[next(iter(self.over))].shape[0]))
        return positions[::-1] if self.from_end else positions

    def _step(self, operands: Mapping[str, Any], carry: Mapping[str, Any], t: int) -> dict[str, Any]:
        """The operands of the circuit at a position."""
        return {name: carry[name] if name in carry else value[t, ...] if name in self.over else value
                for name, value in operands.items()}

    def _next(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        return {name: outputs[output] for name, output in self.carry.items()}

    def _apply(self, xp: Any, operands: Mapping[str, Any]) -> dict[str, Any]:
        return dict(zip(self.outputs, self.application.outputs(self.application.forward(xp, operands)), strict=True))

    def forward(self, xp: Any, *arrays: Any) -> tuple[Any, ...]:
        operands = dict(zip(self.ports, arrays, strict=True))
        if has_loop(xp):
            results, inside = self.loop.forward(xp, operands)
            hidden = [inside, *[None] * (len(self.carry) - 1)] if self.keeps else []
            return (*(results[name] for name in self.outputs), *hidden)
        carry = {name: operands[name] for name in self.carry}
        last = set(self.carry.values())
        stacks: dict[str, list[Any]] = {name: [] for name in self.outputs if name not in last}
        kept: dict[str, list[Any]] = {name: [] for name in self.carry}
        positions = self._positions(operands)
        for i, t in enumerate(positions):
            if self.keeps and i % self.every == 0:
                for name, value in carry.items():
                    kept[name].append(value)
            outputs = self._apply(xp, self._step(operands, carry, t))
            carry = self._next(outputs)
            for name, stack in stacks.items():
                stack.append(outputs[name])
        if not positions:  # no steps: infer shapes from one step on zeros
            zeros = {name: xp.zeros(x.shape[1:], dtype=x.dtype) for name, x in operands.items() if name in self.over}
            outputs = self._apply(Namespace(xp, []), {**operands, **zeros})  # a namespace whose gates refuse no zero
            empty = {name: xp.zeros((0, *outputs[name].shape), dtype=outputs[name].dtype) for name in stacks}
        else:
            empty = {name: xp.stack(stack[::-1] if self.from_end else stack) for name, stack in stacks.items()}
        ends = {output: carry[name] for name, output in self.carry.items()}
        shown = [xp.stack(values) if values else xp.zeros((0, *carry[name].shape), dtype=carry[name].dtype)
                 for name, values in kept.items()] if self.keeps else []
        return (*(ends[name] if name in ends else empty[name] for name in self.outputs), *shown)

    def backward(self, op: Any, g: Any, out: Any, *arrays: Any) -> list[Any]:
        operands = dict(zip(self.ports, arrays, strict=True))
        upstream = dict(zip(self.outputs, g, strict=False))
        hidden = out[len(self.outputs) :]
        arriving, everywhere = self._arrivals(upstream)
        masked = self.masks or is_marked(g) or not everywhere
        if has_loop(op.xp):
            sent = self.loop.backward(op, operands, hidden[0] if hidden else None,
                                      {name: plain(x) for name, x in upstream.items()}, arriving, masked=masked)
            return [(mark(op, sent.get(name)) if masked else sent.get(name)) if name in self.targets else None
                    for name in self.ports]
        kept = dict(zip(self.carry, hidden, strict=True))
        carried = {name: upstream[output] for name, output in self.carry.items()}
        if masked:
            carried = {name: mark(op, value) for name, value in carried.items()}
            upstream = {name: mark(op, value) for name, value in upstream.items()}
        stacks: dict[str, list[Any]] = {name: [] for name in self.over}
        sums: dict[str, Any] = {}
        positions = self._positions(operands)
        for start in reversed(range(0, len(positions), self.every)):
            segment = positions[start : start + self.every]
            carries = [{name: values[start // self.every, ...] for name, values in kept.items()}]
            for t in segment[:-1]:
                carries.append(self._next(self._apply(op.xp, self._step(operands, carries[-1], t))))
            for t, carry in zip(reversed(segment), reversed(carries), strict=True):
                seeds = {output: carried[name] for name, output in self.carry.items()}
                here = {name: seeds[name] if name in seeds else None if g is None else g[t, ...]
                        for name, g in upstream.items()}
                sent = self.application.backward(op, self._step(operands, carry, t), here)
                carried = {name: sent.get(name) for name in self.carry}
                for name, value in sent.items():
                    if name in self.over:
                        stacks[name].append(value)
                    elif name not in self.carry and value is not None:
                        sums[name] = sums[name] + value if name in sums else value
        return [self._sent(op, name, operands, carried, stacks, sums) if name in self.targets else None
                for name in self.ports]

    def _sent(self, op: Any, name: str, operands: Mapping[str, Any], carried: Mapping[str, Any],
              stacks: Mapping[str, list[Any]], sums: Mapping[str, Any]) -> Any:
        """The gradient on an operand. Where it arrives at some positions, it is 0 at the others."""
        if name in self.carry:
            return carried[name]
        if name not in self.over or all(part is None for part in stacks[name]):
            return sums.get(name)
        nothing = op.zeros_like(operands[name][0, ...])
        parts = [nothing if part is None else part for part in stacks[name]]
        return op.stack(*(parts if self.from_end else parts[::-1]), axis=0)
