"""Functions of numbers: how a line of floats and truth values is written.

In Python a function of `math` raises where NumPy gives an infinity or NaN; whoever runs such code has to run it again
in NumPy then. In a compiled loop nothing raises, and the functions behave as those of NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from circuitflow.engines.trace import Called, Line, Value

BINARY = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "remainder": "%", "equal": "==",
           "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=",
           "bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^"}
"""Operators, of floats as of arrays, by the name of the NumPy function."""

_MATH = {"exp": "exp", "expm1": "expm1", "log": "log", "log1p": "log1p", "sqrt": "sqrt", "sin": "sin", "cos": "cos",
         "tan": "tan", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2", "sinh": "sinh",
         "cosh": "cosh", "tanh": "tanh", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "hypot": "hypot",
         "absolute": "fabs", "erf": "erf", "erfc": "erfc", "gammaln": "lgamma", "isinf": "isinf", "isnan": "isnan",
         "power": "pow", "floor": "floor", "ceil": "ceil"}

FORMS: dict[str, str] = {
    **{name: f"{{0}} {sign} {{1}}" for name, sign in BINARY.items()},
    **{name: f"{function}({{0}}{', {1}' if name in ('arctan2', 'hypot', 'power') else ''})"
       for name, function in _MATH.items()},
    "negative": "-{0}",
    "invert": "not {0}",
    "where": "{1} if {0} else {2}",
    "maximum": "{0} if {0} > {1} or {0} != {0} else {1}",
    "minimum": "{0} if {0} < {1} or {0} != {0} else {1}",
    "sign": "1.0 if {0} > 0.0 else -1.0 if {0} < 0.0 else {0}",
    "logaddexp": "{0} + 0.6931471805599453 if {0} == {1} else max({0}, {1}) + log1p(exp(-fabs({0} - {1})))",
    "floor": "copysign(float(floor({0})), {0})",
    "ceil": "copysign(float(ceil({0})), {0})",
    "round": "copysign(float(round({0})), {0})",
}
"""A line of Python floats, by the name of the NumPy or SciPy function."""

COMPILED = {**FORMS, "power": "{0} ** {1}", "floor": "floor({0})", "ceil": "ceil({0})", "round": "rint({0})"}
"""A line of a loop that numba compiles."""

NAMES: dict[str, Callable[..., Any]] = {
    **{name: getattr(math, name) for name in {*_MATH.values(), "copysign"}}, "max": max, "float": float,
    "round": round}
"""What the names in a line of Python floats mean."""


def writable(function: Callable[..., Any]) -> bool:
    """Whether a function of numbers can be written as a line."""
    return getattr(function, "__name__", "") in FORMS or function in (np.clip, np.astype)


def written(line: Line, forms: dict[str, str], text: Callable[[Any], str]) -> str:
    """The right side of a line; `text` writes its operands."""
    assert not isinstance(line.function, Called)  # noqa: S101
    name = line.function.__name__
    operands = line.operands
    if line.function is np.clip:
        _, low, high = operands
        form = "{0}" if high is None else "({2} if {0} > {2} else {0})"
        return (form if low is None else f"{{1}} if {{0}} < {{1}} else {form}").format(*map(text, operands))
    if line.function is np.astype:
        return f"float({text(operands[0])})" if operands[1] == np.float64 else f"{text(operands[0])} != 0.0"
    return forms[name].format(*map(text, operands))


def inlinable(line: Line, operand: Value) -> bool:
    """Whether an operand stands in the written line just once, so that an expression may stand in its place."""
    if isinstance(line.function, Called):
        return False
    at = [i for i, x in enumerate(line.operands) if x is operand]
    return len(at) == 1 and FORMS.get(line.function.__name__, "").count(f"{{{at[0]}}}") == 1


def number(x: Any) -> str:
    """A number as it is written; not finite ones by the names `inf` and `nan`."""
    if isinstance(x, np.generic | np.ndarray):
        x = x.item()
    if isinstance(x, bool):
        return str(x)
    text = repr(float(x))
    return f"({text})" if text.startswith("-") else text
