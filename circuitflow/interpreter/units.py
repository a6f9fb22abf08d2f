"""Runs nodes with subcircuits as a unit, and takes gradients back through them.

The forward pass keeps no values inside of a unit; the reverse sweep computes them again, one application at a time.
A scan keeps every n-th carry, and the result shows them as `scan/carry`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from circuitflow.errors import GateError
from circuitflow.gates import ArrayType, Gate, Reads
from circuitflow.gates.special import Namespace
from circuitflow.graph.typed import Node, TypedBody
from circuitflow.interpreter.binding import Bound
from circuitflow.interpreter.masked import is_marked, mark, may_mask
from circuitflow.interpreter.passes import forward_pass, marked_sweep
from circuitflow.interpreter.plan import Plan, make_plan


def unit_gate(node: Node, receivers: Sequence[bool]) -> Gate:
    """A node with subcircuits as a gate: its value, and the contributions to the operands that receive one."""
    if node.kind == "scan":
        return _Scan(node, receivers).gate
    return (_choice if node.kind == "if" else _unit)(node, receivers)


def _gate(node: Node, forward: Any, backward: Any, hidden: Sequence[str] = ()) -> Gate:
    """A row for one node: several outputs always, so that hidden ones can follow."""
    return Gate(node.kind, "", tuple(str(edge.port) for edge in node.operands), ArrayType, forward, backward,
                outputs=(*node.names, *hidden), reads=Reads.INPUTS | Reads.OUTPUT)


class _Application:
    """One body, ready to run any number of times, at a path."""

    def __init__(self, body: TypedBody, wrt: Sequence[str], path: str) -> None:
        self.body, self.wrt, self.path = body, tuple(wrt), path
        if self.wrt not in body.plans:
            body.plans[self.wrt] = make_plan(body.expansion, None, self.wrt, unit_gate)
        self.plan: Plan = body.plans[self.wrt]

    def forward(self, xp: Any, operands: Mapping[str, Any]) -> list[Any]:
        """The value in every slot."""
        constants = {name: _as_in(xp, self.body.expansion.values[name], operands) for name in self.plan.sources
                     if name not in operands}
        try:
            return forward_pass(self.plan, Bound(xp, {**operands, **constants}, {}))
        except GateError as error:
            raise self._inside(error) from error

    def outputs(self, values: Sequence[Any]) -> list[Any]:
        """The values of the outputs."""
        return [values[slot] for slot in self.plan.of.values()]

    def backward(self, op: Any, operands: Mapping[str, Any], upstream: Sequence[Any]) -> dict[str, Any]:
        """The gradients on the operands, from those on the outputs; None is the absence of one."""
        seeds = self.plan.seeds(dict(zip(self.plan.of, upstream, strict=True)))
        if not seeds:
            return dict.fromkeys(self.wrt)
        values = self.forward(op.xp, operands)
        try:
            gradients, _ = marked_sweep(self.plan, op, values, seeds)
        except GateError as error:
            raise self._inside(error) from error
        return dict(zip(self.wrt, (gradients[slot] for slot in self.plan.wrt.values()), strict=True))

    def _inside(self, error: GateError) -> GateError:
        """An error at a node of the body, with the path of that node."""
        assert error.at is not None  # noqa: S101
        node, what = error.at
        return GateError.of(f"{self.path}/{node}", what)


def _as_in(xp: Any, array: Any, operands: Mapping[str, Any]) -> Any:
    """A constant in the library, and on the device, of the operands."""
    like = next(iter(operands.values()), None)
    device = getattr(like, "device", None)
    return array if like is None or type(like) is type(array) else xp.asarray(array.copy(), device=device)


def _names(node: Node, receivers: Sequence[bool]) -> list[str]:
    return [str(edge.port) for edge, receives in zip(node.operands, receivers, strict=True) if receives]


def _unit(node: Node, receivers: Sequence[bool]) -> Gate:
    """A checkpoint."""
    ports = [str(edge.port) for edge in node.operands]
    application = _Application(node.attributes["circuit"], _names(node, receivers), node.id)

    def forward(xp: Any, *operands: Any) -> tuple[Any, ...]:
        return tuple(application.outputs(application.forward(xp, dict(zip(ports, operands, strict=True)))))

    def backward(op: Any, g: Any, out: Any, *operands: Any) -> list[Any]:
        sent = application.backward(op, dict(zip(ports, operands, strict=True)), g)
        return [sent.get(port) for port in ports]

    return _gate(node, forward, backward)


def _choice(node: Node, receivers: Sequence[bool]) -> Gate:
    """An if: `then` and `else` take what they need of the operands."""
    ports = [str(edge.port) for edge in node.operands]
    names = _names(node, receivers)
    branches = {key: _Application(body, [name for name in names if name in body.inputs], f"{node.id}/{key}")
                for key, body in node.attributes.items()}
    order = list(node.attributes["then"].outputs)

    def chosen(operands: Sequence[Any]) -> tuple[_Application, dict[str, Any], list[str]]:
        inputs = dict(zip(ports, operands, strict=True))
        branch = branches["then" if bool(inputs["condition"]) else "else"]
        return branch, {name: inputs[name] for name in branch.body.inputs}, list(branch.body.outputs)

    def forward(xp: Any, *operands: Any) -> tuple[Any, ...]:
        branch, inputs, names = chosen(operands)
        outputs = dict(zip(names, branch.outputs(branch.forward(xp, inputs)), strict=True))
        return tuple(outputs[name] for name in order)

    def backward(op: Any, g: Any, out: Any, *operands: Any) -> list[Any]:
        branch, inputs, names = chosen(operands)
        upstream = dict(zip(order, g, strict=True))
        sent = branch.backward(op, inputs, [upstream[name] for name in names])
        return [mark(op, sent.get(port)) for port in ports]

    return _gate(node, forward, backward)


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


class _Scan:
    """A scan. If it is differentiated, its hidden outputs are the kept carries."""

    def __init__(self, node: Node, receivers: Sequence[bool]) -> None:
        body: TypedBody = node.attributes["circuit"]
        self.carry: Mapping[str, str] = node.attributes["carry"]
        self.over = dict.fromkeys(node.attributes["over"])  # quick to look up
        self.from_end, self.every = node.attributes["reverse"], node.attributes["cache"]
        self.ports = [str(edge.port) for edge in node.operands]
        self.outputs = list(body.outputs)
        self.targets = dict.fromkeys(_names(node, receivers))
        self.floats = [name for name in self.carry if body.nodes[name].types[0].is_float]
        # A gradient on one operand may come by way of any carry.
        wrt = list(dict.fromkeys([*self.targets, *self.floats])) if self.targets else []
        self.application = _Application(body, wrt, node.id)
        hidden = [f"{node.id}/{name}" for name in self.carry] if self.targets else []
        self.keeps, self.masks = bool(hidden), may_mask(body)
        self.everywhere: dict[frozenset[str], bool] = {}  # by the outputs on which a gradient arrives
        self.gate = _gate(node, self.forward, self.backward, hidden)

    def _arrives_everywhere(self, upstream: Mapping[str, Any]) -> bool:
        arrived = frozenset(name for name, g in upstream.items() if g is not None)
        if arrived not in self.everywhere:
            plan = self.application.plan
            slots = {name: plan.wrt[name] for name in self.floats}
            self.everywhere[arrived] = arrivals(plan, slots, self.carry, arrived)[1]
        return self.everywhere[arrived]

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
        kept = dict(zip(self.carry, out[len(self.outputs) :], strict=True))
        carried = {name: upstream[output] for name, output in self.carry.items()}
        if self.masks or is_marked(g) or not self._arrives_everywhere(upstream):
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
                here = [seeds[name] if name in seeds else None if upstream[name] is None else upstream[name][t, ...]
                        for name in self.outputs]
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
