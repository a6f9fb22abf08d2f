"""One circuit that a node applies as a unit: its plan, its two passes, and the place of their errors.

The forward pass keeps no values inside of a unit; the reverse sweep computes them again, one application at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from circuitflow.errors import GateError
from circuitflow.gates import ArrayType, Gate, Reads
from circuitflow.graph.typed import Node, TypedBody
from circuitflow.interpreter.binding import Bound
from circuitflow.interpreter.masked import unmasked
from circuitflow.interpreter.passes import forward_pass, send_back
from circuitflow.interpreter.plan import Plan, UnitGate, make_plan


def as_gate(node: Node, forward: Any, backward: Any, hidden: Sequence[str] = ()) -> Gate:
    """A row for one node: several outputs always, so that hidden ones can follow."""
    return Gate(node.kind, "", tuple(str(edge.port) for edge in node.operands), ArrayType, forward, backward,
                outputs=(*node.names, *hidden), reads=Reads.INPUTS | Reads.OUTPUT)


def receiving(node: Node, receivers: Sequence[bool]) -> list[str]:
    """The operands that receive a contribution."""
    return [str(edge.port) for edge, receives in zip(node.operands, receivers, strict=True) if receives]


class Application:
    """One body, ready to run any number of times, at a path."""

    def __init__(self, body: TypedBody, wrt: Sequence[str], path: str, unit_gate: UnitGate) -> None:
        self.body, self.wrt, self.path = body, tuple(wrt), path
        if self.wrt not in body.plans:
            body.plans[self.wrt] = make_plan(body.expansion, None, self.wrt, unit_gate)
        self.plan: Plan = body.plans[self.wrt]
        self._swept = [step for step in reversed(self.plan.steps) if step.receivers]

    def forward(self, xp: Any, operands: Mapping[str, Any]) -> list[Any]:
        """The value in every slot."""
        if own := [name for name in self.plan.sources if name not in operands]:
            values = self.body.expansion.values
            operands = {**operands, **{name: _as_in(xp, values[name], operands) for name in own}}
        try:
            return forward_pass(self.plan, Bound(xp, operands, {}))
        except GateError as error:
            raise self._inside(error) from error

    def outputs(self, values: Sequence[Any]) -> list[Any]:
        """The values of the outputs."""
        return [values[slot] for slot in self.plan.of.values()]

    def backward(self, op: Any, operands: Mapping[str, Any], upstream: Mapping[str, Any],
                 overrides: Mapping[int, Any] | None = None) -> dict[str, Any]:
        """The gradients on the operands, from those on the outputs; None is the absence of one.

        Values are computed again, except those of the overrides, by slot.
        """
        seeds = self.plan.seeds(upstream)
        if not seeds:
            return dict.fromkeys(self.wrt)
        values = self.forward(op.xp, operands)
        for slot, value in (overrides or {}).items():
            values[slot] = value
        gradients: list[Any] = [None] * len(values)
        for slot, seed in seeds.items():
            gradients[slot] = seed
        op = unmasked(op)
        try:
            for step in self._swept:
                for _ in send_back(step, op, values, gradients):
                    pass
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
