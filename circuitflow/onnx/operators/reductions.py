"""Reductions along axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from circuitflow.onnx.calls import Call, Refusal, sizes_by
from circuitflow.onnx.mapped import gates_by_operator


def _axes(call: Call) -> list[int] | None:
    """The axes; None for all of them, an empty list for none."""
    axes = call.setting("axes", 1)
    empty = bool(call.attribute("noop_with_empty_axes", 0))
    if not axes:
        return [] if empty else None
    return [axes] if isinstance(axes, int) else list(axes)


def _reduce(call: Call) -> Any:
    """A gate along axes."""
    axes, keepdims = _axes(call), bool(call.attribute("keepdims"))
    operator, x, w = call.node.operator, call[0], call.w
    if axes == []:
        return _of_one(call, x)
    where = {"axis": axes, "keepdims": keepdims}
    if operator == "ReduceLogSum":
        return w.log(w.reduce_sum(x, **where))
    gate = gates_by_operator()[operator]
    if operator in ("ReduceMax", "ReduceMin") and _is_of_none(x, axes):
        return _extreme_of_none(w, x, axes, largest=operator == "ReduceMin", keepdims=keepdims)
    if x.type.dtype == "bool":
        return w.cast(w.emit(gate, w.cast(x, dtype="int32"), **where), dtype="bool")
    if not x.type.is_float and operator in ("ReduceL1", "ReduceSumSquare"):
        return w.reduce_sum(w.abs(x) if operator == "ReduceL1" else w.square(x), **where)
    return w.emit(gate, x, **where)


def _is_of_none(x: Any, axes: list[int] | None) -> bool:
    shape = x.type.shape
    return any(shape[axis] == 0 for axis in (range(len(shape)) if axes is None else axes))


def _extreme_of_none(w: Any, x: Any, axes: list[int] | None, *, largest: bool, keepdims: bool) -> Any:
    """What the least or largest of nothing is: the largest, or the least, of all numbers."""
    rank = len(x.type.shape)
    gone = set(range(rank)) if axes is None else {axis % rank for axis in axes}
    shape = [1 if i in gone else size for i, size in enumerate(x.type.shape) if keepdims or i not in gone]
    if not all(isinstance(size, int) for size in shape):
        raise Refusal(f"is of no elements, and has named dimensions{sizes_by(*shape)}")
    dtype = np.dtype(x.type.dtype)
    extremes = (False, True) if dtype.kind == "b" else (-np.inf, np.inf) if dtype.kind == "f" else (
        np.iinfo(dtype).min, np.iinfo(dtype).max)
    extreme = w.as_wire(np.asarray(extremes[largest], dtype))
    return w.expand(extreme, shape=shape) if shape else extreme


def _of_one(call: Call, x: Any) -> Any:
    """What a reduction of every element by itself gives."""
    w, operator = call.w, call.node.operator
    if operator in ("ReduceL1", "ReduceL2"):
        return w.abs(x)
    if operator == "ReduceSumSquare":
        return w.square(x)
    if operator == "ReduceLogSum":
        return w.log(x)
    return x


def _position(gate: str) -> Callable[[Call], Any]:
    """The first or the last position of an extreme."""
    def operator(call: Call) -> Any:
        axis, x = call.attribute("axis"), call[0]
        keepdims = bool(call.attribute("keepdims"))
        if not call.attribute("select_last_index", 0):
            return call.w.emit(gate, x, axis=axis, keepdims=keepdims)
        size = call.numbers_of(call.shape(0))[axis]
        return call.w.sub(np.int64(size - 1), call.w.emit(gate, call.w.flip(x, axis=axis), axis=axis,
                                                          keepdims=keepdims))

    return operator


def lp_normalization(call: Call) -> Any:
    """Divided by the sum of absolute values, or by the length, along an axis; 0 where that is 0."""
    w, x, p = call.w, call[0], call.attribute("p")
    if p not in (1, 2):
        raise Refusal(f"has p {p}; expected 1 or 2")
    norm = w.emit("reduce_l1" if p == 1 else "reduce_l2", x, axis=call.attribute("axis"), keepdims=True)
    return w.div(x, w.where(w.equal(norm, 0.0), 1.0, norm))


def global_lp_pool(call: Call) -> Any:
    """The p-norm of every channel."""
    x, p = call[0], call.attribute("p")
    return power_mean(call, x, p, list(range(2, x.ndim)), keepdims=True)


def power_mean(call: Call, x: Any, p: float, axes: list[int], *, keepdims: bool) -> Any:
    """The p-norm along axes."""
    w = call.w
    if p in (1, 2):
        return w.emit("reduce_l1" if p == 1 else "reduce_l2", x, axis=axes, keepdims=keepdims)
    return w.pow(w.reduce_sum(w.pow(w.abs(x), float(p)), axis=axes, keepdims=keepdims), 1 / p)


REDUCTIONS: Mapping[str, Callable[[Call], Any]] = {
    **dict.fromkeys(("ReduceSum", "ReduceMean", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2",
                     "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"), _reduce),
    "ArgMax": _position("arg_max"), "ArgMin": _position("arg_min"),
    "LpNormalization": lp_normalization, "GlobalLpPool": global_lp_pool,
}
