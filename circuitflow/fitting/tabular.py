"""Columns of tables of any library, as arrays of NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from circuitflow.errors import InputError
from circuitflow.text import printable, short


def is_table(value: Any) -> bool:
    """Whether a value has named columns: a mapping, a table of pyarrow, pandas or polars, or a structured array."""
    if isinstance(value, type) or _is_lazy(value):
        return False
    return isinstance(value, Mapping) or _columns(value) is not None


def hint(value: Any) -> str:
    """The words for what makes a table of a value, if that is known."""
    return "; call its collect()" if _is_lazy(value) else ""


def column_names(table: Any) -> list[str]:
    """The names of the columns, in order.

    Raises:
        InputError: a name is no text.
    """
    names = list(table) if isinstance(table, Mapping) else list(_columns(table))
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"data: {short(name)} is the name of a column; expected text")
    return names


def column(table: Any, name: str, dtype: str, first: int = 0) -> Any:
    """A column as an array: rows are its first axis. A single value stays one.

    `first` is the number of rows before this table; errors count rows from 1.

    Raises:
        InputError: text, a missing value, NaN, an infinity, or a number that the dtype does not hold.
    """
    what = f"data: column '{printable(name, 60)}'"
    values = table[name] if isinstance(table, Mapping) else _get(table, name)
    array = _array(values)
    if isinstance(values, np.ma.MaskedArray) and np.ma.getmaskarray(values).any():
        row, _ = _first(array, np.ma.getmaskarray(values))
        raise _missing(what, first + row)
    if array.dtype.kind == "O":
        array = _of_objects(array, what, first)
    if array.dtype.kind == "b" and dtype == "bool":
        return array
    if array.dtype.kind not in "iuf":
        kind = {"U": "text", "S": "text", "T": "text", "M": "dates", "m": "durations", "b": "truth values",
                "c": "complex numbers"}.get(array.dtype.kind, f"{array.dtype}")
        example = f", such as {short(array.ravel()[0].item())} in row {first + 1}" if array.size else ""
        raise InputError(f"{what} has {kind}{example}; expected {dtype}; convert it to numbers, or take another column")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row, value = _first(array, ~np.isfinite(array))
        if np.isnan(value):
            raise _missing(what, first + row)
        raise InputError(f"{what} is {value} in row {first + row + 1}; expected a finite number; fill it in, or take "
                         "the row out")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(dtype, copy=False)
    if np.dtype(dtype).kind == "f" and cast.dtype != array.dtype and not np.isfinite(cast).all():
        row, value = _first(array, ~np.isfinite(cast))
        raise InputError(f"{what} is {value} in row {first + row + 1}, more than {dtype} holds; measure it in other "
                         "units")
    if np.dtype(dtype).kind != "f" and not np.array_equal(cast, array):
        row, value = _first(array, cast != array)
        raise InputError(f"{what} is {value} in row {first + row + 1}; expected {dtype}")
    return cast


def _is_lazy(value: Any) -> bool:
    """Whether a value is a query, as polars' LazyFrame, that has columns only when it is run."""
    return hasattr(value, "collect_schema") and hasattr(value, "collect")


def _missing(what: str, row: int) -> InputError:
    return InputError(f"{what} is missing: NaN or null in row {row + 1}; expected a finite number; fill it in, or take "
                      "the row out")


def _columns(table: Any) -> Any:
    """The names of the columns: pyarrow's, those of pandas and polars, or those of a structured array."""
    for value, attribute in ((table, "column_names"), (table, "columns"), (getattr(table, "dtype", None), "names")):
        if (names := getattr(value, attribute, None)) is not None:
            return names
    return None


def _get(table: Any, name: str) -> Any:
    return table.column(name) if hasattr(table, "column_names") else table[name]


def _array(values: Any) -> Any:
    if hasattr(values, "combine_chunks"):  # a chunked column of pyarrow
        values = values.combine_chunks()
    if hasattr(values, "null_count") and hasattr(values, "flatten") and hasattr(values.type, "list_size"):
        if values.null_count:
            return np.fromiter(values.to_pylist(), object, len(values))
        return values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), values.type.list_size)
    if hasattr(values, "null_count") and hasattr(values, "is_valid"):  # an array of pyarrow
        return values.to_numpy(zero_copy_only=False)
    if hasattr(values, "to_numpy"):
        return values.to_numpy()
    if hasattr(values, "detach"):  # torch
        values = values.detach().cpu()
        return (values.float() if str(values.dtype) == "torch.bfloat16" else values).numpy()
    try:
        return np.asarray(values)
    except ValueError:  # ragged lists
        return np.array(values, object)


def _of_objects(array: Any, what: str, first: int) -> Any:
    """Objects as numbers: the first that is none is an error of its own."""
    items = array.tolist()
    for row, item in enumerate(items if array.ndim else [items]):
        if item is None or type(item).__name__ in ("NAType", "NaTType"):
            raise _missing(what, first + row)
        if isinstance(item, str | bytes):
            raise InputError(f"{what} has text, {short(item)} in row {first + row + 1}; expected numbers; convert it, "
                             "or take another column")
        if not isinstance(item, Real | Decimal | np.ndarray | np.generic | list | tuple):
            raise InputError(f"{what} has a value of type {printable(type(item).__name__, 60)} in row "
                             f"{first + row + 1}; expected numbers; convert it, or take another column")
    try:
        numbers = np.array(items)
        if numbers.dtype.kind == "O":  # decimals, fractions, integers beyond 64 bits
            numbers = np.array(items, np.float64)
    except (TypeError, ValueError, OverflowError):
        numbers = array
    if numbers.dtype.kind not in "biuf":
        raise InputError(f"{what} has items of different shapes, or of no number; expected one number, or an array of "
                         "one shape, in each row")
    return numbers


def _first(array: Any, where: Any) -> tuple[int, Any]:
    """The row of the first element that is marked, and its value."""
    position = int(np.argmax(where))
    value = array.ravel()[position]
    return (position // max(int(np.prod(array.shape[1:])), 1) if array.ndim else 0), value
