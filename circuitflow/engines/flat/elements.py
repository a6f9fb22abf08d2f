"""NumPy's functions by element: an element of the result is computed where it is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from circuitflow.engines.flat.arrays import Array, computed, splat
from circuitflow.engines.flat.code import Code
from circuitflow.engines.flat.indices import Indices
from circuitflow.engines.flat.language import BOOL, DType, Expr, Unwritable
from circuitflow.engines.flat.lowering import Lowering, Rules
from circuitflow.engines.program.source import is_number
from circuitflow.engines.program.trace import Line, Value


def common(xs: Sequence[Any]) -> DType:
    """The dtype of operands together; Python's numbers are weak."""
    return np.result_type(*(np.empty((), x.dtype) if isinstance(x, Value | np.ndarray | np.generic) else x for x in xs))


def by_element(low: Lowering, name: str, dtype: DType, shape: Sequence[Any], xs: Sequence[Array]) -> Array:
    """A function of elements of one dtype."""
    low.language.form(name, dtype)
    operands = [low.wide(x, shape) for x in xs]

    def at(code: Code, indices: Indices) -> Expr:
        elements = [x.at(code, indices) for x in operands]
        if name in _COMPARISONS and dtype.kind != "f" and elements[0] == elements[1]:  # compilers warn of that
            return code.language.literal(name in ("equal", "less_equal", "greater_equal"), BOOL)
        return code.language.apply(name, dtype, elements)

    if name in _OF_TRUTH:  # whatever the operands are
        return computed(shape, BOOL, operands, at)
    return computed(shape, dtype, operands, at)


_COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
_LOGICAL = ("logical_and", "logical_or", "logical_xor", "logical_not")
_OF_TRUTH = frozenset({*_COMPARISONS, *_LOGICAL, "isnan", "isinf", "isfinite", "signbit"})


def _certain(comparison: Any, xs: Sequence[Any]) -> bool | None:
    """What a comparison with a number gives for all integers of the dtype beside it, as of an unsigned one with -1.

    Compilers warn of that. None where it depends on the integer.
    """
    operands, numbers = ([x for x in xs if isinstance(x, Value) is known] for known in (True, False))
    if len(operands) != 1 or operands[0].dtype.kind not in "iub":
        return None
    different, dtype = np.unique(numbers[0]), operands[0].dtype
    if different.size != 1 or different.dtype.kind not in "iub":
        return None
    number, limits = int(different[0]), (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if comparison in (np.equal, np.not_equal):
        return None if limits[0] <= number <= limits[1] else comparison is np.not_equal
    least, most = (bool(comparison(*((x, number) if xs[0] is operands[0] else (number, x)))) for x in limits)
    return least if least == most else None


def ufunc(low: Lowering, line: Line, *xs: Any) -> Array:
    """A universal function."""
    name, (result, *_) = line.function.__name__, line.results
    if line.keywords or getattr(line.function, "signature", None) is not None:
        raise Unwritable(f"comes to {name} with options, which cannot be written")
    certain = _certain(line.function, xs) if name in _COMPARISONS else None
    if certain is not None:
        return splat(result.shape, BOOL, low.language.literal(certain, BOOL))
    if name in _LOGICAL:
        dtype = BOOL
    elif name in _OF_TRUTH or result.dtype == BOOL:
        dtype = common(xs)
    else:
        dtype = result.dtype
    if name in ("maximum", "minimum") and is_number(xs[1]) and np.isfinite(xs[1]):
        name = "at_least" if name == "maximum" else "at_most"
    return by_element(low, name, dtype, result.shape, [low.array(x, dtype) for x in xs])


def _astype(low: Lowering, line: Line, x: Any, dtype: Any) -> Array:
    array, new = low.array(x), np.dtype(dtype)
    return array if array.dtype == new else computed(array.shape, new, [array], low.cast(array, new).at)


def _where(low: Lowering, line: Line, condition: Any, x: Any, y: Any) -> Array:
    result = line.results[0]
    test = low.wide(low.array(condition), result.shape)
    first, second = (low.wide(low.array(z, result.dtype), result.shape) for z in (x, y))

    def at(code: Code, indices: Indices) -> Expr:
        return code.language.apply("where", result.dtype, [
            low.condition(test, code, indices), first.at(code, indices), second.at(code, indices)])

    return computed(result.shape, result.dtype, [test, first, second], at)


def _clip(low: Lowering, line: Line, x: Any, least: Any, most: Any) -> Array:
    result = line.results[0]
    out = low.array(x, result.dtype)
    for bound, name in ((most, "at_most"), (least, "at_least")):
        if bound is not None:
            name = name if is_number(bound) else {"at_most": "minimum", "at_least": "maximum"}[name]
            out = by_element(low, name, result.dtype, result.shape,
                             [out, low.array(bound, result.dtype)])
    return out


def _round(low: Lowering, line: Line, x: Any, decimals: int = 0) -> Array:
    if decimals:
        raise Unwritable("rounds to digits, which cannot be written")
    result = line.results[0]
    return by_element(low, "rint", result.dtype, result.shape, [low.array(x)])


ELEMENTS: Rules = {np.ufunc: ufunc, np.where: _where, np.clip: _clip, np.astype: _astype, np.round: _round}
"""Rules of functions by element; universal ones have one in common."""
