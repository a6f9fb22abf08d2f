"""NumPy's functions of vectors and matrices, as gates."""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Sequence
from string import ascii_letters
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from circuitflow.authoring.operands import floats, in_dtype_of_sum, together
from circuitflow.authoring.shapes import expand_dims, flat, squeeze
from circuitflow.authoring.ufuncs import Entry


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
        along, across = (rows, columns) if abs(ord) == 1 else (columns, rows)
        norms = w.emit(largest, w.emit("reduce_l1", x, axis=along, keepdims=True), axis=across, keepdims=True)
    elif ord in (2, -2, "nuc"):
        rest = [axis for axis in range(x.ndim) if axis not in axes]
        values = w.emit("svd", w.emit("transpose", x, axes=[*rest, rows, columns]))[1]
        norms = w.emit("reduce_sum" if ord == "nuc" else largest, values, axis=-1)
        return expand_dims(w, norms, axes) if keepdims else norms
    else:
        raise ValueError(f"ord={ord!r} for matrices; 'fro', 'nuc', 1, -1, 2, -2, np.inf or -np.inf")
    return norms if keepdims else squeeze(w, norms, axes)


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
        return w.emit(name, in_dtype_of_sum(w, a, dtype) if adds else a, offset=offset)

    if not last:
        return write if adds else lambda w, a, offset=0, axis1=0, axis2=1: write(w, a, offset, axis1, axis2)
    return ((lambda w, x, offset=0, dtype=None: write(w, x, offset, -2, -1, dtype)) if adds
            else lambda w, x, offset=0: write(w, x, offset, -2, -1))


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


def _of_matrices(name: str) -> Entry:
    return lambda w, a: w.emit(name, floats(w, a))


FUNCTIONS: dict[Any, Entry] = {
    np.linalg.norm: _norm, np.linalg.vector_norm: _vector_norm, np.linalg.matrix_norm: _matrix_norm,
    np.dot: _dot, np.einsum: _einsum,
    np.outer: lambda w, a, b: w.emit("outer", *(flat(w, x) for x in together(w, (a, b)))),
    np.trace: _of_diagonal("trace", adds=True), np.diagonal: _of_diagonal("diagonal"),
    np.linalg.trace: _of_diagonal("trace", adds=True, last=True),
    np.linalg.diagonal: _of_diagonal("diagonal", last=True),
    np.linalg.det: _of_matrices("det"), np.linalg.inv: _of_matrices("inv"),
    np.linalg.cholesky: _of_matrices("cholesky"),
    np.linalg.slogdet: _results("slogdet", "sign logabsdet", "SlogdetResult"),
    np.linalg.solve: lambda w, a, b: w.emit("solve", *together(w, (floats(w, a), floats(w, b)))),
    np.linalg.eigh: _EIGH, np.linalg.eigvalsh: lambda w, a: _EIGH(w, a).eigenvalues,
    np.linalg.qr: _results("qr", "Q R", "QRResult"), np.linalg.svd: _svd,
    np.linalg.svdvals: lambda w, x: _SVD(w, x).S,
}
