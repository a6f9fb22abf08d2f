"""Branch-free `where`; NumPy's is slow on unpredictable masks, by a factor of ten.

A truth value is the integer 0 or 1, and a float times it, as integers of the same bits, is the float or 0.0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from circuitflow.engines.program.functions import is_named
from circuitflow.engines.program.program import Program, needed_lines
from circuitflow.engines.program.source import is_number
from circuitflow.engines.program.trace import Line
from circuitflow.gates.shapes import Shape

_INTEGERS = {"float64": np.int64, "float32": np.int32}


def _is_large(shape: Shape, least: int) -> bool:
    """Whether there are enough elements; blocks of rows have."""
    return shape != () and (is_named(shape) or int(np.prod(shape)) >= least)  # type: ignore[arg-type]


def is_zero(x: Any) -> bool:
    """Whether an operand is the number 0, without a sign."""
    return is_number(x) and bool(x == 0) and not np.signbit(x)


def select(condition: Any, x: Any, y: Any, out: Any = None) -> Any:
    """`where(condition, x, y)`, written into an array that is neither x nor y; where there is none, by NumPy."""
    if out is None:
        return np.where(condition, x, y)
    bits = out.view(_INTEGERS[out.dtype.name])
    x, y, is_zero_first, is_zero_last = _bits(x, out), _bits(y, out), is_zero(x), is_zero(y)
    np.copyto(bits, condition)
    if is_zero_first:
        np.bitwise_xor(bits, 1, out=bits)
    if is_zero_first or is_zero_last:
        np.multiply(bits, y if is_zero_first else x, out=bits)
    else:
        np.negative(bits, out=bits)
        np.bitwise_and(bits, np.bitwise_xor(x, y), out=bits)
        np.bitwise_xor(bits, y, out=bits)
    return out


def product(x: Any, y: Any, out: Any = None) -> Any:
    """`where(x == 0, 0.0, x * y)`, written into an array that is neither x nor y; zeros are looked for first."""
    out = np.multiply(x, y, out=out)
    zero = np.equal(x, 0)
    if zero.any():
        np.copyto(out, 0.0, where=zero)
    return out


OWN = (select, product)
"""Functions of this module that lines call. They go element by element and give new arrays."""


def branch_free(program: Program, least: int) -> Program:
    """The program with `select` for `where`, and `product` for the three lines that it stands for.

    Where a result has fewer elements than `least`, a plain `where` is as fast. `maximum(x, 0)` is not
    `where(x <= 0, 0, x)`: NumPy gives -0 at -0 in some dtypes and on some processors.
    """
    line_of = {id(result): line for line in program.lines for result in line.results}
    uses = program.uses()

    def alone(x: Any, function: Any) -> Line | None:
        line = line_of.get(id(x))
        return line if line is not None and line.function is function and uses[id(x)] == 1 else None

    def without(line: Line) -> Line:
        result = line.results[0]
        if line.function is not np.where or not _is_large(result.shape, least):
            return line
        condition, x, y = line.operands
        test, times = alone(condition, np.equal), alone(y, np.multiply)
        if is_zero(x) and test and times and is_zero(test.operands[1]) and times.results[0].dtype == result.dtype:
            for pair in (times.operands, times.operands[::-1]):
                if pair[0] is test.operands[0]:
                    return line._replace(function=product, operands=pair)
        if (result.dtype.name in _INTEGERS and getattr(condition, "shape", None) == result.shape
                and condition.dtype == bool):
            return line._replace(function=select)
        return line

    lines = [without(line) for line in program.lines]
    return replace(program, lines=needed_lines(lines, program.results))


def _bits(x: Any, out: Any) -> Any:
    return np.asarray(x, out.dtype).view(_INTEGERS[out.dtype.name])
