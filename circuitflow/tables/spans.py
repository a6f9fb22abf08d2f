"""Cuts a table in several files into spans of rows that different processes read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import NamedTuple

from circuitflow.tables.places import Part


class Span(NamedTuple):
    """Some rows of a table that follow one another.

    Attributes:
        first: the number of rows of the table before them.
        rows: how many there are.
        parts: the files that have them, in order.
        skip: the number of rows before them in the first of these files.
    """

    first: int
    rows: int
    parts: Sequence[Part]
    skip: int


def spans(parts: Sequence[Part], stretches: Sequence[Sequence[int]], block: int, least: int) -> Iterator[Span]:
    """Cut a table into spans that begin where a block does, soon after a stretch begins; so little is read twice.

    Args:
        parts: the files.
        stretches: the numbers of rows of the stretches of each file: see `Reader.stretches`.
        block: the number of rows of a block; the first begins with the table.
        least: the number of rows that a span has at least, but for the last.
    """
    files = [0, *accumulate(map(sum, stretches))]
    total, begins = files[-1], [0]
    for begin in accumulate(chain.from_iterable(stretches)):
        start = -(-begin // block) * block
        if start - begins[-1] >= least and start < total:
            begins.append(start)
    for start, end in pairwise([*begins, total]):
        file = bisect_right(files, start) - 1
        if start < end:
            yield Span(start, end - start, parts[file : bisect_right(files, end - 1)], start - files[file])
