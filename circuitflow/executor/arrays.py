"""The array library that a run uses: NumPy, or that of the arrays it is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from circuitflow.errors import InputError, MissingExtraError, short
from circuitflow.gates.shapes import ArrayType

_OWN = (bool, int, float, str, list, tuple, np.ndarray, np.generic)
"""What NumPy makes an array of."""


class Library(NamedTuple):
    """An Array API namespace, and one of its arrays to take the device from (None for NumPy)."""

    xp: Any
    like: Any

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Library:
        """The library of the arrays given, by name; NumPy where there are none of another one.

        Raises:
            InputError: a value is no array, or there are arrays of several libraries.
            MissingExtraError: arrays other than NumPy's need the extra `arrays`.
        """
        foreign = {name: value for name, value in given.items() if not isinstance(value, _OWN)}
        if not foreign:
            return cls(np, None)
        try:
            import array_api_compat
        except ImportError:
            name, value = next(iter(foreign.items()))
            raise MissingExtraError(f"{name} is a {type(value).__qualname__}; arrays other than NumPy's need "
                                    "`pip install 'circuitflow[arrays]'`") from None
        for name, value in foreign.items():
            if not array_api_compat.is_array_api_obj(value):
                raise InputError(f"{name} is a {type(value).__qualname__}; expected a number, lists of numbers or an "
                                 "array")
        try:
            return cls(array_api_compat.array_namespace(*foreign.values()), next(iter(foreign.values())))
        except TypeError:
            kinds = sorted({type(value).__module__.partition(".")[0] for value in foreign.values()})
            raise InputError(f"arrays of different libraries in one run: {' and '.join(kinds)}; use one") from None

    def move(self, array: Any) -> Any:
        """A NumPy array as an array of this library, on its device."""
        if self.like is None:
            return array
        import array_api_compat

        return self.xp.asarray(np.array(array), device=array_api_compat.device(self.like))

    def dtype(self, name: str) -> Any:
        """A dtype of this library.

        Raises:
            InputError: the library does not have it.
        """
        if not hasattr(self.xp, name):
            raise InputError(f"{self.xp.__name__.rpartition('.')[2]} has no {name}; give arrays of a library that has, "
                             "such as torch or JAX")
        return getattr(self.xp, name)

    def one(self, type_: ArrayType) -> Any:
        """The scalar 1."""
        return self.xp.asarray(self.move(np.ones((), np.float32)), dtype=self.dtype(type_.dtype))

    def convert(self, value: Any, expected: ArrayType, name: str) -> Any:
        """A value as an array of the expected dtype: numbers and lists take it, arrays must be safe to cast.

        Raises:
            InputError: it, or the library, has no such dtype.
        """
        dtype = self.dtype(expected.dtype)
        if isinstance(value, _OWN):
            if expected.dtype == "bfloat16":  # which NumPy does not have
                return self.xp.asarray(self.move(_numpy(value, "float32", name)), dtype=dtype)
            return self.move(_numpy(value, expected.dtype, name))
        if not self.xp.can_cast(value.dtype, dtype):
            raise InputError(f"{name} is {value.dtype}; expected {expected.dtype}, so cast it first")
        return self.xp.asarray(value, dtype=dtype)


def _numpy(value: Any, dtype: str, name: str) -> Any:
    try:
        array = np.asarray(value)
    except ValueError:
        raise InputError(f"{name} is {short(value)} of unequal lengths; expected a rectangular array") from None
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} is {short(value)}; expected numbers of dtype {dtype}")
    if not _safe(array, dtype, plain=not isinstance(value, np.ndarray | np.generic)):
        raise InputError(f"{name} is {array.dtype}; expected {dtype}, so cast it first")
    return array.astype(dtype, copy=False)


def _safe(array: Any, dtype: str, *, plain: bool) -> bool:
    """Whether a cast keeps every number; Python's own numbers may also be rounded to a float, or be whole by value."""
    if (array.dtype.kind == "b") != (dtype == "bool"):
        return plain and not array.size
    if np.can_cast(array.dtype, dtype) or (plain and dtype.startswith("float")):
        return True
    with np.errstate(all="ignore"):
        return plain and bool(np.all(array.astype(dtype) == array))
