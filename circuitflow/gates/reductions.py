"""Reductions along axes."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field

from circuitflow.gates.record import Attributes, Gate, Reads
from circuitflow.gates.shapes import (
    ArrayType,
    ShapeError,
    axes_of,
    broadcast_shapes,
    need_float,
    need_number,
    show,
)


class Axes(Attributes):
    """The axes that are reduced, searched or counted."""

    axis: Annotated[int | list[int] | None, Field(description="axis or axes; all by default")] = None


class Reduction(Axes):
    """The axes that are reduced, and what is left of them."""

    keepdims: Annotated[bool, Field(description="keep the reduced axes with size 1")] = False


class Extremum(Reduction):
    """The axes that are reduced, and what becomes of the gradient at a tie."""

    ties: Annotated[
        Literal["first", "share"],
        Field(description="first: the first of the tied takes the whole gradient; share: they split it evenly"),
    ] = "first"


def total(xp: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    """The sum; float32 is accumulated in float64, so that long sums keep their digits along any axis."""
    wide = xp.float64 if x.dtype == xp.float32 else x.dtype
    return xp.asarray(xp.sum(x, axis=axis, keepdims=keepdims, dtype=wide), dtype=x.dtype)


def _reduced(x: ArrayType, *, axis: int | list[int] | None, keepdims: bool) -> ArrayType:
    need_number("x", x)
    axes = axes_of(axis, len(x.shape))
    shape = tuple(1 if i in axes else size for i, size in enumerate(x.shape) if keepdims or i not in axes)
    return ArrayType(shape, x.dtype)


def _averaged(x: ArrayType, **attributes: Any) -> ArrayType:
    need_float("x", x)
    return _reduced(x, **attributes)


def _extremum(x: ArrayType, *, axis: int | list[int] | None, keepdims: bool, ties: str) -> ArrayType:
    if any(x.shape[a] == 0 for a in axes_of(axis, len(x.shape))):
        raise ShapeError("needs at least one element; the largest of none is not defined")
    return _reduced(x, axis=axis, keepdims=keepdims)


def _summed_to(x: ArrayType, like: ArrayType) -> ArrayType:
    if broadcast_shapes(x.shape, like.shape) != x.shape:
        raise ShapeError(f"cannot sum x {show(x.shape)} to like {show(like.shape)}")
    return ArrayType(like.shape, x.dtype)


def _sum_to_like(xp: Any, x: Any, like: Any) -> Any:
    extra = x.ndim - like.ndim
    stretched = (extra + i for i, size in enumerate(like.shape) if size == 1 != x.shape[extra + i])
    return xp.reshape(total(xp, x, axis=(*range(extra), *stretched), keepdims=True), like.shape)


def _counted(x: ArrayType, *, axis: int | list[int] | None) -> ArrayType:
    axes_of(axis, len(x.shape))
    return ArrayType((), x.dtype)


def _searched(x: ArrayType, *, axis: int | list[int] | None) -> ArrayType:
    _extremum(x, axis=axis, keepdims=True, ties="first")
    return ArrayType(x.shape, "bool")


def _sum(xp: Any, x: Any, *, axis: int | list[int] | None, keepdims: bool) -> Any:
    return total(xp, x, axis=axes_of(axis, x.ndim), keepdims=keepdims)


def _size(x: Any, axis: int | list[int] | None) -> int:
    return math.prod(x.shape[a] for a in axes_of(axis, x.ndim))


def _restore(op: Any, reduced: Any, x: Any, axis: int | list[int] | None, keepdims: bool) -> Any:
    """What was reduced, stretched over the axes again."""
    for a in () if keepdims else axes_of(axis, x.ndim):
        reduced = op.unsqueeze(reduced, axis=a)
    return op.expand_like(reduced, x)


def _max_backward(op: Any, g: Any, out: Any, x: Any, *, axis: Any, keepdims: bool, ties: str) -> Any:
    g = _restore(op, g, x, axis, keepdims)
    if ties == "first":
        return op.where(op.is_first_max(x, axis=axis), g, 0.0)
    chosen = (x == _restore(op, out, x, axis, keepdims)) | (x != x)
    largest = op.where(chosen, op.ones_like(x), 0.0)
    return g * largest / op.reduce_sum(largest, axis=axis, keepdims=True)


def _is_first_max(xp: Any, x: Any, *, axis: int | list[int] | None) -> Any:
    axes = axes_of(axis, x.ndim)
    order = (*(a for a in range(x.ndim) if a not in axes), *axes)
    moved = xp.permute_dims(x, order)
    rows = xp.reshape(moved, (*moved.shape[: x.ndim - len(axes)], _size(x, axis)))
    first = xp.arange(rows.shape[-1]) == xp.argmax(rows, axis=-1, keepdims=True)
    return xp.permute_dims(xp.reshape(first, moved.shape), tuple(sorted(range(x.ndim), key=order.__getitem__)))


REDUCTIONS = {
    "reduce_sum": Gate("Σ x", "The sum along axes; float32 is accumulated in float64.",
                       ("x",), _reduced, attributes=Reduction, symbol="Σ",
                       forward=_sum,
                       backward=(lambda op, g, out, x, *, axis, keepdims: _restore(op, g, x, axis, keepdims),)),
    "reduce_mean": Gate("Σ x / n", "The mean along axes.",
                        ("x",), _averaged, attributes=Reduction, symbol="mean",
                        forward=lambda xp, x, *, axis, keepdims:
                            _sum(xp, x, axis=axis, keepdims=keepdims) / _size(x, axis),
                        backward=(lambda op, g, out, x, *, axis, keepdims:
                                  _restore(op, g / op.size(x, axis=axis), x, axis, keepdims),)),
    "reduce_max": Gate("max x", "The largest along axes; routes the whole gradient to it.",
                       ("x",), _extremum, attributes=Extremum, symbol="max", reads=Reads.INPUTS | Reads.OUTPUT,
                       forward=lambda xp, x, *, axis, keepdims, ties:
                           xp.max(x, axis=axes_of(axis, x.ndim), keepdims=keepdims),
                       backward=(_max_backward,)),
    "is_first_max": Gate("[x = max x]", "Whether an element is the first of the largest along axes.",
                         ("x",), _searched, attributes=Axes, symbol="first",
                         forward=_is_first_max,
                         backward=(None,)),
    "sum_to_like": Gate("Σ x", "x summed to the shape of another operand, along the axes that broadcasting stretched.",
                        ("x", "like"), _summed_to, symbol="Σ",
                        forward=_sum_to_like,
                        backward=(lambda op, g, out, x, like: op.expand_like(g, x), None)),
    "size": Gate("n", "The number of elements of x along axes, as a scalar of its dtype.",
                 ("x",), _counted, attributes=Axes, symbol="n",
                 forward=lambda xp, x, *, axis: xp.asarray(_size(x, axis), dtype=x.dtype),
                 backward=(None,)),
}
