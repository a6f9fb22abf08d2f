"""NumPy's reductions, running sums and products of matrices as loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from circuitflow.engines.flat.arrays import Array, broadcast, transposed, variable
from circuitflow.engines.flat.indices import ZERO, Index, Indices
from circuitflow.engines.flat.language import BOOL, FLOAT64, INT64, DType, Expr, Unwritable
from circuitflow.engines.flat.lowering import Lowering, Rules
from circuitflow.engines.program.functions import long_product, product_kept
from circuitflow.engines.program.trace import Line


def _axes(axis: Any, rank: int) -> list[int]:
    axes = range(rank) if axis is None else axis if isinstance(axis, tuple | list) else [axis]
    return sorted(int(a) % rank for a in axes)


def fold_axes(low: Lowering, x: Array, axes: Sequence[int], out: Array | None, start: Expr | None, dtype: DType,
              step: Callable[[Expr, Expr], Expr], hint: str) -> Array:
    """An array reduced along axes: for each position of the others, `step` of what there is and the next element.

    It starts with `start`, or with the first element.
    """
    kept = [axis for axis in range(len(x.shape)) if axis not in axes]
    code = low.code

    def element(at: Indices, inner: Indices) -> Expr:
        indices: list[Index] = [Index()] * len(x.shape)
        for axis, index in zip((*kept, *axes), (*at, *inner), strict=True):
            indices[axis] = index
        return x.at(code, tuple(indices))

    target = out or (low.room([x.shape[axis] for axis in kept], dtype, hint) if kept else None)
    if 0 in [x.shape[axis] for axis in kept]:
        assert target is not None  # noqa: S101
        return target
    with low.nest([x.shape[axis] for axis in kept]) as at:
        total = code.new_name(hint if target is None else "total")
        first = start or element(at, (ZERO,) * len(axes))
        code.line(code.language.variable(total, dtype, first), total)
        code.own(total, dtype)
        if 0 not in x.shape:
            with low.nest([x.shape[axis] for axis in axes]) as inner:
                code.line(f"{total} = {step(Expr(total), element(at, inner)).text};")
        if target is not None:
            low.assign(target, at, Expr(total))
    return target if target is not None else variable(dtype, total)


def _kept(x: Array, shape: Sequence[Any]) -> Array:
    """A reduced array in the shape of the result, where axes may be kept with size 1."""
    out = x.reshaped(shape)
    return out if out is not None else broadcast(x, shape)


def _reduce(name: str, start: Callable[[DType], Any]) -> Callable[..., Array]:
    """A reduction; `start` gives the number that it starts with, None for the first element."""
    def rule(low: Lowering, line: Line, x: Any, *, axis: Any = None, keepdims: bool = False,
             dtype: Any = None) -> Array:
        (result, *_), source = line.results, low.array(x)
        own = np.dtype(dtype) if dtype is not None else result.dtype
        source = source if source.dtype == own else low.cast(source, own)
        axes = _axes(axis, len(source.shape))
        if not axes:
            return source
        number = start(own)
        first = None if number is None else low.language.literal(number, own)
        out = fold_axes(low, source if number is not None else low.ready(source), axes, None, first, own,
                        lambda total, element: low.element(name, total, element, dtype=own), low.hint(line))
        return _kept(out, result.shape)

    return rule


def _extreme(name: str, start: float) -> Callable[..., Array]:
    """The largest or smallest, NaN where there is one."""
    def lowest(dtype: DType) -> Any:
        if dtype.kind == "f":
            return start
        return start > 0 if dtype.kind == "b" else None

    return _reduce(name, lowest)


def _position(name: str) -> Callable[..., Array]:
    """Where the first extreme stands; a NaN counts as one."""
    def rule(low: Lowering, line: Line, x: Any, *, axis: Any = None, keepdims: bool = False) -> Array:
        (result, *_), source, code = line.results, low.ready(low.array(x)), low.code
        if axis is None:
            flat = source.reshaped((source.size,))
            source = flat if flat is not None else low.dense(source).reshaped((source.size,))  # type: ignore[assignment]
        (at,) = _axes(axis if axis is not None else 0, len(source.shape))
        kept = [n for i, n in enumerate(source.shape) if i != at]
        out = low.room(kept, INT64, low.hint(line))
        with low.nest(kept) as others:
            def element(index: Index) -> Expr:
                return source.at(code, (*others[:at], index, *others[at:]))

            if 0 in kept:
                return _kept(out, result.shape)
            best, place = code.new_name("best"), code.new_name("place")
            code.line(code.language.variable(best, source.dtype, element(Index())), best)
            code.line(code.language.variable(place, INT64, low.language.literal(0, INT64)), place)
            with code.loop(source.shape[at]) as i:
                here = code.local(element(i), source.dtype, "here")
                better = low.element(name, here, Expr(best), dtype=source.dtype)
                if source.dtype.kind == "f":  # the first NaN wins
                    better = Expr(f"{Expr(best)} == {Expr(best)} && ({better} || {here} != {here})", is_atom=False)
                with code.block(f"if ({better.text}) {{"):
                    code.line(f"{best} = {here};")
                    code.line(f"{place} = {i.text};")
            low.assign(out, others, Expr(place))
        return _kept(out, result.shape)

    return rule


def _cumulative(name: str, start: int) -> Callable[..., Array]:
    def rule(low: Lowering, line: Line, x: Any, *, axis: Any = None, dtype: Any = None) -> Array:
        (result, *_), source, code = line.results, low.array(x), low.code
        own = np.dtype(dtype) if dtype is not None else result.dtype
        source = source if source.dtype == own else low.cast(source, own)
        (at,) = _axes(axis if axis is not None else 0, len(source.shape))
        kept = [n for i, n in enumerate(source.shape) if i != at]
        out = low.room(source.shape, own, low.hint(line))
        if out.size:
            with low.nest(kept) as others:
                total = code.new_name("total")
                code.line(code.language.variable(total, own, low.language.literal(start, own)), total)
                with code.loop(source.shape[at]) as i:
                    indices = (*others[:at], i, *others[at:])
                    element = low.element(name, Expr(total), source.at(code, indices), dtype=own)
                    code.line(f"{total} = {element.text};")
                    low.assign(out, indices, Expr(total))
        return out

    return rule


# Products -------------------------------------------------------------------------------------------------------------

ROWS = 4
"""Columns of a product from which on it goes row by row, along which compilers compute several numbers at once."""


def product(low: Lowering, line: Line, a: Any, b: Any, *, zeros_kept: bool = False, wide: bool = False) -> Array:
    """The matrix product; its sums are in float64 where `wide`."""
    result = line.results[0]
    dtype = result.dtype
    if dtype.kind != "f":
        raise Unwritable(f"multiplies matrices of {dtype.name}, which cannot be written")
    left, right = low.ready(low.array(a, dtype)), low.ready(low.array(b, dtype))
    x = left if len(left.shape) > 1 else broadcast(left, (1, *left.shape))
    y = right if len(right.shape) > 1 else transposed(broadcast(right, (1, *right.shape)), (1, 0))
    rows, size, columns = x.shape[-2], x.shape[-1], y.shape[-1]
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    x, y = broadcast(x, (*batch, rows, size)), broadcast(y, (*batch, size, columns))
    if not result.shape and size:
        sums = FLOAT64 if wide else dtype
        terms = Array((size,), sums, lambda code, at: _term(
            low, low.cast(x, sums).at(code, (ZERO, *at)), low.cast(y, sums).at(code, (*at, ZERO)), sums,
            zeros_kept=zeros_kept))
        total = fold_axes(low, terms, [0], None, low.language.literal(0, sums), sums,
                          lambda total, term: low.element("add", total, term, dtype=sums), low.hint(line))
        return low.cast(total, dtype) if sums != dtype else total
    out = low.room((*batch, rows, columns), dtype, low.hint(line)) if low.home(line) is None else low.home(line)
    assert out is not None  # noqa: S101
    if len(out.shape) != len(batch) + 2:
        out = out.reshaped((*batch, rows, columns))
        assert out is not None  # noqa: S101
    if out.size:
        _multiply(low, x, y, out, FLOAT64 if wide else dtype, zeros_kept=zeros_kept)
    whole = out.reshaped(result.shape)
    assert whole is not None  # noqa: S101
    return whole


def _term(low: Lowering, a: Expr, b: Expr, sums: DType, *, zeros_kept: bool) -> Expr:
    """A product of two numbers."""
    if not zeros_kept:
        return low.element("multiply", a, b, dtype=sums)
    return Expr(low.language.call("product_kept" + ("f" if sums != FLOAT64 else ""), a.text, b.text))


def _multiply(low: Lowering, x: Array, y: Array, out: Array, sums: DType, *, zeros_kept: bool) -> None:
    code, (rows, size, columns) = low.code, (*x.shape[-2:], y.shape[-1])

    def term(a: Expr, b: Expr) -> Expr:
        return _term(low, a, b, sums, zeros_kept=zeros_kept)

    def element(array: Array, indices: Indices) -> Expr:
        return code.language.cast(array.at(code, indices), array.dtype, sums)

    is_dense = y.storage is not None and y.storage.strides[-1] == 1
    with low.nest((*x.shape[:-2], rows)) as at:
        batch, row = at[:-1], at[-1]
        if columns >= ROWS and is_dense and sums == out.dtype and size > 1:
            with code.loop(columns) as j:
                low.assign(out, (*batch, row, j), low.language.literal(0, sums))
            with code.loop(size) as k:
                factor = code.local(element(x, (*batch, row, k)), sums, "factor")
                with code.loop(columns) as j:
                    place = (*batch, row, j)
                    low.assign(out, place, low.element(
                        "add", out.at(code, place), term(factor, element(y, (*batch, k, j))), dtype=sums))
            return
        with code.loop(columns) as j:
            total = code.new_name("total")
            code.line(code.language.variable(total, sums, low.language.literal(0, sums)), total)
            if size:
                with code.loop(size) as k:
                    product_ = term(element(x, (*batch, row, k)), element(y, (*batch, k, j)))
                    code.line(f"{total} = {low.element('add', Expr(total), product_, dtype=sums).text};")
            low.assign(out, (*batch, row, j), code.language.cast(Expr(total), sums, out.dtype))


def _product_kept(low: Lowering, line: Line, a: Any, b: Any) -> Array:
    return product(low, line, a, b, zeros_kept=True, wide=line.results[0].dtype != FLOAT64)


def _long_product(low: Lowering, line: Line, a: Any, b: Any) -> Array:
    return product(low, line, a, b, wide=True)


REDUCTIONS: Rules = {
    np.sum: _reduce("add", lambda dtype: 0), np.prod: _reduce("multiply", lambda dtype: 1),
    np.max: _extreme("maximum", -np.inf), np.min: _extreme("minimum", np.inf),
    np.any: lambda low, line, x, **options: _quantifier(low, line, x, "logical_or", start=False, **options),
    np.all: lambda low, line, x, **options: _quantifier(low, line, x, "logical_and", start=True, **options),
    np.argmax: _position("greater"), np.argmin: _position("less"),
    np.cumulative_sum: _cumulative("add", 0), np.cumulative_prod: _cumulative("multiply", 1),
    np.matmul: product, long_product: _long_product, product_kept: _product_kept,
}
"""Rules of reductions and products."""


def _quantifier(low: Lowering, line: Line, x: Any, name: str, *, start: bool, axis: Any = None,
                keepdims: bool = False) -> Array:
    source = low.array(x, BOOL)
    axes = _axes(axis, len(source.shape))
    if not axes:
        return source
    out = fold_axes(low, source, axes, None, low.language.literal(start, BOOL), BOOL,
                    lambda total, element: low.element(name, total, element, dtype=BOOL), low.hint(line))
    return _kept(out, line.results[0].shape)
