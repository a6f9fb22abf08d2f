"""Gates and their backward rules as expressions, and those in Python's notation: `num * invden`, `df * invden`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from circuitflow.errors import InputError
from circuitflow.gates import ArrayType, Gate, GateTable, ShapeError
from circuitflow.gates.operators import BINARY, COMPARISON, POWER, PREFIXES, UNARY
from circuitflow.graph.typed import Node
from circuitflow.text import application, printable
from circuitflow.transforms.writer import Wire, Writer

GATES, CHARACTERS = 12, 60
"""A longer rule is told in words alone."""

_FREE = {("+", "+"), ("+", "-"), ("*", "*"), ("|", "|"), ("^", "^"), ("&", "&")}
"""Signs whose right operand may have the other sign without parentheses."""

_CALL = POWER + 1


class Leaf(NamedTuple):
    """A value or a gradient by its name."""

    name: str


class Constant(NamedTuple):
    """A number."""

    text: str


class Application(NamedTuple):
    """A gate applied to expressions.

    Attributes:
        name: the gate's name; or what else the node is, such as "scan", and then `gate` is None.
        attributes: those that are not at their defaults.
        dimensions: how many the output has.
        output: the name of the output, where there are several.
    """

    name: str
    gate: Gate | None
    operands: tuple[Expression, ...]
    attributes: Mapping[str, Any]
    dimensions: int
    output: str = ""


Expression = Leaf | Constant | Application


class Phrase(NamedTuple):
    """An expression, how tightly it holds together, and the sign in its middle."""

    text: str
    binding: int = _CALL
    sign: str = ""


def apply_gate(name: str, gate: Gate, operands: Sequence[Phrase], attributes: Mapping[str, Any],
               dimensions: int = 2) -> Phrase:
    """The application of a gate, in the notation of Python where that has a sign for it.

    Attributes are those that are not at their defaults, dimensions those of the output.
    """
    notation = gate.facets.note.notation
    if notation in BINARY and not attributes and len(operands) > 1:
        sign, binding = notation, BINARY[notation].binding
        first, *rest = operands
        parts = [_within(first, binding + (binding in (COMPARISON, POWER)))]
        parts += [_within(x, binding + ((sign, x.sign) not in _FREE)) for x in rest]
        return Phrase((f" {sign} " if binding != POWER else sign).join(parts), binding, sign)
    if "{}" in notation:
        before, after = notation.split("{}")
        if before in PREFIXES:
            return Phrase(before + _within(operands[0], UNARY), UNARY)
        if before:  # a number and an operator
            sign = before.split()[-1]
            return Phrase(before + _within(operands[0], UNARY), BINARY[sign].binding, sign)
        after = ".T" if after == ".mT" and dimensions == 2 else after
        return Phrase(_within(operands[0], _CALL) + after) if after else operands[0]
    arguments = [x.text for x in operands] + [f"{key}={_plain(value)}" for key, value in attributes.items()]
    return Phrase(f"{name}({', '.join(arguments)})")


def python(expression: Expression) -> Phrase:
    """An expression in Python's notation."""
    if isinstance(expression, Leaf):
        return Phrase(expression.name)
    if isinstance(expression, Constant):
        return Phrase(expression.text, UNARY if expression.text[0] == "-" else _CALL)
    operands = [python(operand) for operand in expression.operands]
    if expression.gate is None:
        return Phrase(application(expression.name, [x.text for x in operands], len(operands)))
    result = apply_gate(expression.name, expression.gate, operands, expression.attributes, expression.dimensions)
    return Phrase(f"{result.text}.{expression.output}") if expression.output else result


def right_side(node: Node, names: Sequence[str]) -> Application:
    """The right-hand side of a node, its operands by name."""
    defaults = {} if node.gate is None else node.gate.defaults
    attributes = {} if node.gate is None else {name: value for name, value in node.attributes.items()
                                               if name not in defaults or value != defaults[name]}
    return Application(node.kind, node.gate, tuple(map(Leaf, names)), attributes, len(node.types[0].shape))


def stage(node: Node, names: Sequence[str]) -> str:
    """The right-hand side of a node in Python's notation."""
    return python(right_side(node, names)).text


def sent_back(node: Node, gates: GateTable, names: Sequence[str], types: Sequence[ArrayType],
              outputs: Sequence[str], receivers: Sequence[bool],
              upstream: Sequence[str] = ()) -> list[Expression | None]:
    """What a node's backward rule sends to each operand that receives a gradient, such as `df * invden`.

    Names and types are those of the operands, every size known. The gradients on the outputs are called `upstream`, by
    default `df` on the output `f`. None stands where the rule is too long to be read, or is no rule of a gate.
    """
    nothing: list[Expression | None] = [None] * len(names)
    if node.gate is None:
        return nothing
    writer = Writer(gates, "float64")
    wires: dict[str, Wire] = {}

    def port(name: str, type_: ArrayType) -> Wire:
        if name not in wires:
            wires[name] = writer.port(name, type_)
        return wires[name]

    operands = [port(name, type_) for name, type_ in zip(names, types, strict=True)]
    out_types = node.gate.shape(*types, **node.attributes)
    out_types = (out_types,) if isinstance(out_types, ArrayType) else out_types
    out = tuple(port(name, type_) for name, type_ in zip(outputs, out_types, strict=True))
    arriving = tuple(port(name, type_) for name, type_ in zip(upstream or [f"d{name}" for name in outputs], out_types,
                                                              strict=True))
    several = len(node.outputs) > 0
    try:
        contributions = node.gate.contributions(writer, arriving if several else arriving[0],
                                                out if several else out[0], operands, receivers, node.attributes)
        sums = [None if wire is None else _sum_to_operand(writer, node, wire, operand)
                for wire, operand in zip(contributions, operands, strict=True)]
    # A rule looks at numbers, or needs a built-in gate that the table does not have.
    except (ShapeError, TypeError, AttributeError, InputError):
        return nothing
    return [_expression(writer, wire) if wire is not None and want else None
            for wire, want in zip(sums, receivers, strict=True)]


def _sum_to_operand(writer: Writer, node: Node, wire: Wire, operand: Wire) -> Wire:
    """What broadcasting stretched is summed, as the sweep does."""
    if node.gate is not None and node.gate.broadcasts and wire.shape != operand.shape:
        result: Wire = writer.sum_to_like(wire, operand)
        return result
    return wire


def _expression(writer: Writer, wire: Wire) -> Expression | None:
    """A wire as an expression of what it was computed from."""
    budget = [GATES]

    def tree(x: Wire) -> Expression:
        budget[0] -= 1
        if budget[0] < 0:
            raise _TooLongError
        record = x.record
        if record.name is not None:
            return Leaf(record.name)
        if record.gate == "constant":
            return Constant(str(record.attributes["value"]))
        return Application(record.gate, writer.gates[record.gate], tuple(map(tree, record.operands.values())),
                           record.attributes, x.ndim, record.outputs[x.position] if record.outputs else "")

    try:
        expression = tree(wire)
    except _TooLongError:
        return None
    return expression if len(python(expression).text) <= CHARACTERS else None


class _TooLongError(Exception):
    """An expression has more gates than a person would read."""


def _within(phrase: Phrase, binding: int) -> str:
    return f"({phrase.text})" if phrase.binding < binding else phrase.text


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_plain, value))}]"
    return f"'{printable(value, CHARACTERS)}'" if isinstance(value, str) else str(value)
