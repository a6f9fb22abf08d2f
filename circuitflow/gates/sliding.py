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
from collections.abc import Iterator
from typing import Any

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
        frame: the windows over the images, a `circuitflow.gates.convolution.Frame`.
        group: how many groups the channels are divided into.
    """
    batch, inner, outer, rank = x.shape[0], w.shape[1], w.shape[0] // group, len(frame.kernel)
    memory = _Memory(xp)
    x = _padded(xp, x, frame, memory)
    steps = [math.prod(x.shape[axis + 1 :]) for axis in range(x.ndim)]  # of the elements; NumPy's of a size 1 are any
    spread = map(operator.mul, frame.dilations, steps[2:])
    is_row = max(frame.strides) == 1
    windows, moves = frame.windows, list(map(operator.mul, frame.strides, steps[2:]))
    if is_row:
        windows, moves = [sum((n - 1) * step for n, step in zip(windows, moves, strict=True)) + 1], [1]
    shape = (batch, group, inner, *frame.kernel, *windows)
    every = xp.lib.stride_tricks.as_strided(
        x, shape, [x.itemsize * step for step in (steps[0], inner * steps[1], steps[1], *spread, *moves)],
        writeable=False)
    width = [frame.windows[0] * steps[2]] if is_row else windows
    shape, dtype = (batch, group, outer, *width), xp.result_type(x, w)
    out: Any = memory.array(shape, dtype) if is_row else xp.empty(shape, dtype)
    terms = math.prod(w.shape[1:])
    kernels, buffer = xp.reshape(xp.ascontiguousarray(w), (group, outer, terms)), None
    for at, part in _blocks(every, 3 + rank, terms * math.prod(windows[1:])):
        buffer = memory.array((part.size,), x.dtype) if buffer is None else buffer  # the first block is the largest
        columns = xp.reshape(buffer[: part.size], part.shape)
        xp.copyto(columns, part)
        groups, places = part.shape[0], part.shape[2 + rank :]
        sums = product(xp, kernels[at[1]], xp.reshape(columns, (groups, terms, math.prod(places))))
        out[at] = xp.reshape(sums, (groups, outer, *places))
    if not is_row:
        memory.keep()
        return xp.reshape(out, (batch, group * outer, *windows))
    out = xp.reshape(out, (batch, group * outer, frame.windows[0], *x.shape[3:]))
    result = xp.array(out[(..., *map(slice, frame.windows))], order="C")
    memory.keep()
    return result


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


def _blocks(every: Any, axis: int, numbers: int) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The windows of some groups, or of some positions along an axis; a position of a group has so many numbers."""
    batch, groups, rows = every.shape[0], every.shape[1], every.shape[axis]
    most = BLOCK // (every.itemsize * numbers)
    together = max(1, min(groups, most // rows))
    length = rows if together > 1 else min(rows, max(most, -(-COLUMNS // math.prod(every.shape[axis + 1 :]))))
    for b, g, start in itertools.product(range(batch), range(0, groups, together), range(0, rows, length)):
        group, positions = slice(g, g + together), slice(start, min(start + length, rows))
        yield (b, group, slice(None), positions), every[(b, group, *(slice(None),) * (axis - 2), positions)]
