"""Convolutions in NumPy without all windows in memory: a block of them at a time is laid out and multiplied.

Where windows move by one element, the positions behind the first axis are taken as one long row of the padded images:
a window that begins near the end of an axis would run over into what follows, so its sums mean nothing and are left
out at the end. Elements are then copied in long pieces, and nothing is selected. These invariants hold:

1. Every element that a window reads lies in the padded images: the last window begins at (windows - 1) · strides, and
   its last element stands (kernel - 1) · dilations behind, along every axis. `Frame` has no more windows than that.
2. Positions along the row that are no window are dropped before anything reads them.
3. Blocks lie in memory that a thread keeps for the next convolution, since new pages cost more than what is written
   into them. A result has memory of its own: nothing that is returned lies in what is kept.
4. Nothing is multiplied but pads, which are 0, and elements of x; so an infinity or NaN in x or w reaches the results
   that it would reach if every window were laid out.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from circuitflow.gates.parts import with_margins
from circuitflow.gates.sums import product

BLOCK, COLUMNS = 1 << 20, 512
"""Bytes of windows in a block, so that it stays in the caches, and fewest of its windows, for fast products."""

KEPT = 1 << 24
"""Most bytes that a thread keeps."""

_OWN = threading.local()


def convolution(xp: Any, x: Any, w: Any, frame: Any, group: int) -> Any:
    """The convolution of images with kernels, as the gate `conv` without b.

    Args:
        xp: NumPy.
        x: images (batch, channels, …), not empty.
        w: kernels (out channels, channels / group, …), not empty.
        frame: the windows over the images, what `circuitflow.gates.convolution.frame_of` gives.
        group: how many groups the channels are divided into.
    """
    outer, terms = w.shape[0] // group, math.prod(w.shape[1:])
    memory = _Memory(xp)
    x = _padded(xp, x, frame, memory)
    layout = _layout(x.shape, w.shape, frame, group, x.itemsize)
    every = _strided(xp, x, layout.shape, layout.steps)
    kernels, buffer = xp.reshape(xp.ascontiguousarray(w), (group, outer, terms)), None
    if not layout.is_one:
        shape, dtype = (x.shape[0], group, outer, *layout.positions), xp.result_type(x, w)
        out: Any = memory.array(shape, dtype) if layout.used else xp.empty(shape, dtype)
    for at, place in _blocks(layout):
        part = every[place]
        buffer = memory.array((part.size,), x.dtype) if buffer is None else buffer  # the first block is the largest
        columns = xp.reshape(buffer[: part.size], part.shape)
        xp.copyto(columns, part)
        sums = product(xp, kernels[at[1]], xp.reshape(columns, (part.shape[0], terms, -1)))
        if layout.is_one:
            out = sums
        else:
            out[at] = xp.reshape(sums, out[at].shape)
    shape = (x.shape[0], w.shape[0], *frame.windows)
    result = xp.array(_strided(xp, out, shape, layout.used), order="C") if layout.used else xp.reshape(out, shape)
    memory.keep()
    return result


class _Layout(NamedTuple):
    """How images are convolved with kernels, by their shapes.

    Attributes:
        shape, steps: of all windows, (batch, group, channels of a group, …); steps count elements.
        positions: of the sums that are computed, along every axis, or along the one row.
        used: steps of the windows along these sums; None where they are the windows.
        axis: the first axis of positions among those of the windows.
        block: most groups and positions along that axis of a block, of one batch.
        is_one: whether all windows are one block.
    """

    shape: tuple[int, ...]
    steps: tuple[int, ...]
    positions: tuple[int, ...]
    used: tuple[int, ...] | None
    axis: int
    block: tuple[int, int]
    is_one: bool


@functools.lru_cache(1024)
def _layout(padded: tuple[int, ...], w: tuple[int, ...], frame: Any, group: int, itemsize: int) -> _Layout:
    """The layout over padded images, made once, since that takes as long as a small product."""
    inner, rank, steps = w[1], len(frame.kernel), _steps(padded)
    spread = map(operator.mul, frame.dilations, steps[2:])
    positions, moves, used = tuple(frame.windows), tuple(map(operator.mul, frame.strides, steps[2:])), None
    if max(frame.strides) == 1:
        positions, moves = (sum((n - 1) * step for n, step in zip(frame.windows, moves, strict=True)) + 1,), (1,)
        used = (w[0] * positions[0], positions[0], *steps[2:]) if rank > 1 else None
    most = BLOCK // (itemsize * math.prod(w[1:]) * math.prod(positions[1:]))
    together = max(1, min(group, most // positions[0]))
    length = positions[0] if together > 1 else min(positions[0], max(most, -(-COLUMNS // math.prod(positions[1:]))))
    return _Layout(
        (padded[0], group, inner, *frame.kernel, *positions), (steps[0], inner * steps[1], steps[1], *spread, *moves),
        positions, used, 3 + rank, (together, length), (padded[0], group, positions[0]) == (1, together, length))


def _steps(shape: Sequence[int]) -> list[int]:
    """How many elements apart neighbours along each axis are in C order; NumPy's strides of a size 1 are any."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _strided(xp: Any, x: Any, shape: Sequence[int], steps: Sequence[int]) -> Any:
    """A view of an array in C order, by steps that count elements; NumPy refuses one that would leave its memory."""
    return xp.ndarray(shape, x.dtype, x, 0, [x.itemsize * step for step in steps])


def largest(xp: Any, x: Any, frame: Any) -> Any:
    """The largest of every window over images, as the gate `max_pool`: along one axis after the other.

    That is exact: the largest number of a window is the largest of those along an axis, and NaN stays NaN.
    """
    x = with_margins(xp, x, [(0, 0), (0, 0), *frame.pads], -math.inf)
    for axis, (k, s, d, n) in enumerate(zip(frame.kernel, frame.strides, frame.dilations, frame.windows,
                                            strict=True), 2):
        places = (slice(i * d, i * d + s * (n - 1) + 1, s) for i in range(k))
        x = functools.reduce(xp.maximum, [x[(*(slice(None),) * axis, place, ...)] for place in places])
    return xp.asarray(x, copy=True) if max(frame.kernel) == 1 else x


class _Memory:
    """Memory that a thread keeps from one convolution to the next; while one has it, no other does."""

    def __init__(self, xp: Any) -> None:
        self._xp, self._kept, self._taken = xp, getattr(_OWN, "memory", None), 0
        _OWN.memory = None

    def array(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """An array of any numbers behind those that were taken before; new where there is no room."""
        size = math.prod(shape) * dtype.itemsize
        start = self._taken
        self._taken += -(-size // 64) * 64  # aligned as NumPy's are
        if self._kept is None or self._taken > self._kept.size:
            return self._xp.empty(shape, dtype)
        return self._xp.reshape(self._kept[start : start + size].view(dtype), shape)

    def keep(self) -> None:
        """Leave it to the next convolution, with room for as much as this one has taken."""
        if self._taken <= KEPT and (self._kept is None or self._taken > self._kept.size):
            self._kept = self._xp.empty(self._taken, self._xp.uint8)
        _OWN.memory = self._kept


def _padded(xp: Any, x: Any, frame: Any, memory: _Memory) -> Any:
    """Images with their pads, in C order."""
    if not any(map(any, frame.pads)):
        return xp.ascontiguousarray(x)
    sizes = [before + size + after for size, (before, after) in zip(frame.sizes, frame.pads, strict=True)]
    out = memory.array((*x.shape[:2], *sizes), x.dtype)
    out[...] = 0
    out[(..., *(slice(before, before + size) for size, (before, _) in zip(frame.sizes, frame.pads, strict=True)))] = x
    return out


def _blocks(layout: _Layout) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """The index of every block among the sums, and among the windows."""
    (batch, groups), rows, (together, length) = layout.shape[:2], layout.positions[0], layout.block
    for b, g, start in itertools.product(range(batch), range(0, groups, together), range(0, rows, length)):
        group, positions = slice(g, g + together), slice(start, min(start + length, rows))
        yield (b, group, slice(None), positions), (b, group, *(slice(None),) * (layout.axis - 2), positions)
