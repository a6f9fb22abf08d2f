"""The vocabulary of backward rules, over arrays: every gate as a function.

A name of a built-in gate means that gate, whatever row a table has under it.
"""

from __future__ import annotations

import functools
from typing import Any

from circuitflow.gates import GATES, Gate, GateTable


class Vocabulary:
    """`op.matmul(a, b)`, `op.reduce_sum(x, axis=1)`: each gate's forward rule, on arrays of one namespace."""

    def __init__(self, xp: Any, gates: GateTable) -> None:
        self.xp, self._gates = xp, gates

    def __getattr__(self, name: str) -> Any:
        """The function of a gate, made at its first use: a rule reads a few of all gates."""
        gate = GATES.get(name) or self._gates.get(name)
        if gate is None:
            raise AttributeError(f"there is no gate '{name}' in the table")
        function = _function(self.xp, gate)
        setattr(self, name, function)
        return function


def _function(xp: Any, gate: Gate) -> Any:
    if not gate.attributes.model_fields:
        return functools.partial(gate.forward, xp)
    return lambda *operands, **attributes: gate.forward(xp, *operands, **{**gate.defaults, **attributes})
