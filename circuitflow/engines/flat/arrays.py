"""Arrays of the lowering: how an element is had, whether it lies in memory or is computed where it is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from circuitflow.engines.flat.code import LONG, Code
from circuitflow.engines.flat.indices import ZERO, Index, Indices, place, strides_of
from circuitflow.engines.flat.language import DType, Expr
from circuitflow.engines.flat.memory import Buffer

DEEPEST = 40
"""Most functions of elements that are computed in one expression, one inside of another."""


@dataclass(frozen=True)
class Storage:
    """Where the elements of an array lie in memory."""

    buffer: Buffer
    strides: tuple[int, ...]
    offset: Index = ZERO


@dataclass(slots=True, eq=False)
class Array:
    """An array of known shape.

    Attributes:
        shape, dtype: its own.
        at: the element at a position along each axis; it may add statements to the code.
        storage: where its elements lie; None where they are computed.
        depth: how many functions are computed for an element; 0 where it is only read.
    """

    shape: tuple[int, ...]
    dtype: DType
    at: Callable[[Code, Indices], Expr]
    storage: Storage | None = None
    depth: int = 0

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    def viewed(self, shape: Sequence[Any], indices: Callable[[Indices], Indices]) -> Array:
        """A view: the element at a position is that of this array at the position `indices` gives, which is linear."""
        shape = tuple(shape)
        if self.storage is not None:
            zeros = indices((ZERO,) * len(shape))
            offset = place(zeros, self.storage.strides, self.storage.offset)
            strides = []
            for axis in range(len(shape)):
                one = indices(tuple(Index(int(i == axis)) for i in range(len(shape))))
                strides.append(place(one, self.storage.strides, self.storage.offset).start - offset.start)
            return stored(self.storage.buffer, shape, tuple(strides), offset)
        return Array(shape, self.dtype, lambda code, at: self.at(code, indices(at)), None, self.depth)

    def reshaped(self, shape: Sequence[Any]) -> Array | None:
        """The same elements in another shape; None where their places are no linear function of the position."""
        shape = tuple(shape)
        if shape == self.shape:
            return self
        groups = _groups(self.shape, shape)
        if groups is None:
            return self._dense(shape)

        def indices(at: Indices) -> Indices:
            old: list[Index] = [ZERO] * len(self.shape)
            for before, after in groups:
                if len(before) == 1:
                    sizes = [shape[axis] for axis in after]
                    old[before[0]] = place([at[axis] for axis in after], strides_of(sizes))
            return tuple(old)

        return self.viewed(shape, indices)

    def _dense(self, shape: tuple[int, ...]) -> Array | None:
        """The same memory in another shape, where all of it is dense."""
        if self.storage is None or self.storage.strides != strides_of(self.shape):
            return None
        return stored(self.storage.buffer, shape, strides_of(shape), self.storage.offset)


def _groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]] | None:
    """Axes of one shape, each with those of another that split it up; None where axes are merged.

    Axes of size 1 belong to none.
    """
    groups: list[tuple[list[int], list[int]]] = []
    rest = [axis for axis, size in enumerate(new) if size != 1]
    for axis, size in enumerate(old):
        if size == 1:
            continue
        after: list[int] = []
        while math.prod(new[i] for i in after) < size and rest:
            after.append(rest.pop(0))
        if math.prod(new[i] for i in after) != size:
            return None
        groups.append(([axis], after))
    return None if rest else groups


def stored(buffer: Buffer, shape: Sequence[Any], strides: tuple[int, ...] | None = None,
           offset: Index = ZERO) -> Array:
    """An array that lies in memory, densely by default."""
    shape = tuple(shape)
    steps = strides_of(shape) if strides is None else strides
    return Array(shape, buffer.dtype, lambda code, at: code.element(buffer, place(at, steps, offset)),
                 Storage(buffer, steps, offset))


def splat(shape: Sequence[Any], dtype: DType, x: Expr) -> Array:
    """An array that has the same element everywhere, which needs no computing."""
    return Array(tuple(shape), dtype, lambda code, at: x)


def variable(dtype: DType, name: str) -> Array:
    """A local variable."""
    return Array((), dtype, lambda code, at: code.read(name))


def computed(shape: Sequence[Any], dtype: DType, operands: Sequence[Array],
             at: Callable[[Code, Indices], Expr]) -> Array:
    """An array whose elements are computed of those of operands where they are read."""
    def element(code: Code, indices: Indices) -> Expr:
        x = at(code, indices)
        return code.local(x, dtype, "part") if len(x.text) > LONG else x

    depth = 1 + max([x.depth for x in operands], default=0)
    return Array(tuple(shape), dtype, element, None, depth)


def broadcast(x: Array, shape: Sequence[Any]) -> Array:
    """A view of another shape, by NumPy's rules."""
    shape = tuple(shape)
    if x.shape == shape:
        return x
    lead = len(shape) - len(x.shape)

    def indices(at: Indices) -> Indices:
        return tuple(ZERO if size == 1 else at[lead + axis] for axis, size in enumerate(x.shape))

    return x.viewed(shape, indices)


def transposed(x: Array, order: Sequence[int]) -> Array:
    """A view whose axes are those of x in another order."""
    order = [axis % len(x.shape) for axis in order]

    def indices(at: Indices) -> Indices:
        old: list[Index] = [ZERO] * len(order)
        for axis, old_axis in enumerate(order):
            old[old_axis] = at[axis]
        return tuple(old)

    return x.viewed([x.shape[axis] for axis in order], indices)
