"""Elements by index."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from circuitflow.onnx.calls import Call, Refusal

PAIRS = 2**24
"""Most pairs of a place and an update, all of which a product or an extreme of updates at places looks at."""


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
                call.numbers_of([part])
            x = call.w.slice(x, axis=other, start=0, stop=part)
    return x


def scatter_elements(call: Call) -> Any:
    """Elements replaced, or added to."""
    axis, w, indices = call.attribute("axis"), call.w, call[1]
    reduction = call.attribute("reduction", "none")
    if reduction in COMBINING:
        return _combined_elements(call, axis, reduction)

    def scattered(x: Any, updates: Any) -> Any:
        sizes, inner = x.type.shape, indices.type.shape
        part = x if not all(isinstance(size, int) for size in (*sizes, *inner)) else _cut(call, x, axis)
        out = w.scatter_elements(part, indices, updates, axis=axis, reduction=reduction)
        if part is x:
            return out
        for other in reversed([i for i, (a, b) in enumerate(zip(sizes, inner, strict=True))
                               if a != b and i != axis % x.ndim]):
            like = x
            for before in range(other):
                if before != axis % x.ndim and sizes[before] != inner[before]:
                    like = w.slice(like, axis=before, start=0, stop=inner[before])
            out = w.slice_scatter(like, out, axis=other, start=0, stop=inner[other])
        return out

    return _replaced(call, reduction, scattered)


def _replaced(call: Call, reduction: str, scattered: Callable[[Any, Any], Any]) -> Any:
    """What scattered updates give. The gates take floats; of other numbers the places of updates are scattered."""
    w, x, updates = call.w, call[0], call[2]
    if x.type.is_float or reduction != "none" or updates.type.dtype != x.type.dtype:
        return scattered(x, updates)
    sizes = call.sizes(2)
    if 0 in sizes:
        return x
    nowhere = w.sub(w.cast(w.zeros_like(x), dtype="float64"), 1.0)
    places = scattered(nowhere, w.as_wire(np.arange(math.prod(sizes), dtype=np.float64).reshape(sizes)))
    taken = w.gather(w.reshape(updates, shape=[-1]), w.cast(w.relu(places), dtype="int64"))
    return w.where(w.less(places, 0.0), x, taken)


COMBINING = {"mul": ("mul", "reduce_prod", 1.0), "max": ("max", "reduce_max", -math.inf),
             "min": ("min", "reduce_min", math.inf)}
"""Of a reduction of updates: the gate of two numbers, of many, and the number that changes nothing."""


def _combined_elements(call: Call, axis: int, reduction: str) -> Any:
    """Elements multiplied by updates, or the extremes of both."""
    w, x, sizes, part = call.w, call[0], call.sizes(0), call.sizes(1)
    _need_few_pairs(math.prod(sizes), math.prod(part), reduction)
    places = np.zeros(part, np.int64)  # of the other axes, in the flattened x
    steps = [math.prod(sizes[other + 1 :]) for other in range(len(sizes))]
    for other, size in enumerate(part):
        if other != axis % len(sizes):
            shape = [1] * len(sizes)
            shape[other] = size
            places = places + np.arange(size).reshape(shape) * steps[other]
    own = w.mul(_from_front(w, call[1], sizes[axis]), np.int64(steps[axis % len(sizes)]))
    flat = _combined(w, w.reshape(x, shape=[-1]), w.reshape(w.add(own, places), shape=[-1]),
                     w.reshape(call[2], shape=[-1]), reduction)
    return w.reshape(flat, shape=sizes)


def _need_few_pairs(count: int, number: int, reduction: str) -> None:
    if count * number > PAIRS:
        raise Refusal(f"has {number} updates of {count} elements with the reduction {reduction}; expected at most "
                      f"{PAIRS} pairs of them")


def _from_front(w: Any, indices: Any, size: int) -> Any:
    """Indices counted from the front."""
    if size > PAIRS:
        raise Refusal(f"has {size} places along an axis; expected at most {PAIRS}")
    indices = indices if indices.type.dtype == "int64" else w.cast(indices, dtype="int64")
    return w.gather(np.arange(size, dtype=np.int64), indices)  # which refuses what is out of range


def _combined(w: Any, rows: Any, places: Any, updates: Any, reduction: str) -> Any:
    """Rows combined with updates, each of which has a place along the first axis."""
    gate, of_many, neutral = COMBINING[reduction]
    (count, *rest), (number,) = rows.type.shape, places.type.shape
    _need_few_pairs(count * math.prod(rest), number, reduction)
    if not rows.type.is_float:
        raise Refusal(f"of {rows.type.dtype} has the reduction {reduction}; expected floats")
    if not number:
        return rows
    hits = w.equal(w.unsqueeze(places, axis=1), np.arange(count, dtype=np.int64))
    for _ in rest:
        hits = w.unsqueeze(hits, axis=-1)
    chosen = w.where(hits, w.unsqueeze(updates, axis=1), neutral)
    return w.emit(gate, rows, w.emit(of_many, chosen, axis=0))


def scatter_nd(call: Call) -> Any:
    """Slices replaced, added to, multiplied, or the extremes of both."""
    w, x, indices, updates = call.w, call[0], call[1], call[2]
    reduction = call.attribute("reduction", "none")
    if reduction not in COMBINING:
        return _replaced(call, reduction, lambda x, updates: w.scatter_nd(x, indices, updates, reduction=reduction))
    sizes, (*outer, depth) = call.sizes(0), call.sizes(1)
    place: Any = None
    for axis in range(depth):
        index = w.squeeze(w.slice(indices, axis=-1, start=axis, stop=axis + 1), axis=-1)
        own = _from_front(w, index, sizes[axis])
        place = own if place is None else w.add(w.mul(place, np.int64(sizes[axis])), own)
    if place is None:
        raise Refusal("has indices of no axes")
    rows = w.reshape(x, shape=[math.prod(sizes[:depth]), *sizes[depth:]])
    updates = w.reshape(updates, shape=[math.prod(outer), *sizes[depth:]])
    return w.reshape(_combined(w, rows, w.reshape(place, shape=[-1]), updates, reduction), shape=sizes)


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
    w, x = call.w, call[0]
    order = {"axis": call.attribute("axis"), "largest": bool(call.attribute("largest", 1))}
    if x.type.is_float:
        return w.top_k(x, k=k, **order)
    dtype = np.dtype(x.type.dtype)
    if dtype.itemsize < 8:
        _, places = w.top_k(w.cast(x, dtype="float64"), k=k, **order)
    else:  # float64 has not all digits: by the lower half, then by the upper, where equal ones keep their order
        low = w.mod(x, dtype.type(2**32))
        _, first = w.top_k(w.cast(low, dtype="float64"), k=call.sizes(0)[order["axis"]], **order)
        high = w.gather_elements(w.cast(w.sub(x, low), dtype="float64"), first, axis=order["axis"])
        _, places = w.top_k(high, k=k, **order)
        places = w.gather_elements(first, places, axis=order["axis"])
    return w.gather_elements(x, places, axis=order["axis"]), places


def non_max_suppression(call: Call) -> Any:
    """Refused: how many boxes are left depends on their values."""
    raise Refusal("leaves out boxes that overlap others, so the shape of its result depends on values; a document has "
                  "shapes before a run; cut the model before it, as onnx.utils.extract_model does")


def tensor_scatter(call: Call) -> Any:
    """A cache with updates along an axis, from a place for every entry of the first axis on; round its end if asked."""
    w, cache, updates, mode = call.w, call[0], call[1], call.attribute("mode")
    sizes, part = call.sizes(0), call.sizes(1)
    rank, axis = len(sizes), call.attribute("axis") % len(sizes)
    if mode not in ("linear", "circular") or axis == 0:
        raise Refusal(f"has the mode {mode} and the axis {axis}; expected linear or circular, and another axis")
    shape = [1] * rank
    shape[axis] = part[axis]
    place: Any = np.arange(part[axis], dtype=np.int64).reshape(shape)
    if call.has(2):
        place = w.add(w.reshape(call[2], shape=[-1, *[1] * (rank - 1)]), place)
        place = w.mod(place, np.int64(sizes[axis])) if mode == "circular" else place
        place = w.expand(place, shape=part) if place.type.shape != tuple(part) else place
    else:
        place = w.expand(w.as_wire(place), shape=part)
    return w.scatter_elements(cache, place, updates, axis=axis)


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


def non_zero(call: Call) -> Any:
    """The positions of what is not 0, known before a run: a row for every axis."""
    x = call.numbers(0, "of which the number of positions depends")
    return np.stack(np.nonzero(np.atleast_1d(x))).astype(np.int64)[: max(x.ndim, 1)]


def unique(call: Call) -> list[Any]:
    """The elements, or slices along an axis, without what repeats; known before a run, but gradients flow."""
    axis, x = call.attribute("axis"), call.numbers(0, "of which the number of results depends")
    _, first, places, counts = np.unique(x, return_index=True, return_inverse=True, return_counts=True, axis=axis)
    places = places.reshape(-1)
    if not call.attribute("sorted"):  # then in the order of their first positions
        order = np.argsort(first)
        ranks = np.argsort(order)
        first, places, counts = first[order], ranks[places], counts[order]
    rows = call[0] if axis is not None else call.w.reshape(call[0], shape=[-1])
    values = call.w.gather(rows, first.astype(np.int64), axis=axis or 0)
    return [values, *(y.astype(np.int64) for y in (first, places, counts))]


INDEXING: Mapping[str, Callable[[Call], Any]] = {
    "GatherElements": gather_elements, "GatherND": gather_nd, "Scatter": scatter_elements,
    "ScatterElements": scatter_elements, "ScatterND": scatter_nd, "TopK": top_k, "OneHot": one_hot,
    "Compress": compress, "TensorScatter": tensor_scatter,
    "NonMaxSuppression": non_max_suppression, "NonZero": non_zero, "Unique": unique,
}
