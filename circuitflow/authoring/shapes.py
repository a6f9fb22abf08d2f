"""NumPy's functions that rearrange an array, as gates."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from circuitflow.authoring.operands import together
from circuitflow.authoring.ufuncs import Entry


def flat(w: Any, a: Any) -> Any:
    """An array of one dimension with the same elements."""
    return a if a.ndim == 1 else w.emit("reshape", a, shape=[-1])


def _transpose(w: Any, a: Any, axes: Any = None) -> Any:
    return w.emit("transpose", a, axes=[axes] if isinstance(axes, int | np.integer) else axes)


def _swap_axes(w: Any, a: Any, axis1: int, axis2: int) -> Any:
    axes = list(range(a.ndim))
    axes[axis1], axes[axis2] = axes[axis2], axes[axis1]
    return w.emit("transpose", a, axes=axes)


def _move_axes(w: Any, a: Any, source: Any, destination: Any) -> Any:
    sources, destinations = (normalize_axis_tuple(axes, a.ndim) for axes in (source, destination))
    axes = [axis for axis in range(a.ndim) if axis not in sources]
    for at, axis in sorted(zip(destinations, sources, strict=True)):
        axes.insert(at, axis)
    return w.emit("transpose", a, axes=axes)


def _sizes(shape: Any) -> list[Any]:
    return list(shape) if isinstance(shape, Sequence | np.ndarray) else [operator.index(shape)]


def squeeze(w: Any, a: Any, axis: Any = None) -> Any:
    """`np.squeeze`."""
    axes = [i for i, size in enumerate(a.shape) if size == 1] if axis is None else normalize_axis_tuple(axis, a.ndim)
    for i in sorted(axes, reverse=True):
        a = w.emit("squeeze", a, axis=i)
    return a


def expand_dims(w: Any, a: Any, axis: Any) -> Any:
    """`np.expand_dims`."""
    for i in sorted(normalize_axis_tuple(axis, a.ndim + np.size(axis))):
        a = w.emit("unsqueeze", a, axis=i)
    return a


def _broadcast(w: Any, array: Any, shape: Any) -> Any:
    result = w.emit("expand", array, shape=_sizes(shape))
    if result.shape != tuple(_sizes(shape)):
        raise ValueError(f"{array.shape} does not stretch to {tuple(_sizes(shape))}")
    return result


def _concatenate(w: Any, arrays: Any, axis: int | None = 0, dtype: Any = None) -> Any:
    xs = together(w, arrays, dtype=dtype)
    if axis is None:
        return w.emit("concat", *(w.emit("reshape", x, shape=[-1]) for x in xs), axis=0)
    return w.emit("concat", *xs, axis=axis)


def _split(w: Any, ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    if isinstance(indices_or_sections, int | np.integer):
        return list(w.emit("split", ary, axis=axis, sections=indices_or_sections))
    ends = [0, *map(operator.index, indices_or_sections), None]
    before = (slice(None),) * normalize_axis_index(axis, ary.ndim)
    return [ary[(*before, slice(start, stop))] for start, stop in pairwise(ends)]


def _roll(w: Any, a: Any, shift: Any, axis: Any = None) -> Any:
    if axis is None and a.ndim != 1:
        return w.emit("reshape", _roll(w, w.emit("reshape", a, shape=[-1]), shift, 0), shape=list(a.shape))
    for by, along in np.broadcast(shift, 0 if axis is None else axis):
        a = w.emit("roll", a, shift=operator.index(by), axis=along)
    return a


def _tile(w: Any, A: Any, reps: Any) -> Any:  # noqa: N803
    x, repeats = A, np.atleast_1d(reps).tolist()
    for _ in range(len(repeats) - x.ndim):
        x = w.emit("unsqueeze", x, axis=0)
    return w.emit("tile", x, repeats=[1] * (x.ndim - len(repeats)) + repeats)


def _pad(w: Any, array: Any, pad_width: Any, constant_values: Any = 0) -> Any:
    if np.any(np.asarray(constant_values) != 0):
        raise TypeError(f"constant_values={constant_values!r}; only zeros")
    if np.asarray(pad_width).dtype.kind not in "iu" or np.any(np.less(pad_width, 0)):
        raise TypeError(f"pad_width={pad_width!r}; whole numbers, 0 or more")
    return w.emit("pad", array, pad_width=np.broadcast_to(pad_width, (array.ndim, 2)).tolist())


FUNCTIONS: dict[Any, Entry] = {
    np.transpose: _transpose, np.matrix_transpose: lambda w, x: w.emit("matrix_transpose", x), np.swapaxes: _swap_axes,
    np.moveaxis: _move_axes, np.reshape: lambda w, a, shape: w.emit("reshape", a, shape=_sizes(shape)),
    np.ravel: lambda w, a: w.emit("reshape", a, shape=[-1]), np.squeeze: squeeze, np.expand_dims: expand_dims,
    np.broadcast_to: _broadcast, np.concatenate: _concatenate, np.split: _split,
    np.stack: lambda w, arrays, axis=0, dtype=None: w.emit("stack", *together(w, arrays, dtype=dtype), axis=axis),
    np.flip: lambda w, m, axis=None: w.emit("flip", m, axis=axis), np.roll: _roll, np.tile: _tile, np.pad: _pad,
}
