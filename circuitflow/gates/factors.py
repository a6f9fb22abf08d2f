"""Takes a factor out of a product that is written down: a · n / n is a, also where n is 0.

A backward rule multiplies by a length and divides by it again, as in the gradient of the square of a norm. Written
without the length, that gradient is smooth where the length is 0, so its own derivatives are right there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_NODES = 100
"""How many nodes of an upstream gradient are looked at; a factor stands close to the rule that divides by it."""

_PRODUCTS = {"mul": None, "mul_no_nan": 2, "mul_div_no_nan": 2, "neg": 1, "div": 1}
"""Gates that are proportional to each of their first operands, and how many those are; None for all."""

_LINEAR = ("unsqueeze", "squeeze", "reshape", "reshape_like", "expand", "expand_like", "transpose", "cast_like")
"""Gates that rearrange their first operand."""

_SUMS = ("reduce_sum", "reduce_mean", "sum_to_like")

_Writes = Callable[[], Any]


def _then(found: _Writes | None, use: Callable[[Any], Any]) -> _Writes | None:
    return None if found is None else lambda: use(found())


def without(op: Any, product: Any, factor: Any) -> Any:
    """What times the factor is the product, or None where the factor is not found in the product.

    Args:
        op: the writer. Nothing is written unless the factor is found.
        product: a wire.
        factor: a wire.
    """
    budget, source = iter(range(_NODES)), factor
    while source.record.gate in _LINEAR:
        source = source.record.operands[0]

    def quotient(x: Any, factor: Any) -> _Writes | None:
        """What writes the quotient."""
        if x.record is factor.record and x.position == factor.position:
            return lambda: op.ones_like(x)
        if x.order < source.order or next(budget, None) is None:  # what is older does not depend on the factor
            return None
        record, xs = x.record, list(x.record.operands.values())

        def with_operands(*changed: Any) -> Any:
            return getattr(op, record.gate)(*changed, **record.attributes)

        if record.gate == "square":
            return _then(quotient(xs[0], factor), lambda part: xs[0] * part)
        if record.gate == "pow" and xs[1].fill >= 1:
            return _then(quotient(xs[0], factor), lambda part: op.pow(xs[0], xs[1] - 1) * part)
        if record.gate in ("add", "sub"):
            parts = [quotient(y, factor) for y in xs]
            return None if None in parts else lambda: with_operands(*(part() for part in parts if part))
        inner = factor
        if factor.shape and record.gate in _LINEAR:
            same = record.gate == factor.record.gate and record.attributes == factor.record.attributes
            inner = factor.record.operands[0] if same else None
        rearranged = record.gate in _LINEAR or (record.gate in _SUMS and not factor.shape)
        if inner is not None and (record.gate in _PRODUCTS or rearranged):
            for i, y in enumerate(xs[:1 if rearranged else _PRODUCTS[record.gate]]):
                if (found := quotient(y, inner)) is not None:
                    return lambda: with_operands(*xs[:i], found(), *xs[i + 1:])
        return None

    found = quotient(product, factor)
    return None if found is None else found()
