"""Scans in staged code: the body becomes straight-line code once, and a loop applies it at every position.

A body of float64 and truth values alone is a loop over Python floats, any other a call of array code a position. What
raises among floats is computed again on arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from circuitflow.engines.program.dialects import FLOATS, NAMES, float_literal, writable
from circuitflow.engines.program.fusing import branch_free
from circuitflow.engines.program.program import Program, trace_program
from circuitflow.engines.program.source import Statements, define
from circuitflow.engines.program.trace import Line, RuleCall, Value
from circuitflow.engines.staged.buffers import ArrayCode
from circuitflow.engines.staged.floats import float_line
from circuitflow.graph.typed import Node, TypedBody
from circuitflow.interpreter.application import Application
from circuitflow.interpreter.plan import Step
from circuitflow.interpreter.question import is_scalar
from circuitflow.interpreter.units import unit_gate


def with_loops(selected: int) -> Callable[[Step, Sequence[Any]], Callable[..., Any]]:
    """The rule of a step, for operands like these: for a scan, and a gate that is faster so, one that records one line.

    `selected` is as in `branch_free`.
    """
    def rule(step: Step, operands: Sequence[Any]) -> Callable[..., Any]:
        node = step.node
        if step.gate.facets.at_once and any(isinstance(x, Value) for x in operands):
            return lambda xp, *operands, **attributes: xp.call(
                RuleCall(step.gate.forward, np, **attributes), operands)
        if node.gate is not None or node.kind != "scan" or not any(isinstance(x, Value) for x in operands):
            return step.gate.forward
        loop = RuleCall(Loop(node, operands, selected))
        return lambda xp, *operands: xp.call(loop, operands)

    return rule


class Loop:
    """A scan of arrays of some shapes, as a function of its operands; gives its outputs in order."""

    def __init__(self, node: Node, samples: Sequence[Any], selected: int) -> None:
        """Trace the body for operands like these, which are values with a sample, arrays and numbers.

        Raises:
            GateError: a gate could not be applied to operands like these.
        """
        body: TypedBody = node.attributes["circuit"]
        self._ports = [str(edge.port) for edge in node.operands]
        self._carry: Mapping[str, str] = node.attributes["carry"]
        self._over = [name for name in self._ports if name in node.attributes["over"]]
        self._from_end, self._selected = node.attributes["reverse"], selected
        plan = self._plan = Application(body, (), node.id, unit_gate).plan
        given = dict(zip(self._ports, samples, strict=True))
        # Rules may look at what is a number already, such as an exponent.
        self._constants = {name: given[name] if name in given else body.expansion.values[name]
                           for name in plan.sources if name not in given or self._is_fixed(given, name)}
        self._samples = {name: _first(x) if name in self._over else x.sample if isinstance(x, Value) else np.asarray(x)
                         for name, x in given.items() if name not in self._constants}
        self._is_scalar = is_scalar(body.expansion, plan)
        self._in_arrays = ArrayCode(branch_free(self._program(), selected))
        self._stacked = {name: (np.shape(x), x.dtype) for name, x in self._in_arrays.program.outputs.items()
                         if name not in self._carry.values()}

    def _is_fixed(self, given: Mapping[str, Any], name: str) -> bool:
        return name not in self._carry and name not in self._over and not isinstance(given[name], Value)

    def _program(self, allowed: Callable[[Line], bool] = lambda line: True) -> Program:
        return trace_program(self._plan, self._samples, self._constants, allowed, rule_of=with_loops(self._selected))

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """The outputs.

        Raises:
            GateError: a gate could not be applied to the values that reached it.
        """
        operands = dict(zip(self._ports, map(np.asarray, arrays), strict=True))
        length = len(operands[self._over[0]])
        stacks = {name: np.empty((length, *shape), dtype) for name, (shape, dtype) in self._stacked.items()}
        try:
            ends = (self._go_in_floats if self._is_scalar else self._go_in_arrays)(operands, length, stacks)
        except (ArithmeticError, ValueError):
            ends = self._go_in_arrays(operands, length, stacks)
        return tuple(stacks[name] if name in stacks else ends[name] for name in self._plan.of)

    def _go_in_arrays(self, operands: Mapping[str, Any], length: int, stacks: Mapping[str, Any]) -> dict[str, Any]:
        """The last carries, by output; fills in the stacks."""
        now, over = dict(operands), [(name, operands[name]) for name in self._over]
        for t in reversed(range(length)) if self._from_end else range(length):
            for name, stack in over:
                now[name] = stack[t]
            outputs = self._in_arrays(now)
            for name, stack in stacks.items():
                stack[t] = outputs[name]
            for name, output in self._carry.items():
                now[name] = outputs[output]
        return {output: now[name] for name, output in self._carry.items()}

    def _go_in_floats(self, operands: Mapping[str, Any], length: int, stacks: Mapping[str, Any]) -> dict[str, Any]:
        """As `_go_in_arrays`."""
        step = -1 if self._from_end else 1
        ends, lists = self._in_floats(*(operands[name][::step].tolist() if name in self._over else operands[name].item()
                                        for name in self._samples))
        for stack, values in zip(stacks.values(), lists, strict=True):
            stack[::step] = values
        return {output: np.asarray(x)[()] for output, x in zip(self._carry.values(), ends, strict=True)}

    @cached_property
    def _in_floats(self) -> Callable[..., tuple[list[Any], list[list[Any]]]]:
        """The loop over floats: takes carries, numbers and lists; gives the last carries and more lists."""
        program = self._program(writable)
        source = Statements(program, float_literal)
        body = [text for _, text in source.texts(partial(float_line, source), FLOATS.inlines)]
        names = {name: source.name(value) for name, value in program.inputs.items()}
        ends = {name: source.text(program.outputs[output]) for name, output in self._carry.items()}
        carried, here = (", ".join(names[name] for name in some) for some in (self._carry, self._over))
        lists = {name: f"s{i}" for i, name in enumerate(self._over)}
        lines = [
            f"def loop({', '.join(lists.get(name, names[name]) for name in self._samples)}):",
            *(f"    r{i} = []" for i in range(len(self._stacked))),
            f"    for {here}, in zip({', '.join(lists.values())}):",
            *(f"        {line}" for line in body or ["pass"]),
            *(f"        r{i}.append({source.text(program.outputs[name])})" for i, name in enumerate(self._stacked)),
            *([f"        {carried}, = {', '.join(ends.values())},"] if ends else []),
            f"    return [{carried}], [{', '.join(f'r{i}' for i in range(len(self._stacked)))}]"]
        return define("\n".join(lines), {**NAMES, "zip": zip, **source.bound})


def _first(x: Any) -> Any:
    """An array like one position of a stack."""
    sample = x.sample if isinstance(x, Value) else np.asarray(x)
    return sample[0] if len(sample) else np.zeros(sample.shape[1:], sample.dtype)
