"""Columns: values of an input, one for each row."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from circuitflow.errors import InputError, printable
from circuitflow.executor.arrays import Library
from circuitflow.gates import ArrayType


class Columns(NamedTuple):
    """Arguments of a function over rows.

    Attributes:
        arrays: the columns, by name, each contiguous and of the dtype of its input.
        scalars: all that is given, a number of the right dtype in place of a column.
        rows: how many there are.
    """

    arrays: Mapping[str, Any]
    scalars: Mapping[str, Any]
    rows: int


def columns_in(given: Mapping[str, Any], types: Mapping[str, ArrayType]) -> Columns:
    """Tell columns from numbers that are the same in every row.

    Args:
        given: by name.
        types: of everything that may be given; what has another name is left to others to complain of.

    Raises:
        InputError: a wrong dtype, columns of different lengths, or none.
    """
    arrays: dict[str, Any] = {}
    for name, value in given.items():
        if name in types and np.ndim(value) == 1:
            shown = f"'{printable(name, 60)}'"
            arrays[name] = np.ascontiguousarray(Library.of({shown: value}).convert(value, types[name], shown))
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        found = ", ".join(f"'{printable(name, 60)}' has {length}" for name, length in lengths.items())
        raise InputError(f"columns of different lengths: {found}" if found else
                         "no column is given; give at least one input a sequence of numbers, one for each row")
    scalars = {**given, **{name: np.zeros((), array.dtype) for name, array in arrays.items()}}
    return Columns(arrays, scalars, next(iter(lengths.values())))


def new_columns(dtypes: Sequence[Any], rows: int) -> list[np.ndarray[Any, Any]]:
    """Columns of these dtypes to be filled in, those of the same in one allocation.

    Fresh pages cost as much as the arithmetic; one request of the whole size has the C library keep them for the next.
    """
    dtypes = [np.dtype(dtype) for dtype in dtypes]
    blocks = {dtype: iter(np.empty((dtypes.count(dtype), rows), dtype)) for dtype in dict.fromkeys(dtypes)}
    return [next(blocks[dtype]) for dtype in dtypes]


def in_blocks(work: Callable[[slice], None], rows: int, block: int) -> None:
    """Do something for every block of rows, on all cores."""
    parts = [slice(start, start + block) for start in range(0, rows, block)]
    for _ in map(work, parts) if len(parts) == 1 else _threads().map(work, parts):
        pass  # an error comes out here


@cache
def _threads() -> ThreadPoolExecutor:
    """A thread for every core of this process."""
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
