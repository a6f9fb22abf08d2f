"""Operands of NumPy's functions and operators, in the dtype that NumPy computes in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from circuitflow.document.numbers import as_array
from circuitflow.errors import CircuitflowError, InputError
from circuitflow.text import printable
from circuitflow.transforms.writer import Wire


@contextmanager
def refusing(name: str) -> Iterator[None]:
    """Turns every exception inside into an InputError that names the function."""
    try:
        yield
    except CircuitflowError:
        raise
    except Exception as error:
        raise InputError(f"{name} of wires does not take that: {printable(str(error).partition(chr(10))[0])}") from None


def as_operand(w: Any, x: Any) -> Any:
    """A wire, a whole or decimal number of Python, or else an array of NumPy; lists with wires in them are stacked.

    Raises:
        InputError: it is none of these.
    """
    if isinstance(x, Wire) or type(x) in (int, float):
        return x
    need_plain(x, "an operand")
    if isinstance(x, np.ndarray) and x.dtype == object:
        raise InputError("an operand is an array of objects, of which the dtype is not known; expected numbers, so "
                         "cast it, as x.astype(float) does")
    try:
        is_stack = isinstance(x, list | tuple) and _has_wire(x)
    except RecursionError:
        raise InputError("an operand is a list that contains itself; expected a wire, a number or an array") from None
    if is_stack:
        return w.emit("stack", *together(w, x))
    return as_array(x, "an operand", "a wire, a number or a rectangular array of them")


def need_plain(x: Any, name: str) -> None:
    """Refuse NumPy arrays with other operators: matrices and masked arrays."""
    if isinstance(x, np.matrix):
        raise InputError(f"{name} is a matrix of NumPy, whose product * is no product of elements; expected an array, "
                         "so give numpy.asarray(…) of it")
    if isinstance(x, np.ma.MaskedArray):
        raise InputError(f"{name} is a masked array, which hides what is not defined; expected an array without a "
                         "mask, so fill it, as x.filled(0.0) does")


def _has_wire(x: Any) -> bool:
    return isinstance(x, Wire) or (isinstance(x, list | tuple) and any(map(_has_wire, x)))


def array(w: Any, x: Any) -> Any:
    """A wire or an array: a number of Python has the dtype that NumPy gives it alone."""
    x = as_operand(w, x)
    return x if isinstance(x, Wire) else np.asarray(x)


def promotion_type(x: Any) -> Any:
    """The type of an operand in NumPy's promotion: its dtype, or the type of a Python number."""
    if isinstance(x, Wire):
        return np.dtype(x.type.dtype)
    return x.dtype if isinstance(x, np.ndarray) else type(x)


def together(w: Any, xs: Iterable[Any], *, weak: bool = False, dtype: Any = None) -> list[Any]:
    """Wires of one dtype, NumPy's common one by default. `weak`: Python numbers take that of the other operands."""
    operands = [as_operand(w, x) if weak else array(w, x) for x in xs]
    if any(isinstance(x, Wire) and x.type.dtype == "bfloat16" for x in operands):  # NumPy has none
        return operands
    common = dtype if dtype is not None else np.result_type(
        *(np.empty((), promotion_type(x)) if isinstance(x, Wire | np.ndarray) else x for x in operands))
    return [w.in_dtype(x, np.dtype(common).name) for x in operands]


def floats(w: Any, x: Any) -> Any:
    """An array of floats: whole numbers and booleans become float64, as in NumPy's statistics and linear algebra."""
    x = array(w, x)
    return x if not isinstance(x, Wire) or x.type.is_float else w.in_dtype(x, "float64")


def in_dtype_of_sum(w: Any, a: Any, dtype: Any, *, floating: bool = False) -> Any:
    """An array in the dtype of its sum: short integers and booleans become 64-bit integers, or float64."""
    a = array(w, a)
    if dtype is not None:
        target = np.dtype(dtype)
        if not np.can_cast(promotion_type(a), target, "same_kind") or (floating and target.kind != "f"):
            raise TypeError(f"dtype {target} for {promotion_type(a)}; cast it first")
        return w.in_dtype(a, target.name)
    if floating:
        return floats(w, a)
    return a if a.type.is_float else w.in_dtype(a, "uint64" if a.type.dtype.startswith("u") else "int64")
