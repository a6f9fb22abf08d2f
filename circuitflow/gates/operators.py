"""The operators of Python that are gates: what rules, expressions and explanations are written in."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Operator(NamedTuple):
    """An operator.

    Attributes:
        gate: the gate that it applies.
        method: its method, without underscores.
        binding: how tightly it holds its operands together, as in
            https://docs.python.org/3/reference/expressions.html#operator-precedence
    """

    gate: str
    method: str
    binding: int


COMPARISON, UNARY, POWER = 1, 7, 8
"""How tightly comparisons, unary operators and powers bind."""

BINARY: Mapping[str, Operator] = MappingProxyType({
    "==": Operator("equal", "eq", COMPARISON),
    "<": Operator("less", "lt", COMPARISON), "<=": Operator("less_or_equal", "le", COMPARISON),
    ">": Operator("greater", "gt", COMPARISON), ">=": Operator("greater_or_equal", "ge", COMPARISON),
    "|": Operator("or", "or", 2), "^": Operator("xor", "xor", 3), "&": Operator("and", "and", 4),
    "+": Operator("add", "add", 5), "-": Operator("sub", "sub", 5),
    "*": Operator("mul", "mul", 6), "/": Operator("div", "truediv", 6), "%": Operator("mod", "mod", 6),
    "@": Operator("matmul", "matmul", 6),
    "**": Operator("pow", "pow", POWER),
})

PREFIXES: Mapping[str, Operator] = MappingProxyType({
    "-": Operator("neg", "neg", UNARY), "~": Operator("not", "invert", UNARY),
})
