"""The rules of all lines, and how gates come to lines that have one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from circuitflow.export.flat.elements import ELEMENTS
from circuitflow.export.flat.lowering import Rules
from circuitflow.export.flat.reductions import REDUCTIONS
from circuitflow.export.flat.shapes import SHAPES
from circuitflow.interpreter.plan import Step

RULES: Rules = {**ELEMENTS, **REDUCTIONS, **SHAPES}


def rule_of(convert: Callable[[Any], Any]) -> Callable[[Step, Sequence[Any]], Callable[..., Any]]:
    """Gives the rule of a step; `convert` gives an array the dtype of the file."""
    def rule(step: Step, operands: Sequence[Any]) -> Callable[..., Any]:
        return step.gate.forward

    return rule
