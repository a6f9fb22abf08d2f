"""Numbers in text: six digits, small arrays whole, of large ones a part with a count, or shape and range."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

INLINE = 12
"""How many elements an array has at most that stands whole in a line."""

LINES, COLUMNS = 20, 12
"""How much of an array is shown at most where it stands by rows."""

WIDTH = 100
"""Where rows are broken that are shown whole and are longer than that, in characters."""


def number(value: Any, inline: int = INLINE) -> str:
    """A scalar with six digits, an array of few elements whole, any other by its shape and range. −0 is 0."""
    array = np.asarray(value)
    if array.ndim == 0:
        return f"{array[()] + 0.0:.6g}" if array.dtype.kind == "f" else str(array[()])
    if not array.size:
        return f"{array.shape} empty"
    if array.size <= inline:
        return f"[{', '.join(map(number, array))}]"
    low, high = array.min(), array.max()
    return f"{array.shape} " + (f"all {number(low)}" if low == high else f"{number(low)} to {number(high)}")


def rows(value: Any, *, columns: int | None = COLUMNS, lines: int | None = LINES,
         shown: Callable[[Any], str] = number) -> str:
    """An array row by row, on lines of their own; what is left out is counted.

    Args:
        value: a number or an array.
        columns: how many elements of a row are shown; None for all.
        lines: how many rows are shown; None for all.
        shown: how a number is shown.
    """
    array = np.asarray(value)
    if array.ndim == 0 or not array.size:
        return shown(array) if array.ndim == 0 else number(array)
    lead, length = array.shape[:-1], array.shape[-1]
    count = math.prod(lead)
    texts = [[shown(x) for x in row[:columns]] for row in array.reshape(count, length)[:lines]]
    widest = max(len(text) for row in texts for text in row)
    breaks = columns is None and len(lead) + length * (widest + 2) > WIDTH
    width = widest if lead or breaks else 0
    each = max(1, (WIDTH - len(lead) - 1) // (width + 2)) if breaks else length
    written = []
    for i, row in enumerate(texts):
        place = np.unravel_index(i, lead) if lead else ()
        opened = _run([at == 0 for at in place])
        closed = _run([at == size - 1 for at, size in zip(place, lead, strict=True)])
        more = f", … {length - len(row):,} more" if len(row) < length else ""
        parts = [", ".join(text.rjust(width) for text in row[at : at + each]) for at in range(0, len(row), each)]
        inside = f",\n{' ' * (len(lead) + 1)}".join(parts)
        written.append(f"{' ' * (len(lead) - opened)}{'[' * (opened + 1)}{inside}{more}{']' * (closed + 1)}"
                       f"{',' * (i < count - 1)}")
    if len(texts) < count:
        written.append(f"{' ' * len(lead)}… {count - len(texts):,} more rows")
    return "\n".join(written)


def _run(truths: list[bool]) -> int:
    """How many of the last are true, without a gap."""
    return next((i for i, true in enumerate(reversed(truths)) if not true), len(truths))
