"""Taking and adding slices by index."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field

from circuitflow.document.base import DType
from circuitflow.gates.integers import from_front, valid_positions
from circuitflow.gates.record import Attributes, Gate, Note, Onnx, Reads, family
from circuitflow.gates.shapes import ArrayType, ShapeError, axis_of, need_float, need_indices, promote, show
from circuitflow.gates.special import need_in_range
from circuitflow.gates.sums import add_at


class IndexAxis(Attributes):
    axis: int = Field(0, description="the axis that indices count along; negative indices count from its end")


class ScatterReduction(Attributes):
    reduction: Literal["none", "add"] = Field(
        "none", description="none: updates replace what is there; add: they are added to it")


class Scatter(ScatterReduction, IndexAxis):
    """The axis that indices count along, and what becomes of the elements there."""


class SortOrder(Attributes):
    axis: int = Field(-1, description="the axis to sort along; the last by default")
    descending: bool = Field(False, description="the largest first")


class Largest(Attributes):
    k: int = Field(ge=0, description="how many")
    axis: int = Field(-1, description="the axis to search along; the last by default")
    largest: bool = Field(True, description="the largest; the smallest otherwise")


class Depth(Attributes):
    depth: int = Field(ge=0, description="size of the new axis")
    dtype: DType = Field("float64", description="dtype of the result")


def _gather_type(x: ArrayType, indices: ArrayType, *, axis: int) -> ArrayType:
    at = axis_of(axis, len(x.shape))
    need_indices(indices)
    return ArrayType((*x.shape[:at], *indices.shape, *x.shape[at + 1 :]), x.dtype)


def _scatter_type(part: Callable[..., ArrayType], what: str) -> Callable[..., ArrayType]:
    """The shape rule of x with updates of the type of a part of x; `what` says in the error which shape that is."""
    def rule(x: ArrayType, indices: ArrayType, updates: ArrayType, *, reduction: str = "add", **axis: int) -> ArrayType:
        need_float("x", x)
        need_float("updates", updates)
        shape = part(x, indices, **axis).shape
        if updates.shape != shape:
            raise ShapeError(f"needs updates of {what.format(show(shape))}; updates is {show(updates.shape)}")
        return ArrayType(x.shape, promote(x.dtype, updates.dtype))

    return rule


def _from_front(xp: Any, indices: Any, size: int, axis: int) -> Any:
    """Indices in one row, counted from the front."""
    return valid_positions(xp, xp.reshape(indices, (-1,) if indices.ndim else (1,)), size, axis)


def _gather(xp: Any, x: Any, indices: Any, *, axis: int) -> Any:
    axis %= x.ndim
    row = _from_front(xp, indices, x.shape[axis], axis)
    return xp.reshape(xp.take(x, row, axis=axis), (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def _scatter_add(xp: Any, x: Any, indices: Any, updates: Any, *, axis: int) -> Any:
    axis %= x.ndim
    row = _from_front(xp, indices, x.shape[axis], axis)
    updates = xp.reshape(updates, (*x.shape[:axis], row.shape[0], *x.shape[axis + 1 :]))
    return add_at(xp, x, axis, row, updates)


def _gather_elements_type(x: ArrayType, indices: ArrayType, *, axis: int) -> ArrayType:
    """One element for every index: the shape of the indices, no larger than x along the other axes."""
    at = axis_of(axis, len(x.shape))
    need_indices(indices)
    others = [(*shape[:at], *shape[at + 1 :]) for shape in (x.shape, indices.shape)]
    if len(indices.shape) != len(x.shape) or others[0] != others[1]:
        raise ShapeError(f"needs indices of the shape of x {show(x.shape)} but along axis {axis}; "
                         f"indices is {show(indices.shape)}")
    return ArrayType(indices.shape, x.dtype)


def _places(xp: Any, x: Any, indices: Any, axis: int) -> Any:
    """Indices along an axis as positions in the flattened array, in one row."""
    along = xp.reshape(_from_front(xp, indices, x.shape[axis], axis), indices.shape)
    places = along * math.prod(x.shape[axis + 1 :])
    for other in range(x.ndim):
        if other != axis:
            shape = [1] * x.ndim
            shape[other] = indices.shape[other]
            count = xp.reshape(xp.arange(indices.shape[other], dtype=xp.int64), tuple(shape))
            places = places + count * math.prod(x.shape[other + 1 :])
    return xp.reshape(places, (-1,))


def _gather_elements(xp: Any, x: Any, indices: Any, *, axis: int) -> Any:
    places = _places(xp, x, indices, axis % x.ndim)
    return xp.reshape(xp.take(xp.reshape(x, (-1,)), places, axis=0), indices.shape)


def _scatter_elements(xp: Any, x: Any, indices: Any, updates: Any, *, axis: int, reduction: str) -> Any:
    places, flat = _places(xp, x, indices, axis % x.ndim), xp.reshape(x, (-1,))
    if reduction == "none":
        flat = _clear(xp, flat, places, xp.reshape(indices, (-1,)), "index {}")
    return xp.reshape(_scatter_add(xp, flat, places, xp.reshape(updates, (-1,)), axis=0), x.shape)


def _scatter_elements_x(op: Any, g: Any, out: Any, x: Any, indices: Any, updates: Any, *, axis: int,
                        reduction: str) -> Any:
    """All of it where updates were added, none of it where elements were replaced."""
    if reduction == "add":
        return g
    return op.scatter_elements(g, indices, op.zeros_like(updates), axis=axis, reduction="none")


def _clear(xp: Any, flat: Any, places: Any, names: Any, name: str) -> Any:
    """Zeros at some positions along the first axis, the rest as it is; one that repeats is refused by its name."""
    hits = _scatter_add(xp, xp.zeros(flat.shape[:1], dtype=xp.float32), places,
                        xp.ones(places.shape, dtype=xp.float32), axis=0)
    need_in_range(xp, xp.take(hits, places, axis=0) > 1, names,
                  f"{name} repeats, so it is not said which update stays; leave one, or add them (reduction: add)",
                  ValueError)
    return xp.where(xp.reshape(hits, (-1,) + (1,) * (flat.ndim - 1)) > 0, 0.0, flat)


def _gather_nd_type(x: ArrayType, indices: ArrayType) -> ArrayType:
    need_indices(indices)
    depth = indices.shape[-1] if indices.shape else None
    if not isinstance(depth, int) or depth > len(x.shape):
        raise ShapeError(f"needs indices whose last axis holds at most {len(x.shape)} positions, one for each of the "
                         f"first axes of x {show(x.shape)}; indices is {show(indices.shape)}")
    return ArrayType((*indices.shape[:-1], *x.shape[depth:]), x.dtype)


def _rows(xp: Any, x: Any, indices: Any) -> tuple[Any, Any]:
    """The first axes of x as one, and the positions along it."""
    depth = indices.shape[-1]
    places = xp.zeros(indices.shape[:-1], dtype=xp.int64)
    for axis in range(depth):
        along = xp.reshape(_from_front(xp, indices[..., axis], x.shape[axis], axis), indices.shape[:-1])
        places = places * x.shape[axis] + along
    return xp.reshape(x, (math.prod(x.shape[:depth]), *x.shape[depth:])), xp.reshape(places, (-1,))


def _gather_nd(xp: Any, x: Any, indices: Any) -> Any:
    flat, places = _rows(xp, x, indices)
    return xp.reshape(xp.take(flat, places, axis=0), (*indices.shape[:-1], *x.shape[indices.shape[-1] :]))


def _scatter_nd(xp: Any, x: Any, indices: Any, updates: Any, *, reduction: str) -> Any:
    flat, places = _rows(xp, x, indices)
    updates = xp.reshape(updates, (places.shape[0], *flat.shape[1:]))
    if reduction == "none":
        flat = _clear(xp, flat, places, places, "index {} of the flattened axes")
    return xp.reshape(_scatter_add(xp, flat, places, updates, axis=0), x.shape)


def _top_k_type(x: ArrayType, *, k: int, axis: int, largest: bool) -> tuple[ArrayType, ArrayType]:
    need_float("x", x)
    at = axis_of(axis, len(x.shape))
    size = x.shape[at]
    if isinstance(size, int) and k > size:
        raise ShapeError(f"needs at least k = {k} elements along axis {axis} of x {show(x.shape)}")
    shape = (*x.shape[:at], k, *x.shape[at + 1 :])
    return ArrayType(shape, x.dtype), ArrayType(shape, "int64")


def _top_k(xp: Any, x: Any, *, k: int, axis: int, largest: bool) -> tuple[Any, Any]:
    order = _arg_sort(xp, x, axis=axis, descending=largest)
    order = xp.asarray(order[(slice(None),) * (axis % x.ndim) + (slice(0, k), ...)], dtype=xp.int64)
    return _gather_elements(xp, x, order, axis=axis), order


def _sort_type(x: ArrayType, *, axis: int, descending: bool) -> ArrayType:
    need_float("x", x)
    axis_of(axis, len(x.shape))
    return x


def _arg_sort(xp: Any, x: Any, *, axis: int, descending: bool) -> Any:
    return xp.argsort(-x if descending else x, axis=axis, stable=True)


def _sort_backward(op: Any, g: Any, out: Any, x: Any, *, axis: int, descending: bool) -> Any:
    order = op.arg_sort(x, axis=axis, descending=descending)
    return op.scatter_elements(op.zeros_like(x), order, g, axis=axis, reduction="add")


def _one_hot_type(indices: ArrayType, *, depth: int, dtype: str) -> ArrayType:
    need_indices(indices)
    return ArrayType((*indices.shape, depth), dtype)


def _one_hot(xp: Any, indices: Any, *, depth: int, dtype: str) -> Any:
    hot = xp.expand_dims(from_front(xp, indices, depth), axis=-1) == xp.arange(depth, dtype=xp.int64)
    return xp.asarray(hot, dtype=getattr(xp, dtype))


INDEXING = family({
    "gather": Gate("x[indices]", "Slices of x along an axis, by index.",
                   ("x", "indices"), _gather_type, attributes=IndexAxis, symbol="gather", reads=Reads.INPUTS,
                   forward=_gather,
                   backward=(lambda op, g, out, x, indices, *, axis:
                             op.scatter_add(op.zeros_like(x), indices, g, axis=axis), None)),
    "scatter_add": Gate("x + Σ updates", "x with slices added along an axis, by index; repeated indices add up.",
                        ("x", "indices", "updates"),
                        _scatter_type(_gather_type, "shape {}, one slice of x for every index"),
                        attributes=IndexAxis, symbol="scatter", reads=Reads.INPUTS,
                        forward=_scatter_add,
                        backward=(lambda op, g, out, x, indices, updates, *, axis: g,
                                  None,
                                  lambda op, g, out, x, indices, updates, *, axis: op.gather(g, indices, axis=axis))),
    "gather_elements": Gate("x[…, indices[…], …]", "An element of x for every index along an axis.",
                            ("x", "indices"), _gather_elements_type, attributes=IndexAxis, symbol="gather",
                            reads=Reads.INPUTS,
                            forward=_gather_elements,
                            backward=(lambda op, g, out, x, indices, *, axis: op.scatter_elements(
                                op.zeros_like(x), indices, g, axis=axis, reduction="add"), None)),
    "scatter_elements": Gate("x with updates at indices",
                             "x with elements replaced, or added to, along an axis. Indices that are replaced must not "
                             "repeat.",
                             ("x", "indices", "updates"),
                             _scatter_type(_gather_elements_type, "the shape of indices {}"),
                             attributes=Scatter, symbol="scatter", reads=Reads.INPUTS,
                             forward=_scatter_elements,
                             backward=(_scatter_elements_x,
                                       None,
                                       lambda op, g, out, x, indices, updates, *, axis, reduction:
                                       op.gather_elements(g, indices, axis=axis))),
    "gather_nd": Gate("x[indices[0], indices[1], …]",
                      "Slices of x by position. The last axis of the indices holds a position along each of the first "
                      "axes of x.",
                      ("x", "indices"), _gather_nd_type, symbol="gather", reads=Reads.INPUTS,
                      forward=_gather_nd,
                      backward=(lambda op, g, out, x, indices: op.scatter_nd(
                          op.zeros_like(x), indices, g, reduction="add"), None)),
    "scatter_nd": Gate("x with updates at indices",
                       "x with slices replaced, or added to, by position along several of its first axes. Indices that "
                       "are replaced must not repeat.",
                       ("x", "indices", "updates"),
                       _scatter_type(_gather_nd_type, "shape {}, a slice of x for every index"),
                       attributes=ScatterReduction, symbol="scatter", reads=Reads.INPUTS,
                       forward=_scatter_nd,
                       backward=(lambda op, g, out, x, indices, updates, *, reduction:
                                 g if reduction == "add" else op.scatter_nd(g, indices, op.zeros_like(updates)),
                                 None,
                                 lambda op, g, out, x, indices, updates, *, reduction: op.gather_nd(g, indices))),
    "top_k": Gate("the k largest of x", "The largest along an axis, in order, and where they stand.",
                  ("x",), _top_k_type, attributes=Largest, outputs=("values", "indices"), symbol="top",
                  reads=Reads.OUTPUT,
                  forward=_top_k,
                  backward=(lambda op, g, out, x, *, k, axis, largest: op.scatter_elements(
                      op.zeros_like(x), out[1], g[0], axis=axis, reduction="add"),)),
    "arg_sort": Gate("order of x", "The indices that sort x along an axis; equal elements keep their order.",
                     ("x",), lambda x, **order: ArrayType(_sort_type(x, **order).shape, "int64"), attributes=SortOrder,
                     symbol="argsort",
                     forward=_arg_sort,
                     backward=(None,)),
    "sort": Gate("x in order", "The elements in order along an axis; the gradient goes back to where each came from.",
                 ("x",), _sort_type, attributes=SortOrder, symbol="sort", reads=Reads.INPUTS,
                 forward=lambda xp, x, **order: _gather_elements(xp, x, _arg_sort(xp, x, **order), axis=order["axis"]),
                 backward=(_sort_backward,)),
    "one_hot": Gate("[i = 0], [i = 1], …",
                    "1 in the place of each index along a new last axis, 0 elsewhere; zeros for an index out of range.",
                    ("indices",), _one_hot_type, attributes=Depth, symbol="1-hot", reads=Reads.INPUTS,
                    forward=_one_hot,
                    backward=(None,)),
}, {
    "gather": Note("every slice of {g} added where it came from in {x}", kinks="repeated indices add up",
                   onnx=Onnx("Gather", "axis"), numpy="take",
                   also="take index_select embedding lookup index embedding_lookup", formula="own"),
    "scatter_add": Note("{g} to {x}; to {updates} the slices of {g} at {indices}", kinks="repeated indices add up",
                        numpy="add.at", also="index_add segment_sum"),
    "gather_elements": Note("every element of {g} added where it came from in {x}", kinks="repeated indices add up",
                            onnx=Onnx("GatherElements", "axis"), numpy="take_along_axis", also="take_along_dim"),
    "scatter_elements": Note("{g} to {x}, but 0 where it was replaced; {g} at {indices} to {updates}",
                             kinks="indices that are replaced must not repeat",
                             onnx=Onnx("ScatterElements", "axis reduction", written=""),
                             numpy="put_along_axis", also="scatter put"),
    "gather_nd": Note("every slice of {g} added where it came from in {x}", kinks="repeated indices add up",
                      onnx=Onnx("GatherND")),
    "scatter_nd": Note("{g} to {x}, but 0 where it was replaced; {g} at {indices} to {updates}",
                       kinks="indices that are replaced must not repeat",
                       onnx=Onnx("ScatterND", "reduction", written=""),
                       also="index_put scatter_update tensor_scatter_update"),
    "top_k": Note("{g.values}, put where they came from in {x}", kinks="of equal elements the first", onnx="TopK",
                  also="kthlargest", example={"k": 1}, dead="takes other elements"),
    "arg_sort": Note(kinks="equal elements keep their order", numpy="argsort"),
    "sort": Note("{g} put back where each came from in {x}", kinks="equal elements keep their order", numpy="sort",
                 also="msort"),
    "one_hot": Note(kinks="zeros for an index out of range", onnx="OneHot", also="onehot_encode", example={"depth": 3}),
})
