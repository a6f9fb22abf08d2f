"""NumPy's functions that rearrange arrays as nodes of ONNX."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from circuitflow.engines.program.trace import Line
from circuitflow.onnx.lowering import Lowering, Rules, Unwritable


def _reshape(low: Lowering, line: Line, x: Any, shape: Any, **_: Any) -> str:
    return low.writer.reshape(low.name(x), line.results[0].shape)


def _broadcast_to(low: Lowering, line: Line, x: Any, shape: Any) -> str:
    return str(low.writer.add("Expand", low.name(x), low.writer.shape(line.results[0].shape)))


def _transpose(low: Lowering, line: Line, x: Any, axes: Any = None) -> str:
    order = list(axes) if axes is not None else list(range(len(x.shape)))[::-1]
    if not order:
        return str(low.writer.add("Identity", low.name(x)))
    return str(low.writer.add("Transpose", low.name(x), perm=[axis % len(order) for axis in order]))


def _matrix_transpose(low: Lowering, line: Line, x: Any) -> str:
    rank = len(x.shape)
    return str(low.writer.add("Transpose", low.name(x), perm=[*range(rank - 2), rank - 1, rank - 2]))


def _moveaxis(low: Lowering, line: Line, x: Any, source: int, destination: int) -> str:
    order = [axis for axis in range(len(x.shape)) if axis != source % len(x.shape)]
    order.insert(destination % len(x.shape), source % len(x.shape))
    return str(low.writer.add("Transpose", low.name(x), perm=order))


def _expand_dims(low: Lowering, line: Line, x: Any, axis: Any) -> str:
    axes = list(axis) if isinstance(axis, tuple) else [axis]
    return str(low.writer.add("Unsqueeze", low.name(x), low.writer.constant(axes, np.int64)))


def _squeeze(low: Lowering, line: Line, x: Any, axis: Any = None) -> str:
    axes = [i for i, n in enumerate(x.shape) if n == 1] if axis is None else (
        list(axis) if isinstance(axis, tuple) else [axis])
    return str(low.writer.add("Squeeze", low.name(x), low.writer.constant(axes, np.int64)))


def _getitem(low: Lowering, line: Line, x: Any, key: Any) -> str:
    """Slices, numbers, new axes, and positions along one axis."""
    w, out = low.writer, low.name(x)
    parts = list(key) if isinstance(key, tuple) else [key]
    at = next((i for i, part in enumerate(parts) if part is Ellipsis), None)
    number = sum(part is not None and part is not Ellipsis for part in parts)
    whole = [slice(None)] * (len(x.shape) - number)
    if at is None:
        parts += whole
    else:
        parts[at : at + 1] = whole
    ranges: list[tuple[int, int, int, int]] = []
    dropped, new, positions = [], [], []
    axis = place = 0
    for part in parts:
        if part is None:
            new.append(place)
            place += 1
            continue
        size = x.shape[axis]
        if isinstance(part, slice):
            if part != slice(None):
                first, last, step = part.indices(size)
                ranges.append((first, last if step > 0 or last >= 0 else -2**31, axis, step))
            place += 1
        elif isinstance(part, int | np.integer):
            first = int(part) % size
            ranges.append((first, first + 1, axis, 1))
            dropped.append(axis)
        else:
            positions.append((axis, part))
            place += 1
        axis += 1
    if len(positions) > 1 or (positions and (dropped or new)):
        raise Unwritable("picks elements by several arrays of positions")
    if ranges:
        out = w.add("Slice", out, *(w.constant(values, np.int64) for values in zip(*ranges, strict=True)))
    for axis, part in positions:
        out = w.add("Gather", out, low.name(part, np.dtype(np.int64)), axis=axis)
    if dropped:
        out = w.add("Squeeze", out, w.constant(dropped, np.int64))
    if new:
        out = w.add("Unsqueeze", out, w.constant(new, np.int64))
    return str(w.add("Identity", out) if out == low.name(x) else out)


def _concatenate(low: Lowering, line: Line, xs: Any, axis: int = 0) -> str:
    dtype = line.results[0].dtype
    return str(low.writer.add("Concat", *(low.name(x, dtype) for x in xs), axis=axis))


def _stack(low: Lowering, line: Line, xs: Any, axis: int = 0) -> str:
    w, dtype, rank = low.writer, line.results[0].dtype, len(line.results[0].shape)
    axes = w.constant([axis % rank], np.int64)
    return str(w.add("Concat", *(w.add("Unsqueeze", low.name(x, dtype), axes) for x in xs), axis=axis % rank))


def _take(low: Lowering, line: Line, x: Any, indices: Any, axis: int | None = None, **_: Any) -> str:
    if axis is None:
        raise Unwritable("takes elements of an array as one row")
    return str(low.writer.add("Gather", low.name(x), low.name(indices, np.dtype(np.int64)), axis=axis))


def _take_along(low: Lowering, line: Line, x: Any, indices: Any, axis: int = -1) -> str:
    return str(low.writer.add("GatherElements", low.name(x), low.name(indices, np.dtype(np.int64)), axis=axis))


def _flip(low: Lowering, line: Line, x: Any, axis: Any = None) -> str:
    w = low.writer
    axes = list(range(len(x.shape))) if axis is None else list(axis) if isinstance(axis, tuple) else [axis]
    if not axes:
        return str(w.add("Identity", low.name(x)))
    lists = ([-1] * len(axes), [-2**31] * len(axes), axes, [-1] * len(axes))
    return str(w.add("Slice", low.name(x), *(w.constant(values, np.int64) for values in lists)))


def _roll(low: Lowering, line: Line, x: Any, shift: int, axis: int) -> str:
    w, source, size = low.writer, low.name(x), x.shape[axis]
    by = -shift % size if isinstance(size, int) and size else 0
    if not isinstance(size, int):
        raise Unwritable(f"shifts along an axis of size {size}, which has no number")

    def part(start: int, end: int) -> Any:
        return w.add("Slice", source, *(w.constant([n], np.int64) for n in (start, end, axis)))

    return str(w.add("Concat", part(by, size), part(0, by), axis=axis) if by else w.add("Identity", source))


def _tile(low: Lowering, line: Line, x: Any, repeats: Any) -> str:
    return str(low.writer.add("Tile", low.name(x), low.writer.constant(list(repeats), np.int64)))


def _triangle(upper: int) -> Callable[..., str]:
    def rule(low: Lowering, line: Line, x: Any, k: int = 0) -> str:
        return str(low.writer.add("Trilu", low.name(x), low.writer.constant(k, np.int64), upper=upper))

    return rule


def _order(low: Lowering, x: Any, axis: int, output: int) -> str:
    w, size = low.writer, x.shape[axis]
    out = w.add("TopK", low.name(x), w.size(size), outputs=2, axis=axis, largest=0)
    return str(out[output])


def _full(low: Lowering, line: Line, shape: Any, fill: Any, dtype: Any) -> str:
    value = low.name(fill, np.dtype(dtype))
    return value if tuple(shape) == () else str(low.writer.add("Expand", value, low.writer.shape(shape)))


SHAPES: Rules = {
    np.reshape: _reshape, np.broadcast_to: _broadcast_to, np.transpose: _transpose,
    np.matrix_transpose: _matrix_transpose, np.moveaxis: _moveaxis, np.expand_dims: _expand_dims,
    np.squeeze: _squeeze, operator.getitem: _getitem, np.concatenate: _concatenate, np.stack: _stack, np.take: _take,
    np.take_along_axis: _take_along, np.flip: _flip, np.roll: _roll, np.tile: _tile, np.tril: _triangle(0),
    np.triu: _triangle(1), np.full: _full,
    np.argsort: lambda low, line, x, axis=-1, **_: _order(low, x, axis, 1),
    np.sort: lambda low, line, x, axis=-1, **_: _order(low, x, axis, 0),
}
