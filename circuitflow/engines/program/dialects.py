"""Dialects spell lines of floats and truth values.

In Python a function of `math` raises where NumPy gives an infinity or NaN. The caller then computes again in NumPy. In
a compiled loop nothing raises, and the functions behave as those of NumPy.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from circuitflow.engines.program.program import Program
from circuitflow.engines.program.source import Namer, Statements, by_position, is_number, literal
from circuitflow.engines.program.trace import Line, RuleCall, Value

BINARY = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "remainder": "%", "equal": "==",
          "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=",
          "bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^"}
"""Operators, of floats as of arrays, by the name of the NumPy function."""

_MATH = {"absolute": "fabs", "gammaln": "lgamma", "power": "pow", **{name: name.replace("arc", "a") for name in (
    "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2", "sinh",
    "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "hypot", "erf", "erfc", "isinf", "isnan", "floor", "ceil")}}


@dataclass(frozen=True)
class Dialect:
    """How a language spells lines of floats and truth values.

    Attributes:
        forms: the expression for a function of NumPy or SciPy, by name; `{0}` is its first operand.
        to_float: the expression for a truth value as a float.
    """

    forms: Mapping[str, str]
    to_float: str = "float({0})"

    def expression(self, line: Line, text: Callable[[Any], str]) -> str:
        """The right side of a line; `text` writes its operands."""
        x = text(line.operands[0])
        if bounds := _bounds(line):
            low, high = (None if limit is None else text(limit) for limit in bounds)
            where = self.forms["where"]
            rest = x if high is None else f"({where.format(f'{x} > {high}', high, x)})"
            return rest if low is None else where.format(f"{x} < {low}", low, rest)
        if line.function is np.astype:
            return (self.to_float if line.operands[1] == np.float64 else self.forms["not_equal"]).format(x, "0.0")
        return self.forms[line.function.__name__].format(x, *map(text, line.operands[1:]))

    def inlines(self, line: Line, operand: Value) -> bool:
        """Whether an operand stands in the expression just once, so that an expression may stand in its place."""
        if isinstance(line.function, RuleCall):
            return False
        at = [i for i, x in enumerate(line.operands) if x is operand]
        return len(at) == 1 and self.forms.get(line.function.__name__, "").count(f"{{{at[0]}}}") == 1

    def statements(self, program: Program, name: Namer = by_position) -> tuple[Statements, list[str]]:
        """The statements of a program without rules that are called, and their texts."""
        statements = Statements(program, float_literal, name)
        return statements, [text for _, text in statements.texts(self.expression, self.inlines)]


FLOATS = Dialect({
    **{name: f"{{0}} {sign} {{1}}" for name, sign in BINARY.items()},
    **{name: f"{function}({{0}}{', {1}' if name in ('arctan2', 'hypot', 'power') else ''})"
       for name, function in _MATH.items()},
    "negative": "-{0}",
    "invert": "not {0}",
    "where": "{1} if {0} else {2}",
    "maximum": "{0} if {0} > {1} or {0} != {0} else {1}",
    "minimum": "{0} if {0} < {1} or {0} != {0} else {1}",
    "sign": "1.0 if {0} > 0.0 else -1.0 if {0} < 0.0 else {0} + 0.0",
    "logaddexp": "{0} + 0.6931471805599453 if {0} == {1} else max({0}, {1}) + log1p(exp(-fabs({0} - {1})))",
    "floor": "copysign(float(floor({0})), {0})",
    "ceil": "copysign(float(ceil({0})), {0})",
    "round": "copysign(float(round({0})), {0})",
})
"""Python floats."""

COMPILED = Dialect({**FLOATS.forms, "power": "{0} ** {1}", "floor": "floor({0})", "ceil": "ceil({0})",
                    "round": "rint({0})"})
"""A loop that numba compiles."""

ARITIES = {name: len(set(re.findall(r"\{(\d)\}", form))) for name, form in FLOATS.forms.items()}
"""How many operands each function takes."""

_LOGIC = ("bitwise_and", "bitwise_or", "bitwise_xor", "invert")
_COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "isinf", "isnan")
_KINDS = {np.dtype(np.float64).char: "f", np.dtype(np.bool_).char: "b"}
_SPECIAL = ("erf", "erfc", "gammaln")

NAMES: dict[str, Callable[..., Any]] = {
    **{name: getattr(math, name) for name in {*_MATH.values(), "copysign"}}, "max": max, "float": float,
    "round": round}
"""What the names in a line of Python floats mean."""


def writable(line: Line) -> bool:
    """Whether a line has a form: a known function of floats and truth values, without keywords.

    Truth values are Python's, which are numbers too, but NumPy's are not: their sum is a truth value. So only what is
    listed here takes them.
    """
    function, operands, (result, *_) = line.function, line.operands, line.results
    name = getattr(function, "__name__", "")
    if line.keywords or line.several or not _is_known(function, name):
        return False
    if function is np.astype:
        return _kind(result) is not None and _kind(operands[0]) is not None
    if function is not np.clip and len(operands) != ARITIES[name]:
        return False
    kinds = {_kind(x) for x in operands if x is not None}
    if name in _COMPARISONS:
        return None not in kinds
    if name == "where":
        condition, *choices = map(_kind, operands)
        return condition == "b" and set(choices) == {_kind(result)}
    return kinds == {"b" if name in _LOGIC else "f"} == {_kind(result)}


def _is_known(function: Callable[..., Any], name: str) -> bool:
    """Whether a function is the one of NumPy or SciPy that has a form, not one of the same name."""
    library = sys.modules.get("scipy.special") if name in _SPECIAL else np
    return (name in FLOATS.forms or function in (np.clip, np.astype)) and getattr(library, name, None) is function


def _kind(x: Any) -> str | None:
    """"f" of a float or another number, "b" of a truth value; None of what is neither, or has another dtype."""
    if isinstance(x, Value):
        return _KINDS.get(x.dtype.char) if x.shape == () else None
    kind = np.asarray(x).dtype.kind if np.ndim(x) == 0 else ""
    return {"i": "f", "u": "f", "f": "f", "b": "b"}.get(kind)


def _bounds(line: Line) -> tuple[Any, Any] | None:
    """The bounds of a clip; also of a maximum or minimum with a number, that is not NaN."""
    if line.function is np.clip:
        return line.operands[1], line.operands[2]
    if line.function in (np.maximum, np.minimum) and is_number(line.operands[1]) and math.isfinite(line.operands[1]):
        return (line.operands[1], None) if line.function is np.maximum else (None, line.operands[1])
    return None


def float_literal(x: Any) -> str:
    """The text of a number as a float, or of a truth value."""
    x = np.asarray(x).item()
    return literal(x if isinstance(x, bool) else float(x))
