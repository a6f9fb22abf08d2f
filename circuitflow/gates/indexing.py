"""Taking and adding slices by index."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from circuitflow.gates.record import Attributes, Gate, Reads
from circuitflow.gates.shapes import ArrayType, ShapeError, axis_of, need_float, promote, show


class Along(Attributes):
    """The axis that indices count along."""

    axis: Annotated[
        int, Field(description="the axis that indices count along; negative indices count from its end")
    ] = 0


def _gathered(x: ArrayType, indices: ArrayType, *, axis: int) -> ArrayType:
    at = axis_of(axis, len(x.shape))
    if "int" not in indices.dtype:
        raise ShapeError(f"needs integer indices; indices is {indices.dtype}; declare its dtype as int64")
    return ArrayType((*x.shape[:at], *indices.shape, *x.shape[at + 1 :]), x.dtype)


def _scattered(x: ArrayType, indices: ArrayType, updates: ArrayType, *, axis: int) -> ArrayType:
    need_float("x", x)
    need_float("updates", updates)
    expected = _gathered(x, indices, axis=axis).shape
    if updates.shape != expected:
        raise ShapeError(f"needs updates of shape {show(expected)}, one slice of x for every index; "
                         f"updates is {show(updates.shape)}")
    return ArrayType(x.shape, promote(x.dtype, updates.dtype))


def _from_front(xp: Any, indices: Any, size: int, axis: int) -> Any:
    """Indices in one row, counted from the front."""
    row = xp.reshape(indices, (-1,)) if indices.ndim else xp.reshape(indices, (1,))
    outside = (row < -size) | (row >= size)
    if bool(xp.any(outside)):
        first = int(row[int(xp.argmax(xp.asarray(outside, dtype=xp.int8)))])
        raise IndexError(f"index {first} is out of range for axis {axis} of size {size}")
    return xp.where(row < 0, row + size, row)


def _gather(xp: Any, x: Any, indices: Any, *, axis: int) -> Any:
    axis %= x.ndim
    row = _from_front(xp, indices, x.shape[axis], axis)
    return xp.reshape(xp.take(x, row, axis=axis), (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def _scatter_add(xp: Any, x: Any, indices: Any, updates: Any, *, axis: int) -> Any:
    axis %= x.ndim
    row = _from_front(xp, indices, x.shape[axis], axis)
    updates = xp.reshape(updates, (*x.shape[:axis], row.shape[0], *x.shape[axis + 1 :]))
    dtype = xp.result_type(x, updates)
    before = (slice(None),) * axis
    if hasattr(x, "at"):  # JAX, whose arrays cannot be written
        return xp.asarray(x, dtype=dtype).at[(*before, row)].add(updates)
    out = xp.asarray(x, dtype=dtype, copy=True)
    if hasattr(xp, "add") and hasattr(xp.add, "at"):  # NumPy
        xp.add.at(out, (*before, row), updates)
        return out
    for i in range(row.shape[0]):  # the standard has no scatter
        out[(*before, int(row[i]), ...)] += updates[(*before, i, ...)]
    return out


INDEXING = {
    "gather": Gate("x[indices]", "Slices of x along an axis, by index.",
                   ("x", "indices"), _gathered, attributes=Along, symbol="gather", reads=Reads.INPUTS,
                   forward=_gather,
                   backward=(lambda op, g, out, x, indices, *, axis:
                             op.scatter_add(op.zeros_like(x), indices, g, axis=axis), None)),
    "scatter_add": Gate("x + Σ updates", "x with slices added along an axis, by index; repeated indices add up.",
                        ("x", "indices", "updates"), _scattered, attributes=Along, symbol="scatter",
                        reads=Reads.INPUTS,
                        forward=_scatter_add,
                        backward=(lambda op, g, out, x, indices, updates, *, axis: g,
                                  None,
                                  lambda op, g, out, x, indices, updates, *, axis: op.gather(g, indices, axis=axis))),
}
