"""NumPy's reductions and products as nodes of ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from circuitflow.engines.program.functions import long_product
from circuitflow.engines.program.trace import Line
from circuitflow.gates import sums
from circuitflow.onnx.lowering import Lowering, Rules, Unwritable


def _axes(low: Lowering, x: Any, axis: Any) -> str:
    axes = list(range(len(x.shape))) if axis is None else list(axis) if isinstance(axis, tuple) else [axis]
    return low.writer.constant(axes, np.int64)


def _reduce(name: str) -> Callable[..., str]:
    def rule(low: Lowering, line: Line, x: Any, *, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> str:
        own = np.dtype(dtype) if dtype is not None else line.results[0].dtype
        source = low.name(x, own)
        if axis == () or not x.shape:
            return str(low.writer.add("Identity", source))
        return str(low.writer.add(name, source, _axes(low, x, axis), keepdims=int(keepdims)))

    return rule


def _extreme(name: str) -> Callable[..., str]:
    """The largest or smallest, NaN where there is one: ONNX Runtime passes over it."""
    def rule(low: Lowering, line: Line, x: Any, *, axis: Any = None, keepdims: bool = False) -> str:
        w, source = low.writer, low.name(x)
        if axis == () or not x.shape:
            return str(w.add("Identity", source))
        axes = _axes(low, x, axis)
        if x.dtype == bool:
            whole = w.add(name, w.cast(source, np.int32), axes, keepdims=int(keepdims))
            return w.cast(whole, bool)
        out = str(w.add(name, source, axes, keepdims=int(keepdims)))
        if x.dtype.kind != "f":
            return out
        missing = w.cast(w.add("ReduceMax", w.cast(w.add("IsNaN", source), np.int32), axes, keepdims=int(keepdims)),
                         bool)
        return w.function(x.dtype).where(missing, np.nan, out)

    return rule


def _quantifier(name: str) -> Callable[..., str]:
    def rule(low: Lowering, line: Line, x: Any, *, axis: Any = None, keepdims: bool = False) -> str:
        w = low.writer
        source = w.cast(low.name(x, np.dtype(bool)), np.int32)
        if axis == () or not x.shape:
            return w.cast(source, bool)
        return w.cast(w.add(name, source, _axes(low, x, axis), keepdims=int(keepdims)), bool)

    return rule


def _position(name: str) -> Callable[..., str]:
    """Where the first extreme stands; a NaN counts as one."""
    def rule(low: Lowering, line: Line, x: Any, *, axis: Any = None, keepdims: bool = False) -> str:
        w = low.writer
        source = low.name(x)
        if axis is None:
            source, axis = w.reshape(source, [-1]), 0
        if x.dtype == bool:
            source = w.cast(source, np.int32)
        at, kept = int(axis), int(keepdims)
        out = w.add(name, source, axis=at, keepdims=kept)
        if x.dtype.kind == "f":
            missing = w.cast(w.add("IsNaN", source), np.int32)
            any_ = w.cast(w.add("ReduceMax", missing, w.constant([axis], np.int64), keepdims=int(keepdims)), bool)
            out = w.add("Where", any_, w.add("ArgMax", missing, axis=at, keepdims=kept), out)
        return str(out)

    return rule


def _cumulative(name: str) -> Callable[..., str]:
    def rule(low: Lowering, line: Line, x: Any, *, axis: Any = None, dtype: Any = None) -> str:
        own = np.dtype(dtype) if dtype is not None else line.results[0].dtype
        if name == "CumProd" and low.writer.opset < 26:
            raise Unwritable("needs the operator CumProd; write opset 26 or later")
        return str(low.writer.add(name, low.name(x, own), low.writer.constant(axis or 0, np.int64)))

    return rule


# Products -------------------------------------------------------------------------------------------------------------

def _matmul(low: Lowering, line: Line, a: Any, b: Any) -> str:
    """As matrices: ONNX Runtime 1.32 fuses a transposition into the product with a vector, and gives a wrong one."""
    w, dtype = low.writer, line.results[0].dtype
    left, right = low.name(a, dtype), low.name(b, dtype)
    dropped = []
    if len(a.shape) == 1:
        left, dropped = w.add("Unsqueeze", left, w.constant([0], np.int64)), [-2]
    if len(b.shape) == 1:
        right, dropped = w.add("Unsqueeze", right, w.constant([1], np.int64)), [*dropped, -1]
    out = w.add("MatMul", left, right)
    return str(w.add("Squeeze", out, w.constant(dropped, np.int64)) if dropped else out)


def _long_product(low: Lowering, line: Line, a: Any, b: Any) -> str:
    """The product in float64 where it is so long that float32 would lose digits."""
    rows = a.shape[-2] if len(a.shape) > 1 else 1
    columns = b.shape[-1] if len(b.shape) > 1 else 1
    size, dtype = a.shape[-1], line.results[0].dtype
    if all(isinstance(n, int) for n in (rows, columns, size)) and size <= sums.longest(rows, columns):
        return _matmul(low, line, a, b)
    wide = np.dtype(np.float64)
    return low.writer.cast(low.writer.add("MatMul", low.name(a, wide), low.name(b, wide)), dtype)


REDUCTIONS: Rules = {
    np.sum: _reduce("ReduceSum"), np.prod: _reduce("ReduceProd"), np.max: _extreme("ReduceMax"),
    np.min: _extreme("ReduceMin"), np.any: _quantifier("ReduceMax"), np.all: _quantifier("ReduceMin"),
    np.argmax: _position("ArgMax"), np.argmin: _position("ArgMin"),
    np.cumulative_sum: _cumulative("CumSum"), np.cumulative_prod: _cumulative("CumProd"),
    np.matmul: _matmul, long_product: _long_product,
}
