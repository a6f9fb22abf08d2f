"""Memory that a caller provides: pools of one dtype each, in which results lie that are needed at different times."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

from circuitflow.engines.flat.language import DType


@dataclass(eq=False)
class Buffer:
    """A run of elements.

    Attributes:
        name: what the code calls it.
        dtype: of its elements.
        size: how many there are.
        first, last: the statements of the function between which it is in use.
        is_own: whether it has memory of its own, such as an input, and none of the workspace.
        offset: where it begins in its pool, once that is known.
    """

    name: str
    dtype: DType
    size: int
    first: int = 0
    last: int = 0
    is_own: bool = True
    offset: int = 0


@dataclass
class Pools:
    """The workspace under construction.

    Attributes:
        sizes: elements of each pool, by dtype.
    """

    sizes: dict[DType, int] = field(default_factory=dict)

    def allot(self, buffers: list[Buffer]) -> None:
        """Give every buffer a place, so that no two that are in use at once overlap.

        The largest come first; single numbers, of which there may be very many, lie behind all arrays.
        """
        by_pool: dict[DType, list[Buffer]] = {}
        for buffer in buffers:
            by_pool.setdefault(buffer.dtype, []).append(buffer)
        for dtype, pool in by_pool.items():
            size = _allot_arrays(sorted((x for x in pool if x.size > 1), key=lambda x: -x.size))
            size = _allot_numbers([x for x in pool if x.size == 1], size)
            self.sizes[dtype] = max(self.sizes.get(dtype, 0), size)


def _allot_arrays(buffers: Iterable[Buffer]) -> int:
    """Give each buffer the first place that is free while it is in use; returns the size of all."""
    placed: list[Buffer] = []
    for buffer in buffers:
        rivals = sorted((other.offset, other.offset + other.size) for other in placed
                        if other.first <= buffer.last and buffer.first <= other.last)
        for start, end in rivals:
            if start - buffer.offset >= buffer.size:
                break
            buffer.offset = max(buffer.offset, end)
        placed.append(buffer)
    return max((x.offset + x.size for x in placed), default=0)


def _allot_numbers(buffers: Iterable[Buffer], start: int) -> int:
    """Give each number the place of one that is no longer in use, or a new one; returns where they end."""
    in_use: list[tuple[int, int]] = []
    end, spare = start, list[int]()
    for buffer in sorted(buffers, key=lambda x: x.first):
        while in_use and in_use[0][0] < buffer.first:
            spare.append(heapq.heappop(in_use)[1])
        if spare:
            buffer.offset = spare.pop()
        else:
            buffer.offset, end = end, end + 1
        heapq.heappush(in_use, (buffer.last, buffer.offset))
    return end
