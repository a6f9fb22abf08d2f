"""NumPy's and SciPy's ufuncs as gates, with NumPy's casts.

An entry of `UFUNCS` takes the writer and the operands as wires, in the dtypes of the loop that NumPy chooses.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from circuitflow.authoring.grammar import OPERATORS
from circuitflow.authoring.operands import as_operand, promotion_type, refusing
from circuitflow.gates import GATES, IDENTITY
from circuitflow.gates.names import RECIPES
from circuitflow.transforms.writer import Wire

Entry = Callable[..., Any]


def gate_entry(name: str) -> Entry:
    """The entry of a gate without attributes."""
    if name == IDENTITY:
        return lambda w, x: x.copy()
    return lambda w, *operands: w.emit(name, *operands)


def _recipe(text: str) -> Entry:
    """The gates of an expression of x and y."""
    tree = ast.parse(text, mode="eval").body

    def write(w: Any, *operands: Any) -> Any:
        names = dict(zip("xy", operands, strict=False))

        def write_node(node: ast.AST) -> Any:
            match node:
                case ast.Constant(value=value):
                    return value
                case ast.Name(id=name):
                    return names[name]
                case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                    return w.emit(name, *map(write_node, args), **{str(k.arg): write_node(k.value) for k in keywords})
                case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                    return -number
                case ast.UnaryOp(op=op, operand=operand):
                    return w.emit(OPERATORS[type(op)], write_node(operand))
                case ast.BinOp(left=left, op=op, right=right) | ast.Compare(left=left, ops=[op], comparators=[right]):
                    return w.emit(OPERATORS[type(op)], write_node(left), write_node(right))
            raise AssertionError(text)

        return write_node(tree)

    return write


def _by_names() -> tuple[dict[Any, Entry], dict[Any, Entry]]:
    """The ufuncs, and the functions of one array, that are gates or exact recipes by the table of names."""
    entries = {name: _recipe(recipe) for name, recipe in RECIPES.items()}
    for name, row in GATES.items():
        for other in row.facets.note.names if name != "huber" else ():  # SciPy's takes delta first
            entries.setdefault(other.removeprefix("scipy.special."), gate_entry(name))
    ufuncs: dict[Any, Entry] = {}
    functions: dict[Any, Entry] = {}
    for name, entry in entries.items():
        for module in (np, import_module("scipy.special")):
            function = getattr(module, name, None)
            if isinstance(function, np.ufunc) and function.nout == 1:
                ufuncs.setdefault(function, entry)
            elif name in RECIPES and callable(function):
                functions.setdefault(function, entry)
    return ufuncs, functions


UFUNCS, FUNCTIONS = _by_names()


def _fmod(w: Any, x: Any, y: Any) -> Any:
    if "int" in x.type.dtype:
        raise TypeError("whole numbers; cast them to float64, or take np.remainder")
    return w.emit("mul", w.emit("sign", x), w.emit("mod", w.emit("abs", x), w.emit("abs", y)))


def _floor_divide(w: Any, x: Any, y: Any) -> Any:
    """From the exact remainder, as in NumPy: a rounded quotient may be the next whole number."""
    if "int" in x.type.dtype:
        raise TypeError("whole numbers; cast one of them to float64")
    zero, remainder = y == 0, _fmod(w, x, y)
    other_sign = (remainder != 0) & ((y < 0) != (remainder < 0))
    quotient = (x - remainder) / y - w.emit("where", other_sign, 1.0, 0.0).astype(x.dtype)
    below = np.floor(quotient)
    whole = below + w.emit("where", quotient - below > 0.5, 1.0, 0.0).astype(x.dtype)
    return w.emit("stop_gradient", w.emit("where", zero, x / y, whole))


UFUNCS |= {np.fmod: _fmod, np.floor_divide: _floor_divide}

_OF_BOOLEANS: dict[Any, Entry] = {
    np.add: gate_entry("or"), np.maximum: gate_entry("or"), np.fmax: gate_entry("or"), np.multiply: gate_entry("and"),
    np.minimum: gate_entry("and"), np.fmin: gate_entry("and"),
}
"""The gates of ufuncs on booleans, where they differ."""


@cache
def _loop(ufunc: Any, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    """The dtypes of the operands and of the result, as NumPy computes it."""
    return tuple(ufunc.resolve_dtypes((*kinds, *[None] * ufunc.nout)))


def _need_core(ufunc: Any, xs: list[Any]) -> None:
    """Refuse operands whose core dimensions differ, such as n in (m,n),(n)->(m): they are not broadcast."""
    sizes: dict[str, Any] = {}
    for x, core in zip(xs, re.findall(r"\((.*?)\)", ufunc.signature.partition("->")[0]), strict=True):
        shape = getattr(x, "shape", ())
        names = [name for name in core.split(",") if "?" not in name or len(shape) > 1]
        if len(shape) < len(names):
            raise ValueError(f"an operand of {len(shape)} dimensions, where {ufunc.signature} has {len(names)}")
        for name, size in zip(names, shape[len(shape) - len(names) :], strict=True):
            if sizes.setdefault(name.rstrip("?"), size) != size:
                raise ValueError(f"the sizes {sizes[name.rstrip('?')]} and {size} along one dimension of "
                                 f"{ufunc.signature}")


def apply_ufunc(w: Any, ufunc: Any, operands: tuple[Any, ...]) -> Any:
    """The result of a ufunc of `UFUNCS`, written as gates.

    Raises:
        InputError: NumPy, or every gate, refuses operands of these dtypes.
    """
    xs = [as_operand(w, x) for x in operands]
    if any(isinstance(x, Wire) and x.type.dtype == "bfloat16" for x in xs):  # NumPy has none
        return UFUNCS[ufunc](w, *xs)
    with refusing(f"np.{ufunc.__name__}"):
        *dtypes, result = _loop(ufunc, tuple(map(promotion_type, xs)))
        if ufunc.signature:
            _need_core(ufunc, xs)
        entry = UFUNCS[ufunc]
        if all(dtype == np.dtype(bool) for dtype in dtypes):
            entry = _OF_BOOLEANS.get(ufunc, entry)
        output = entry(w, *(w.in_dtype(x, dtype.name) for x, dtype in zip(xs, dtypes, strict=True)))
        return w.in_dtype(output, result.name)
