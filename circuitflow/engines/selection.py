"""Branch-free `where`. NumPy's takes ten times as long on an unpredictable condition as on a predictable one.

A truth value is the integer 0 or 1, and a float times it, as integers of the same bits, is the float or 0.0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from circuitflow.engines.functions import is_named
from circuitflow.engines.program import Program, needed
from circuitflow.engines.source import is_number
from circuitflow.engines.trace import Line
from circuitflow.gates.shapes import Shape

_INTEGERS = {"float64": np.int64, "float32": np.int32}


def _is_large(shape: Shape, selected: int) -> bool:
    """Whether there are enough elements; blocks of rows have."""
    return shape != () and (is_named(shape) or int(np.prod(shape)) >= selected)  # type: ignore[arg-type]


def is_selectable(shape: Shape, dtype: np.dtype[Any], condition: Any, selected: int) -> bool:
    """Whether there is something to gain: of fewer elements than `selected` a plain `where` is as fast."""
    return (dtype.name in _INTEGERS and getattr(condition, "shape", None) == shape and condition.dtype == bool
            and _is_large(shape, selected))


def is_zero(x: Any) -> bool:
    """Whether an operand is the number 0, without a sign."""
    return is_number(x) and bool(x == 0) and not np.signbit(x)


def keep(condition: Any, x: Any, out: Any) -> Any:
    """`where(condition, x, 0.0)`, written into an array that is not x."""
    kind = _INTEGERS[out.dtype.name]
    bits = out.view(kind)
    np.copyto(bits, condition)
    np.multiply(bits, _bits(x, out.dtype, kind), out=bits)
    return out


def drop(condition: Any, x: Any, out: Any) -> Any:
    """`where(condition, 0.0, x)`, written into an array that is not x."""
    kind = _INTEGERS[out.dtype.name]
    bits = out.view(kind)
    np.copyto(bits, condition)
    np.bitwise_xor(bits, 1, out=bits)
    np.multiply(bits, _bits(x, out.dtype, kind), out=bits)
    return out


def select(condition: Any, x: Any, y: Any, out: Any) -> Any:
    """`where(condition, x, y)`, written into an array that is neither x nor y."""
    kind = _INTEGERS[out.dtype.name]
    bits, y = out.view(kind), _bits(y, out.dtype, kind)
    np.copyto(bits, condition)
    np.negative(bits, out=bits)
    np.bitwise_and(bits, np.bitwise_xor(_bits(x, out.dtype, kind), y), out=bits)
    np.bitwise_xor(bits, y, out=bits)
    return out


def product(x: Any, y: Any, out: Any = None) -> Any:
    """`where(x == 0, 0.0, x * y)`, written into an array that is neither x nor y; zeros are looked for first."""
    out = np.multiply(x, y, out=out)
    zero = np.equal(x, 0)
    if zero.any():
        np.copyto(out, 0.0, where=zero)
    return out


def with_products(program: Program, selected: int) -> Program:
    """The program with a line that calls `product` for every three lines that it stands for.

    Args:
        program: the lines.
        selected: fewest elements of such a product.
    """
    made = {id(result): line for line in program.lines for result in line.results}
    uses = program.uses()

    def alone(x: Any, function: Any) -> Line | None:
        line = made.get(id(x))
        return line if line is not None and line.function is function and uses[id(x)] == 1 else None

    def fused(line: Line) -> Line:
        result = line.results[0]
        if line.function is not np.where or not _is_large(result.shape, selected) or not is_zero(line.operands[1]):
            return line
        test, times = alone(line.operands[0], np.equal), alone(line.operands[2], np.multiply)
        if (test is None or times is None or not is_zero(test.operands[1])
                or times.results[0].dtype != result.dtype):
            return line
        x, y = times.operands
        if test.operands[0] is y:
            x, y = y, x
        return line._replace(function=product, operands=(x, y)) if test.operands[0] is x else line

    lines = [fused(line) for line in program.lines]
    return replace(program, lines=needed(lines, program.results))


def _bits(x: Any, dtype: Any, kind: Any) -> Any:
    return np.asarray(x, dtype).view(kind)
