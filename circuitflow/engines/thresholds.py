"""The sizes at which engines change their ways."""

from __future__ import annotations

from dataclasses import dataclass

from circuitflow.document.limits import in_short, need_counts


@dataclass(frozen=True, repr=False)
class Thresholds:
    """Where one way of computing becomes faster than another. Answers depend on them in their last digits only.

    The defaults were measured on two cores.

    Attributes:
        staged_operands: with more operands of scalar gates straight-line code takes longer to make than it saves.
        staged_array_operands: likewise of gates on arrays.
        looped_operands: with more operands of scalar gates numba takes seconds to compile one loop over rows.
        looped_lines: with more lines numba makes no loop, because it recurses over them.
        selected_size: `where` and guarded products of so many elements are computed without a branch.
        block_bytes: bytes that the intermediate results of a block of a batch, or of columns, may take.
        block_rows: fewest rows of a block of a batch.
        blocks: a batch of fewer blocks is not cut.
        column_rows: most rows of a block. A thread must have far more to do in a NumPy function than in getting
            Python's lock back, which may take 50 µs: 2^14 take twice as long, 2^18 a fifth longer.
        tape_bytes: bytes that the values and gradients of a block of rows on a tape may take.

    Raises:
        InputError: one is no whole number from 1.
    """

    staged_operands: int = 2_000
    staged_array_operands: int = 40_000
    looped_operands: int = 600
    looped_lines: int = 2_000
    selected_size: int = 4_096
    block_bytes: int = 2**24
    block_rows: int = 64
    blocks: int = 4
    column_rows: int = 2**16
    tape_bytes: int = 2**20

    def __repr__(self) -> str:
        return in_short(self)

    def __post_init__(self) -> None:
        need_counts(self, "thresholds: {} is {}; expected a whole number from 1")
