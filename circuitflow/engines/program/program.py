"""A circuit as straight-line code: inputs, lines, outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from circuitflow.engines.program.trace import Inseparable, Line, Trace, Value, values_in
from circuitflow.gates.shapes import Size
from circuitflow.gates.special import Check
from circuitflow.graph.reachable import reachable
from circuitflow.graph.typed import Node
from circuitflow.interpreter.passes import blame
from circuitflow.interpreter.plan import Plan, Step

RuleOf = Callable[[Step, Sequence[Any]], Callable[..., Any]]


@dataclass(frozen=True, eq=False)
class Program:
    """Straight-line code: the NumPy calls that the gates of a plan come to, for engines that write source.

    Attributes:
        inputs: all inputs, by id or another key; also those that no output needs.
        lines: one call each, in order; each is needed by an output.
        outputs: a value, or a number or array that does not depend on the inputs, by reference or another key.
        values: likewise the value of every node, by reference.
        checks: conditions under which nodes refuse their operands, each with its node.
    """

    inputs: Mapping[Any, Value]
    lines: Sequence[Line]
    outputs: Mapping[Any, Any]
    values: Mapping[str, Any] = field(default_factory=dict)
    checks: Sequence[tuple[Node, Check]] = ()

    def with_outputs(self, references: Sequence[str]) -> Program:
        """The lines that some outputs and the checks need; these are its outputs, by position."""
        outputs = {str(i): self.outputs[reference] for i, reference in enumerate(references)}
        program = Program(self.inputs, self.lines, outputs, checks=self.checks)
        return replace(program, lines=needed_lines(self.lines, program.results))

    @property
    def results(self) -> list[Any]:
        """The outputs and the checks."""
        return [*self.outputs.values(), *(x for _, check in self.checks for x in (check.outside, check.values))]

    def uses(self) -> dict[int, int]:
        """How often each value is read, by identity; as an output too."""
        count: dict[int, int] = {}
        for value in (*(x for line in self.lines for x in line.reads), *values_in(self.results)):
            count[id(value)] = count.get(id(value), 0) + 1
        return count


def trace_program(plan: Plan, samples: Mapping[str, Any], constants: Mapping[str, Any],
                  allows: Callable[[Line], bool] = lambda line: True, *, checked: bool = False,
                  rule_of: RuleOf = lambda step, operands: step.gate.forward,
                  shapes: Mapping[str, tuple[int | Size, ...]] = MappingProxyType({})) -> Program:
    """Trace the forward pass of a plan.

    Args:
        plan: the schedule.
        samples: an array like each input and parameter, by id.
        constants: the arrays of the other sources, by id.
        allows: whether a line may stand there; a rule that needs others is a line of its own.
        checked: whether the program has the conditions under which rules refuse operands; else such a rule is a line
            of its own.
        rule_of: gives the rule of a step, for operands that are values, arrays and numbers.
        shapes: those of inputs and parameters that have a named size, by id.

    Raises:
        Inseparable: a rule does something with a named size that is not known to take its positions one by one.
        GateError: a gate could not be applied to operands like these.
    """
    trace = Trace(allows, checked=checked)
    inputs = {name: Value(trace, shapes[name], sample.dtype) if name in shapes else Value.like(trace, sample)
              for name, sample in samples.items()}
    checks: list[tuple[Node, Check]] = []
    slots: list[Any] = [None] * len(plan.names)
    for name, slot in plan.sources.items():
        slots[slot] = inputs[name] if name in inputs else constants[name][()]
    for step in plan.steps:
        trace.stage = step.node
        try:
            operands = [slots[slot] for slot in step.operands]
            out = trace.apply(rule_of(step, operands), *operands, **step.attributes)
        except Inseparable as reason:
            raise Inseparable(f"{step.node.id}: {step.node.kind}: {reason}") from None
        except Exception as error:
            raise blame(step, error) from error
        slots[step.output : step.output + (step.outputs or 1)] = out if step.outputs else [out]
        checks += ((step.node, check) for check in trace.checks)
        trace.checks.clear()
    outputs = {text: slots[slot] for text, slot in plan.of.items()}
    program = Program(inputs, trace.lines, outputs, dict(zip(plan.names, slots, strict=True)), checks)
    return replace(program, lines=needed_lines(program.lines, program.results))


def needed_lines(lines: Sequence[Line], outputs: Any) -> list[Line]:
    """The lines that outputs depend on, in order."""
    places = {id(value): i for i, line in enumerate(lines) for value in line.results}

    def origins(values: Iterable[Value]) -> list[int]:
        return [places[id(value)] for value in values if id(value) in places]

    positions = reachable(origins(values_in(outputs)), lambda i: origins(lines[i].reads))
    return [lines[i] for i in sorted(positions)]
