"""Reductions along axes."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field

from circuitflow.gates.record import Attributes, Facets, Gate, Reads
from circuitflow.gates.shapes import (
    ArrayType,
    ShapeError,
    axes_of,
    axis_of,
    broadcast_shapes,
    count,
    need_float,
    need_number,
    show,
)


class Axes(Attributes):
    """The axes that are reduced, searched, counted or turned round."""

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


class Spread(Reduction):
    """The axes that are reduced, and the degrees of freedom."""

    ddof: Annotated[int, Field(ge=0, description="degrees of freedom taken from the number of elements")] = 0


class Along(Attributes):
    """The axis that is searched."""

    axis: Annotated[int, Field(description="the axis to search")] = 0
    keepdims: Annotated[bool, Field(description="keep the axis with size 1")] = False


def wide(xp: Any, x: Any) -> Any:
    """The dtype to add up in: float64 for float32, float32 for floats of 16 bits."""
    if x.dtype == xp.float32:
        return xp.float64
    short = any(hasattr(xp, name) and x.dtype == getattr(xp, name) for name in ("float16", "bfloat16"))
    return xp.float32 if short else x.dtype


def total(xp: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    """The sum; float32 is accumulated in float64, so that long sums keep their digits along any axis."""
    return xp.asarray(xp.sum(x, axis=axis, keepdims=keepdims, dtype=wide(xp, x)), dtype=x.dtype)


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


def _route(op: Any, g: Any, out: Any, x: Any, *, axis: Any, keepdims: bool, ties: str, first: Any) -> Any:
    """All of the gradient to the elements that are the output: to the first of them, or shared."""
    g = _restore(op, g, x, axis, keepdims)
    if ties == "first":
        return op.where(first, g, 0.0)
    chosen = (x == _restore(op, out, x, axis, keepdims)) | (x != x)
    largest = op.where(chosen, op.ones_like(x), 0.0)
    return g * largest / op.reduce_sum(largest, axis=axis, keepdims=True)


def _norm(xp: Any, x: Any, *, axis: int | list[int] | None, keepdims: bool) -> Any:
    if 0 in x.shape:
        return _sum(xp, x, axis=axis, keepdims=keepdims)
    largest = xp.max(xp.abs(x), axis=axes_of(axis, x.ndim), keepdims=True)
    scale = xp.where((largest == 0) | xp.isinf(largest), 1.0, largest)
    norm = scale * xp.sqrt(_sum(xp, (x / scale) ** 2, axis=axis, keepdims=True))
    return norm if keepdims else xp.reshape(norm, _sum(xp, x, axis=axis, keepdims=False).shape)


def _norm_backward(op: Any, g: Any, out: Any, x: Any, *, axis: Any, keepdims: bool) -> Any:
    norm = _restore(op, out, x, axis, keepdims)
    return _restore(op, g, x, axis, keepdims) * op.where(norm == 0, 0.0, x / norm)


def _log_sum_exp_type(x: ArrayType, *, axis: int | list[int] | None, keepdims: bool) -> ArrayType:
    need_float("x", x)
    return _extremum(x, axis=axis, keepdims=keepdims, ties="first")


def _log_sum_exp(xp: Any, x: Any, *, axis: int | list[int] | None, keepdims: bool) -> Any:
    axes = axes_of(axis, x.ndim)
    largest = xp.max(x, axis=axes, keepdims=True)
    shift = xp.where(xp.isinf(largest), 0.0, largest)
    result = shift + xp.log(_sum(xp, xp.exp(x - shift), axis=axis, keepdims=True))
    return result if keepdims else xp.reshape(result, tuple(n for i, n in enumerate(x.shape) if i not in axes))


def _log_sum_exp_backward(op: Any, g: Any, out: Any, x: Any, *, axis: Any, keepdims: bool) -> Any:
    """The softmax of x along the axes."""
    largest = op.reduce_max(op.stop_gradient(x), axis=axis, keepdims=True)
    e = op.exp(x - op.where(op.is_inf(largest), 0.0, largest))
    return _restore(op, g, x, axis, keepdims) * e / op.reduce_sum(e, axis=axis, keepdims=True)


def _spread(x: ArrayType, *, axis: int | list[int] | None, keepdims: bool, ddof: int) -> ArrayType:
    return _averaged(x, axis=axis, keepdims=keepdims)


def _variance(xp: Any, x: Any, axis: int | list[int] | None, keepdims: bool, ddof: int) -> Any:
    size = _size(x, axis)
    centred = x - _sum(xp, x, axis=axis, keepdims=True) / size
    return _sum(xp, centred * centred, axis=axis, keepdims=keepdims) / xp.asarray(size - ddof, dtype=x.dtype)


def _centred(op: Any, x: Any, axis: Any) -> Any:
    return x - op.reduce_mean(x, axis=axis, keepdims=True)


def _variance_backward(op: Any, g: Any, out: Any, x: Any, *, axis: Any, keepdims: bool, ddof: int) -> Any:
    return 2 * _restore(op, g, x, axis, keepdims) * _centred(op, x, axis) / (op.size(x, axis=axis) - ddof)


def _deviation_backward(op: Any, g: Any, out: Any, x: Any, *, axis: Any, keepdims: bool, ddof: int) -> Any:
    deviation = _restore(op, out, x, axis, keepdims)
    slope = op.where(deviation == 0, 0.0, _centred(op, x, axis) / deviation)
    return _restore(op, g, x, axis, keepdims) * slope / (op.size(x, axis=axis) - ddof)


def _others(op: Any, x: Any, axis: int) -> Any:
    """The product of all other elements along an axis, by halves: exact where elements are 0, in any derivative."""
    if not isinstance(x.shape[axis], int):
        place = op.cum_sum(op.ones_like(x), axis=axis)
        first, last = place == 1, place == op.reduce_sum(op.ones_like(x), axis=axis, keepdims=True)
        before = op.cum_prod(op.where(first, 1.0, op.roll(x, axis=axis, shift=1)), axis=axis)
        after = op.cum_prod(op.where(last, 1.0, op.roll(x, axis=axis, shift=-1)), axis=axis, reverse=True)
        return before * after
    halves = []
    while (size := x.shape[axis]) > 1:
        middle = (size + 1) // 2
        left = op.slice(x, axis=axis, start=0, stop=middle)
        right = op.slice(x, axis=axis, start=middle, stop=size)
        if size % 2:
            right = op.concat(right, op.ones_like(op.slice(left, axis=axis, start=0, stop=1)), axis=axis)
        halves.append((left, right, size))
        x = left * right
    others = op.ones_like(x)
    for left, right, size in reversed(halves):
        others = op.slice(op.concat(others * right, others * left, axis=axis), axis=axis, start=0, stop=size)
    return others


def _prod_backward(op: Any, g: Any, out: Any, x: Any, *, axis: Any, keepdims: bool) -> Any:
    """Axis by axis: the others along it, times the others of the products along it."""
    slope, product = op.ones_like(x), x
    for a in axes_of(axis, x.ndim):
        slope = slope * op.expand_like(_others(op, product, a), x)
        product = op.reduce_prod(product, axis=a, keepdims=True)
    return _restore(op, g, x, axis, keepdims) * slope


def _position(x: ArrayType, *, axis: int, keepdims: bool) -> ArrayType:
    reduced = _extremum(x, axis=axis_of(axis, len(x.shape)), keepdims=keepdims, ties="first")
    return ArrayType(reduced.shape, "int64")


def _is_first_max(xp: Any, x: Any, *, axis: int | list[int] | None) -> Any:
    axes = axes_of(axis, x.ndim)
    order = (*(a for a in range(x.ndim) if a not in axes), *axes)
    moved = xp.permute_dims(x, order)
    rows = xp.reshape(moved, (*moved.shape[: x.ndim - len(axes)], _size(x, axis)))
    first = xp.arange(rows.shape[-1]) == xp.argmax(rows, axis=-1, keepdims=True)
    return xp.permute_dims(xp.reshape(first, moved.shape), tuple(sorted(range(x.ndim), key=order.__getitem__)))


def _sum_to_like_equal(op: Any, type_: ArrayType, x: Any, like: Any) -> Any:
    """The axes that broadcasting stretched are known, whatever their size."""
    extra = x.ndim - like.ndim
    stretched = [extra + i for i, size in enumerate(like.shape) if size == 1 != x.shape[extra + i]]
    if not extra:
        return op.reduce_sum(x, axis=stretched, keepdims=True) if stretched else x
    total = op.reduce_sum(x, axis=[*range(extra), *stretched])
    for axis in stretched:
        total = op.unsqueeze(total, axis=axis - extra)
    return total


def _size_equal(op: Any, type_: ArrayType, x: Any, *, axis: int | list[int] | None) -> Any:
    sizes = [x.shape[axis] for axis in axes_of(axis, x.ndim)]
    return op.constant(count(sizes), type_.dtype) if all(isinstance(size, int) for size in sizes) else None


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
    "reduce_prod": Gate("Π x", "The product along axes; its gradient is exact where elements are 0.",
                        ("x",), _reduced, attributes=Reduction, symbol="Π", reads=Reads.INPUTS,
                        forward=lambda xp, x, *, axis, keepdims:
                            xp.prod(x, axis=axes_of(axis, x.ndim), keepdims=keepdims, dtype=x.dtype),
                        backward=(_prod_backward,)),
    "reduce_max": Gate("max x", "The largest along axes; routes the whole gradient to it.",
                       ("x",), _extremum, attributes=Extremum, symbol="max", reads=Reads.INPUTS | Reads.OUTPUT,
                       forward=lambda xp, x, *, axis, keepdims, ties:
                           xp.max(x, axis=axes_of(axis, x.ndim), keepdims=keepdims),
                       backward=(lambda op, g, out, x, *, axis, **rest:
                                 _route(op, g, out, x, axis=axis, **rest, first=op.is_first_max(x, axis=axis)),)),
    "reduce_min": Gate("min x", "The smallest along axes; routes the whole gradient to it.",
                       ("x",), _extremum, attributes=Extremum, symbol="min", reads=Reads.INPUTS | Reads.OUTPUT,
                       forward=lambda xp, x, *, axis, keepdims, ties:
                           xp.min(x, axis=axes_of(axis, x.ndim), keepdims=keepdims),
                       backward=(lambda op, g, out, x, *, axis, **rest:
                                 _route(op, g, out, x, axis=axis, **rest, first=op.is_first_max(-x, axis=axis)),)),
    "reduce_l1": Gate("Σ |x|", "The sum of absolute values along axes.",
                      ("x",), _averaged, attributes=Reduction, symbol="‖x‖₁", reads=Reads.INPUTS,
                      forward=lambda xp, x, *, axis, keepdims: _sum(xp, xp.abs(x), axis=axis, keepdims=keepdims),
                      backward=(lambda op, g, out, x, *, axis, keepdims:
                                _restore(op, g, x, axis, keepdims) * op.sign(x),)),
    "reduce_l2": Gate("√Σ x²", "The Euclidean norm along axes, without overflow; its slope at 0 is 0.",
                      ("x",), _averaged, attributes=Reduction, symbol="‖x‖", reads=Reads.INPUTS | Reads.OUTPUT,
                      forward=_norm,
                      backward=(_norm_backward,)),
    "reduce_sum_square": Gate("Σ x²", "The sum of squares along axes.",
                              ("x",), _averaged, attributes=Reduction, symbol="Σx²", reads=Reads.INPUTS,
                              forward=lambda xp, x, *, axis, keepdims: _sum(xp, x * x, axis=axis, keepdims=keepdims),
                              backward=(lambda op, g, out, x, *, axis, keepdims:
                                        2 * _restore(op, g, x, axis, keepdims) * x,)),
    "reduce_log_sum_exp": Gate("ln Σ e^x", "The logarithm of a sum of exponentials along axes, without overflow.",
                               ("x",), _log_sum_exp_type, attributes=Reduction, symbol="lnΣe", reads=Reads.INPUTS,
                               forward=_log_sum_exp,
                               backward=(_log_sum_exp_backward,)),
    "reduce_var": Gate("Σ (x - x̄)² / (n - ddof)", "The variance along axes.",
                       ("x",), _spread, attributes=Spread, symbol="var", reads=Reads.INPUTS,
                       forward=lambda xp, x, *, axis, keepdims, ddof: _variance(xp, x, axis, keepdims, ddof),
                       backward=(_variance_backward,)),
    "reduce_std": Gate("√(Σ (x - x̄)² / (n - ddof))",
                       "The standard deviation along axes; its slope for equal values is 0.",
                       ("x",), _spread, attributes=Spread, symbol="std", reads=Reads.INPUTS | Reads.OUTPUT,
                       forward=lambda xp, x, *, axis, keepdims, ddof: xp.sqrt(_variance(xp, x, axis, keepdims, ddof)),
                       backward=(_deviation_backward,)),
    "arg_max": Gate("arg max x", "The position of the largest along an axis, the first of several.",
                    ("x",), _position, attributes=Along, symbol="argmax",
                    forward=lambda xp, x, *, axis, keepdims: xp.argmax(x, axis=axis, keepdims=keepdims),
                    backward=(None,)),
    "arg_min": Gate("arg min x", "The position of the smallest along an axis, the first of several.",
                    ("x",), _position, attributes=Along, symbol="argmin",
                    forward=lambda xp, x, *, axis, keepdims: xp.argmin(x, axis=axis, keepdims=keepdims),
                    backward=(None,)),
    "is_first_max": Gate("[x = max x]", "Whether an element is the first of the largest along axes.",
                         ("x",), _searched, attributes=Axes, symbol="first",
                         forward=_is_first_max,
                         backward=(None,)),
    "sum_to_like": Gate("Σ x", "x summed to the shape of another operand, along the axes that broadcasting stretched.",
                        ("x", "like"), _summed_to, symbol="Σ",
                        forward=_sum_to_like,
                        backward=(lambda op, g, out, x, like: op.expand_like(g, x), None),
                        ).stating(Facets(equal=_sum_to_like_equal)),
    "size": Gate("n", "The number of elements of x along axes, as a scalar of its dtype.",
                 ("x",), _counted, attributes=Axes, symbol="n",
                 forward=lambda xp, x, *, axis: xp.asarray(_size(x, axis), dtype=x.dtype),
                 backward=(None,)).stating(Facets(equal=_size_equal)),
}
