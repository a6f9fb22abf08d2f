"""NumPy's functions as gates: the table of all, reductions, and functions of elements.

An entry of `FUNCTIONS` takes the writer, then the caller's arguments by NumPy's names, and writes the gates. Arguments
at NumPy's defaults are left out before. An entry has no parameter for an argument that gates cannot express.
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from circuitflow.authoring import linear, shapes, ufuncs
from circuitflow.authoring.indices import gather, need_position
from circuitflow.authoring.operands import array, floats, in_dtype_of_sum, promotion_type, refusing, together
from circuitflow.authoring.shapes import flat
from circuitflow.authoring.ufuncs import Entry, gate_entry
from circuitflow.errors import InputError
from circuitflow.text import listing

_REMEDIES = {
    "out": "give the result a name of its own", "where": "choose with np.where before", "dtype": "cast with astype",
    "initial": "add it to the elements", "order": "rows come first", "casting": "cast with astype",
}
"""What to write in place of an argument."""


def apply_function(function: Any, writer: Any, operands: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
    """The result of a function of `FUNCTIONS`, written as gates.

    Raises:
        InputError: the function does not take such arguments, or does not take wires as these arguments.
    """
    entry, name = FUNCTIONS[function], f"np.{function.__name__}"
    with refusing(name):
        arguments = _arguments(function, operands, keywords)
        if arguments is None:
            return entry(writer, *operands, **keywords)
        parameters = list(inspect.signature(entry).parameters)[1:]
        for argument in arguments:
            if argument not in parameters:
                remedy = _REMEDIES.get(argument)
                raise InputError(f"{name} of wires takes {listing(parameters)}, not '{argument}'"
                                 + (f": {remedy}" if remedy else ""))
        for argument in ("axis", "axes", "axis1", "axis2"):
            if _is_boolean(arguments.get(argument)):
                raise TypeError(f"{argument}={arguments[argument]!r}; expected an integer")
        return entry(writer, **arguments)


def _is_boolean(axes: Any) -> bool:
    return any(isinstance(axis, bool | np.bool) for axis in (axes if isinstance(axes, Sequence) else [axes]))


@cache
def _signature(function: Any) -> inspect.Signature | None:
    """The signature, or None if an argument has no name."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # a function in C, before NumPy 2.4
        return None
    return None if any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()) else signature


def _arguments(function: Any, operands: tuple[Any, ...], keywords: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments by name, without those at their defaults; None if an argument has no name."""
    signature = _signature(function)
    if signature is None:
        return None
    arguments = signature.bind(*operands, **keywords).arguments
    arguments |= arguments.pop("kwargs", {})
    return {name: value for name, value in arguments.items() if not _is_default(value, signature.parameters.get(name))}


def _is_default(value: Any, parameter: inspect.Parameter | None) -> bool:
    default = parameter.default if parameter else inspect.Parameter.empty
    return value is default or (isinstance(default, str | bool | int) and type(value) is type(default)
                                and value == default)


# Reductions -----------------------------------------------------------------------------------------------------------

def _total(name: str, *, floating: bool = False) -> Entry:
    def write(w: Any, a: Any, axis: Any = None, dtype: Any = None, keepdims: Any = False) -> Any:
        return w.emit(name, in_dtype_of_sum(w, a, dtype, floating=floating), axis=axis, keepdims=keepdims)

    return write


def _extremum(name: str) -> Entry:
    return lambda w, a, axis=None, keepdims=False: w.emit(name, a, axis=axis, keepdims=keepdims)


def _spread(name: str) -> Entry:
    def write(w: Any, a: Any, axis: Any = None, dtype: Any = None, ddof: Any = 0, keepdims: Any = False,
              correction: Any = 0) -> Any:
        if ddof and correction:
            raise TypeError("both ddof and correction")
        fewer = ddof or correction
        return w.emit(name, in_dtype_of_sum(w, a, dtype, floating=True), axis=axis, keepdims=keepdims,
                      ddof=int(fewer) if fewer == int(fewer) else fewer)

    return write


def _running(name: str, *, flattens: bool) -> Entry:
    def write(w: Any, a: Any, axis: int | None = None, dtype: Any = None) -> Any:
        if axis is None and not flattens and a.ndim != 1:
            raise ValueError("no axis beside several dimensions")
        a = in_dtype_of_sum(w, a, dtype)
        return w.emit(name, a, axis=axis) if axis is not None else w.emit(name, flat(w, a), axis=0)

    return write if flattens else lambda w, x, axis=None, dtype=None: write(w, x, axis, dtype)


def _place(name: str) -> Entry:
    def write(w: Any, a: Any, axis: int | None = None, keepdims: Any = False) -> Any:
        if axis is not None:
            return w.emit(name, a, axis=axis, keepdims=keepdims)
        position = w.emit(name, flat(w, a), axis=0)
        return w.emit("reshape", position, shape=[1] * a.ndim) if keepdims else position

    return write


# Elements -------------------------------------------------------------------------------------------------------------

def _where(w: Any, condition: Any, x: Any = None, y: Any = None) -> Any:
    if x is None or y is None:
        raise TypeError("the condition alone; how many places there are depends on its values")
    return w.emit("where", w.in_dtype(array(w, condition), "bool"), *together(w, (x, y), weak=True))


def _clip(w: Any, a: Any, a_min: Any = None, a_max: Any = None, min: Any = None, max: Any = None) -> Any:  # noqa: A002
    if (a_min is not None or a_max is not None) and (min is not None or max is not None):
        raise TypeError("both a_min or a_max and min or max")
    low, high = a_min if a_min is not None else min, a_max if a_max is not None else max
    a = array(w, a)
    if a.type.is_float and all(b is None or (type(b) in (int, float) and math.isfinite(b)) for b in (low, high)):
        bounds = {name: float(b) for name, b in (("min", low), ("max", high)) if b is not None}
        return w.emit("clip", a, **bounds) if bounds else a.copy()
    if low is high is None:
        raise TypeError("no bounds")
    for function, bound in ((np.maximum, low), (np.minimum, high)):
        a = a if bound is None else ufuncs.apply_ufunc(w, function, (a, bound))
    return a


def _round(w: Any, a: Any, decimals: Any = 0) -> Any:
    decimals = operator.index(decimals)
    if a.type.dtype == "bool":
        raise TypeError("truth values, which NumPy makes float16 of")
    if not a.type.is_float and decimals >= 0:
        return a.copy()
    scale = 10.0 ** abs(decimals)
    if decimals == 0:
        return w.emit("round", a)
    there, back = ("mul", "div") if decimals > 0 else ("div", "mul")
    return w.emit(back, w.emit("round", w.emit(there, a, scale)), scale)


def _take(w: Any, a: Any, indices: Any, axis: int | None = None) -> Any:
    a, indices = array(w, a), array(w, indices)
    a = flat(w, a) if axis is None else a
    return gather(a, _whole(indices), normalize_axis_index(0 if axis is None else axis, a.ndim))


def _take_along(w: Any, arr: Any, indices: Any, axis: int | None = -1) -> Any:
    arr, indices = array(w, arr), array(w, indices)
    arr = flat(w, arr) if axis is None else arr
    at = normalize_axis_index(0 if axis is None else axis, arr.ndim)
    need_position(arr, _whole(indices), at)
    return w.emit("gather_elements", arr, w.in_dtype(indices, "int64"), axis=at)


def _whole(indices: Any) -> Any:
    if promotion_type(indices).kind not in "iu":
        raise TypeError(f"indices of dtype {promotion_type(indices)}; expected whole numbers")
    return indices


def _sort(name: str) -> Entry:
    def write(w: Any, a: Any, axis: Any = -1, kind: Any = None, stable: Any = None) -> Any:
        if kind not in (None, "quicksort", "mergesort", "heapsort", "stable") or (kind and stable is not None):
            raise ValueError(f"kind={kind!r} and stable={stable!r}; one of them")
        return w.emit(name, a, axis=axis) if axis is not None else w.emit(name, flat(w, a), axis=0)

    return write


def _like(name: str, function: Entry) -> Entry:
    """Zeros or ones like a wire: an array where the shape is known."""
    def write(w: Any, a: Any, dtype: Any = None, shape: Any = None) -> Any:
        if dtype is None and shape is None and not all(isinstance(size, int) for size in a.shape):
            return w.emit(name, a)
        return function(a.shape if shape is None else shape, promotion_type(a) if dtype is None else dtype)

    return write


def _size(w: Any, a: Any, axis: Any = None) -> Any:
    return a.size if axis is None else math.prod(a.shape[i] for i in np.atleast_1d(axis))


def _of_floats(entry: Entry) -> Entry:
    return lambda w, x: entry(w, floats(w, x))


FUNCTIONS: dict[Any, Entry] = {
    **{function: _of_floats(entry) for function, entry in (*ufuncs.FUNCTIONS.items(), (np.sinc, gate_entry("sinc")))},
    **linear.FUNCTIONS, **shapes.FUNCTIONS,
    np.fix: lambda w, x: ufuncs.apply_ufunc(w, np.trunc, (x,)),
    np.sum: _total("reduce_sum"), np.prod: _total("reduce_prod"), np.mean: _total("reduce_mean", floating=True),
    np.max: _extremum("reduce_max"), np.min: _extremum("reduce_min"),
    np.amax: _extremum("reduce_max"), np.amin: _extremum("reduce_min"),
    np.argmax: _place("arg_max"), np.argmin: _place("arg_min"),
    np.var: _spread("reduce_var"), np.std: _spread("reduce_std"),
    np.cumsum: _running("cum_sum", flattens=True), np.cumprod: _running("cum_prod", flattens=True),
    np.cumulative_sum: _running("cum_sum", flattens=False), np.cumulative_prod: _running("cum_prod", flattens=False),
    np.triu: lambda w, m, k=0: w.emit("trilu", m, upper=True, k=k),
    np.tril: lambda w, m, k=0: w.emit("trilu", m, upper=False, k=k),
    np.where: _where, np.clip: _clip, np.round: _round,
    np.take: _take, np.take_along_axis: _take_along, np.sort: _sort("sort"), np.argsort: _sort("arg_sort"),
    np.zeros_like: _like("zeros_like", np.zeros), np.ones_like: _like("ones_like", np.ones),
    np.shape: lambda w, a: a.shape, np.ndim: lambda w, a: a.ndim, np.size: _size, np.copy: lambda w, a: a.copy(),
}
"""Functions of NumPy by what they write."""
