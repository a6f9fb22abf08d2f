"""NumPy's functions that rearrange arrays: most are views; some copy."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from circuitflow.engines.flat.arrays import Array, broadcast, computed, transposed
from circuitflow.engines.flat.code import Code
from circuitflow.engines.flat.indices import ZERO, Index, Indices, place
from circuitflow.engines.flat.language import INT64, Expr, Unwritable
from circuitflow.engines.flat.lowering import Lowering, Rules
from circuitflow.engines.program.trace import Line, Value


def reshape(low: Lowering, x: Array, shape: Sequence[Any]) -> Array:
    """An array in another shape: a view where its places allow that, else a copy."""
    shape = tuple(shape)
    if math.prod(shape) == 0:
        return broadcast(low.array(np.zeros((1,) * len(shape), x.dtype)), shape)
    out = x.reshaped(shape)
    if out is None:
        out = low.dense(x).reshaped(shape)
    assert out is not None  # noqa: S101
    return out


def _reshape(low: Lowering, line: Line, x: Any, shape: Any, **_: Any) -> Array:
    return reshape(low, low.array(x), line.results[0].shape)


def _broadcast_to(low: Lowering, line: Line, x: Any, shape: Any) -> Array:
    return low.wide(low.array(x), line.results[0].shape)


def _transpose(low: Lowering, line: Line, x: Any, axes: Any = None) -> Array:
    array = low.array(x)
    return transposed(array, list(axes) if axes is not None else list(range(len(array.shape)))[::-1])


def _matrix_transpose(low: Lowering, line: Line, x: Any) -> Array:
    array = low.array(x)
    rank = len(array.shape)
    return transposed(array, [*range(rank - 2), rank - 1, rank - 2])


def _moveaxis(low: Lowering, line: Line, x: Any, source: int, destination: int) -> Array:
    array = low.array(x)
    rank = len(array.shape)
    order = [axis for axis in range(rank) if axis != source % rank]
    order.insert(destination % rank, source % rank)
    return transposed(array, order)


def _getitem(low: Lowering, line: Line, x: Any, key: Any) -> Array:
    """Slices, numbers, new axes, and positions along one axis."""
    array = low.array(x)
    parts = list(key) if isinstance(key, tuple) else [key]
    at = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
    count = sum(part is not None and part is not Ellipsis for part in parts)
    parts[at : at + 1] = [slice(None)] * (len(array.shape) - count)
    makers: list[Callable[[Indices], Index]] = []
    shape: list[int] = []
    axis = 0
    for part in parts:
        place = len(shape)
        if part is None:
            shape.append(1)
            continue
        size = array.shape[axis]
        if isinstance(part, slice):
            first, last, step = part.indices(size)
            shape.append(len(range(first, last, step)))
            makers.append(partial(_in_steps, place, first, step))
        elif isinstance(part, int | np.integer):
            makers.append(partial(_at_number, int(part) % size))
        elif isinstance(part, Value | np.ndarray) and len(parts) == 1 and part.ndim == 1:
            return _take(low, line, x, part, axis=0)
        else:
            raise Unwritable("picks elements by several arrays of positions")
        axis += 1
    return array.viewed(shape, lambda at: tuple(make(at) for make in makers))


def _in_steps(axis: int, first: int, step: int, at: Indices) -> Index:
    return at[axis].times(step).shifted(first)


def _at_number(number: int, at: Indices) -> Index:
    return Index(number)


def _shift(axis: int, by: int, at: Indices) -> Indices:
    """Positions some elements on along an axis."""
    return (*at[:axis], at[axis].shifted(by), *at[axis + 1 :])


def _insert(axis: int, number: int, at: Indices) -> Indices:
    """Positions with another along a new axis."""
    return (*at[:axis], Index(number), *at[axis:])


def _concatenate(low: Lowering, line: Line, xs: Any, axis: int = 0) -> Array:
    result = line.results[0]
    out = low.home(line) or low.room(result.shape, result.dtype, low.hint(line))
    axis, start = axis % len(result.shape), 0
    for x in xs:
        array = low.array(x, result.dtype)
        low.copy(array, out.viewed(array.shape, partial(_shift, axis, start)))
        start += array.shape[axis]
    return out


def _stack(low: Lowering, line: Line, xs: Any, axis: int = 0) -> Array:
    result = line.results[0]
    out = low.home(line) or low.room(result.shape, result.dtype, low.hint(line))
    axis %= len(result.shape)
    for i, x in enumerate(xs):
        array = low.array(x, result.dtype)
        low.copy(array, out.viewed(array.shape, partial(_insert, axis, i)))
    return out


def _take(low: Lowering, line: Line, x: Any, indices: Any, axis: int | None = None, **_: Any) -> Array:
    """Slices by position; the gates' rules have refused those out of range."""
    array, places = low.ready(low.array(x)), low.ready(low.array(indices, INT64))
    if axis is None:
        array, axis = reshape(low, array, (array.size,)), 0
    axis %= len(array.shape)
    rank, result = len(places.shape), line.results[0]

    def at(code: Code, indices: Indices) -> Expr:
        here = indices[axis : axis + rank]
        place = code.once((places, here), lambda: Expr(code.position(places.at(code, here)).text))
        return array.at(code, (*indices[:axis], Index.variable(place.text), *indices[axis + rank :]))

    return computed(result.shape, result.dtype, [array, places], at)


def _flip(low: Lowering, line: Line, x: Any, axis: Any = None) -> Array:
    array = low.array(x)
    rank = len(array.shape)
    axes = {a % rank for a in (range(rank) if axis is None else axis if isinstance(axis, tuple) else [axis])}
    return array.viewed(array.shape, lambda at: tuple(
        index.times(-1).shifted(array.shape[i] - 1) if i in axes else index for i, index in enumerate(at)))


def _roll(low: Lowering, line: Line, x: Any, shift: int, axis: int) -> Array:
    array, result = low.ready(low.array(x)), line.results[0]
    axis %= len(result.shape)
    size: Any = result.shape[axis]
    by = -int(shift) % size if size else 0
    if not by:
        return array
    out = low.home(line) or low.room(result.shape, result.dtype, low.hint(line))

    def part(whole: Array, start: int, length: int) -> Array:
        shape = (*whole.shape[:axis], length, *whole.shape[axis + 1 :])
        return whole.viewed(shape, partial(_shift, axis, start))

    low.copy(part(array, by, size - by), part(out, 0, size - by))
    low.copy(part(array, 0, by), part(out, size - by, by))
    return out


def _tile(low: Lowering, line: Line, x: Any, repeats: Any) -> Array:
    """A copy in which the axis of repetitions stands before each axis."""
    array, result = low.ready(low.array(x)), line.results[0]
    sizes: tuple[Any, ...] = (1,) * (len(result.shape) - len(array.shape)) + array.shape
    out = low.home(line) or low.room(result.shape, result.dtype, low.hint(line))
    source = array.reshaped(sizes)
    assert source is not None  # noqa: S101
    times: tuple[Any, ...] = tuple(n // size if size else 0 for n, size in zip(result.shape, sizes, strict=True))
    if out.size:
        with low.nest([n for pair in zip(times, sizes, strict=True) for n in pair]) as at:
            inner = at[1::2]
            places = tuple(again.times(size).plus(index) for again, size, index in
                           zip(at[::2], sizes, inner, strict=True))
            low.assign(out, places, source.at(low.code, inner))
    return out


def _triangle(low: Lowering, line: Line, x: Any, k: int = 0, *, upper: bool) -> Array:
    array = low.array(x)
    zero = low.language.literal(0, array.dtype)

    def at(code: Code, indices: Indices) -> Expr:
        row, column = indices[-2].shifted(k), indices[-1]
        if not row.terms and not column.terms:
            return array.at(code, indices) if (column.start >= row.start if upper else column.start <= row.start
                                               ) else zero
        test = Expr(f"{column.text} {'>=' if upper else '<='} {row.text}", is_atom=False)
        return code.language.apply("where", array.dtype, [test, array.at(code, indices), zero])

    return computed(array.shape, array.dtype, [array], at)


def _sorted_order(low: Lowering, line: Line, x: Any, *, axis: int = -1, **_: Any) -> Array:
    """The stable order along an axis, NaN last: a helper sorts each row of a copy."""
    array, code = low.array(x), low.code
    axis %= len(array.shape)
    size, dtype = array.shape[axis], array.dtype
    order = [i for i in range(len(array.shape)) if i != axis] + [axis]
    rows = low.room([array.shape[i] for i in order], dtype, "keys")
    out = low.room(rows.shape, INT64, low.hint(line))
    back = transposed(out, [order.index(i) for i in range(len(order))])
    if not out.size:
        return back
    low.copy(transposed(array, order), rows)
    spare = low.room((size,), INT64, "spare")
    assert rows.storage is not None  # noqa: S101
    assert out.storage is not None  # noqa: S101
    assert spare.storage is not None  # noqa: S101
    with low.nest(rows.shape[:-1]) as at:
        whole = (*at, ZERO)
        addresses = [code.address(one, row) for one, row in (
            (rows.storage.buffer, _start(rows, whole)), (out.storage.buffer, _start(out, whole)),
            (spare.storage.buffer, ZERO))]
        kind = {"f": "f" if dtype == np.float32 else "d"}.get(dtype.kind, dtype.kind)
        if kind not in "fd":
            raise Unwritable(f"sorts {dtype.name}, which cannot be written")
        code.line(f"{code.language.call('order_' + kind, *addresses, str(size))};")
    return back


def _start(x: Array, at: Indices) -> Index:
    """Where a row of a dense array lies."""
    assert x.storage is not None  # noqa: S101
    return place(at, x.storage.strides, x.storage.offset)


def _full(low: Lowering, line: Line, shape: Any, fill: Any, dtype: Any) -> Array:
    return broadcast(low.array(fill, np.dtype(dtype)), tuple(shape))


def _expand_dims(low: Lowering, line: Line, x: Any, axis: Any) -> Array:
    return reshape(low, low.array(x), line.results[0].shape)


SHAPES: Rules = {
    np.reshape: _reshape, np.broadcast_to: _broadcast_to, np.transpose: _transpose,
    np.matrix_transpose: _matrix_transpose, np.moveaxis: _moveaxis, np.expand_dims: _expand_dims,
    np.squeeze: lambda low, line, x, axis=None: reshape(low, low.array(x), line.results[0].shape),
    operator.getitem: _getitem, np.concatenate: _concatenate, np.stack: _stack, np.take: _take, np.flip: _flip,
    np.roll: _roll, np.tile: _tile, np.full: _full, np.argsort: _sorted_order,
    np.tril: lambda low, line, x, k=0: _triangle(low, line, x, k, upper=False),
    np.triu: lambda low, line, x, k=0: _triangle(low, line, x, k, upper=True),
}
"""Rules of functions that rearrange arrays."""

