"""The operators of Python's grammar as the gates that they are."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from types import MappingProxyType

from circuitflow.gates.operators import BINARY, PREFIXES


def _kind(text: str) -> type[ast.AST]:
    """The operator in an expression."""
    parts = ast.walk(ast.parse(text))
    return next(type(part) for part in parts if isinstance(part, ast.operator | ast.cmpop | ast.unaryop))


OPERATORS: Mapping[type[ast.AST], str] = MappingProxyType({
    **{_kind(f"x {sign} y"): operator.gate for sign, operator in BINARY.items()},
    **{_kind(f"{sign}x"): operator.gate for sign, operator in PREFIXES.items()},
})
"""The gate of each operator: binary, of comparison, and in front of one operand."""
COMPARISONS = tuple(kind for kind in OPERATORS if issubclass(kind, ast.cmpop))
