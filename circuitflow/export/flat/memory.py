"""Memory that a caller provides: pools of one dtype each, in which results lie that are needed at different times."""

from __future__ import annotations

from dataclasses import dataclass, field

from circuitflow.export.flat.language import DType


@dataclass(eq=False)
class Buffer:
    """A run of elements.

    Attributes:
        name: what the code calls it.
        dtype: of its elements.
        size: how many there are.
        first, last: the statements of the function between which it is in use; None for memory that has a name of its
            own, such as an input.
        offset: where it begins in its pool, once that is known.
    """

    name: str
    dtype: DType
    size: int
    first: int | None = None
    last: int = 0
    offset: int = 0


@dataclass
class Pools:
    """The workspace under construction.

    Attributes:
        sizes: elements of each pool, by dtype.
        buffers: those of a function.
    """

    sizes: dict[DType, int] = field(default_factory=dict)

    def allot(self, buffers: list[Buffer]) -> None:
        """Give every buffer a place, so that no two that are in use at once overlap. The largest come first."""
        by_pool: dict[DType, list[Buffer]] = {}
        for buffer in sorted(buffers, key=lambda buffer: -buffer.size):
            placed = by_pool.setdefault(buffer.dtype, [])
            assert buffer.first is not None  # noqa: S101
            rivals = sorted((other.offset, other.offset + other.size) for other in placed
                            if other.first is not None and other.first <= buffer.last and buffer.first <= other.last)
            buffer.offset = 0
            for start, end in rivals:
                if start - buffer.offset >= buffer.size:
                    break
                buffer.offset = max(buffer.offset, end)
            placed.append(buffer)
            self.sizes[buffer.dtype] = max(self.sizes.get(buffer.dtype, 0), buffer.offset + buffer.size)
