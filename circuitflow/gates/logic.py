"""Comparisons, logic and selection; nothing but `where` lets a gradient through."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from circuitflow.gates.record import Facets, Gate, Note, Onnx, Reads, family
from circuitflow.gates.shapes import ArrayType, broadcast_shapes, elementwise, floating, need_bool, promote


def _comparison_type(x: ArrayType, y: ArrayType) -> ArrayType:
    return ArrayType(elementwise(x, y).shape, "bool")


def _equal(x: ArrayType, y: ArrayType) -> ArrayType:
    promote(x.dtype, y.dtype)
    return ArrayType(broadcast_shapes(x.shape, y.shape), "bool")


def _logical(*types: ArrayType) -> ArrayType:
    for name, x in zip("xy", types, strict=False):
        need_bool(name, x)
    return ArrayType(broadcast_shapes(*(x.shape for x in types)), "bool")


def _test_type(x: ArrayType) -> ArrayType:
    return ArrayType(floating(x).shape, "bool")


def _where(condition: ArrayType, x: ArrayType, y: ArrayType) -> ArrayType:
    need_bool("condition", condition)
    return ArrayType(broadcast_shapes(condition.shape, x.shape, y.shape), promote(x.dtype, y.dtype))


def _where_equal(op: Any, type_: ArrayType, condition: Any, x: Any, y: Any) -> Any:
    if condition.fill == condition.fill:
        return x if condition.fill else y
    return x if x is y or x.fill == y.fill else None


def _of_two(formula: str, summary: str, shape: Callable[..., ArrayType], symbol: str,
            compute: Callable[[Any, Any], Any]) -> Gate:
    """A row for a truth about two operands, which has no gradient."""
    return Gate(formula, summary, ("x", "y"), shape, symbol=symbol, broadcasts=True, backward=(None, None),
                forward=lambda xp, x, y: compute(x, y))


LOGIC = family({
    "equal": _of_two("x = y", "Whether two numbers are equal.", _equal, "=", operator.eq),
    "equal_nan": _of_two("x = y, or both NaN", "Whether two numbers are equal, NaN being equal to NaN.",
                         _comparison_type, "=", lambda x, y: (x == y) | ((x != x) & (y != y))),
    "less": _of_two("x < y", "Whether x is less than y.", _comparison_type, "<", operator.lt),
    "less_or_equal": _of_two("x ≤ y", "Whether x is at most y.", _comparison_type, "≤", operator.le),
    "greater": _of_two("x > y", "Whether x is greater than y.", _comparison_type, ">", operator.gt),
    "greater_or_equal": _of_two("x ≥ y", "Whether x is at least y.", _comparison_type, "≥", operator.ge),
    "and": _of_two("x ∧ y", "Whether both are true.", _logical, "∧", operator.and_),
    "or": _of_two("x ∨ y", "Whether at least one is true.", _logical, "∨", operator.or_),
    "xor": _of_two("x ⊻ y", "Whether exactly one is true.", _logical, "⊻", operator.xor),
    "not": Gate("¬x", "Whether x is false.",
                ("x",), _logical, symbol="¬",
                forward=lambda xp, x: ~x,
                backward=(None,)),
    "is_nan": Gate("x ≠ x", "Whether x is not a number.",
                   ("x",), _test_type, symbol="NaN?",
                   forward=lambda xp, x: xp.isnan(x),
                   backward=(None,)),
    "is_inf": Gate("|x| = ∞", "Whether x is infinite.",
                   ("x",), _test_type, symbol="∞?",
                   forward=lambda xp, x: xp.isinf(x),
                   backward=(None,)),
    "where": Gate("x if condition else y", "x where the condition holds, else y; the gradient is routed there.",
                  ("condition", "x", "y"), _where, symbol="?:", broadcasts=True, reads=Reads.INPUTS,
                  forward=lambda xp, condition, x, y: xp.where(condition, x, y),
                  backward=(None,
                            lambda op, g, out, condition, x, y: op.where(condition, g, 0.0),
                            lambda op, g, out, condition, x, y: op.where(condition, 0.0, g)),
                  ).stating(Facets(equal=_where_equal, masks=lambda at, count: True)),
}, {
    "equal": Note(onnx=Onnx("Equal"), numpy="equal", also="eq equals is_equal ==", notation="=="),
    "equal_nan": Note(kinks="NaN equals NaN", notation="=="),
    "less": Note(onnx=Onnx("Less"), numpy="less", also="lt less_than <", notation="<"),
    "less_or_equal": Note(onnx=Onnx("LessOrEqual"), numpy="less_equal", also="le lte leq less_than_or_equal <= ≤",
                          notation="<="),
    "greater": Note(onnx=Onnx("Greater"), numpy="greater", also="gt greater_than >", notation=">"),
    "greater_or_equal": Note(onnx=Onnx("GreaterOrEqual"), numpy="greater_equal",
                             also="ge gte geq greater_than_or_equal >= ≥", notation=">="),
    "and": Note(onnx=Onnx("And"), numpy="logical_and", also="bitwise_and & && ∧", notation="&"),
    "or": Note(onnx=Onnx("Or"), numpy="logical_or", also="bitwise_or | || ∨", notation="|"),
    "xor": Note(onnx=Onnx("Xor"), numpy="logical_xor", also="bitwise_xor exclusive_or ⊕", notation="^"),
    "not": Note(onnx=Onnx("Not"), numpy="logical_not",
                also="invert bitwise_not bitwise_invert logical_negation ~ ! ¬", notation="~{}"),
    "is_nan": Note(onnx=Onnx("IsNaN"), numpy="isnan"),
    "is_inf": Note(onnx=Onnx("IsInf", settings={"detect_negative": 1, "detect_positive": 1}), numpy="isinf",
                   also="is_infinite"),
    "where": Note("{g} to {x} where {condition} is true, to {y} elsewhere",
                  kinks="the branch that is not taken gets 0, even if it is infinite or NaN", onnx=Onnx("Where"),
                  numpy="where",
                  also="select if_else ternary iff choose piecewise switch",
                  words="routes its gradient to the operand that was chosen", formula="own",
                  dead="takes the other branch"),
})
