"""NumPy's indices as gates, by the rules of https://numpy.org/doc/stable/user/basics.indexing.html ."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from circuitflow.document.numbers import as_array
from circuitflow.errors import InputError
from circuitflow.gates import ShapeError
from circuitflow.gates.shapes import broadcast_shapes, show
from circuitflow.text import short
from circuitflow.transforms.writer import Wire


def part_of(x: Any, key: tuple[Any, ...]) -> Any:
    """A part of a wire: basic indices, arrays of positions, masks that are known, and all of them together.

    Raises:
        InputError: the index has no such part, or its shape would depend on a value.
    """
    parts = _expand(key, x.shape)
    if not any(isinstance(part, Wire | np.ndarray) for part in parts):
        return _basic(x, parts)
    # Numbers beside arrays are arrays of one position: they are broadcast, and count as neighbours.
    places = [i for i, part in enumerate(parts) if part is not None and not isinstance(part, slice)]
    x = _basic(x, [slice(None) if i in places else part for i, part in enumerate(parts)])
    indices = [part if isinstance(part, Wire) else np.asarray(part) for part in map(parts.__getitem__, places)]
    return gather(x, indices[0], places[0]) if len(places) == 1 else _gather_elements(x, places, indices)


def _expand(key: tuple[Any, ...], shape: Any) -> list[Any]:
    """Slices, numbers and arrays of positions, one for each dimension, and None for new ones."""
    parts = [_convert(part) for part in key]
    if sum(part is Ellipsis for part in parts) > 1:
        raise InputError("an index has one ellipsis at most")
    count = sum(map(_dimensions, parts))
    if count > len(shape):
        raise InputError(f"{count} indices for a wire of {len(shape)} dimensions")
    at = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
    full = [*parts[:at], *[slice(None)] * (len(shape) - count), *parts[at + 1 :]]
    full_parts: list[Any] = []
    axis = 0
    for part in full:
        if isinstance(part, np.ndarray) and part.dtype == bool:
            if shape[axis : axis + part.ndim] != part.shape:
                raise InputError(f"an index is a mask of shape {show(part.shape)} for dimensions of sizes "
                                 f"{show(shape[axis : axis + part.ndim])}; expected as many")
            full_parts += np.nonzero(part)
        else:
            full_parts.append(part)
        axis += _dimensions(part)
    return full_parts


def _dimensions(part: Any) -> int:
    """How many dimensions a part of an index takes."""
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if isinstance(part, np.ndarray) and part.dtype == bool else 1


def _convert(part: Any) -> Any:
    if part is None or part is Ellipsis or isinstance(part, slice):
        return part
    positions: Any = part if isinstance(part, Wire) else as_array(part, "an index")
    dtype = positions.type.dtype if isinstance(positions, Wire) else positions.dtype.name
    if isinstance(part, list | tuple) and not positions.size:
        return positions.astype(np.int64)  # NumPy takes an empty list for positions
    if dtype == "bool" and (isinstance(positions, Wire) or not positions.ndim):
        raise InputError("an index is a mask, so the shape would depend on a value: choose with np.where")
    if dtype != "bool" and "int" not in dtype:
        raise InputError(f"an index is {dtype}; expected whole numbers, so cast it")
    return int(positions) if isinstance(positions, np.ndarray) and not positions.ndim else positions


def _basic(x: Any, parts: list[Any]) -> Any:
    axis = 0
    for part in parts:
        if part is None:
            x = x._writer.emit("unsqueeze", x, axis=axis)
        elif isinstance(part, slice):
            x = _cut(x, part, axis)
        else:
            x = _position(x, part, axis)
            axis -= 1
        axis += 1
    return x


def _cut(x: Any, part: slice, axis: int) -> Any:
    ends = (part.start, part.stop, part.step)
    if not all(end is None or (isinstance(end, int | np.integer) and not isinstance(end, bool)) for end in ends):
        raise InputError(f"an index has {short(str(part))}; expected whole numbers that are known before the circuit "
                         "runs")
    start, stop, step = (None if end is None else int(end) for end in ends)
    if step == 0:
        raise InputError("an index has the step 0; expected another whole number")
    size = x.shape[axis]
    if step is not None and step < 0:
        if (start, stop, step) == (None, None, -1):
            return x._writer.emit("flip", x, axis=axis)
        if not isinstance(size, int):
            raise InputError(f"an index goes backward along {size}, of which the size is not known; flip first "
                             "(np.flip), then take a part")
        positions = range(*slice(start, stop, step).indices(size))
        first = _cut(x, slice(positions[-1], positions[0] + 1, -step) if positions else slice(0, 0), axis)
        return x._writer.emit("flip", first, axis=axis)
    if isinstance(size, int):  # beyond the ends there is nothing, as in every Python sequence
        start, stop, step = slice(start, stop, step).indices(size)
        stop = None if stop >= size else max(start, stop)
    if (start or 0, stop, step or 1) == (0, None, 1):
        return x
    return x._writer.emit("slice", x, axis=axis, start=start or 0, stop=stop, step=step or 1)


def _position(x: Any, position: int, axis: int) -> Any:
    need_position(x, np.asarray(position), axis)
    stop = position + 1 if position != -1 else None
    return x._writer.emit("squeeze", x._writer.emit("slice", x, axis=axis, start=position, stop=stop), axis=axis)


def need_position(x: Any, positions: Any, axis: int) -> None:
    """Refuse known positions that a dimension of known size does not have."""
    size = x.shape[axis]
    if isinstance(size, int) and not isinstance(positions, Wire):
        outside = positions[(positions < -size) | (positions >= size)]
        if outside.size:
            raise InputError(f"index {outside.flat[0]} is outside of dimension {axis}, which has size {size}")


def gather(x: Any, positions: Any, axis: int) -> Any:
    """The slices at positions along an axis, by `gather`, which counts in int64."""
    need_position(x, positions, axis)
    return x._writer.emit("gather", x, x._writer.in_dtype(positions, "int64"), axis=axis)


def _gather_elements(x: Any, places: list[int], indices: list[Any]) -> Any:
    """The elements at positions in several dimensions, which are broadcast together."""
    w = x._writer
    for axis, index in zip(places, indices, strict=True):
        need_position(x, index, axis)
    try:
        shape = broadcast_shapes(*(index.shape for index in indices))
    except ShapeError as error:
        raise InputError(f"the arrays of an index: {error}") from None
    rest = [axis for axis in range(x.ndim) if axis not in places]
    front = x if places == list(range(len(places))) else w.emit("transpose", x, axes=[*places, *rest])
    elements = w.emit("gather_nd", front, _side_by_side(w, indices, shape))
    apart = any(b - a > 1 for a, b in pairwise(places))
    if apart or not places[0] or not shape:
        return elements
    # Neighbours stand where they stood: the dimensions before them come first.
    new, before = len(shape), places[0]
    return w.emit("transpose", elements, axes=[*range(new, new + before), *range(new),
                                               *range(new + before, new + len(rest))])


def _side_by_side(w: Any, indices: list[Any], shape: Any) -> Any:
    """Positions in several dimensions, side by side in a last one."""
    if not any(isinstance(index, Wire) for index in indices):
        return w.in_dtype(np.stack([np.broadcast_to(index, shape) for index in indices], axis=-1), "int64")
    wires = [w.in_dtype(index, "int64") for index in indices]
    if any(wire.shape != shape for wire in wires):
        like = w.emit("add", *wires)
        wires = [w.emit("expand_like", wire, like) for wire in wires]
    return w.emit("stack", *wires, axis=-1)
