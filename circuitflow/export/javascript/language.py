"""How JavaScript spells lines.

Its numbers are floats of 64 bits. Those of 32 bits are rounded after every operation, which gives the same: a sum,
product, quotient or root of two is exact to more than twice their digits (Figueroa 1995). Integers of 64 bits are
numbers as well; one beyond 2^53, which a float does not hold, is refused where it comes up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from circuitflow.engines.flat.comments import plain
from circuitflow.engines.flat.language import DType, Expr, Language, Unwritable
from circuitflow.export.javascript.helpers import HELPERS
from circuitflow.graph.typed import Node

ARRAYS = {"float64": "Float64Array", "float32": "Float32Array", "bool": "Uint8Array", "int64": "Float64Array",
          "uint64": "Float64Array", **{f"{sign}int{bits}": f"{kind}{bits}Array" for sign, kind in (("", "Int"), (
              "u", "Uint")) for bits in (8, 16, 32)}}
"""The array that holds numbers of a dtype, by its name."""

_ARRAYS = {np.dtype(name): array for name, array in ARRAYS.items()}

_MATH = {"absolute": "abs", "floor": "floor", "ceil": "ceil", "trunc": "trunc", **{
    name: name.replace("arc", "a") for name in (
        "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2", "sinh",
        "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "hypot")}}
_OPERATORS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
_COMPARISONS = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">="}
_NARROW = {"int8": "({0}) << 24 >> 24", "int16": "({0}) << 16 >> 16", "int32": "({0}) | 0", "uint8": "({0}) & 255",
           "uint16": "({0}) & 65535", "uint32": "({0}) >>> 0", "int64": "=@whole({0})", "uint64": "=@whole({0})"}
"""A whole number as one of a dtype, which keeps its last bits."""

_HELPED = {"maximum": 2, "minimum": 2, "at_least": 2, "at_most": 2, "remainder": 2, "logaddexp": 2, "power": 2,
           "sign": 1, "rint": 1, "erf": 1, "erfc": 1, "psi": 1}
"""Functions that helpers compute, and how many operands they have."""


def _forms() -> dict[str, dict[str, str]]:
    forms: dict[str, dict[str, str]] = {}
    for name, sign in _OPERATORS.items():
        forms[name] = {"d": f"{{0}} {sign} {{1}}"}
    for name, function in _MATH.items():
        operands = "{0}, {1}" if name in ("arctan2", "hypot") else "{0}"
        forms[name] = {"d": f"=Math.{function}({operands})"}
    for name, count in _HELPED.items():
        forms[name] = {"d": f"=@{name}({', '.join(f'{{{i}}}' for i in range(count))})"}
    forms["_zeta"], forms["gammaln"] = {"d": "=@zeta({0}, {1})"}, {"d": "=@lgamma({0})"}
    forms["negative"], forms["reciprocal"] = {"d": "-{0}"}, {"d": "1 / {0}"}
    for rounded in forms.values():
        form = rounded["d"]
        rounded["f"] = f"=Math.fround({form[1:]})" if form.startswith("=") else f"~Math.fround({form})"
    for name in ("absolute", "negative", "maximum", "minimum", "at_least", "at_most", "sign"):
        forms[name]["f"] = forms[name]["d"]  # these round nothing
        forms[name] |= dict.fromkeys("iu", forms[name]["d"])
    forms["negative"] |= dict.fromkeys("iu", "0 - {0}")
    for name in ("maximum", "at_least"):
        forms[name]["b"] = "{0} || {1}"
    for name in ("minimum", "at_most"):
        forms[name]["b"] = "{0} && {1}"
    forms["remainder"] |= dict.fromkeys("iu", "=@remainder({0}, {1})")
    for name, sign in _COMPARISONS.items():
        forms[name] = dict.fromkeys("dfiub", f"{{0}} {sign} {{1}}")
    for name, sign in (("equal", "=="), ("not_equal", "!=")):
        forms[name] = {**dict.fromkeys("dfiu", f"{{0}} {sign}= {{1}}"), "b": f"{{0}} {sign} {{1}}"}
    for name, sign in (("bitwise_and", "&"), ("bitwise_or", "|"), ("bitwise_xor", "^")):
        forms[name] = {"b": f"{{0}} {sign} {{1}}", **dict.fromkeys("iu", f"=@{name}({{0}}, {{1}})")}
    for name, test in (("isnan", "=Number.isNaN({0})"), ("isfinite", "=Number.isFinite({0})"),
                       ("isinf", "=@isinf({0})"), ("signbit", "=@signbit({0})")):
        forms[name] = dict.fromkeys("df", test)
    forms["murmur"] = {"i": "=@murmur({0})"}
    forms["right_shift"] = dict.fromkeys("iu", "=Math.floor({0} / 2 ** {1})")
    forms["invert"] = forms["logical_not"] = {"b": "!{0}"}
    forms["logical_and"], forms["logical_or"] = {"b": "{0} && {1}"}, {"b": "{0} || {1}"}
    forms["logical_xor"] = {"b": "{0} != {1}"}
    forms["where"] = dict.fromkeys("dfiub", "{0} ? {1} : {2}")
    return forms


class JavaScript(Language):
    """ECMAScript 2020."""

    title = "JavaScript"
    forms: Mapping[str, Mapping[str, str]] = _forms()
    helpers = HELPERS
    arrow = "."
    part = 10**9

    def type_name(self, dtype: DType) -> str:
        if dtype not in _ARRAYS:
            raise Unwritable(f"has numbers of {dtype.name}, which JavaScript does not have")
        return _ARRAYS[dtype]

    def form(self, name: str, dtype: DType) -> str:
        if name in ("add", "subtract", "multiply") and dtype.kind in "iu":
            if name == "multiply" and dtype.itemsize == 4:
                return f"=({_NARROW[dtype.name].format('Math.imul({0}, {1})')})"
            narrow = _NARROW[dtype.name].removeprefix("=")
            return f"~({narrow.format(f'{{0}} {_OPERATORS[name]} {{1}}')})"
        return super().form(name, dtype)

    def helper_name(self, name: str) -> str:
        return f"{name}_"

    def literal(self, x: Any, dtype: DType) -> Expr:
        x = np.asarray(x, dtype)[()]
        if dtype.kind == "b":
            return Expr("true" if x else "false")
        if dtype.kind in "iu":
            if abs(int(x)) > 2**53:
                raise Unwritable(f"has the integer {int(x)}, which a number of JavaScript does not hold")
            return Expr(str(int(x)), is_atom=bool(x >= 0))
        if not np.isfinite(x):
            text = "NaN" if np.isnan(x) else "Infinity"
            return Expr(f"-{text}" if x < 0 else text, is_atom=not x < 0)
        text = repr(float(x))
        return Expr(text.removesuffix(".0"), is_atom=not np.signbit(x))

    def cast(self, x: Expr, old: DType, new: DType) -> Expr:
        if old == new:
            return x
        if new.kind == "b":
            return Expr(f"{x} != 0", is_atom=False)
        if old.kind == "b":
            return Expr(f"Number({x.text})")
        if new.kind == "f":
            return Expr(f"Math.fround({x.text})") if new == np.float32 else x
        text = f"Math.trunc({x.text})" if old.kind == "f" else x.text
        form = _NARROW[new.name]
        if form.startswith("="):
            return Expr(text) if old.kind == "f" else x
        return Expr(form.format(text), is_atom=False)

    def argument(self, x: Expr, dtype: DType) -> Expr:
        return Expr(f"Math.fround({x.text})") if dtype == np.float32 else x

    def truth(self, x: Expr) -> Expr:
        return Expr(f"Boolean({x.text})")  # inside, 0 and 1 stand for it as well

    def constant(self, name: str, dtype: DType, x: Expr | None) -> str:
        return f"const {name} = {x.text};" if x else f"let {name};"

    def variable(self, name: str, dtype: DType, x: Expr) -> str:
        return f"let {name} = {x.text};"

    def loop(self, variable: str, size: int, *, backwards: bool = False) -> str:
        if backwards:
            return f"for (let {variable} = {size - 1}; {variable} >= 0; {variable}--) {{"
        return f"for (let {variable} = 0; {variable} < {size}; {variable}++) {{"

    def refusal(self, number: int, node: Node) -> str:
        return f"throw new RangeError({json.dumps(f'{plain(node.id)}: {node.kind} refuses its operands')});"

    def address(self, name: str, at: str) -> str:
        return name if at == "0" else f"{name}.subarray({at})"

    def comment(self, text: str) -> str:
        return f"/* {plain(text)} */"
