"""How C spells lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from circuitflow.engines.c.helpers import HELPERS
from circuitflow.engines.flat.comments import plain
from circuitflow.engines.flat.language import DType, Expr, Language, Unwritable
from circuitflow.graph.typed import Node

TYPES = {"float64": "double", "float32": "float", "bool": "bool",
         **{name: f"{name}_t" for bits in (8, 16, 32, 64) for name in (f"int{bits}", f"uint{bits}")}}
"""The type of a dtype, by its name."""

_TYPES = {np.dtype(name): type_ for name, type_ in TYPES.items()}

_MATH = {"absolute": "fabs", "power": "pow", "gammaln": "lgamma", "floor": "floor", "ceil": "ceil", "trunc": "trunc",
         "rint": "rint", **{name: name.replace("arc", "a") for name in (
             "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2",
             "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "hypot", "erf", "erfc")}}
_TWO = ("arctan2", "hypot", "power")
_OPERATORS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
_COMPARISONS = {"equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">",
                "greater_equal": ">="}
_BITS = {"bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^"}


def _forms() -> dict[str, dict[str, str]]:
    forms: dict[str, dict[str, str]] = {}
    for name, sign in _OPERATORS.items():
        forms[name] = dict.fromkeys("df", f"{{0}} {sign} {{1}}")
        if name != "divide":  # signed numbers that overflow have no meaning in C; unsigned ones wrap around
            forms[name] |= dict.fromkeys("iu", f"=({{type}})((uint64_t)({{0}}) {sign} (uint64_t)({{1}}))")
    for name, sign in _COMPARISONS.items():
        forms[name] = dict.fromkeys("dfiub", f"{{0}} {sign} {{1}}")
    for name, sign in _BITS.items():
        forms[name] = {"b": f"{{0}} {sign} {{1}}", **dict.fromkeys("iu", f"=({{type}})(({{0}}) {sign} ({{1}}))")}
    for name, function in _MATH.items():
        operands = "{0}, {1}" if name in _TWO else "{0}"
        forms[name] = {"d": f"={function}({operands})", "f": f"={function}f({operands})"}
    for name in ("isnan", "isinf", "isfinite", "signbit"):
        forms[name] = dict.fromkeys("df", f"{name}({{0}}) != 0")
    for kind, ending in (("d", ""), ("f", "f")):
        for name in ("maximum", "minimum", "at_least", "at_most", "remainder", "logaddexp"):
            forms.setdefault(name, {})[kind] = f"=@{name}{ending}({{0}}, {{1}})"
        forms.setdefault("sign", {})[kind] = f"=@sign{ending}({{0}})"
    for name in ("maximum", "minimum", "at_least", "at_most"):
        side = "u" if name in ("maximum", "at_least") else "l"
        forms[name] |= {kind: f"=({{type}})@{'larger' if side == 'u' else 'smaller'}_{kind}({{0}}, {{1}})"
                        for kind in "iu"}
        forms[name]["b"] = "{0} || {1}" if side == "u" else "{0} && {1}"
    forms["remainder"] |= {"i": "=({type})@modulo({0}, {1})", "u": "=({type})(({0}) % ({1}))"}
    forms["absolute"] |= {"i": "=({type})@magnitude({0})", "u": "={0}"}
    forms["sign"] |= {"i": "=({type})@direction({0})", "u": "=({type})(({0}) != 0)"}
    forms["negative"] = {**dict.fromkeys("df", "-{0}"), **dict.fromkeys("iu", "=({type})(0 - (uint64_t)({0}))")}
    forms["invert"] = {"b": "!{0}", **dict.fromkeys("iu", "=({type})~({0})")}
    forms["logical_not"] = {"b": "!{0}"}
    forms["logical_and"], forms["logical_or"] = {"b": "{0} && {1}"}, {"b": "{0} || {1}"}
    forms["logical_xor"] = {"b": "{0} != {1}"}
    forms["right_shift"] = dict.fromkeys("iu", "=({type})(({0}) >> ({1}))")
    for name, call in (("psi", "@psi({0})"), ("_zeta", "@zeta({0}, {1})")):
        forms[name] = {"d": f"={call}", "f": f"=(float){call}"}
    forms["murmur"] = {"i": "=@murmur({0})"}
    forms["where"] = dict.fromkeys("dfiub", "{0} ? {1} : {2}")
    forms["reciprocal"] = {"d": "1.0 / {0}", "f": "1.0f / {0}"}
    return forms


class C(Language):
    """C99 that a compiler of C++ takes as well."""

    title = "C"
    forms: Mapping[str, Mapping[str, str]] = _forms()
    helpers = HELPERS
    arrow = "->"
    part = 400

    def __init__(self, prefix: str, *, comments: bool = True) -> None:
        """The language for a file all of whose names begin with a prefix, with comments or without any."""
        super().__init__()
        self.prefix, self._has_comments = prefix, comments

    def type_name(self, dtype: DType) -> str:
        if dtype not in _TYPES:
            raise Unwritable(f"has numbers of {dtype.name}, which C does not have")
        return _TYPES[dtype]

    def helper_name(self, name: str) -> str:
        return f"{self.prefix}_{name}"

    def literal(self, x: Any, dtype: DType) -> Expr:
        x = np.asarray(x, dtype)[()]
        if dtype.kind == "b":
            return Expr("true" if x else "false")
        if dtype.kind != "f":
            return self._integer(int(x), dtype)
        if not np.isfinite(x):
            text = "NAN" if np.isnan(x) else "INFINITY"
            text = text if dtype == np.float32 else f"(double){text}"
            return Expr(f"-{text}" if x < 0 else text, is_atom=False)
        text = np.format_float_scientific(x, unique=True, trim="0") if _is_far(abs(float(x))) else (
            np.format_float_positional(x, unique=True, trim="0"))
        return Expr(text + ("f" if dtype == np.float32 else ""), is_atom=not np.signbit(x))

    def _integer(self, x: int, dtype: DType) -> Expr:
        if dtype.itemsize == 8 and abs(x) >= 2**31:
            if x == -(2**63):  # there are no negative literals
                return Expr("INT64_MIN")
            text = f"{'U' if dtype.kind == 'u' else ''}INT64_C({x})"
            return Expr(text, is_atom=x >= 0)
        if dtype == np.int32 and x == -(2**31):
            return Expr("INT32_MIN")
        return Expr(f"{x}{'u' if dtype.kind == 'u' else ''}", is_atom=x >= 0)

    def cast(self, x: Expr, old: DType, new: DType) -> Expr:
        if old == new:
            return x
        if new.kind == "b":
            return Expr(f"{x} != 0", is_atom=False)
        if old.kind == "f" and new.kind in "iu":
            return Expr(f"({_TYPES[new]})" + self.call(f"to_{'u' if new.kind == 'u' else ''}int64",
                                                            x.text), is_atom=False)
        return Expr(f"({_TYPES[new]}){x}", is_atom=False)

    def constant(self, name: str, dtype: DType, x: Expr | None) -> str:
        return f"const {_TYPES[dtype]} {name} = {x.text};" if x else f"{_TYPES[dtype]} {name};"

    def variable(self, name: str, dtype: DType, x: Expr) -> str:
        return f"{_TYPES[dtype]} {name} = {x.text};"

    def loop(self, variable: str, size: int, *, backwards: bool = False) -> str:
        if backwards:
            return f"for (int {variable} = {size - 1}; {variable} >= 0; {variable}--) {{"
        return f"for (int {variable} = 0; {variable} < {size}; {variable}++) {{"

    def refusal(self, number: int, node: Node) -> str:
        return f"return {number};"

    def address(self, name: str, at: str) -> str:
        return name if at == "0" else f"{name} + {at}"

    def comment(self, text: str) -> str:
        return f"/* {plain(text)} */" if self._has_comments else ""


def _is_far(size: float) -> bool:
    """Whether a number is written with an exponent."""
    return size != 0 and not 1e-5 <= size < 1e16
