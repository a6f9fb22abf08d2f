"""Nodes with subcircuits as lines: a scan is a loop, an if has two blocks, and a checkpoint is its body."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from circuitflow.engines.flat.arrays import Array, stored, variable
from circuitflow.engines.flat.indices import Index
from circuitflow.engines.flat.lowering import Lowering, Rules
from circuitflow.engines.flat.writing import recording
from circuitflow.engines.program.program import Program, trace_program
from circuitflow.engines.program.trace import Line, RuleCall, Value
from circuitflow.graph.typed import Node, TypedBody
from circuitflow.interpreter.application import Application
from circuitflow.interpreter.plan import Plan, Step
from circuitflow.interpreter.units import unit_gate

Convert = Callable[[Any], Any]
"""Gives an array the dtype of the file."""


def rule_of(convert: Convert) -> Callable[[Step, Sequence[Any]], Callable[..., Any]]:
    """Gives the rule of a step, which records lines that have a form."""
    def rule(step: Step, operands: Sequence[Any]) -> Callable[..., Any]:
        node = step.node
        if node.gate is not None or not any(isinstance(x, Value) for x in operands):
            return recording(step.gate.forward)
        ports = [str(edge.port) for edge in node.operands]
        if node.kind == "checkpoint":
            body = node.attributes["circuit"]
            return lambda xp, *operands: _inline(xp, body, dict(zip(ports, operands, strict=True)), node.id, convert)
        if node.kind == "if" and not isinstance(operands[ports.index("condition")], Value):
            branch = node.attributes["then" if bool(operands[ports.index("condition")]) else "else"]
            return lambda xp, *operands: _inline(xp, branch, dict(zip(ports, operands, strict=True)), node.id, convert)
        unit: Any = (Loop if node.kind == "scan" else Choice)(node, ports, operands, convert)
        return lambda xp, *operands: xp.call(RuleCall(unit), operands)

    return rule


def _inline(xp: Any, body: TypedBody, values: Mapping[str, Any], name: str, convert: Convert) -> tuple[Any, ...]:
    """The lines of a body in the place of its node."""
    plan, rules = _plan(body, name), rule_of(convert)
    slots: list[Any] = [None] * len(plan.names)
    for source, slot in plan.sources.items():
        slots[slot] = values[source] if source in values else convert(body.expansion.values[source])[()]
    for step in plan.steps:
        operands = [slots[slot] for slot in step.operands]
        out = rules(step, operands)(xp, *operands, **step.attributes)
        slots[step.output : step.output + (step.outputs or 1)] = out if step.outputs else [out]
    return tuple(slots[slot] for slot in plan.of.values())


def _plan(body: TypedBody, name: str) -> Plan:
    return Application(body, (), name, unit_gate).plan


def _sample(x: Any) -> Any:
    return x.sample if isinstance(x, Value) else np.asarray(x)


def _program(body: TypedBody, plan: Plan, samples: Mapping[str, Any], numbers: Mapping[str, Any],
             convert: Convert) -> Program:
    """The lines of a body for operands like samples; `numbers` are those that it need not be told."""
    constants = {name: numbers[name] if name in numbers else convert(body.expansion.values[name])
                 for name in plan.sources if name not in samples}
    here = {name: x for name, x in samples.items() if name in plan.sources}
    return trace_program(plan, here, constants, checked=True, rule_of=rule_of(convert))


class Choice:
    """An if: one of two programs, by a truth value."""

    def __init__(self, node: Node, ports: Sequence[str], operands: Sequence[Any], convert: Convert) -> None:
        """Trace both branches."""
        given = dict(zip(ports, operands, strict=True))
        samples = {name: _sample(x) for name, x in given.items() if isinstance(x, Value)}
        numbers = {name: x for name, x in given.items() if not isinstance(x, Value)}
        self.ports, self.branches = list(ports), [
            _program(node.attributes[key], _plan(node.attributes[key], f"{node.id}/{key}"), samples, numbers, convert)
            for key in ("then", "else")]
        self.order = [list(node.attributes[key].outputs) for key in ("then", "else")]

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """Zeros like the outputs."""
        outputs = self.branches[0].outputs
        return tuple(np.zeros(np.shape(outputs[name]), outputs[name].dtype) for name in self.order[0])


def choice(low: Lowering, line: Line, *operands: Any) -> list[Array]:
    """The blocks of an if."""
    unit: Choice = line.function.func  # type: ignore[attr-defined]
    given = {name: low.ready(low.array(x)) for name, x in zip(unit.ports, operands, strict=True)}
    code, results = low.code, list[Array]()
    for value in line.results:
        if value.shape:
            results.append(low.room(value.shape, value.dtype, low.hint_of(value, line)))
            continue
        name = code.new_name(low.hint_of(value, line))
        code.line(code.language.constant(name, value.dtype, None))
        code.own(name, value.dtype)
        results.append(variable(value.dtype, name))
    condition = given["condition"].at(code, ()).text
    for head, program, order in zip((f"if ({condition}) {{", "else {"), unit.branches, unit.order, strict=True):
        with code.block(head), low.inside():
            low.run(program, {name: given[name] for name in program.inputs})
            for name, out in zip(order, results, strict=True):
                low.copy(low.array(program.outputs[name], out.dtype), out)
    return results


class Loop:
    """A scan: a program that is applied at one position after the other."""

    def __init__(self, node: Node, ports: Sequence[str], operands: Sequence[Any], convert: Convert) -> None:
        """Trace the body."""
        body: TypedBody = node.attributes["circuit"]
        given = dict(zip(ports, operands, strict=True))
        self.ports = list(ports)
        self.carry: Mapping[str, str] = node.attributes["carry"]
        self.over = [name for name in ports if name in node.attributes["over"]]
        self.from_end: bool = node.attributes["reverse"]
        self.length = np.shape(given[self.over[0]])[0]
        moving = [*self.carry, *self.over]
        samples = {name: np.zeros(np.shape(x)[1:], x.dtype) if name in self.over else _sample(x)
                   for name, x in given.items() if name in moving or isinstance(x, Value)}
        numbers = {name: x for name, x in given.items() if name not in samples}
        plan = _plan(body, node.id)
        self.outputs = list(plan.of)
        self.program = _program(body, plan, samples, numbers, convert)

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """Zeros like the outputs."""
        last = set(self.carry.values())
        return tuple(np.zeros((*([] if name in last else [self.length]), *np.shape(x)), x.dtype)
                     for name, x in self.program.outputs.items())


def loop(low: Lowering, line: Line, *operands: Any) -> list[Array]:
    """The loop of a scan."""
    unit: Loop = line.function.func  # type: ignore[attr-defined]
    given = {name: low.ready(low.array(x)) for name, x in zip(unit.ports, operands, strict=True)}
    code, results = low.code, dict(zip(unit.outputs, line.results, strict=True))
    carries = {name: _carry(low, given[name], low.hint_of(results[output], line))
               for name, output in unit.carry.items()}
    last = set(unit.carry.values())
    stacks = {name: low.room(value.shape, value.dtype, low.hint_of(value, line))
              for name, value in results.items() if name not in last}
    if unit.length:
        with code.loop(unit.length, backwards=unit.from_end, always=True) as t, low.inside():
            here = {name: carries[name] if name in carries else at_position(x, t) if name in unit.over else x
                    for name, x in given.items()}
            program = unit.program
            low.run(program, {name: here[name] for name in program.inputs})
            for name, stack in stacks.items():
                low.copy(low.array(program.outputs[name], stack.dtype), at_position(stack, t))
            following = {name: low.stored(low.array(program.outputs[output], carries[name].dtype), f"next_{name}")
                         for name, output in unit.carry.items()}
            for name, x in following.items():
                low.copy(x, carries[name])
    ends = {output: carries[name] for name, output in unit.carry.items()}
    return [stacks[name] if name in stacks else ends[name] for name in unit.outputs]


def _carry(low: Lowering, x: Array, hint: str) -> Array:
    """Memory, or a variable, that begins as an array."""
    if x.shape:
        out = low.room(x.shape, x.dtype, hint)
        low.copy(x, out)
        return out
    name = low.code.new_name(hint)
    low.code.line(low.language.variable(name, x.dtype, x.at(low.code, ())), name)
    low.code.own(name, x.dtype)
    return variable(x.dtype, name)


def at_position(x: Array, t: Index) -> Array:
    """One position of the first axis."""
    if x.storage is None:
        return Array(x.shape[1:], x.dtype, lambda code, at: x.at(code, (t, *at)), None, x.depth)
    first, *strides = x.storage.strides
    return stored(x.storage.buffer, x.shape[1:], tuple(strides), x.storage.offset.plus(t.times(first)))


UNITS: Rules = {Loop: loop, Choice: choice}
"""Rules of nodes with subcircuits, by the class of what their lines call."""

