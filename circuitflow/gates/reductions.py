"""Reductions along axes."""

from __future__ import annotations

import functools
import math
from typing import Any

from pydantic import Field

from circuitflow.gates.factors import of_sum
from circuitflow.gates.integers import cast, exact, limits, name_of
from circuitflow.gates.record import FIRST_OF_TIES, Attributes, Axes, Facets, Gate, Note, Onnx, Reads, Ties, family
from circuitflow.gates.shapes import (
    ArrayType,
    ShapeError,
    axes_of,
    axis_of,
    broadcast_shapes,
    count,
    has_signed_zeros,
    need_float,
    need_number,
    show,
)
from circuitflow.gates.sums import average, magnitude, total


class Reduction(Axes):
    keepdims: bool = Field(False, description="keep the reduced axes with size 1")


class Extremum(Ties, Reduction):
    """The axes that are reduced, and what becomes of the gradient at a tie."""


class Spread(Reduction):
    ddof: int = Field(0, ge=0, description="degrees of freedom taken from the number of elements")


class SearchAxis(Attributes):
    axis: int = Field(0, description="the axis to search")
    keepdims: bool = Field(False, description="keep the axis with size 1")


def _reduction_type(x: ArrayType, *, axis: int | list[int] | None, keepdims: bool) -> ArrayType:
    need_number("x", x)
    axes = axes_of(axis, len(x.shape))
    shape = tuple(1 if i in axes else size for i, size in enumerate(x.shape) if keepdims or i not in axes)
    return ArrayType(shape, x.dtype)


def _mean_type(x: ArrayType, *, axis: int | list[int] | None, keepdims: bool, **_: Any) -> ArrayType:
    need_float("x", x)
    return _reduction_type(x, axis=axis, keepdims=keepdims)


def _extremum(x: ArrayType, *, axis: int | list[int] | None, keepdims: bool, ties: str) -> ArrayType:
    if any(x.shape[a] == 0 for a in axes_of(axis, len(x.shape))):
        raise ShapeError("needs at least one element; the largest of none is not defined")
    return _reduction_type(x, axis=axis, keepdims=keepdims)


def _sum_to_like_type(x: ArrayType, like: ArrayType) -> ArrayType:
    if broadcast_shapes(x.shape, like.shape) != x.shape:
        raise ShapeError(f"cannot sum x {show(x.shape)} to like {show(like.shape)}")
    return ArrayType(like.shape, x.dtype)


def _sum_to_like(xp: Any, x: Any, like: Any) -> Any:
    extra = x.ndim - like.ndim
    narrow = (extra + i for i, size in enumerate(like.shape) if size == 1 != x.shape[extra + i])
    return xp.reshape(total(xp, x, axis=(*range(extra), *narrow), keepdims=True), like.shape)


def _size_type(x: ArrayType, *, axis: int | list[int] | None) -> ArrayType:
    axes_of(axis, len(x.shape))
    return ArrayType((), x.dtype)


def _is_first_max_type(x: ArrayType, *, axis: int | list[int] | None) -> ArrayType:
    _extremum(x, axis=axis, keepdims=True, ties="first")
    return ArrayType(x.shape, "bool")


def _sum(xp: Any, x: Any, *, axis: int | list[int] | None, keepdims: bool) -> Any:
    return total(xp, x, axis=axes_of(axis, x.ndim), keepdims=keepdims)


def _size(x: Any, axis: int | list[int] | None) -> int:
    return math.prod(x.shape[a] for a in axes_of(axis, x.ndim))


def _with_axes(op: Any, result: Any, x: Any, axis: int | list[int] | None, keepdims: bool) -> Any:
    """What was reduced, with the axes of size 1."""
    for a in () if keepdims else axes_of(axis, x.ndim):
        result = op.unsqueeze(result, axis=a)
    return result


def restore(op: Any, result: Any, x: Any, axis: int | list[int] | None, keepdims: bool = False) -> Any:
    """What was reduced, stretched over the axes again."""
    return op.expand_like(_with_axes(op, result, x, axis, keepdims), x)


def _route(op: Any, g: Any, out: Any, x: Any, *, axis: Any, keepdims: bool, ties: str, first: Any) -> Any:
    """All of the gradient to the elements that are the output: to the first of them, or shared."""
    g = restore(op, g, x, axis, keepdims)
    if ties == "first":
        return op.where(first, g, 0.0)
    is_output = (x == restore(op, out, x, axis, keepdims)) | (x != x)
    largest = op.where(is_output, op.ones_like(x), 0.0)
    return g * largest / op.reduce_sum(largest, axis=axis, keepdims=True)


def _extreme(xp: Any, x: Any, *, axis: int | list[int] | None, keepdims: bool, ties: str, sign: int) -> Any:
    """The largest, or with the sign -1 the smallest, of IEEE 754-2019: 0 is larger than -0. NumPy gives either."""
    axes = axes_of(axis, x.ndim)
    out = (xp.max if sign > 0 else xp.min)(x, axis=axes, keepdims=keepdims)
    if not has_signed_zeros(out):
        return out
    better = xp.any((x == 0) & (~xp.signbit(x) if sign > 0 else xp.signbit(x)), axis=axes, keepdims=keepdims)
    return xp.where((out == 0) & better, xp.abs(out) if sign > 0 else -xp.abs(out), out)


def _norm(xp: Any, x: Any, *, axis: int | list[int] | None, keepdims: bool) -> Any:
    scale = magnitude(xp, x, axes_of(axis, x.ndim))
    return _without_axes(xp, scale * xp.sqrt(_sum(xp, (x / scale) ** 2, axis=axis, keepdims=True)), x, axis, keepdims)


def _without_axes(xp: Any, result: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """What was reduced with its axes kept, without them where they are not wanted."""
    axes = axes_of(axis, x.ndim)
    return result if keepdims else xp.reshape(result, tuple(n for i, n in enumerate(x.shape) if i not in axes))


def _log_sum_exp(xp: Any, x: Any, *, axis: int | list[int] | None, keepdims: bool) -> Any:
    if 0 in x.shape:
        return xp.log(_sum(xp, x, axis=axis, keepdims=keepdims))
    largest = xp.max(x, axis=axes_of(axis, x.ndim), keepdims=True)
    shift = xp.where(xp.isinf(largest), 0.0, largest)
    return _without_axes(xp, shift + xp.log(_sum(xp, xp.exp(x - shift), axis=axis, keepdims=True)), x, axis, keepdims)


def _log_sum_exp_backward(op: Any, g: Any, out: Any, x: Any, *, axis: Any, keepdims: bool) -> Any:
    """The softmax of x along the axes; equal infinities share evenly.

    Shifted by the output, which there is of no elements too: a size that is a name may be 0.
    """
    g, shift = restore(op, g, x, axis, keepdims), _with_axes(op, op.stop_gradient(out), x, axis, keepdims)
    e = op.exp(op.where((x == shift) & op.is_inf(x), 0.0, x - shift))
    return g * e / op.reduce_sum(e, axis=axis, keepdims=True)


def _variance(xp: Any, x: Any, axis: int | list[int] | None, ddof: int) -> tuple[Any, Any]:
    """A scale, and the variance of x divided by it, with the axes kept; NaN or infinite without degrees of freedom."""
    scale = magnitude(xp, x, axes_of(axis, x.ndim))
    x, size = x / scale, _size(x, axis)
    distance = x - _sum(xp, x, axis=axis, keepdims=True) / size
    freedom = xp.asarray(size - ddof, dtype=x.dtype)
    freedom = xp.where(freedom < 0, 0.0, freedom) if ddof else freedom
    return scale, _sum(xp, distance * distance, axis=axis, keepdims=True) / freedom


def _var(xp: Any, x: Any, *, axis: Any, keepdims: bool, ddof: int) -> Any:
    scale, variance = _variance(xp, x, axis, ddof)
    return _without_axes(xp, scale * (scale * variance), x, axis, keepdims)


def _std(xp: Any, x: Any, *, axis: Any, keepdims: bool, ddof: int) -> Any:
    scale, variance = _variance(xp, x, axis, ddof)
    return _without_axes(xp, scale * xp.sqrt(variance), x, axis, keepdims)


def _distance_from_mean(op: Any, x: Any, axis: Any) -> Any:
    """The distance of x from its mean, in two steps: the second takes away the rounding error of the first mean."""
    distance = x - op.stop_gradient(op.reduce_mean(x, axis=axis, keepdims=True))
    return distance - op.reduce_mean(distance, axis=axis, keepdims=True)


def _freedom(op: Any, x: Any, axis: Any, ddof: int) -> Any:
    """The divisor of a variance; 0 where more degrees of freedom are taken than there are."""
    return op.relu(op.size(x, axis=axis) - ddof)


def _deviation_backward(op: Any, g: Any, out: Any, x: Any, *, axis: Any, keepdims: bool, ddof: int) -> Any:
    g, deviation = (_with_axes(op, y, x, axis, keepdims) for y in (g, out))
    return op.mul_div_no_nan(g, _distance_from_mean(op, x, axis), deviation) / _freedom(op, x, axis, ddof)


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
    return restore(op, g, x, axis, keepdims) * slope


def _position(x: ArrayType, *, axis: int, keepdims: bool) -> ArrayType:
    type_ = _extremum(x, axis=axis_of(axis, len(x.shape)), keepdims=keepdims, ties="first")
    return ArrayType(type_.shape, "int64")


def _is_first_max(xp: Any, x: Any, *, axis: int | list[int] | None) -> Any:
    axes = axes_of(axis, x.ndim)
    order = (*(a for a in range(x.ndim) if a not in axes), *axes)
    transpose = xp.permute_dims(x, order)
    rows = xp.reshape(transpose, (*transpose.shape[: x.ndim - len(axes)], _size(x, axis)))
    first = xp.arange(rows.shape[-1]) == xp.argmax(rows, axis=-1, keepdims=True)
    return xp.permute_dims(xp.reshape(first, transpose.shape), tuple(sorted(range(x.ndim), key=order.__getitem__)))


def _sum_to_like_equal(op: Any, type_: ArrayType, x: Any, like: Any) -> Any:
    """The axes that broadcasting stretched are known, whatever their size."""
    extra = x.ndim - like.ndim
    narrow = [extra + i for i, size in enumerate(like.shape) if size == 1 != x.shape[extra + i]]
    if not extra:
        return op.reduce_sum(x, axis=narrow, keepdims=True) if narrow else x
    out = op.reduce_sum(x, axis=[*range(extra), *narrow])
    for axis in narrow:
        out = op.unsqueeze(out, axis=axis - extra)
    return out


def _size_equal(op: Any, type_: ArrayType, x: Any, *, axis: int | list[int] | None) -> Any:
    number = count([x.shape[axis] for axis in axes_of(axis, x.ndim)])
    fits = isinstance(number, int) and ("int" not in type_.dtype or number < limits(type_.dtype)[1])
    return op.constant(number, type_.dtype) if fits else None


REDUCTIONS = family({
    "reduce_sum": Gate("Σ x", "The sum along axes; float32 is accumulated in float64.",
                       ("x",), _reduction_type, attributes=Reduction, symbol="Σ",
                       forward=_sum,
                       integers=exact,
                       backward=(lambda op, g, out, x, *, axis, keepdims: restore(op, g, x, axis, keepdims),),
                       ).stating(Facets(division=of_sum)),
    "reduce_mean": Gate("Σ x / n", "The mean along axes, without overflow; the mean of no elements is NaN.",
                        ("x",), _mean_type, attributes=Reduction, symbol="mean",
                        forward=lambda xp, x, *, axis, keepdims:
                            average(xp, x, axis=axes_of(axis, x.ndim), keepdims=keepdims),
                        backward=(lambda op, g, out, x, *, axis, keepdims:
                                  restore(op, g / op.size(x, axis=axis), x, axis, keepdims),),
                        ).stating(Facets(division=of_sum)),
    "reduce_prod": Gate("Π x", "The product along axes; its gradient is exact where elements are 0.",
                        ("x",), _reduction_type, attributes=Reduction, symbol="Π", reads=Reads.INPUTS,
                        forward=lambda xp, x, *, axis, keepdims:
                            xp.prod(x, axis=axes_of(axis, x.ndim), keepdims=keepdims, dtype=x.dtype),
                        integers=exact,
                        backward=(_prod_backward,)),
    "reduce_max": Gate("max x", "The largest along axes; routes the whole gradient to it.",
                       ("x",), _extremum, attributes=Extremum, symbol="max", reads=Reads.INPUTS | Reads.OUTPUT,
                       forward=functools.partial(_extreme, sign=1),
                       backward=(lambda op, g, out, x, *, axis, **rest:
                                 _route(op, g, out, x, axis=axis, **rest, first=op.is_first_max(x, axis=axis)),)),
    "reduce_min": Gate("min x", "The smallest along axes; routes the whole gradient to it.",
                       ("x",), _extremum, attributes=Extremum, symbol="min", reads=Reads.INPUTS | Reads.OUTPUT,
                       forward=functools.partial(_extreme, sign=-1),
                       backward=(lambda op, g, out, x, *, axis, **rest:
                                 _route(op, g, out, x, axis=axis, **rest, first=op.is_first_max(-x, axis=axis)),)),
    "reduce_l1": Gate("Σ |x|", "The sum of absolute values along axes.",
                      ("x",), _mean_type, attributes=Reduction, symbol="‖x‖₁", reads=Reads.INPUTS,
                      forward=lambda xp, x, *, axis, keepdims: _sum(xp, xp.abs(x), axis=axis, keepdims=keepdims),
                      backward=(lambda op, g, out, x, *, axis, keepdims:
                                restore(op, g, x, axis, keepdims) * op.sign(x),)),
    "reduce_l2": Gate("√Σ x²", "The Euclidean norm along axes, without overflow; its slope at 0 is 0.",
                      ("x",), _mean_type, attributes=Reduction, symbol="‖x‖", reads=Reads.INPUTS | Reads.OUTPUT,
                      forward=_norm,
                      backward=(lambda op, g, out, x, *, axis, keepdims: op.mul_div_no_nan(
                          _with_axes(op, g, x, axis, keepdims), x, _with_axes(op, out, x, axis, keepdims)),)),
    "reduce_sum_square": Gate("Σ x²", "The sum of squares along axes.",
                              ("x",), _mean_type, attributes=Reduction, symbol="Σx²", reads=Reads.INPUTS,
                              forward=lambda xp, x, *, axis, keepdims: _sum(xp, x * x, axis=axis, keepdims=keepdims),
                              backward=(lambda op, g, out, x, *, axis, keepdims:
                                        2 * restore(op, g, x, axis, keepdims) * x,)),
    "reduce_log_sum_exp": Gate("ln Σ e^x", "The logarithm of a sum of exponentials along axes, without overflow; -∞ "
                                           "of no elements. Equal infinities share the gradient evenly.",
                               ("x",), _mean_type, attributes=Reduction, symbol="lnΣe",
                               reads=Reads.INPUTS | Reads.OUTPUT,
                               forward=_log_sum_exp,
                               backward=(_log_sum_exp_backward,)),
    "reduce_var": Gate("Σ (x - x̄)² / (n - ddof)", "The variance along axes; NaN or infinite where n is not above "
                                                   "ddof.",
                       ("x",), _mean_type, attributes=Spread, symbol="var", reads=Reads.INPUTS,
                       forward=_var,
                       backward=(lambda op, g, out, x, *, axis, keepdims, ddof: (
                           2 * restore(op, g, x, axis, keepdims) * _distance_from_mean(op, x, axis)
                           / _freedom(op, x, axis, ddof)),)),
    "reduce_std": Gate("√(Σ (x - x̄)² / (n - ddof))",
                       "The standard deviation along axes, without overflow; its slope for equal values is 0.",
                       ("x",), _mean_type, attributes=Spread, symbol="std", reads=Reads.INPUTS | Reads.OUTPUT,
                       forward=_std,
                       backward=(_deviation_backward,)),
    "arg_max": Gate("arg max x", "The position of the largest along an axis, the first of several.",
                    ("x",), _position, attributes=SearchAxis, symbol="argmax",
                    forward=lambda xp, x, *, axis, keepdims: xp.argmax(x, axis=axis, keepdims=keepdims),
                    backward=(None,)),
    "arg_min": Gate("arg min x", "The position of the smallest along an axis, the first of several.",
                    ("x",), _position, attributes=SearchAxis, symbol="argmin",
                    forward=lambda xp, x, *, axis, keepdims: xp.argmin(x, axis=axis, keepdims=keepdims),
                    backward=(None,)),
    "is_first_max": Gate("[x = max x]", "Whether an element is the first of the largest along axes.",
                         ("x",), _is_first_max_type, attributes=Axes, symbol="first",
                         forward=_is_first_max,
                         backward=(None,)),
    "sum_to_like": Gate("Σ x", "x summed to the shape of another operand, along the axes that broadcasting stretched.",
                        ("x", "like"), _sum_to_like_type, symbol="Σ",
                        forward=_sum_to_like,
                        integers=lambda rule: lambda xp, x, like: exact(functools.partial(rule, like=like))(xp, x),
                        backward=(lambda op, g, out, x, like: op.expand_like(g, x), None),
                        ).stating(Facets(equal=_sum_to_like_equal, division=of_sum)),
    "size": Gate("n", "The number of elements of x along axes, as a scalar of its dtype.",
                 ("x",), _size_type, attributes=Axes, symbol="n",
                 forward=lambda xp, x, *, axis: xp.asarray(_size(x, axis), dtype=x.dtype),
                 integers=lambda _: lambda xp, x, *, axis: cast(
                     xp, xp.asarray(_size(x, axis), dtype=xp.int64), name_of(x.dtype)),
                 backward=(None,)).stating(Facets(equal=_size_equal)),
}, {
    "reduce_sum": Note("{g}, spread over the axes, to {x}", kinks="float32 is accumulated in float64",
                       onnx=Onnx("ReduceSum", "axis=axes@1 keepdims", written=""), numpy="sum",
                       also="sum_over Σ ∑",
                       words="sends its gradient to everything that it added up", formula="own"),
    "reduce_mean": Note("{g} / n, spread over the axes, to {x}", kinks="NaN of no elements",
                        onnx=Onnx("ReduceMean", "axis=axes@1 keepdims", written=""),
                        numpy="mean", also="average avg",
                        words="sends an equal share of its gradient to everything that it averaged", formula="mean(x)"),
    "reduce_prod": Note("{g} times the product of all others to {x}", kinks="exact where elements are 0",
                        onnx=Onnx("ReduceProd", "axis=axes@1 keepdims", written=""), numpy="prod",
                        also="reduce_product Π ∏", formula="own", dead="multiplies by 0"),
    "reduce_max": Note("{g} goes to the element of {x} that equals {out}", kinks=FIRST_OF_TIES,
                       onnx=Onnx("ReduceMax", "axis=axes@1 keepdims", written=""), numpy="max",
                       also="amax", words="routes its gradient to the largest element", formula="own",
                       dead="takes other elements"),
    "reduce_min": Note("{g} goes to the element of {x} that equals {out}", kinks=FIRST_OF_TIES,
                       onnx=Onnx("ReduceMin", "axis=axes@1 keepdims", written=""), numpy="min",
                       also="amin", words="routes its gradient to the smallest element", formula="own",
                       dead="takes other elements"),
    "reduce_l1": Note("{g} · sign {x} to {x}", kinks="0 at 0",
                      onnx=Onnx("ReduceL1", "axis=axes@1 keepdims", written=""), also="l1_norm", formula="own"),
    "reduce_l2": Note("{g} · {x} / {out} to {x}", kinks="0 where the norm is 0; no square leaves the range",
                      onnx=Onnx("ReduceL2", "axis=axes@1 keepdims", written=""),
                      numpy="linalg.vector_norm",
                      also="l2_norm matrix_norm euclidean_norm frobenius_norm length", formula="own"),
    "reduce_sum_square": Note("2 {g} {x} to {x}",
                              onnx=Onnx("ReduceSumSquare", "axis=axes@1 keepdims", written=""),
                              also="sum_of_squares", formula="own"),
    "reduce_log_sum_exp": Note("{g} · softmax({x}) to {x}", kinks="shifted by the largest, so nothing overflows",
                               onnx=Onnx("ReduceLogSumExp", "axis=axes@1 keepdims", written=""),
                               numpy="scipy.special.logsumexp", also="lse", formula="own"),
    "reduce_var": Note("2 {g} ({x} - its mean) / (n - {ddof}) to {x}", numpy="var", also="variance reduce_variance",
                       formula="var(x)"),
    "reduce_std": Note("{g} ({x} - its mean) / ({out} (n - {ddof})) to {x}", kinks="0 where all values are equal",
                       numpy="std", also="stddev standard_deviation"),
    "arg_max": Note(kinks="the first of several",
                    onnx=Onnx("ArgMax", "axis keepdims", {"select_last_index": 0}, written=""),
                    numpy="argmax", formula="own"),
    "arg_min": Note(kinks="the first of several",
                    onnx=Onnx("ArgMin", "axis keepdims", {"select_last_index": 0}, written=""),
                    numpy="argmin", formula="own"),
    "is_first_max": Note(kinks="a NaN counts as the largest"),
    "sum_to_like": Note("{g}, spread over the axes, to {x}", also="unbroadcast", formula="own"),
    "size": Note(numpy="size", also="numel count"),
})
