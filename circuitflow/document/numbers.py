"""Values from a program as numbers and NumPy arrays. Numbers are kept exactly or refused, as in a document.

`native` alone decides what a value is; everything else is an `InputError`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import chain
from typing import Any

import numpy as np

from circuitflow.document.base import DTYPES, MAX_DIMENSIONS
from circuitflow.errors import CircuitflowError, InputError
from circuitflow.text import listing, printable, short

_FLOATS = {"float64": (53, 1024, -1074), "float32": (24, 128, -149), "float16": (11, 16, -24),
           "bfloat16": (8, 128, -133)}
"""For every float dtype: bits of the significand, first exponent too large, exponent of the smallest number."""

_PLAIN = (bool, int, float, str, list, tuple, np.ndarray, np.generic)
"""Types of values that need no other library."""

_REMEDIES: Mapping[type, str] = {
    type(None): "; leave it out where its default is meant",
    complex: "; a circuit has no complex numbers, so give real and imaginary part as two inputs",
    bytes: "; numpy.frombuffer makes numbers of bytes",
    dict: "; an object as documents have it stands in the document",
    Iterable: "; list(…) makes a list of it",
}

_BITS: Mapping[str, int] = {"int64": 63, "uint64": 64}
"""Integer dtypes that a float64 may round, with their bits. The others are cast only to dtypes that hold them."""

_KINDS = "biuf"


def is_foreign(value: Any) -> bool:
    """Whether a value may be an array of another library, such as torch or JAX.

    Tables of pandas and polars do not count: no gate computes with them.
    """
    return (not isinstance(value, (type, *_PLAIN)) and hasattr(value, "dtype") and hasattr(value, "shape")
            and not hasattr(value, "to_numpy"))


def native(value: Any, name: str) -> Any:
    """A value as a NumPy array, or as Python's numbers and texts in nested lists.

    - Numbers of Python and NumPy, and lists and tuples of them, are themselves.
    - A `Decimal` or a `Fraction` is an integer where it is whole, else the nearest float.
    - Arrays of other libraries are copied to NumPy, detached from a graph of torch and from a GPU.
    - Tables (pandas, polars, pyarrow) become their numbers in order; labels do not count.
    - NumPy's arrays of objects become lists.

    Dtypes and the shape of lists are not checked here. Errors call the value by the name.

    Raises:
        InputError: it is anything else: None, bytes, complex numbers, masked elements, a traced value, a table with
            missing values, lists that contain themselves.
    """
    return _native(value, name, (), ())


def _native(value: Any, name: str, index: tuple[int, ...], inside: tuple[int, ...]) -> Any:
    if isinstance(value, list | tuple):
        if set(map(type, value)) <= {bool, int, float}:
            return value
        if id(value) in inside:
            raise InputError(f"{name}{_at(index)} is a list that contains itself; expected a rectangular array")
        if len(inside) == MAX_DIMENSIONS:
            raise InputError(f"{name} is {short(value)} nested more than {MAX_DIMENSIONS} deep; expected a rectangular "
                             "array")
        return [_native(item, name, (*index, i), (*inside, id(value))) for i, item in enumerate(value)]
    if isinstance(value, np.ndarray):
        _refuse_subclasses(value, name)
        if value.dtype != object:
            return _numeric(np.asarray(value), name)
        return _native(value.tolist(), name, index, inside) if value.ndim else _native(value[()], name, index, inside)
    if isinstance(value, np.generic):
        return _numeric(value, name)
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Decimal | Fraction):
        return _round(value, f"{name}{_at(index)}")
    if not isinstance(value, type) and (is_foreign(value) or hasattr(value, "to_numpy")):
        return _native(copy_in(value, f"{name}{_at(index)}"), name, index, inside)
    raise no_value(value, f"{name}{_at(index)}")


def as_array(value: Any, name: str, expectation: str = "a number or a rectangular array of numbers") -> Any:
    """A value as an array of NumPy in the dtype of its numbers. Errors say its name and what is expected.

    Raises:
        InputError: it is no value, its lists are not rectangular, or documents do not have its dtype.
    """
    content = native(value, name)
    try:
        array = np.asarray(content)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in _KINDS and array.dtype.name != "bfloat16":
        raise InputError(f"{name} is {short(value)}; expected {expectation}")
    if array.dtype.name == "bfloat16":
        return array.astype(np.float32)
    if array.dtype.name not in DTYPES:
        raise InputError(f"{name} is {array.dtype}; expected one of {', '.join(DTYPES)}")
    return array


def has_text(value: Any) -> bool:
    """Whether a value contains text, such as "NaN". A list may contain itself."""
    pending, seen = [value], set()
    while pending:
        x = pending.pop()
        if isinstance(x, str):
            return True
        if isinstance(x, list | tuple) and id(x) not in seen:
            seen.add(id(x))
            pending += x
    return False


def no_value(value: Any, name: str) -> InputError:
    """The error for anything that is no value."""
    what = "None" if value is None else f"a {_type(value)}"
    remedy = next((text for kind, text in _REMEDIES.items() if isinstance(value, kind)), "")
    return InputError(f"{name} is {what}; expected a number, lists of numbers or an array{remedy}")


def _numeric(array: Any, name: str) -> Any:
    if array.dtype.names:
        raise InputError(f"{name} has the fields {listing(array.dtype.names, 4)}; expected an array of numbers, so "
                         "give one of its fields")
    if array.dtype.kind not in _KINDS and array.dtype.name != "bfloat16":  # JAX's, in NumPy
        remedy = _REMEDIES[complex] if array.dtype.kind == "c" else ""
        raise InputError(f"{name} is {short(array)}; expected numbers, not {array.dtype}{remedy}")
    return array


def _refuse_subclasses(value: Any, name: str) -> None:
    """Refuses subclasses with more than numbers, such as masks or units, which NumPy would drop."""
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.is_masked(value):
            raise InputError(f"{name} has masked elements, for which there is no number; expected an array without a "
                             "mask, so fill them in, as value.filled(0.0) does")
    elif type(value) not in (np.ndarray, np.matrix, np.memmap):
        raise InputError(f"{name} is a {_type(value)}, and NumPy would keep only its numbers; expected a plain array, "
                         "so give numpy.asarray(…) of it if its numbers are meant")


def _round(value: Decimal | Fraction, name: str) -> int | float:
    """A number of any precision as an integer, or as the nearest float. Overflow and underflow are refused."""
    try:
        number = float(value)
    except (OverflowError, ValueError):  # a fraction, a signalling NaN
        number = math.inf
    if not math.isfinite(number) and (isinstance(value, Fraction) or value.is_finite() or value.is_snan()):
        raise InputError(f"{name} is {short(value)}, which is no float64")
    if number == 0 and value != 0:
        raise InputError(f"{name} is {short(value)}, which is too small for a float64, which would make it 0")
    return int(value) if math.isfinite(number) and Fraction(value).denominator == 1 and number else number


def copy_in(value: Any, name: str) -> Any:
    """An array of another library, or a table, as an array of NumPy. bfloat16 becomes float32.

    Raises:
        InputError: it has no numbers in memory, or not one for every element.
    """
    try:
        missing = getattr(value, "null_count", 0)
        if np.any(np.asarray(missing() if callable(missing) else missing)):
            raise InputError(f"{name} has missing values, for which there is no number; fill them in")
        if hasattr(value, "detach"):  # torch refuses to leave its graph, or the GPU, unasked
            value = value.detach().cpu()
            value = value.float() if str(value.dtype) == "torch.bfloat16" else value
        array = np.asarray(value)
        if array.dtype.name == "bfloat16":
            array = array.astype(np.float32)
    except CircuitflowError:
        raise
    except Exception as error:  # of a library that is not known
        raise InputError(f"{name}: a {_type(value)} cannot become an array of NumPy: "
                         f"{printable(str(error).partition(chr(10))[0])}") from None
    if array.dtype == object and array.ndim == 0:  # NumPy knows nothing of it
        raise no_value(value, name)
    return array


def as_numpy(value: Any, dtype: str, name: str) -> Any:
    """A number, nested lists or a NumPy array as an array of a dtype.

    Decimal fractions are rounded to the nearest number of the dtype. Arrays must be safe to cast to it. For
    "bfloat16" the array is float32, because NumPy has no bfloat16.

    Raises:
        InputError: a value that is no number, that the dtype cannot hold, or that a mask hides.
    """
    if (type(value) is np.ndarray or isinstance(value, np.generic)) and value.dtype == dtype:
        return np.asarray(value)
    if dtype == "float64" and (type(value) is float or (type(value) is int and abs(value) <= 2**53)):
        return np.asarray(value, np.float64)
    if dtype == "float64" and isinstance(value, list | tuple) and set(map(type, value)) == {float}:
        return np.array(value)  # as what follows gives it, in half the time
    value = native(value, name)
    if isinstance(value, np.ndarray | np.generic):
        return _array(value, "float32" if dtype == "bfloat16" else dtype, name)
    shape, leaves = _flat(value, dtype, name)
    return _numbers(leaves, shape, dtype, name, short(value))


def unfit(leaf: Any, dtype: str) -> str | None:
    """Why a number cannot be kept exactly in a dtype, or None; floats may be rounded, but not to 0 or infinity."""
    if isinstance(leaf, bool) or dtype == "bool":
        fits = isinstance(leaf, bool) and dtype == "bool"
        return None if fits else f"{short(leaf)} is not a {dtype}{'' if dtype == 'bool' else '; write a number'}"
    if not isinstance(leaf, int | float):
        return f"{short(leaf)} is not a number"
    if dtype not in _FLOATS:
        limits = np.iinfo(dtype)
        fits = leaf == leaf and abs(leaf) != math.inf and leaf == int(leaf) and limits.min <= leaf <= limits.max
        return None if fits else (f"{short(leaf)} is not an {dtype}: expected an integer from {limits.min} to "
                                  f"{limits.max}")
    bits, above, smallest = _FLOATS[dtype]
    largest = (2**bits - 1) * 2.0 ** (above - bits)
    if isinstance(leaf, int):
        size = abs(leaf)
        odd = size // (size & -size or 1)
        if size.bit_length() > 1024 or odd.bit_length() > (bits if size <= largest else 53):
            return f"{short(leaf)} cannot be kept exactly in a {dtype}; write it as a float such as 1e20"
    if math.isfinite(leaf) and abs(leaf) > largest:
        return f"{short(leaf)} is too large for a {dtype}"
    if leaf and abs(leaf) <= math.ldexp(1.0, smallest - 1):
        return f"{short(leaf)} is too small for a {dtype}, which would make it 0"
    return None


def is_safe(source: str, dtype: str) -> bool:
    """Whether every number of a dtype is one of another, 64-bit integers in float64 aside."""
    if source == dtype:
        return True
    if "bool" in (source, dtype):
        return False
    if "bfloat16" in (source, dtype):
        return (source, dtype) in (("bfloat16", "float32"), ("bfloat16", "float64"), ("int8", "bfloat16"),
                                   ("uint8", "bfloat16"))
    return source in DTYPES and bool(np.can_cast(source, dtype))


def refuse_lost(xp: Any, value: Any, cast: Any, dtype: str, name: str) -> None:
    """Refuse 64-bit integers that were rounded when they were cast to a float of a dtype.

    Raises:
        InputError: with the first number that was rounded, and its position.
    """
    source = str(value.dtype).rpartition(".")[2]
    if source not in _BITS or not dtype.startswith("float") or bool(xp.all(xp.abs(cast) < 2.0**53)):
        return
    with np.errstate(invalid="ignore"):
        back = xp.astype(cast, value.dtype)
    # What is rounded up to the end of the range does not fit back into it.
    is_lost = (back != value) | (cast >= 2.0 ** _BITS[source])
    if bool(xp.any(is_lost)):
        index = tuple(int(axis[0]) for axis in xp.nonzero(is_lost)) if value.ndim else ()
        raise InputError(f"{name}{_at(index)}: {unfit(int(value[index]), dtype)}")


def _array(value: Any, dtype: str, name: str) -> Any:
    """A NumPy array, or a scalar of NumPy's."""
    array = np.asarray(value)
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


def _numbers(leaves: Sequence[Any], shape: tuple[int, ...], dtype: str, name: str, text: str) -> Any:
    """Plain numbers as an array; errors show the value in short."""
    kinds = set(map(type, leaves))
    if not kinds <= {bool, int, float}:
        leaves = [leaf.item() if isinstance(leaf, np.generic) else leaf for leaf in leaves]
        for i, leaf in enumerate(leaves):
            if isinstance(leaf, str):
                beside = f", and there is {short(leaf)}{_at(np.unravel_index(i, shape))}" if shape else ""
                raise InputError(f"{name} is {text}; expected numbers of dtype {dtype}{beside}")
        kinds = set(map(type, leaves))
    if bool in kinds and len(kinds) > 1:
        raise InputError(f"{name} has booleans beside numbers; expected "
                         + ("booleans" if dtype == "bool" else f"numbers of dtype {dtype}"))
    leaf_dtype = "bool" if bool in kinds else "int64" if kinds == {int} else "float64"
    whole = not dtype.startswith(("int", "uint")) or all(leaf % 1 == 0 for leaf in leaves)
    if kinds and ((leaf_dtype == "bool") != (dtype == "bool") or not whole):
        raise InputError(f"{name} is {leaf_dtype}; expected {dtype}, so cast it first")
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
    """Positions of numbers that the array may have changed; all of them where there is no array."""
    if array is not None and kinds == {float} and array.dtype.kind == "f":  # the array rounds as it should
        limits, size = np.finfo(array.dtype), np.abs(np.array(leaves))
        outside = (size > float(limits.max)) | ((size < float(limits.smallest_normal)) & (size != 0))
        return [int(i) for i in np.flatnonzero(outside)]
    return () if array is not None and array.tolist() == leaves else range(len(leaves))


def _at(index: Sequence[Any]) -> str:
    return f" at [{', '.join(map(str, index))}]" if len(index) else ""


def _type(value: Any) -> str:
    return printable(type(value).__qualname__, 60)
