"""NumPy's linear algebra as calls of routines, a matrix at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from circuitflow.engines.flat.arrays import Array, broadcast, computed, transposed
from circuitflow.engines.flat.indices import ZERO, Indices, place
from circuitflow.engines.flat.language import FLOAT64, DType, Expr
from circuitflow.engines.flat.lowering import Lowering, Rules
from circuitflow.engines.program.trace import Line


def _copied(low: Lowering, x: Array) -> Array:
    """A copy in memory, of float64, that a routine may change."""
    out = low.room(x.shape, FLOAT64, "matrix")
    low.copy(low.cast(x, FLOAT64) if x.dtype != FLOAT64 else x, out)
    return out


def _address(low: Lowering, x: Array, at: Indices) -> str:
    """Where the matrix or vector at a position of the batch begins."""
    assert x.storage is not None  # noqa: S101
    whole = (*at, *[ZERO] * (len(x.shape) - len(at)))
    return low.code.address(x.storage.buffer, place(whole, x.storage.strides, x.storage.offset))


def _call(low: Lowering, line: Line, name: str, at: Indices, arrays: list[Array], *sizes: int,
          refuses: bool = False) -> None:
    """A call of a routine; where it may refuse a matrix, the function ends if it does."""
    text = low.language.call(name, *(_address(low, x, at) for x in arrays), *map(str, sizes))
    if not refuses:
        low.code.line(f"{text};")
        return
    with low.code.block(f"if ({text} != 0) {{"):
        low.give_up(line.stage)


def _as(low: Lowering, x: Array, dtype: DType) -> Array:
    return x if dtype == x.dtype else computed(x.shape, dtype, [x], low.cast(x, dtype).at)


def _det(low: Lowering, line: Line, x: Any) -> Array:
    matrix = _copied(low, low.array(x))
    out = low.room(matrix.shape[:-2], FLOAT64, low.hint(line))
    if 0 not in out.shape:
        with low.nest(out.shape) as at:
            low.assign(out, at, Expr(low.language.call("det", _address(low, matrix, at), str(matrix.shape[-1]))))
    return _as(low, out, line.results[0].dtype)


def _slogdet(low: Lowering, line: Line, x: Any) -> list[Array]:
    matrix = _copied(low, low.array(x))
    outs = [low.room(matrix.shape[:-2], FLOAT64, low.hint_of(value, line)) for value in line.results]
    if 0 not in matrix.shape[:-2]:
        with low.nest(matrix.shape[:-2]) as at:
            _call(low, line, "slogdet", at, [matrix, *outs], matrix.shape[-1])
    return [_as(low, out, line.results[0].dtype) for out in outs]


def _solve(low: Lowering, line: Line, a: Any, b: Any) -> Array:
    left, right = low.array(a), low.array(b)
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    matrix = _copied(low, broadcast(low.ready(left), (*batch, *left.shape[-2:])))
    out = _copied(low, broadcast(low.ready(right), (*batch, *right.shape[-2:])))
    if 0 not in out.shape:
        with low.nest(batch) as at:
            _call(low, line, "solve", at, [matrix, out], *out.shape[-2:], refuses=True)
    return _as(low, out, line.results[0].dtype)


def _inv(low: Lowering, line: Line, x: Any) -> Array:
    size = low.array(x).shape[-1]
    return _solve(low, line, x, np.broadcast_to(np.eye(size), low.array(x).shape))


def _cholesky(low: Lowering, line: Line, x: Any) -> Array:
    out = _copied(low, low.array(x))
    if 0 not in out.shape:
        with low.nest(out.shape[:-2]) as at:
            _call(low, line, "cholesky", at, [out], out.shape[-1], refuses=True)
    return _as(low, out, line.results[0].dtype)


def _qr(low: Lowering, line: Line, x: Any, **_: Any) -> list[Array]:
    r = _copied(low, low.array(x))
    (*batch, m, n), least = r.shape, min(r.shape[-2:])
    q = low.room((*batch, m, m), FLOAT64, "rows_of_q")
    if 0 not in r.shape:
        with low.nest(batch) as at:
            _call(low, line, "qr", at, [r, q], m, n)
    order = [*range(len(batch)), len(batch) + 1, len(batch)]
    thin = transposed(q, order).viewed((*batch, m, least), lambda at: at)
    return [_as(low, x, line.results[0].dtype) for x in (thin, r.viewed((*batch, least, n), lambda at: at))]


def _eigh(low: Lowering, line: Line, x: Any) -> list[Array]:
    matrix = _copied(low, low.array(x))
    (*batch, n) = matrix.shape[:-1]
    values, vectors = low.room((*batch, n), FLOAT64, "values"), low.room(matrix.shape, FLOAT64, "vectors")
    if 0 not in matrix.shape:
        with low.nest(batch) as at:
            _call(low, line, "eigh", at, [matrix, values, vectors], n)
    return [_as(low, x, line.results[0].dtype) for x in (values, vectors)]


def _svd(low: Lowering, line: Line, x: Any, **_: Any) -> list[Array]:
    """Of a matrix with more columns than rows, by its transpose."""
    source = low.array(x)
    rank = len(source.shape)
    across = [*range(rank - 2), rank - 1, rank - 2]
    is_wide = source.shape[-1] > source.shape[-2]
    left = _copied(low, transposed(source, across) if is_wide else source)
    (*batch, m, n) = left.shape
    values, right = low.room((*batch, n), FLOAT64, "values"), low.room((*batch, n, n), FLOAT64, "vectors")
    if 0 not in left.shape:
        with low.nest(batch) as at:
            _call(low, line, "svd", at, [left, values, right], m, n)
    u, vh = (right, transposed(left, across)) if is_wide else (left, transposed(right, across))
    return [_as(low, x, line.results[0].dtype) for x in (u, values, vh)]


LINEAR: Rules = {
    np.linalg.det: _det, np.linalg.slogdet: _slogdet, np.linalg.solve: _solve, np.linalg.inv: _inv,
    np.linalg.cholesky: _cholesky, np.linalg.qr: _qr, np.linalg.eigh: _eigh, np.linalg.svd: _svd,
}
"""Rules of linear algebra."""
