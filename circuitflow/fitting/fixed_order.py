"""Sums over blocks of rows that have the same bits whoever adds them: the order depends on the blocks alone.

Blocks are numbered along the rows. Blocks 0 and 1 are joined, then 2 and 3, then what came of both pairs, and so on: a
binary tree over the numbers. Threads may compute the blocks in any order and tables may bring the rows in any parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def join(parts: Iterable[T], two: Callable[[T, T], T]) -> T:
    """Join parts, one or more, in the order of the tree; of n parts it holds the logarithm of n at a time."""
    trees: list[tuple[int, T]] = []  # of fewer and fewer parts, each a power of 2
    for part in parts:
        count = 1
        while trees and trees[-1][0] == count:
            before, joined = trees.pop()
            part, count = two(joined, part), count + before
        trees.append((count, part))
    _, last = trees.pop()
    while trees:
        last = two(trees.pop()[1], last)
    return last


def total(parts: Iterable[float]) -> float:
    """The sum of numbers, rounded once, so that their order makes no difference; not finite as IEEE 754 has it."""
    numbers = list(parts)
    try:
        return math.fsum(numbers)
    except (OverflowError, ValueError):  # of finite numbers, and of ∞ - ∞
        with np.errstate(all="ignore"):
            return float(np.sum(numbers))


def add(parts: Iterable[Any]) -> Any:
    """The sum of arrays of one shape in float64. What each addition rounds away is added up too (Knuth's two-sum)."""
    with np.errstate(all="ignore"):
        sums, lost = join(((np.asarray(part, np.float64), np.float64(0.0)) for part in parts), _two_sum)
        return np.where(np.isfinite(sums), sums + lost, sums)


def _two_sum(x: tuple[Any, Any], y: tuple[Any, Any]) -> tuple[Any, Any]:
    """The sum of two numbers and its rounding error, each with an error of its own (Knuth 1997, section 4.2.2)."""
    total = x[0] + y[0]
    part = total - x[0]
    return total, (x[0] - (total - part)) + (y[0] - part) + (x[1] + y[1])


def one_thread(*, over_rows: bool) -> AbstractContextManager[Any]:
    """Meanwhile BLAS and LAPACK compute on one thread, in the whole process: on several, results have other bits.

    Rows are shared between threads of our own. A circuit of a batch is not, so that it keeps the threads of BLAS.
    """
    if not over_rows:
        return nullcontext()
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1, "blas")
    return limits
