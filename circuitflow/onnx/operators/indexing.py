"""Elements by index."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from circuitflow.onnx.calls import Call, Refusal

ADDING = {"none": "none", "add": "add"}
"""Reductions of updates, by ONNX's name."""


def gather_elements(call: Call) -> Any:
    """An element for every index; x may be larger along other axes."""
    axis = call.attribute("axis")
    return call.w.gather_elements(_cut(call, call[0], axis), call[1], axis=axis)


def _cut(call: Call, x: Any, axis: int) -> Any:
    """The part of x along other axes that the indices have places for."""
    indices = call.shape(1)
    for other, (size, part) in enumerate(zip(x.type.shape, indices, strict=True)):
        if other != axis % x.ndim and size != part:
            if not isinstance(part, int):
                raise Refusal(f"needs numbers for the size {part} of its indices; give sizes by --dim NAME=N")
            x = call.w.slice(x, axis=other, start=0, stop=part)
    return x


def scatter_elements(call: Call) -> Any:
    """Elements replaced, or added to."""
    axis, w, x = call.attribute("axis"), call.w, call[0]
    reduction = _reduction(call)
    indices, updates = call[1], call[2]
    if not all(isinstance(size, int) for size in (*x.type.shape, *indices.type.shape)):
        return w.scatter_elements(x, indices, updates, axis=axis, reduction=reduction)
    part = _cut(call, x, axis)
    if part is x:
        return w.scatter_elements(x, indices, updates, axis=axis, reduction=reduction)
    sizes, inner = x.type.shape, indices.type.shape
    out = w.scatter_elements(part, indices, updates, axis=axis, reduction=reduction)
    for other in reversed([i for i, (a, b) in enumerate(zip(sizes, inner, strict=True))
                           if a != b and i != axis % x.ndim]):
        like = x
        for before in range(other):
            if before != axis % x.ndim and sizes[before] != inner[before]:
                like = w.slice(like, axis=before, start=0, stop=inner[before])
        out = w.slice_scatter(like, out, axis=other, start=0, stop=inner[other])
    return out


def _reduction(call: Call) -> str:
    reduction = call.attribute("reduction", "none")
    if reduction not in ADDING:
        raise Refusal(f"has the reduction {reduction}; expected one of {', '.join(ADDING)}")
    return ADDING[reduction]


def scatter_nd(call: Call) -> Any:
    """Slices replaced, or added to."""
    return call.w.scatter_nd(call[0], call[1], call[2], reduction=_reduction(call))


def gather_nd(call: Call) -> Any:
    """Slices by position along several axes; those of a batch by the batch."""
    batch, w = call.attribute("batch_dims", 0), call.w
    if not batch:
        return w.gather_nd(call[0], call[1])
    sizes = call.numbers_of(call.shape(1))[:-1]
    own = np.stack(np.meshgrid(*map(np.arange, sizes[:batch]), indexing="ij"), axis=-1)
    own = own.reshape(*sizes[:batch], *(1,) * (len(sizes) - batch), batch)
    own = np.broadcast_to(own, (*sizes, batch)).astype(np.int64)
    indices = call[1]
    indices = indices if indices.type.dtype == "int64" else w.cast(indices, dtype="int64")
    return w.gather_nd(call[0], w.concat(own, indices, axis=-1))


def top_k(call: Call) -> Any:
    """The largest or smallest along an axis, and where they stand."""
    k = int(call.numbers(1, "k").reshape(())) if call.version >= 10 else call.attribute("k")
    call.attribute("sorted")
    return call.w.top_k(call[0], k=k, axis=call.attribute("axis"), largest=bool(call.attribute("largest", 1)))


def one_hot(call: Call) -> Any:
    """One of two numbers: the second in the place of each index along a new axis, the first elsewhere."""
    w, axis = call.w, call.attribute("axis")
    depth = int(call.numbers(1, "depth").reshape(()))
    indices, dtype = call[0], call.type(2).dtype
    if "int" not in indices.type.dtype:
        indices = w.cast(indices, dtype="int64")
    hot = w.one_hot(indices, depth=depth, dtype="bool")
    off, on = (w.squeeze(w.slice(call[2], start=i, stop=i + 1), axis=0) for i in (0, 1))
    out = w.where(hot, on, off)
    rank = out.ndim
    if axis % rank != rank - 1:
        order = [*range(rank - 1)]
        order.insert(axis % rank, rank - 1)
        out = w.transpose(out, axes=order)
    return out if out.type.dtype == dtype else w.cast(out, dtype=dtype)


def compress(call: Call) -> Any:
    """The slices that a condition, known before a run, is true for."""
    condition = call.numbers(1, "condition")
    axis = call.attribute("axis")
    x = call[0] if axis is not None else call.w.reshape(call[0], shape=[-1])
    return call.w.gather(x, np.flatnonzero(condition).astype(np.int64), axis=axis or 0)


INDEXING: Mapping[str, Callable[[Call], Any]] = {
    "GatherElements": gather_elements, "GatherND": gather_nd, "Scatter": scatter_elements,
    "ScatterElements": scatter_elements, "ScatterND": scatter_nd, "TopK": top_k, "OneHot": one_hot,
    "Compress": compress,
}
