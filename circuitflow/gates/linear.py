"""Matrix products, and the order of axes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from circuitflow.gates.record import Attributes, Gate, Reads
from circuitflow.gates.shapes import ArrayType, ShapeError, axes_of, broadcast_shapes, need_float, promote, show


class Axes(Attributes):
    """The order of the axes."""

    axes: Annotated[
        list[int] | None, Field(description="for every axis of the result, the operand's; reversed by default")
    ] = None


def _product_type(a: ArrayType, b: ArrayType) -> ArrayType:
    need_float("a", a)
    need_float("b", b)
    if not a.shape or not b.shape:
        raise ShapeError(f"needs vectors or matrices; a is {show(a.shape)}, b is {show(b.shape)}; use mul for a scalar")
    inner, place = (b.shape[0], "first") if len(b.shape) == 1 else (b.shape[-2], "second to last")
    if a.shape[-1] != inner:
        place = "first" if len(b.shape) <= 2 else place
        raise ShapeError(f"needs the last dimension of a {show(a.shape)} to equal the {place} of b {show(b.shape)}: "
                         f"{a.shape[-1]} is not {inner}")
    batch = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return ArrayType((*batch, *a.shape[-2:-1], *(b.shape[-1:] if len(b.shape) > 1 else ())), promote(a.dtype, b.dtype))


def _as_matrices(op: Any, g: Any, a: Any, b: Any) -> tuple[Any, Any, Any]:
    """A vector on the left is a row, on the right a column; the gradient gets back the axis that went with it."""
    if a.ndim == 1:
        a, g = op.unsqueeze(a, axis=0), op.unsqueeze(g, axis=-1 if b.ndim == 1 else -2)
    if b.ndim == 1:
        b, g = op.unsqueeze(b, axis=1), op.unsqueeze(g, axis=-1)
    return g, a, b


def _matmul_a(op: Any, g: Any, out: Any, a: Any, b: Any) -> Any:
    if b.ndim == 1:  # one scalar of g for every row of a
        return (g if a.ndim == 1 else op.unsqueeze(g, axis=-1)) * b
    if a.ndim == 1 and b.ndim == 2:
        return op.matmul(b, g)
    g, row, matrix = _as_matrices(op, g, a, b)
    da = op.matmul(g, op.matrix_transpose(matrix))
    return da if a.ndim > 1 else op.squeeze(op.sum_to_like(da, row), axis=0)


def _matmul_b(op: Any, g: Any, out: Any, a: Any, b: Any) -> Any:
    if a.ndim == 1:
        return g * a if b.ndim == 1 else op.unsqueeze(g, axis=-2) * op.unsqueeze(a, axis=-1)
    if a.ndim == 2 and b.ndim == 1:
        return op.matmul(op.matrix_transpose(a), g)
    g, matrix, column = _as_matrices(op, g, a, b)
    db = op.matmul(op.matrix_transpose(matrix), g)
    return db if b.ndim > 1 else op.squeeze(op.sum_to_like(db, column), axis=1)


def _order(axes: list[int] | None, rank: int) -> tuple[int, ...]:
    if axes is None:
        return tuple(reversed(range(rank)))
    if len(axes) != rank or len(axes_of(axes, rank)) != rank:
        raise ShapeError(f"needs every axis of the {rank} of x once in 'axes', not {axes}")
    return tuple(axis % rank for axis in axes)


def _transposed(x: ArrayType, *, axes: list[int] | None) -> ArrayType:
    return ArrayType(tuple(x.shape[axis] for axis in _order(axes, len(x.shape))), x.dtype)


def _transpose_backward(op: Any, g: Any, out: Any, x: Any, *, axes: list[int] | None) -> Any:
    order = _order(axes, x.ndim)
    return op.transpose(g, axes=sorted(range(x.ndim), key=order.__getitem__))


def _matrix_transposed(x: ArrayType) -> ArrayType:
    if len(x.shape) < 2:
        raise ShapeError(f"needs two dimensions or more; x is {show(x.shape)}")
    return ArrayType((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype)


LINEAR = {
    "matmul": Gate("a @ b", "The matrix product, over leading batch dimensions; vectors as NumPy takes them.",
                   ("a", "b"), _product_type, symbol="@", broadcasts=True, reads=Reads.INPUTS,
                   forward=lambda xp, a, b: xp.matmul(a, b),
                   backward=(_matmul_a, _matmul_b)),
    "transpose": Gate("xᵀ", "The axes in another order, reversed by default.",
                      ("x",), _transposed, attributes=Axes, symbol="T",
                      forward=lambda xp, x, *, axes: xp.permute_dims(x, _order(axes, x.ndim)),
                      backward=(_transpose_backward,)),
    "matrix_transpose": Gate("xᵀ", "The last two axes exchanged.",
                             ("x",), _matrix_transposed, symbol="T",
                             forward=lambda xp, x: xp.matrix_transpose(x),
                             backward=(lambda op, g, out, x: op.matrix_transpose(g),)),
}
