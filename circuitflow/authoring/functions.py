"""NumPy's functions as the gates that they are.

`FUNCTIONS` says what each writes. Every entry takes the writer, then what the caller gave, by NumPy's names; arguments
at NumPy's defaults are left out before. An entry takes the arguments that can be written, and no others.
"""

from __future__ import annotations

import inspect
import math
import operator
from collections import namedtuple
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from string import ascii_letters
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from circuitflow.authoring import ufuncs
from circuitflow.authoring.indices import gathered, need_position
from circuitflow.authoring.operands import array, floats, kind, refusing, together
from circuitflow.authoring.ufuncs import Entry, gate
from circuitflow.errors import InputError
from circuitflow.text import listing

_REMEDIES = {
    "out": "give the result a name of its own", "where": "choose with np.where before", "dtype": "cast with astype",
    "initial": "add it to the elements", "order": "rows come first", "casting": "cast with astype",
}
"""What to write in place of an argument."""


def written(function: Any, writer: Any, operands: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
    """What a function of `FUNCTIONS` writes.

    Raises:
        InputError: the function does not take such arguments, or none that are wires.
    """
    entry, name = FUNCTIONS[function], f"np.{function.__name__}"
    with refusing(name):
        given = _arguments(function, operands, keywords)
        if given is None:
            return entry(writer, *operands, **keywords)
        known = list(inspect.signature(entry).parameters)[1:]
        for argument in given:
            if argument not in known:
                remedy = _REMEDIES.get(argument)
                raise InputError(f"{name} of wires takes {listing(known)}, not '{argument}'"
                                 + (f": {remedy}" if remedy else ""))
        for argument in ("axis", "axes", "axis1", "axis2"):
            if _is_boolean(given.get(argument)):
                raise TypeError(f"{argument}={given[argument]!r}; expected an integer")
        return entry(writer, **given)


def _is_boolean(axes: Any) -> bool:
    return any(isinstance(axis, bool | np.bool) for axis in (axes if isinstance(axes, Sequence) else [axes]))


@cache
def _signature(function: Any) -> inspect.Signature | None:
    """The signature, where it has names for all of its arguments."""
    try:
        found = inspect.signature(function)
    except ValueError:  # of NumPy's in C, before 2.4
        return None
    return None if any(p.kind is p.VAR_POSITIONAL for p in found.parameters.values()) else found


def _arguments(function: Any, operands: tuple[Any, ...], keywords: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is given by name, but for what says no more than the default; None where the names are not known."""
    signature = _signature(function)
    if signature is None:
        return None
    given = signature.bind(*operands, **keywords).arguments
    given |= given.pop("kwargs", {})
    return {name: value for name, value in given.items() if not _is_default(value, _default(signature, name))}


def _default(signature: inspect.Signature, name: str) -> Any:
    return signature.parameters[name].default if name in signature.parameters else inspect.Parameter.empty


def _is_default(value: Any, default: Any) -> bool:
    return value is default or (isinstance(default, str | bool | int) and type(value) is type(default)
                                and value == default)


# Reductions -----------------------------------------------------------------------------------------------------------

def _flat(w: Any, a: Any) -> Any:
    return a if a.ndim == 1 else w.emit("reshape", a, shape=[-1])


def _accumulated(w: Any, a: Any, dtype: Any, *, floating: bool = False) -> Any:
    """An array in the dtype that it is added up in: short integers and booleans in 64 bits, or as float64."""
    a = array(w, a)
    if dtype is not None:
        wanted = np.dtype(dtype)
        if not np.can_cast(kind(a), wanted, "same_kind") or (floating and wanted.kind != "f"):
            raise TypeError(f"dtype {wanted} for {kind(a)}; cast it first")
        return w.typed(a, wanted.name)
    if floating:
        return floats(w, a)
    return a if a.type.is_float else w.typed(a, "uint64" if a.type.dtype.startswith("u") else "int64")


def _total(name: str) -> Entry:
    def write(w: Any, a: Any, axis: Any = None, dtype: Any = None, keepdims: Any = False) -> Any:
        return w.emit(name, _accumulated(w, a, dtype), axis=axis, keepdims=keepdims)

    return write


def _mean(w: Any, a: Any, axis: Any = None, dtype: Any = None, keepdims: Any = False) -> Any:
    return w.emit("reduce_mean", _accumulated(w, a, dtype, floating=True), axis=axis, keepdims=keepdims)


def _extremum(name: str) -> Entry:
    return lambda w, a, axis=None, keepdims=False: w.emit(name, a, axis=axis, keepdims=keepdims)


def _spread(name: str) -> Entry:
    def write(w: Any, a: Any, axis: Any = None, dtype: Any = None, ddof: Any = 0, keepdims: Any = False,
              correction: Any = 0) -> Any:
        if ddof and correction:
            raise TypeError("both ddof and correction")
        fewer = ddof or correction
        return w.emit(name, _accumulated(w, a, dtype, floating=True), axis=axis, keepdims=keepdims,
                      ddof=int(fewer) if fewer == int(fewer) else fewer)

    return write


def _running(name: str, *, flattens: bool) -> Entry:
    def write(w: Any, a: Any, axis: int | None = None, dtype: Any = None) -> Any:
        if axis is None and not flattens and a.ndim != 1:
            raise ValueError("no axis beside several dimensions")
        a = _accumulated(w, a, dtype)
        return w.emit(name, a, axis=axis) if axis is not None else w.emit(name, _flat(w, a), axis=0)

    return write if flattens else lambda w, x, axis=None, dtype=None: write(w, x, axis, dtype)


def _place(name: str) -> Entry:
    def write(w: Any, a: Any, axis: int | None = None, keepdims: Any = False) -> Any:
        if axis is not None:
            return w.emit(name, a, axis=axis, keepdims=keepdims)
        found = w.emit(name, _flat(w, a), axis=0)
        return w.emit("reshape", found, shape=[1] * a.ndim) if keepdims else found

    return write


# Norms and products ---------------------------------------------------------------------------------------------------

def _norm(w: Any, x: Any, ord: Any = None, axis: Any = None, keepdims: Any = False) -> Any:  # noqa: A002
    x = floats(w, x)
    if axis is None and ord is None:
        return w.emit("reduce_l2", x, keepdims=keepdims)
    axes = tuple(range(x.ndim)) if axis is None else normalize_axis_tuple(axis, x.ndim)
    if len(axes) == 1:
        return _vector_norm(w, x, axes, keepdims, 2 if ord is None else ord)
    if len(axes) == 2:
        return _norm_of_matrices(w, x, "fro" if ord is None else ord, axes, keepdims)
    raise ValueError(f"{len(axes)} axes; of vectors one, of matrices two")


def _vector_norm(w: Any, x: Any, axis: Any = None, keepdims: Any = False, ord: Any = 2) -> Any:  # noqa: A002
    x = floats(w, x)
    if isinstance(ord, str) or ord not in (1, 2, math.inf, -math.inf):
        raise ValueError(f"ord={ord!r} for vectors; 1, 2, np.inf or -np.inf")
    if abs(ord) == math.inf:
        return w.emit("reduce_max" if ord > 0 else "reduce_min", w.emit("abs", x), axis=axis, keepdims=keepdims)
    return w.emit("reduce_l1" if ord == 1 else "reduce_l2", x, axis=axis, keepdims=keepdims)


def _norm_of_matrices(w: Any, x: Any, ord: Any, axes: Sequence[int], keepdims: Any) -> Any:  # noqa: A002
    rows, columns = axes
    if ord == "fro":
        return w.emit("reduce_l2", x, axis=list(axes), keepdims=keepdims)
    largest = "reduce_min" if not isinstance(ord, str) and ord < 0 else "reduce_max"
    if ord in (1, -1, math.inf, -math.inf):
        summed, compared = (rows, columns) if abs(ord) == 1 else (columns, rows)
        found = w.emit(largest, w.emit("reduce_l1", x, axis=summed, keepdims=True), axis=compared, keepdims=True)
    elif ord in (2, -2, "nuc"):
        rest = [axis for axis in range(x.ndim) if axis not in axes]
        values = w.emit("svd", w.emit("transpose", x, axes=[*rest, rows, columns]))[1]
        found = w.emit("reduce_sum" if ord == "nuc" else largest, values, axis=-1)
        return _expanded(w, found, axes) if keepdims else found
    else:
        raise ValueError(f"ord={ord!r} for matrices; 'fro', 'nuc', 1, -1, 2, -2, np.inf or -np.inf")
    return found if keepdims else _squeezed(w, found, axes)


def _matrix_norm(w: Any, x: Any, ord: Any = "fro", keepdims: Any = False) -> Any:  # noqa: A002
    x = floats(w, x)
    return _norm_of_matrices(w, x, ord, normalize_axis_tuple((-2, -1), x.ndim), keepdims)


def _dot(w: Any, a: Any, b: Any) -> Any:
    a, b = together(w, (a, b))
    if not a.ndim or not b.ndim:
        return w.emit("mul", a, b)
    if b.ndim <= 2:
        return w.emit("matmul", a, b)
    rows, others = ascii_letters[: a.ndim - 1], ascii_letters[a.ndim : a.ndim + b.ndim - 2]
    return w.emit("einsum", a, b, equation=f"{rows}Z,{others}Zz->{rows}{others}z")


def _outer(w: Any, a: Any, b: Any) -> Any:
    return w.emit("outer", *(_flat(w, x) for x in together(w, (a, b))))


def _einsum(w: Any, equation: Any, *operands: Any, optimize: Any = False) -> Any:
    if not isinstance(equation, str):
        raise TypeError("an equation that is no text, as in 'ij,jk->ik'")
    terms, arrow, result = equation.replace(" ", "").partition("->")
    if not arrow:  # the letters that are there once, in order
        result = "".join(sorted(letter for letter in set(terms) - {","} if terms.count(letter) == 1))
    return w.emit("einsum", *together(w, operands), equation=f"{terms}->{result}")


def _of_diagonal(name: str, *, adds: bool = False, last: bool = False) -> Entry:
    def write(w: Any, a: Any, offset: Any = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Any:
        axes = normalize_axis_tuple((axis1, axis2), a.ndim)
        rest = [axis for axis in range(a.ndim) if axis not in axes]
        order = [*rest, *axes]
        a = a if order == list(range(a.ndim)) else w.emit("transpose", a, axes=order)
        return w.emit(name, _accumulated(w, a, dtype) if adds else a, offset=offset)

    if not last:
        return write if adds else lambda w, a, offset=0, axis1=0, axis2=1: write(w, a, offset, axis1, axis2)
    return ((lambda w, x, offset=0, dtype=None: write(w, x, offset, -2, -1, dtype)) if adds
            else lambda w, x, offset=0: write(w, x, offset, -2, -1))


# Linear algebra -------------------------------------------------------------------------------------------------------

def _results(name: str, fields: str, tuple_name: str) -> Entry:
    """A gate of several outputs, with NumPy's names for them."""
    kind_ = namedtuple(tuple_name, fields)  # type: ignore[misc]  # noqa: PYI024
    return lambda w, a: kind_(*w.emit(name, floats(w, a)))


_EIGH = _results("eigh", "eigenvalues eigenvectors", "EighResult")
_SVD = _results("svd", "U S Vh", "SVDResult")


def _svd(w: Any, a: Any, full_matrices: Any = True, compute_uv: Any = True) -> Any:
    if not compute_uv:
        return _SVD(w, a).S
    if full_matrices:
        raise TypeError("full_matrices=True; leave out what is orthogonal to all with full_matrices=False")
    return _SVD(w, a)


def _solve(w: Any, a: Any, b: Any) -> Any:
    return w.emit("solve", *together(w, (floats(w, a), floats(w, b))))


# Shapes ---------------------------------------------------------------------------------------------------------------

def _transposed(w: Any, a: Any, axes: Any = None) -> Any:
    return w.emit("transpose", a, axes=[axes] if isinstance(axes, int | np.integer) else axes)


def _swapped(w: Any, a: Any, axis1: int, axis2: int) -> Any:
    axes = list(range(a.ndim))
    axes[axis1], axes[axis2] = axes[axis2], axes[axis1]
    return w.emit("transpose", a, axes=axes)


def _moved(w: Any, a: Any, source: Any, destination: Any) -> Any:
    sources, destinations = (normalize_axis_tuple(axes, a.ndim) for axes in (source, destination))
    axes = [axis for axis in range(a.ndim) if axis not in sources]
    for at, axis in sorted(zip(destinations, sources, strict=True)):
        axes.insert(at, axis)
    return w.emit("transpose", a, axes=axes)


def _sizes(shape: Any) -> list[Any]:
    return list(shape) if isinstance(shape, Sequence | np.ndarray) else [operator.index(shape)]


def _squeezed(w: Any, a: Any, axis: Any = None) -> Any:
    axes = [i for i, size in enumerate(a.shape) if size == 1] if axis is None else normalize_axis_tuple(axis, a.ndim)
    for i in sorted(axes, reverse=True):
        a = w.emit("squeeze", a, axis=i)
    return a


def _expanded(w: Any, a: Any, axis: Any) -> Any:
    for i in sorted(normalize_axis_tuple(axis, a.ndim + np.size(axis))):
        a = w.emit("unsqueeze", a, axis=i)
    return a


def _broadcast(w: Any, array: Any, shape: Any) -> Any:
    stretched = w.emit("expand", array, shape=_sizes(shape))
    if stretched.shape != tuple(_sizes(shape)):
        raise ValueError(f"{array.shape} does not stretch to {tuple(_sizes(shape))}")
    return stretched


def _joined(w: Any, arrays: Any, axis: int | None = 0, dtype: Any = None) -> Any:
    xs = together(w, arrays, dtype=dtype)
    if axis is None:
        return w.emit("concat", *(w.emit("reshape", x, shape=[-1]) for x in xs), axis=0)
    return w.emit("concat", *xs, axis=axis)


def _stacked(w: Any, arrays: Any, axis: int = 0, dtype: Any = None) -> Any:
    return w.emit("stack", *together(w, arrays, dtype=dtype), axis=axis)


def _split(w: Any, ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    if isinstance(indices_or_sections, int | np.integer):
        return list(w.emit("split", ary, axis=axis, sections=indices_or_sections))
    ends = [0, *map(operator.index, indices_or_sections), None]
    before = (slice(None),) * normalize_axis_index(axis, ary.ndim)
    return [ary[(*before, slice(start, stop))] for start, stop in pairwise(ends)]


def _rolled(w: Any, a: Any, shift: Any, axis: Any = None) -> Any:
    if axis is None and a.ndim != 1:
        return w.emit("reshape", _rolled(w, w.emit("reshape", a, shape=[-1]), shift, 0), shape=list(a.shape))
    for by, along in np.broadcast(shift, 0 if axis is None else axis):
        a = w.emit("roll", a, shift=operator.index(by), axis=along)
    return a


def _tiled(w: Any, A: Any, reps: Any) -> Any:  # noqa: N803
    x, repeats = A, np.atleast_1d(reps).tolist()
    for _ in range(len(repeats) - x.ndim):
        x = w.emit("unsqueeze", x, axis=0)
    return w.emit("tile", x, repeats=[1] * (x.ndim - len(repeats)) + repeats)


def _padded(w: Any, array: Any, pad_width: Any, constant_values: Any = 0) -> Any:
    if np.any(np.asarray(constant_values) != 0):
        raise TypeError(f"constant_values={constant_values!r}; only zeros")
    if np.asarray(pad_width).dtype.kind not in "iu" or np.any(np.less(pad_width, 0)):
        raise TypeError(f"pad_width={pad_width!r}; whole numbers, 0 or more")
    return w.emit("pad", array, pad_width=np.broadcast_to(pad_width, (array.ndim, 2)).tolist())


# Elements -------------------------------------------------------------------------------------------------------------

def _where(w: Any, condition: Any, x: Any = None, y: Any = None) -> Any:
    if x is None or y is None:
        raise TypeError("the condition alone; how many places there are depends on its values")
    return w.emit("where", w.typed(array(w, condition), "bool"), *together(w, (x, y), weak=True))


def _clipped(w: Any, a: Any, a_min: Any = None, a_max: Any = None, min: Any = None, max: Any = None) -> Any:  # noqa: A002
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
        a = a if bound is None else ufuncs.computed(w, function, (a, bound))
    return a


def _rounded(w: Any, a: Any, decimals: Any = 0) -> Any:
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


def _taken(w: Any, a: Any, indices: Any, axis: int | None = None) -> Any:
    a, indices = array(w, a), array(w, indices)
    a = _flat(w, a) if axis is None else a
    return gathered(a, _whole(indices), normalize_axis_index(0 if axis is None else axis, a.ndim))


def _taken_along(w: Any, arr: Any, indices: Any, axis: int | None = -1) -> Any:
    arr, indices = array(w, arr), array(w, indices)
    arr = _flat(w, arr) if axis is None else arr
    at = normalize_axis_index(0 if axis is None else axis, arr.ndim)
    need_position(arr, _whole(indices), at)
    return w.emit("gather_elements", arr, w.typed(indices, "int64"), axis=at)


def _whole(indices: Any) -> Any:
    if kind(indices).kind not in "iu":
        raise TypeError(f"indices of dtype {kind(indices)}; expected whole numbers")
    return indices


def _sorted(name: str) -> Entry:
    def write(w: Any, a: Any, axis: Any = -1, kind: Any = None, stable: Any = None) -> Any:
        if kind not in (None, "quicksort", "mergesort", "heapsort", "stable") or (kind and stable is not None):
            raise ValueError(f"kind={kind!r} and stable={stable!r}; one of them")
        return w.emit(name, a, axis=axis) if axis is not None else w.emit(name, _flat(w, a), axis=0)

    return write


def _filled(name: str, function: Entry) -> Entry:
    """Zeros or ones like a wire: an array where the shape is known."""
    def write(w: Any, a: Any, dtype: Any = None, shape: Any = None) -> Any:
        if dtype is None and shape is None and not all(isinstance(size, int) for size in a.shape):
            return w.emit(name, a)
        return function(a.shape if shape is None else shape, kind(a) if dtype is None else dtype)

    return write


def _size(w: Any, a: Any, axis: Any = None) -> Any:
    return a.size if axis is None else math.prod(a.shape[i] for i in np.atleast_1d(axis))


def _of_floats(entry: Entry) -> Entry:
    return lambda w, x: entry(w, floats(w, x))


def _of_matrices(name: str) -> Entry:
    return lambda w, a: w.emit(name, floats(w, a))


FUNCTIONS: dict[Any, Entry] = {
    **{function: _of_floats(entry) for function, entry in (*ufuncs.FUNCTIONS.items(), (np.sinc, gate("sinc")))},
    np.fix: lambda w, x: ufuncs.computed(w, np.trunc, (x,)),
    np.sum: _total("reduce_sum"), np.prod: _total("reduce_prod"), np.mean: _mean,
    np.max: _extremum("reduce_max"), np.min: _extremum("reduce_min"),
    np.amax: _extremum("reduce_max"), np.amin: _extremum("reduce_min"),
    np.argmax: _place("arg_max"), np.argmin: _place("arg_min"),
    np.var: _spread("reduce_var"), np.std: _spread("reduce_std"),
    np.cumsum: _running("cum_sum", flattens=True), np.cumprod: _running("cum_prod", flattens=True),
    np.cumulative_sum: _running("cum_sum", flattens=False), np.cumulative_prod: _running("cum_prod", flattens=False),
    np.linalg.norm: _norm, np.linalg.vector_norm: _vector_norm, np.linalg.matrix_norm: _matrix_norm,
    np.dot: _dot, np.outer: _outer, np.einsum: _einsum,
    np.trace: _of_diagonal("trace", adds=True), np.diagonal: _of_diagonal("diagonal"),
    np.linalg.trace: _of_diagonal("trace", adds=True, last=True),
    np.linalg.diagonal: _of_diagonal("diagonal", last=True),
    np.linalg.det: _of_matrices("det"), np.linalg.inv: _of_matrices("inv"),
    np.linalg.cholesky: _of_matrices("cholesky"),
    np.linalg.slogdet: _results("slogdet", "sign logabsdet", "SlogdetResult"), np.linalg.solve: _solve,
    np.linalg.eigh: _EIGH, np.linalg.eigvalsh: lambda w, a: _EIGH(w, a).eigenvalues,
    np.linalg.qr: _results("qr", "Q R", "QRResult"), np.linalg.svd: _svd,
    np.linalg.svdvals: lambda w, x: _SVD(w, x).S,
    np.transpose: _transposed, np.matrix_transpose: lambda w, x: w.emit("matrix_transpose", x), np.swapaxes: _swapped,
    np.moveaxis: _moved, np.reshape: lambda w, a, shape: w.emit("reshape", a, shape=_sizes(shape)),
    np.ravel: lambda w, a: w.emit("reshape", a, shape=[-1]), np.squeeze: _squeezed, np.expand_dims: _expanded,
    np.broadcast_to: _broadcast, np.concatenate: _joined, np.stack: _stacked, np.split: _split,
    np.flip: lambda w, m, axis=None: w.emit("flip", m, axis=axis), np.roll: _rolled, np.tile: _tiled, np.pad: _padded,
    np.triu: lambda w, m, k=0: w.emit("trilu", m, upper=True, k=k),
    np.tril: lambda w, m, k=0: w.emit("trilu", m, upper=False, k=k),
    np.where: _where, np.clip: _clipped, np.round: _rounded,
    np.take: _taken, np.take_along_axis: _taken_along, np.sort: _sorted("sort"), np.argsort: _sorted("arg_sort"),
    np.zeros_like: _filled("zeros_like", np.zeros), np.ones_like: _filled("ones_like", np.ones),
    np.shape: lambda w, a: a.shape, np.ndim: lambda w, a: a.ndim, np.size: _size, np.copy: lambda w, a: a.copy(),
}
"""Functions of NumPy by what they write."""
