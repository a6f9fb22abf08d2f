"""The operators of Python's grammar as the gates that they are."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from types import MappingProxyType

from circuitflow.gates.operators import BINARY, PREFIXES


def _signs() -> dict[type[ast.AST], str]:
    signs: dict[type[ast.AST], str] = {}
    for sign, operator in BINARY.items():
        node = ast.parse(f"x {sign} y", mode="eval").body
        assert isinstance(node, ast.BinOp | ast.Compare)  # noqa: S101
        signs[type(node.op if isinstance(node, ast.BinOp) else node.ops[0])] = operator.gate
    for sign, operator in PREFIXES.items():
        node = ast.parse(f"{sign}x", mode="eval").body
        assert isinstance(node, ast.UnaryOp)  # noqa: S101
        signs[type(node.op)] = operator.gate
    return signs


OPERATORS: Mapping[type[ast.AST], str] = MappingProxyType(_signs())
"""The gate of each operator: binary, of comparison, and in front of one operand."""
COMPARISONS = tuple(kind for kind in OPERATORS if issubclass(kind, ast.cmpop))
