"""Takes a factor out of a product that is written down: a · n / n is a, also where n is 0.

A backward rule multiplies by a length and divides by it again, as in the gradient of the square of a norm. Written
without the length, that gradient is smooth where the length is 0, so its own derivatives are right there.

The facet `division` of a gate's row divides what the gate gives: `division(op, record, factor, quotient)` gives a
function that writes the quotient, or None where the factor is not found. `quotient(x, factor)` does so for an operand.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

_NODES = 100
"""How many nodes of an upstream gradient are looked at; a factor stands close to the rule that divides by it."""

_Writes = Callable[[], Any]
_Quotient = Callable[[Any, Any], _Writes | None]
_Rule = Callable[[Any, Any, Any, _Quotient], _Writes | None]


def divide_out(op: Any, product: Any, factor: Any) -> Any:
    """What times the factor is the product, or None where the factor is not found in it; then nothing is written."""
    budget, source = iter(range(_NODES)), factor
    while _rule(op, source.record) is of_rearrangement:
        source = source.record.operands[0]

    def quotient(x: Any, factor: Any) -> _Writes | None:
        """What writes the quotient."""
        if x.record is factor.record and x.position == factor.position:
            return lambda: op.ones_like(x)
        if x.order < source.order or next(budget, None) is None:  # what is older does not depend on the factor
            return None
        rule = _rule(op, x.record)
        return None if rule is None else rule(op, x.record, factor, quotient)

    write = quotient(product, factor)
    return None if write is None else write()


def _rule(op: Any, record: Any) -> _Rule | None:
    row = op.gates.get(record.gate)
    return None if row is None else row.facets.division


def proportional(count: int | None) -> _Rule:
    """To each of so many first operands, element by element; None for all."""
    return functools.partial(_in_one, count=count)


def of_rearrangement(op: Any, record: Any, factor: Any, quotient: _Quotient) -> _Writes | None:
    """The elements of the first operand in another arrangement; that of a factor must be the same."""
    if factor.shape:
        if record.gate != factor.record.gate or record.attributes != factor.record.attributes:
            return None
        factor = factor.record.operands[0]
    return _in_one(op, record, factor, quotient, count=1)


def of_sum(op: Any, record: Any, factor: Any, quotient: _Quotient) -> _Writes | None:
    """Sums or means of elements of the first operand."""
    return None if factor.shape else _in_one(op, record, factor, quotient, count=1)


def additive(op: Any, record: Any, factor: Any, quotient: _Quotient) -> _Writes | None:
    """The sum or difference of all operands."""
    parts = [quotient(x, factor) for x in record.operands.values()]
    return None if None in parts else lambda: _with_operands(op, record, *(part() for part in parts if part))


def of_square(op: Any, record: Any, factor: Any, quotient: _Quotient) -> _Writes | None:
    """The square of the operand."""
    (x,) = record.operands.values()
    part = quotient(x, factor)
    return None if part is None else lambda: x * part()


def of_power(op: Any, record: Any, factor: Any, quotient: _Quotient) -> _Writes | None:
    """The first operand to the power of the second, if that is a number from 1 on."""
    x, exponent = record.operands.values()
    part = quotient(x, factor) if exponent.fill >= 1 else None
    return None if part is None else lambda: op.pow(x, exponent - 1) * part()


def _in_one(op: Any, record: Any, factor: Any, quotient: _Quotient, *, count: int | None) -> _Writes | None:
    """The same gate with one of its first operands divided."""
    xs = list(record.operands.values())
    for i, x in enumerate(xs[:count]):
        if (part := quotient(x, factor)) is not None:
            return lambda: _with_operands(op, record, *xs[:i], part(), *xs[i + 1 :])
    return None


def _with_operands(op: Any, record: Any, *operands: Any) -> Any:
    return op.emit(record.gate, *operands, **record.attributes)
