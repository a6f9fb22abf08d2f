"""What need not be written down: zeros added, ones multiplied, shapes that are right already or known by number.

A rule looks at a gate with its operands and gives the wire that has the same value, or None. What is left out would not
change the result; 0 · x stays, because it is not 0 for every x.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from circuitflow.gates import ArrayType
from circuitflow.gates.shapes import axes_of, count
from circuitflow.transforms.wires import Wire

if TYPE_CHECKING:
    from circuitflow.transforms.writer import Writer

Operands = Sequence[Wire]
Attributes = Mapping[str, Any]
Rule = Callable[["Writer", Operands, Attributes, ArrayType], "Wire | None"]


def simplified(writer: Writer, gate: str, operands: Sequence[Wire], attributes: Mapping[str, Any],
               type_: ArrayType) -> Wire | None:
    """A wire that has the value of a gate of these operands already, or None."""
    rule = _RULES.get(gate)
    return rule(writer, operands, attributes, type_) if rule else None


def fill_of(gate: str, operands: Sequence[Wire]) -> float:
    """The number that all elements of a gate's output are, or NaN where that is not known."""
    match gate:
        case "zeros_like":
            return 0.0
        case "ones_like":
            return 1.0
        case "expand_like" | "expand" | "reshape_like" | "reshape" | "unsqueeze" | "squeeze":
            return operands[0].fill
        case "cast":  # to any dtype
            return operands[0].fill if operands[0].fill in (0.0, 1.0) else float("nan")
    return float("nan")


def _keep(wire: Wire, type_: ArrayType) -> Wire | None:
    """An operand that is the result, if it has the result's shape and dtype."""
    return wire if wire.type == type_ else None


def _without(neutral: float, gate: str) -> Rule:
    def rule(writer: Writer, operands: Operands, attributes: Attributes, type_: ArrayType) -> Wire | None:
        rest = [x for x in operands if x.fill != neutral]
        if len(rest) == len(operands):
            return None
        if not rest:
            return _keep(operands[0], type_)
        if len(rest) == 1:
            return _keep(rest[0], type_)
        wire: Wire = writer.emit(gate, *rest)
        return _keep(wire, type_)

    return rule


_drop_ones = _without(1.0, "mul")


def _mul(writer: Writer, operands: Operands, attributes: Attributes, type_: ArrayType) -> Wire | None:
    kept = _drop_ones(writer, operands, attributes, type_)
    if kept is None and len(operands) == 2:
        for x, y in (operands, operands[::-1]):
            if x.fill == -1 and y.type == type_:
                return -y
    return kept


def _mul_no_nan(writer: Writer, operands: Operands, attributes: Attributes, type_: ArrayType) -> Wire | None:
    x, y = operands
    if x.fill == 0:
        return _keep(x, type_)
    if x.fill == 1 or y.fill == 1:
        return _keep(y if x.fill == 1 else x, type_)
    if x.fill == x.fill:  # a number that is not 0
        return x * y
    return None


def _second(neutral: float) -> Rule:
    return lambda _, operands, __, type_: _keep(operands[0], type_) if operands[1].fill == neutral else None


def _sub(writer: Writer, operands: Operands, attributes: Attributes, type_: ArrayType) -> Wire | None:
    x, y = operands
    if x.fill == 0 and y.type == type_:
        return -y
    return _keep(x, type_) if y.fill == 0 else None


def _where(writer: Writer, operands: Operands, attributes: Attributes, type_: ArrayType) -> Wire | None:
    condition, x, y = operands
    if condition.fill == condition.fill:
        return _keep(x if condition.fill else y, type_)
    return _keep(x, type_) if x is y or x.fill == y.fill else None


def _inverse(gate: str) -> Rule:
    """The operand of an operand, where a gate undoes another."""
    def rule(writer: Writer, operands: Operands, attributes: Attributes, type_: ArrayType) -> Wire | None:
        record = operands[0].record
        return _keep(next(iter(record.operands.values())), type_) if record.gate == gate else None

    return rule


def _first(writer: Writer, operands: Operands, attributes: Attributes, type_: ArrayType) -> Wire | None:
    return _keep(operands[0], type_)


def _number(value: float) -> Rule:
    return lambda writer, operands, attributes, type_: writer.constant(value, type_.dtype) if not type_.shape else None


def _size(writer: Writer, operands: Operands, attributes: Attributes, type_: ArrayType) -> Wire | None:
    shape = operands[0].shape
    sizes = [shape[axis] for axis in axes_of(attributes["axis"], len(shape))]
    if not all(isinstance(size, int) for size in sizes):
        return None
    return writer.constant(count(sizes), type_.dtype)


def _sum_to_like(writer: Writer, operands: Operands, attributes: Attributes, type_: ArrayType) -> Wire | None:
    """The axes that broadcasting stretched are known, whatever their size."""
    x, like = operands
    extra = x.ndim - like.ndim
    stretched = [extra + i for i, size in enumerate(like.shape) if size == 1 != x.shape[extra + i]]
    if not extra:
        kept: Wire = writer.reduce_sum(x, axis=stretched, keepdims=True) if stretched else x
        return kept
    total: Wire = writer.reduce_sum(x, axis=[*range(extra), *stretched])
    for axis in stretched:
        total = writer.unsqueeze(total, axis=axis - extra)
    return total


def _with_shape(gate: str) -> Rule:
    """A gate that is given the shape as numbers, where it has no named dimension."""
    def rule(writer: Writer, operands: Operands, attributes: Attributes, type_: ArrayType) -> Wire | None:
        if operands[0].type == type_:
            return operands[0]
        if not all(isinstance(size, int) for size in type_.shape):
            return None
        wire: Wire = writer.emit(gate, operands[0], shape=list(type_.shape))
        return wire

    return rule


def _cast_like(writer: Writer, operands: Operands, attributes: Attributes, type_: ArrayType) -> Wire | None:
    wire: Wire = writer.cast(operands[0], dtype=type_.dtype)
    return wire


_RULES: Mapping[str, Rule] = {
    "add": _without(0.0, "add"),
    "sub": _sub,
    "mul": _mul,
    "mul_no_nan": _mul_no_nan,
    "div": _second(1.0),
    "pow": _second(1.0),
    "neg": _inverse("neg"),
    "matrix_transpose": _inverse("matrix_transpose"),
    "where": _where,
    "zeros_like": _number(0.0),
    "ones_like": _number(1.0),
    "size": _size,
    "sum_to_like": _sum_to_like,
    "expand_like": _with_shape("expand"),
    "reshape_like": _with_shape("reshape"),
    "cast_like": _cast_like,
    # What gives its operand another shape or dtype, where it has that already.
    **dict.fromkeys(("identity", "expand", "reshape", "cast", "flatten"), _first),
}
