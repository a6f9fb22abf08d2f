"""Exported Python, as a function."""

from __future__ import annotations

import ast
import builtins
import symtable
import warnings
from typing import Any

import circuitflow as cf


def imported(text):
    return {name.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import) for name in node.names}


def function_of(text):
    """What the file defines, as a function of value and gradients; nothing in it or of it warns."""
    assert imported(text) <= {"math", "numpy", "scipy.special"}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(ast.parse(text)))
    check_names(text)
    namespace = {"__name__": "exported"}

    def call(**given):
        with warnings.catch_warnings(action="error"):
            return namespace["value_and_grad"](**given) if "value_and_grad" in namespace else (
                namespace["value"](**given), {})

    with warnings.catch_warnings(action="error"):
        exec(compile(text, "exported.py", "exec"), namespace)
    return call


def check_names(text):
    """Every name that is read is there, and none that a file uses is given to anything else."""
    table = symtable.symtable(text, "exported.py", "exec")
    module = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()
              or symbol.is_namespace()}
    (function,) = [child for child in table.get_children() if child.get_name().startswith("value")]
    read = {symbol.get_name() for child in table.get_children() for symbol in child.get_symbols() if symbol.is_global()}
    read |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()} - module
    assert {name for name in read - module if not hasattr(builtins, name)} <= {"__name__"}
    assert {symbol.get_name() for symbol in function.get_symbols() if symbol.is_local()} & read == set()
    bound = [name for node in ast.parse(text).body for name in (
        [target.id for target in node.targets] if isinstance(node, ast.Assign) else [node.name]
        if isinstance(node, ast.FunctionDef) else
        [alias.asname or alias.name for alias in node.names] if isinstance(node, ast.Import) else [])]
    assert len(bound) == len(set(bound))
    assert not {*bound} & {name for name in read if hasattr(builtins, name)}


def written(circuit: cf.Circuit, wrt: Any) -> Any:
    """The function of an exported file."""
    names: dict[str, Any] = {"__name__": "exported"}
    exec(compile(cf.to_python(circuit, None, wrt), "exported", "exec"), names)
    return names["value_and_grad"] if wrt else lambda **operands: (names["value"](**operands), {})
