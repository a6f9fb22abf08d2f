"""Numbers given at run time, as NumPy arrays: every number is kept exactly or refused, as in a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from circuitflow.document.model import DTYPES, MAX_DIMENSIONS
from circuitflow.document.values import unfit
from circuitflow.errors import InputError, printable, short

PLAIN = (bool, int, float, str, list, tuple, np.ndarray, np.generic)
"""What is taken for a value without another array library."""

_BITS: Mapping[str, int] = {"int64": 63, "uint64": 64}
"""The integers that float64 does not hold: all others are held by every float that they may be cast to."""

_KINDS = "biuf"


def as_numpy(value: Any, dtype: str, name: str) -> Any:
    """A number, nested lists or a NumPy array as an array of a dtype.

    Decimal fractions are rounded to the nearest number of the dtype. Arrays must be safe to cast to it.

    Args:
        value: what is given.
        dtype: what is expected; "bfloat16" gives a float32 array, because NumPy has no bfloat16.
        name: what errors call the value.

    Raises:
        InputError: a value that is no number, that the dtype cannot hold, or that a mask hides.
    """
    if (type(value) is np.ndarray or isinstance(value, np.generic)) and value.dtype == dtype:
        return np.asarray(value)
    if dtype == "float64" and (type(value) is float or (type(value) is int and abs(value) <= 2**53)):
        return np.asarray(value, np.float64)
    if isinstance(value, np.ndarray | np.generic):
        return _array(value, "float32" if dtype == "bfloat16" else dtype, name)
    shape, leaves = _flat(value, dtype, name)
    return _numbers(leaves, shape, dtype, name, short(value))


def is_safe(found: str, dtype: str) -> bool:
    """Whether every number of a dtype is one of another, 64-bit integers in float64 aside."""
    if found == dtype:
        return True
    if "bool" in (found, dtype):
        return False
    if "bfloat16" in (found, dtype):
        return (found, dtype) in (("bfloat16", "float32"), ("bfloat16", "float64"), ("int8", "bfloat16"),
                                  ("uint8", "bfloat16"))
    return found in DTYPES and bool(np.can_cast(found, dtype))


def refuse_lost(xp: Any, value: Any, cast: Any, dtype: str, name: str) -> None:
    """Refuse 64-bit integers that were rounded when they were cast to a float.

    Args:
        xp: the namespace of both arrays.
        value: before the cast.
        cast: after it.
        dtype: of `cast`.
        name: what the error calls the value.

    Raises:
        InputError: with the first number that was rounded, and its position.
    """
    found = str(value.dtype).rpartition(".")[2]
    if found not in _BITS or not dtype.startswith("float") or bool(xp.all(xp.abs(cast) < 2.0**53)):
        return
    with np.errstate(invalid="ignore"):
        back = xp.astype(cast, value.dtype)
    # What is rounded up to the end of the range does not fit back into it.
    lost = (back != value) | (cast >= 2.0 ** _BITS[found])
    if bool(xp.any(lost)):
        index = tuple(int(axis[0]) for axis in xp.nonzero(lost)) if value.ndim else ()
        raise InputError(f"{name}{_at(index)}: {unfit(int(value[index]), dtype)}")


def _array(value: Any, dtype: str, name: str) -> Any:
    """A NumPy array, or a scalar of NumPy's."""
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.is_masked(value):
            raise InputError(f"{name} has masked elements, for which there is no number; expected an array without a "
                             "mask, so fill them in, as value.filled(0.0) does")
    elif isinstance(value, np.ndarray) and type(value) not in (np.ndarray, np.matrix, np.memmap):
        raise InputError(f"{name} is a {_type(value)}, of which NumPy would keep the numbers alone; expected a plain "
                         "array, so give numpy.asarray(…) of it if its numbers are meant")
    array = np.asarray(value)
    if array.dtype.kind not in _KINDS and array.dtype.name != "bfloat16":  # JAX's, in NumPy
        raise InputError(f"{name} is {short(value)}; expected numbers of dtype {dtype}")
    if not is_safe(array.dtype.name, dtype):
        raise InputError(f"{name} is {array.dtype}; expected {dtype}, so cast it first")
    cast = array.astype(dtype, copy=False)
    refuse_lost(np, array, cast, dtype, name)
    return cast


def _flat(value: Any, dtype: str, name: str) -> tuple[tuple[int, ...], Sequence[Any]]:
    """Shape and numbers of nested lists in row-major order; arrays in them are lists too."""
    shape: list[int] = []
    level: Sequence[Any] = [value]
    while True:
        kinds = set(map(type, level))
        if any(issubclass(kind, np.ndarray) for kind in kinds):
            level = [_array(item, dtype, name).tolist() if isinstance(item, np.ndarray) else item for item in level]
            kinds = set(map(type, level))
        if not any(issubclass(kind, list | tuple) for kind in kinds):
            return tuple(shape), level
        lengths = {len(item) if isinstance(item, list | tuple) else -1 for item in level}
        if len(lengths) > 1 or len(shape) == MAX_DIMENSIONS:
            what = "of unequal lengths" if len(lengths) > 1 else f"nested more than {MAX_DIMENSIONS} deep"
            raise InputError(f"{name} is {short(value)} {what}; expected a rectangular array")
        shape += lengths
        level = list(chain.from_iterable(level))


def _numbers(leaves: Sequence[Any], shape: tuple[int, ...], dtype: str, name: str, shown: str) -> Any:
    """Plain numbers as an array; errors show the value in short."""
    kinds = set(map(type, leaves))
    if not kinds <= {bool, int, float}:
        leaves = [leaf.item() if isinstance(leaf, np.generic) and leaf.dtype.kind in _KINDS else leaf
                  for leaf in leaves]
        for i, leaf in enumerate(leaves):
            if not isinstance(leaf, bool | int | float):
                what = short(leaf) if isinstance(leaf, str | np.generic) else f"a {_type(leaf)}"
                beside = f", and there is {what}{_at(np.unravel_index(i, shape))}" if shape else ""
                raise InputError(f"{name} is {shown}; expected numbers of dtype {dtype}{beside}")
        kinds = set(map(type, leaves))
    if bool in kinds and len(kinds) > 1:
        raise InputError(f"{name} has booleans beside numbers; expected "
                         + ("booleans" if dtype == "bool" else f"numbers of dtype {dtype}"))
    found = "bool" if bool in kinds else "int64" if kinds == {int} else "float64"
    whole = not dtype.startswith(("int", "uint")) or all(leaf % 1 == 0 for leaf in leaves)
    if kinds and ((found == "bool") != (dtype == "bool") or not whole):
        raise InputError(f"{name} is {found}; expected {dtype}, so cast it first")
    own = "float32" if dtype == "bfloat16" else dtype
    try:
        with np.errstate(over="ignore"):
            array = np.array(leaves, own)
    except OverflowError:
        array = None
    for i in () if dtype == "float64" and kinds == {float} else _doubtful(leaves, kinds, array):
        if message := unfit(leaves[i], dtype):
            raise InputError(f"{name}{_at(np.unravel_index(i, shape))}: {message}")
    return np.array(leaves, own).reshape(shape) if array is None else array.reshape(shape)


def _doubtful(leaves: Sequence[Any], kinds: set[type], array: Any) -> Sequence[int]:
    """Where numbers may not be what they were before they became an array, or None where they could not."""
    if array is not None and kinds == {float} and array.dtype.kind == "f":  # rounding is no doubt
        kept, size = np.finfo(array.dtype), np.abs(np.array(leaves))
        outside = (size > float(kept.max)) | ((size < float(kept.smallest_normal)) & (size != 0))
        return [int(i) for i in np.flatnonzero(outside)]
    return () if array is not None and array.tolist() == leaves else range(len(leaves))


def _at(index: Sequence[Any]) -> str:
    return f" at [{', '.join(map(str, index))}]" if len(index) else ""


def _type(value: Any) -> str:
    return printable(type(value).__qualname__, 60)
