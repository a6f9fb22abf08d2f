"""The statements of a program in an exported Python file, and functions of the bodies of scans and choices."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from circuitflow.engines.flat.units import Choice, Loop
from circuitflow.engines.program.program import Program
from circuitflow.engines.program.source import Statements
from circuitflow.engines.program.trace import Line, RuleCall, Value, values_in
from circuitflow.export.expressions import Expressions
from circuitflow.export.names import WIDTH, PythonNames, fill_assignment, fill_comment, fill_lines
from circuitflow.gates.special import Check
from circuitflow.graph.typed import Node
from circuitflow.text import application

_TIDY = re.compile(r"\w+ = (?:[\w.]+(?: [-+*/] [\w.]+)?|[\w.]+\([\w.]+(?:, [\w.]+)*\))", re.ASCII)
"""Statements that have no parentheses too many: an operator, or a call of names and numbers; most of them are."""


def operation(node: Node) -> str:
    """A node in words: its gate, of its operands."""
    return application(node.kind, (edge.source for edge in node.operands))


class Block:
    """The statements of a program.

    Attributes:
        program: the program.
    """

    def __init__(self, program: Program, names: PythonNames, arguments: Mapping[int, str],
                 variables: Mapping[str, str], *, scalar: bool = False) -> None:
        """No statements yet.

        Args:
            program: the program.
            names: the names of the file.
            arguments: the variables that have the inputs of the program, by the identity of these.
            variables: the variable that has the size of each named dimension.
            scalar: whether every value is a float or a truth value.
        """
        self.program, self._names, self._scalar = program, names, scalar
        given = dict(arguments)
        for name, value in program.values.items():
            if isinstance(value, Value) and id(value) not in given:
                given[id(value)] = names.new(name)
        lines = {id(result): line for line in program.lines for result in line.results}
        self.expressions = Expressions(lines, names, variables, scalar)
        self._statements = Statements(program, self.expressions.number, lambda value, position: (
            given.get(id(value)) or names.new(f"{lines[id(value)].stage.id}_part")))

    def lines(self, comment_of: Callable[[Node], str], heading: Callable[[Node], str]) -> Iterator[str]:
        """Statements, and comments: of each node, and of each stretch of nodes whose `heading` is the same."""
        part, comment, comment_above, last = "", "", None, None
        pending, ready = list(self.program.checks), set(map(id, self.program.inputs.values()))
        for line, statement in self._statements.texts(self._right, self.expressions.inlines):
            node: Node = line.stage
            if part != heading(node):
                part = heading(node)
                yield f"# {part}"
            comment = comment if node is last else comment_of(node)
            last = node
            statement, remark = _tidy(statement), comment if comment != comment_above else ""
            if remark and len(statement) + len(remark) > WIDTH - 4:
                yield from fill_comment(remark)
                remark = ""
            *above, end = fill_assignment(statement)
            yield from above
            yield f"{end}  # {remark}" if remark else end
            comment_above = comment
            ready.update(map(id, line.results))
            while pending and ready.issuperset(map(id, values_in(pending[0][1][:2]))):
                yield from self._refusal(*pending.pop(0))
        for check in pending:
            yield from self._refusal(*check)

    def _refusal(self, node: Node, check: Check) -> Iterator[str]:
        """Statements that raise where a gate refuses an operand."""
        outside, values = self.result(check.outside), self.result(check.values)
        message = f"{node.id}: {node.kind}: ".replace("{", "{{").replace("}", "}}") + check.message
        yield f"if {self._names.use('np.any')}({outside}):"
        yield from fill_lines(f"    raise {self._names.use(check.error.__name__)}({message!r}.format("
                              f"{self._names.use('np.extract')}({outside}, {values})[0]))")

    def result(self, x: Any) -> str:
        """A value, or what does not depend on the arguments: never an array that the file keeps."""
        if isinstance(x, Value):
            return self._statements.name(x)
        x = np.asarray(x)
        if x.ndim:
            return f"{self._names.constant(x)}.copy()"
        return self.expressions.number(x) if self._scalar and x.dtype in (np.float64, bool) else self._names.scalar(x)

    # Bodies -----------------------------------------------------------------------------------------------------------

    def _right(self, line: Line, text: Callable[[Any], str]) -> str:
        """The right side of a line."""
        unit = line.function.func if isinstance(line.function, RuleCall) else None
        if not isinstance(unit, Loop | Choice):
            return self.expressions.right(line, text)
        operands = [self.expressions.operand(x, line, text) for x in line.operands]
        given = dict(zip(unit.ports, operands, strict=True))
        return self._scan(unit, line, given) if isinstance(unit, Loop) else self._choice(unit, line, given)

    def _scan(self, unit: Loop, line: Line, given: Mapping[str, str]) -> str:
        moving = [*unit.carry, *unit.over]
        others = [port for port in unit.program.inputs if port not in moving]
        step = self._function(unit.program, [*moving, *others], unit.outputs, f"{line.stage.id}_step",
                              f"A step of {line.stage.id}.")
        stacks = {i: value for i, (name, value) in enumerate(zip(unit.outputs, line.results, strict=True))
                  if name not in unit.carry.values()}
        rooms = ", ".join(f"{i}: {self._names.use('np.empty')}({value.shape!r}, {self._names.dtype(value.dtype)})"
                          for i, value in stacks.items())
        ends = [unit.outputs.index(output) for output in unit.carry.values()]
        parts = [step, *(_tuple([given[port] for port in ports]) for ports in (unit.carry, unit.over, others)),
                 _tuple(map(str, ends)), f"{{{rooms}}}", str(unit.from_end)]
        return f"{self._names.use('scan')}({', '.join(parts)})"

    def _choice(self, unit: Choice, line: Line, given: Mapping[str, str]) -> str:
        calls = []
        for name, program, order in zip(("then", "else"), unit.branches, unit.order, strict=True):
            ports = [*program.inputs]
            function = self._function(program, ports, order, f"{line.stage.id}_{name}", f"What {line.stage.id} is"
                                      f"{' otherwise' * (name == 'else')}.")
            calls.append(f"{function}({', '.join(given[port] for port in ports)})")
        return f"{calls[0]} if {given['condition']} else {calls[1]}"

    def _function(self, program: Program, ports: Sequence[str], order: Sequence[str], hint: str, words: str) -> str:
        """A function of the file for a body, with its outputs in order."""
        names = self._names
        name, parameters = names.new(hint), {port: names.new(port) for port in ports}
        arguments = {id(value): parameters[port] for port, value in program.inputs.items()}
        block = Block(program, names, arguments, self.expressions.variables)
        body = [f'"""{words}"""', *block.lines(operation, lambda node: "")]
        body += fill_lines(f"return {_tuple([block.result(program.outputs[output]) for output in order])}")
        head = fill_lines(f"def {name}({', '.join(parameters.values())}):")
        names.define("\n".join([*head, *(f"    {text}" for text in body)]))
        return name


def _tuple(texts: Sequence[str] | Iterator[str]) -> str:
    texts = list(texts)
    return f"({', '.join(texts)}{',' * (len(texts) == 1)})"


def _tidy(statement: str) -> str:
    """A statement without parentheses that it does not need."""
    return statement if _TIDY.fullmatch(statement) else ast.unparse(ast.parse(statement))
