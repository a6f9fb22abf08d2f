"""What stands beside wires in a call of NumPy's, in the dtype that NumPy computes in."""

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
    """Whatever Python says of operands and arguments that make no sense, as a refusal by the name of the function."""
    try:
        yield
    except CircuitflowError:
        raise
    except Exception as error:
        raise InputError(f"{name} of wires does not take that: {printable(str(error).partition(chr(10))[0])}") from None


def plain(w: Any, x: Any) -> Any:
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
    """Refuse arrays of NumPy whose operators mean something else than those of arrays."""
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
    x = plain(w, x)
    return x if isinstance(x, Wire) else np.asarray(x)


def kind(x: Any) -> Any:
    """What NumPy's rules of promotion know an operand by: its dtype, or the type of a number of Python."""
    if isinstance(x, Wire):
        return np.dtype(x.type.dtype)
    return x.dtype if isinstance(x, np.ndarray) else type(x)


def together(w: Any, xs: Iterable[Any], *, weak: bool = False, dtype: Any = None) -> list[Any]:
    """Wires of one dtype: the one given, or NumPy's common one.

    Args:
        w: the writer.
        xs: operands.
        weak: whether numbers of Python take the dtype of what stands beside them.
        dtype: the dtype.
    """
    operands = [plain(w, x) if weak else array(w, x) for x in xs]
    if any(isinstance(x, Wire) and x.type.dtype == "bfloat16" for x in operands):  # which NumPy does not have
        return operands
    found = dtype if dtype is not None else np.result_type(
        *(np.empty((), kind(x)) if isinstance(x, Wire | np.ndarray) else x for x in operands))
    return [w.typed(x, np.dtype(found).name) for x in operands]


def floats(w: Any, x: Any) -> Any:
    """An array of floats: whole numbers and booleans become float64, as in NumPy's statistics and linear algebra."""
    x = array(w, x)
    return x if not isinstance(x, Wire) or x.type.is_float else w.typed(x, "float64")
