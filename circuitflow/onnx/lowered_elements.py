"""NumPy's functions by element as nodes of ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.special

from circuitflow.engines.program.trace import Line, Value
from circuitflow.gates.shapes import Size
from circuitflow.onnx import formulas
from circuitflow.onnx.lowering import Lowering, Rules, Unwritable


def _common(xs: Sequence[Any]) -> np.dtype[Any]:
    """The dtype of operands together; Python's numbers are weak."""
    return np.result_type(*(np.empty((), x.dtype) if isinstance(x, Value | np.ndarray | np.generic) else x
                            for x in xs if not isinstance(x, Size)))


def _by(name: str, *, result: str = "", **attributes: Any) -> Callable[..., str]:
    """An operator of operands of one dtype."""
    def rule(low: Lowering, line: Line, *xs: Any) -> str:
        dtype = _common(xs)
        out: str = low.writer.add(name, *(low.name(x, dtype) for x in xs), **attributes)
        return low.writer.add("Not", out) if result == "not" else out

    return rule


def _formula(function: Callable[..., str], native: str = "") -> Callable[..., str]:
    """A formula; where ONNX Runtime has an operator for float32 alone, the formula for float64."""
    def rule(low: Lowering, line: Line, *xs: Any) -> str:
        dtype = line.results[0].dtype
        names = [low.name(x, dtype) for x in xs]
        if native and dtype != np.float64:
            out: str = low.writer.add(native, *names)
            return out
        return function(low.writer.function(dtype), *names)

    return rule


def _logical(name: str, bitwise: str = "") -> Callable[..., str]:
    def rule(low: Lowering, line: Line, *xs: Any) -> str:
        dtype = _common(xs)
        if dtype.kind != "b":
            if not bitwise:
                xs, dtype = tuple(_truth(low, x) for x in xs), np.dtype(bool)
                return str(low.writer.add(name, *xs))
            return str(low.writer.add(bitwise, *(low.name(x, dtype) for x in xs)))
        return str(low.writer.add(name, *(low.name(x, dtype) for x in xs)))

    return rule


def _truth(low: Lowering, x: Any) -> str:
    return low.writer.cast(low.name(x), bool)


def _divide(low: Lowering, line: Line, x: Any, y: Any) -> str:
    dtype = line.results[0].dtype
    return str(low.writer.add("Div", low.name(x, dtype), low.name(y, dtype)))


def _square(low: Lowering, line: Line, x: Any) -> str:
    name = low.name(x)
    return str(low.writer.add("Mul", name, name))


def _remainder(low: Lowering, line: Line, x: Any, y: Any) -> str:
    """The remainder with the sign of the divisor."""
    dtype = line.results[0].dtype
    x, y = low.name(x, dtype), low.name(y, dtype)
    if dtype.kind != "f":
        return str(low.writer.add("Mod", x, y))
    f = low.writer.function(dtype)
    rest = f("Mod", x, y, fmod=1)
    other = low.writer.add("And", f("Less", f("Mul", f("Sign", rest), f("Sign", y)), 0.0),
                           low.writer.add("Not", f("Equal", rest, 0.0)))
    return f.where(other, f("Add", rest, y), rest)


def _is_finite(low: Lowering, line: Line, x: Any) -> str:
    w, name = low.writer, low.name(x)
    return str(w.add("Not", w.add("Or", w.add("IsNaN", name), w.add("IsInf", name))))


def _signbit(low: Lowering, line: Line, x: Any) -> str:
    return formulas.below(low.writer.function(x.dtype), low.name(x))


def _right_shift(low: Lowering, line: Line, x: Any, by: Any) -> str:
    """Of the bits of a number that is not negative, which ONNX shifts as unsigned; of others by their complement."""
    w, dtype = low.writer, line.results[0].dtype
    name = low.name(x, dtype)
    negative = w.add("Less", name, w.constant(0, dtype))
    bits = w.cast(w.add("Where", negative, w.add("BitwiseNot", name), name), np.uint64)
    shifted = w.cast(w.add("BitShift", bits, low.name(by, np.dtype(np.uint64)), direction="RIGHT"), dtype)
    return str(w.add("Where", negative, w.add("BitwiseNot", shifted), shifted))


def _where(low: Lowering, line: Line, condition: Any, x: Any, y: Any) -> str:
    dtype = line.results[0].dtype
    return low.writer.where(low.name(condition, np.dtype(bool)), low.name(x, dtype), low.name(y, dtype), dtype)


def _clip(low: Lowering, line: Line, x: Any, least: Any, most: Any) -> str:
    """Between bounds, which may be arrays: by `Max` and `Min`."""
    dtype = line.results[0].dtype
    out = low.name(x, dtype)
    for bound, name in ((least, "Max"), (most, "Min")):
        if bound is not None:
            out = str(low.writer.add(name, out, low.name(bound, dtype)))
    return out


def _astype(low: Lowering, line: Line, x: Any, dtype: Any) -> str:
    return low.writer.cast(low.name(x), dtype)


def _round(low: Lowering, line: Line, x: Any, decimals: int = 0) -> str:
    if decimals:
        raise Unwritable("rounds to digits, which ONNX does not do")
    return str(low.writer.add("Round", low.name(x)))


ELEMENTS: Rules = {
    np.add: _by("Add"), np.subtract: _by("Sub"), np.multiply: _by("Mul"), np.divide: _divide,
    np.negative: _by("Neg"), np.power: _by("Pow"), np.sqrt: _by("Sqrt"), np.exp: _by("Exp"), np.log: _by("Log"),
    np.sin: _by("Sin"), np.cos: _by("Cos"), np.tanh: _by("Tanh"), np.abs: _by("Abs"), np.sign: _by("Sign"),
    np.floor: _by("Floor"), np.ceil: _by("Ceil"), np.rint: _by("Round"), np.maximum: _by("Max"),
    np.minimum: _by("Min"), np.equal: _by("Equal"), np.not_equal: _by("Equal", result="not"), np.less: _by("Less"),
    np.less_equal: _by("LessOrEqual"), np.greater: _by("Greater"), np.greater_equal: _by("GreaterOrEqual"),
    np.isnan: _by("IsNaN"), np.isinf: _by("IsInf"), np.isfinite: _is_finite, np.signbit: _signbit,
    np.reciprocal: _by("Reciprocal"), np.square: _square, np.remainder: _remainder,
    np.logical_and: _logical("And"), np.logical_or: _logical("Or"), np.logical_xor: _logical("Xor"),
    np.logical_not: _logical("Not"), np.invert: _logical("Not", "BitwiseNot"),
    np.bitwise_and: _logical("And", "BitwiseAnd"), np.bitwise_or: _logical("Or", "BitwiseOr"),
    np.bitwise_xor: _logical("Xor", "BitwiseXor"),
    np.right_shift: _right_shift,
    np.expm1: _formula(formulas.expm1), np.log1p: _formula(formulas.log1p), np.hypot: _formula(formulas.hypot),
    np.logaddexp: _formula(formulas.logaddexp), np.arctan2: _formula(formulas.atan2),
    np.tan: _formula(formulas.tan, "Tan"), np.arcsin: _formula(formulas.asin, "Asin"),
    np.arccos: _formula(formulas.acos, "Acos"), np.arctan: _formula(formulas.atan, "Atan"),
    np.sinh: _formula(formulas.sinh, "Sinh"), np.cosh: _formula(formulas.cosh, "Cosh"),
    np.arcsinh: _formula(formulas.asinh, "Asinh"), np.arccosh: _formula(formulas.acosh, "Acosh"),
    np.arctanh: _formula(formulas.atanh, "Atanh"),
    scipy.special.erf: _formula(formulas.erf, "Erf"), scipy.special.erfc: _formula(formulas.erfc),
    np.where: _where, np.clip: _clip, np.astype: _astype, np.round: _round,
}
