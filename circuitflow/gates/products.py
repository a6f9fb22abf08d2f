"""Products and diagonals of vectors, matrices and batches. Matrices stand in the last two axes, batches before them."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Any

from pydantic import Field, field_validator

from circuitflow.gates.factors import of_rearrangement
from circuitflow.gates.integers import exact
from circuitflow.gates.record import AtLeast, Attributes, Facets, Gate, Note, Onnx, Reads, family
from circuitflow.gates.shapes import (
    ArrayType,
    Dimension,
    ShapeError,
    axes_of,
    broadcast_shapes,
    need_float,
    need_number,
    need_shape,
    promote,
    show,
)
from circuitflow.gates.sums import contract, product, total


class AxisOrder(Attributes):
    axes: list[int] | None = Field(None, description="for every axis of the result, the axis of the operand; reversed "
                                                     "by default")


class General(Attributes):
    alpha: float = Field(1.0, description="factor of the product")
    beta: float = Field(1.0, description="factor of c")
    trans_a: bool = Field(False, description="take the transpose of a")
    trans_b: bool = Field(False, description="take the transpose of b")


class Equation(Attributes):
    equation: str = Field(
        max_length=200,
        description="indices of every operand and of the result, as in ij,jk->ik; a letter for every axis")

    @field_validator("equation")
    @classmethod
    def _explicit(cls, value: str) -> str:
        operands, result = _terms(value) if re.fullmatch(r"[A-Za-z]*(,[A-Za-z]*)*->[A-Za-z]*", value) else ([], "!")
        for term in (*operands, result):
            if len(set(term)) < len(term) or not set(result) <= set("".join(operands)):
                raise ValueError("letters, commas and an arrow, such as ij,jk->ik, no letter twice in a term")
        return value


class Diagonal(Attributes):
    offset: int = Field(0, description="the diagonal: 0 the main one, above it positive")


def _terms(equation: str) -> tuple[list[str], str]:
    operands, _, result = equation.partition("->")
    return operands.split(","), result


def _product_type(a: ArrayType, b: ArrayType) -> ArrayType:
    need_float("a", a)
    need_float("b", b)
    if not a.shape or not b.shape:
        raise ShapeError(f"needs vectors or matrices; a is {show(a.shape)}, b is {show(b.shape)}; use mul for a scalar")
    inner = b.shape[0] if len(b.shape) == 1 else b.shape[-2]
    if a.shape[-1] != inner:
        place = "first" if len(b.shape) <= 2 else "second to last"
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


def _transpose_backward(op: Any, g: Any, out: Any, x: Any, *, axes: list[int] | None) -> Any:
    order = _order(axes, x.ndim)
    return op.transpose(g, axes=sorted(range(x.ndim), key=order.__getitem__))


def _matrix_transpose_type(x: ArrayType) -> ArrayType:
    if len(x.shape) < 2:
        raise ShapeError(f"needs two dimensions or more; x is {show(x.shape)}")
    return ArrayType((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype)


# gemm, outer, einsum --------------------------------------------------------------------------------------------------

def _gemm_type(a: ArrayType, b: ArrayType, c: ArrayType | None = None, *, alpha: float, beta: float, trans_a: bool,
               trans_b: bool) -> ArrayType:
    for name, x in (("a", a), ("b", b)):
        if len(x.shape) != 2:
            raise ShapeError(f"needs matrices; {name} is {show(x.shape)}")
    product = _product_type(_matrix_transpose_type(a) if trans_a else a, _matrix_transpose_type(b) if trans_b else b)
    if c is None:
        return product
    need_float("c", c)
    if broadcast_shapes(c.shape, product.shape) != product.shape:
        raise ShapeError(f"cannot broadcast c {show(c.shape)} to the product {show(product.shape)}")
    return ArrayType(product.shape, promote(product.dtype, c.dtype))


def _gemm(xp: Any, a: Any, b: Any, c: Any = None, *, alpha: float, beta: float, trans_a: bool, trans_b: bool) -> Any:
    result = alpha * product(xp, xp.matrix_transpose(a) if trans_a else a, xp.matrix_transpose(b) if trans_b else b)
    return result if c is None else result + beta * c


def _gemm_a(op: Any, g: Any, out: Any, a: Any, b: Any, *_: Any, alpha: float, trans_a: bool, trans_b: bool,
            **rest: Any) -> Any:
    other = b if trans_b else op.matrix_transpose(b)
    return alpha * (op.matrix_transpose(op.matmul(g, other)) if trans_a else op.matmul(g, other))


def _gemm_b(op: Any, g: Any, out: Any, a: Any, b: Any, *_: Any, alpha: float, trans_a: bool, trans_b: bool,
            **rest: Any) -> Any:
    other = a if trans_a else op.matrix_transpose(a)
    return alpha * (op.matrix_transpose(op.matmul(other, g)) if trans_b else op.matmul(other, g))


def _outer_type(a: ArrayType, b: ArrayType) -> ArrayType:
    for name, x in (("a", a), ("b", b)):
        need_float(name, x)
        if len(x.shape) != 1:
            raise ShapeError(f"needs vectors; {name} is {show(x.shape)}")
    return ArrayType((*a.shape, *b.shape), promote(a.dtype, b.dtype))


def _einsum_type(*types: ArrayType, equation: str) -> ArrayType:
    terms, result = _terms(equation)
    if len(terms) != len(types):
        raise ShapeError(f"needs as many operands as the equation {equation} has terms, {len(terms)}; "
                         f"it has {len(types)}")
    sizes: dict[str, Dimension] = {}
    for i, (term, x) in enumerate(zip(terms, types, strict=True)):
        need_float(f"operand {i}", x)
        if len(term) != len(x.shape):
            raise ShapeError(f"needs a letter for every axis of operand {i} {show(x.shape)}; the equation has '{term}'")
        for letter, size in zip(term, x.shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise ShapeError(f"needs equal sizes along '{letter}' of {equation}: {size} is not {sizes[letter]}")
    return ArrayType(tuple(sizes[letter] for letter in result), promote(*(x.dtype for x in types)))


def _einsum_backward(op: Any, einsum: Any, g: Any, xs: Sequence[Any], equation: str) -> tuple[Any, ...]:
    terms, result = _terms(equation)
    gradients = []
    for i, (term, x) in enumerate(zip(terms, xs, strict=True)):
        others = [(t, y) for k, (t, y) in enumerate(zip(terms, xs, strict=True)) if k != i]
        letters = set(result).union(*(t for t, _ in others))
        inner = "".join(letter for letter in term if letter in letters)
        equation = f"{','.join([result, *(t for t, _ in others)])}->{inner}"
        gradient = einsum(g, *(y for _, y in others), equation=equation)
        for axis, letter in enumerate(term):
            if letter not in letters:  # summed away by itself
                gradient = op.unsqueeze(gradient, axis=axis)
        gradients.append(op.expand_like(gradient, x))
    return tuple(gradients)


# Products in which zeros stay zeros -----------------------------------------------------------------------------------

def matmul_kept(op: Any, a: Any, b: Any) -> Any:
    """The matrix product in which 0 times an infinity or NaN is 0.

    It is an einsum, whose axes have a letter each; an axis of 1 that the other operand stretches has none.
    """
    rank = max(a.ndim, b.ndim, 2) - 2
    letters = string.ascii_uppercase[:rank]
    terms = []
    for x, other, matrix in ((a, b, "ik" if a.ndim > 1 else "k"), (b, a, "kj" if b.ndim > 1 else "k")):
        term, axis = "", 0
        for letter in letters[rank - max(x.ndim - 2, 0) :]:
            back = letters.index(letter) - rank - 2
            if x.shape[axis] == 1 and -back <= other.ndim and other.shape[back] != 1:
                x = op.squeeze(x, axis=axis)
            else:
                term, axis = term + letter, axis + 1
        terms.append((term + matrix, x))
    present = "".join(letter for letter in letters if any(letter in term for term, _ in terms))
    result = present + ("i" if a.ndim > 1 else "") + ("j" if b.ndim > 1 else "")
    (first, x), (second, y) = terms
    return op.einsum_no_nan(x, y, equation=f"{first},{second}->{result}")


# Diagonals ------------------------------------------------------------------------------------------------------------

def length_of_diagonal(x: ArrayType, offset: int) -> Dimension:
    if len(x.shape) < 2:
        raise ShapeError(f"needs two dimensions or more; x is {show(x.shape)}")
    rows, columns = x.shape[-2:]
    if rows == columns and offset == 0:
        return rows
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise ShapeError(f"needs a matrix of known size; x is {show(x.shape)}")
    length = min(rows + min(offset, 0), columns - max(offset, 0))
    if length < 0:
        raise ShapeError(f"needs an offset from {-rows} to {columns} for x {show(x.shape)}, not {offset}")
    return length


def _diagonal_type(x: ArrayType, *, offset: int) -> ArrayType:
    return ArrayType((*x.shape[:-2], length_of_diagonal(x, offset)), x.dtype)


def diagonal(xp: Any, x: Any, *, offset: int) -> Any:
    """A row of positions in the flattened matrix."""
    rows, columns = x.shape[-2:]
    length = min(rows + min(offset, 0), columns - max(offset, 0))
    start = max(offset, 0) - min(offset, 0) * columns
    flat = xp.reshape(x, (*x.shape[:-2], rows * columns))
    return flat[..., start : min(start + length * (columns + 1), rows * columns) : columns + 1][..., :length]


def _on_diagonal_type(x: ArrayType, like: ArrayType, *, offset: int) -> ArrayType:
    need_shape("x", x, _diagonal_type(like, offset=offset).shape, f"the diagonal of like {show(like.shape)}")
    return ArrayType(like.shape, x.dtype)


def _on_diagonal(xp: Any, x: Any, like: Any, *, offset: int) -> Any:
    rows, columns = like.shape[-2:]
    row = xp.reshape(xp.arange(rows), (rows, 1))
    column = xp.reshape(xp.arange(columns), (1, columns))
    if not x.shape[-1]:
        return xp.zeros(like.shape, dtype=x.dtype)
    place = xp.clip(row + min(offset, 0), 0, x.shape[-1] - 1)
    spread = xp.reshape(xp.take(x, xp.reshape(place, (-1,)), axis=-1), (*x.shape[:-1], rows, 1))
    return xp.where(column - row == offset, spread, xp.zeros((), dtype=x.dtype))


def _trace_type(x: ArrayType, *, offset: int) -> ArrayType:
    need_number("x", x)
    return ArrayType(_diagonal_type(x, offset=offset).shape[:-1], x.dtype)


def _trace_backward(op: Any, g: Any, out: Any, x: Any, *, offset: int) -> Any:
    diagonal = op.expand_like(op.unsqueeze(g, axis=-1), op.diagonal(x, offset=offset))
    return op.diagonal_like(diagonal, x, offset=offset)


PRODUCTS = family({
    "matmul": Gate("a @ b", "The matrix product, over leading batch dimensions; vectors as NumPy takes them.",
                   ("a", "b"), _product_type, symbol="@", broadcasts=True, reads=Reads.INPUTS,
                   forward=product,
                   backward=(_matmul_a, _matmul_b)).stating(Facets(product=lambda op, at, a, b: matmul_kept(op, a, b))),
    "transpose": Gate("xᵀ", "The axes in another order, reversed by default.",
                      ("x",), lambda x, *, axes: ArrayType(
                          tuple(x.shape[axis] for axis in _order(axes, len(x.shape))), x.dtype),
                      attributes=AxisOrder, symbol="T",
                      forward=lambda xp, x, *, axes: xp.permute_dims(x, _order(axes, x.ndim)),
                      backward=(_transpose_backward,)).stating(Facets(division=of_rearrangement, view=True)),
    "matrix_transpose": Gate("xᵀ", "The last two axes exchanged.",
                             ("x",), _matrix_transpose_type, symbol="T",
                             forward=lambda xp, x: xp.matrix_transpose(x),
                             backward=(lambda op, g, out, x: op.matrix_transpose(g),),
                             ).stating(Facets(undoes_itself=True, view=True)),
    "gemm": Gate("alpha a @ b + beta c", "The general product of two matrices; c may be left out.",
                 ("a", "b", "c"), _gemm_type, optional=1, attributes=General, symbol="gemm", reads=Reads.INPUTS,
                 forward=_gemm,
                 backward=(_gemm_a, _gemm_b, lambda op, g, out, a, b, c, *, beta, **rest:
                           op.sum_to_like(beta * g, c))),
    "outer": Gate("a bᵀ", "The outer product of two vectors.",
                  ("a", "b"), _outer_type, symbol="⊗", reads=Reads.INPUTS,
                  forward=lambda xp, a, b: a[:, None] * b[None, :],
                  backward=(lambda op, g, out, a, b: op.matmul(g, b),
                            lambda op, g, out, a, b: op.matmul(a, g))),
    "einsum": Gate("Σ x y …", "A sum of products over indices that are named.",
                   AtLeast(1), _einsum_type, attributes=Equation, symbol="Σ", reads=Reads.INPUTS,
                   forward=lambda xp, *xs, equation: contract(xp, *_terms(equation), xs),
                   backward=lambda op, g, out, *xs, equation: _einsum_backward(op, op.einsum, g, xs, equation),
                   ).stating(Facets(product=lambda op, at, *xs, equation: op.einsum_no_nan(*xs, equation=equation))),
    "einsum_no_nan": Gate("Σ x y …, 0 · ∞ = 0",
                          "A sum of products over named indices, in which 0 times an infinity or NaN is 0. So no "
                          "gradient comes from what a mask left out.",
                          AtLeast(1), _einsum_type, attributes=Equation, symbol="Σ", reads=Reads.INPUTS,
                          forward=lambda xp, *xs, equation: contract(xp, *_terms(equation), xs, zeros_kept=True),
                          backward=lambda op, g, out, *xs, equation: _einsum_backward(
                              op, op.einsum_no_nan, g, xs, equation),
                          ).stating(Facets(masks=lambda at, count, *, equation: True)),
    "diagonal": Gate("x[i, i]", "A diagonal of matrices.",
                     ("x",), _diagonal_type, attributes=Diagonal, symbol="diag",
                     forward=diagonal,
                     backward=(lambda op, g, out, x, *, offset: op.diagonal_like(g, x, offset=offset),),
                     ).stating(Facets(view=True)),
    "diagonal_like": Gate("diag x", "Matrices in the shape of another operand: x on a diagonal, zeros elsewhere.",
                          ("x", "like"), _on_diagonal_type, attributes=Diagonal, symbol="diag",
                          forward=_on_diagonal,
                          backward=(lambda op, g, out, x, like, *, offset: op.diagonal(g, offset=offset), None)),
    "trace": Gate("Σ x[i, i]", "The sum of a diagonal of matrices.",
                  ("x",), _trace_type,
                  attributes=Diagonal, symbol="tr",
                  forward=lambda xp, x, *, offset: total(xp, diagonal(xp, x, offset=offset), axis=-1),
                  integers=exact,
                  backward=(_trace_backward,)),
}, {
    "matmul": Note("{g} @ {b}ᵀ to {a}, {a}ᵀ @ {g} to {b}", onnx=Onnx("MatMul", written=""), numpy="matmul",
                   also="mm bmm dot inner vdot matrix_multiply mat_mul multi_dot @",
                   words="sends each operand the gradient times the other operand, transposed", notation="@",
                   dead="multiplies by 0"),
    "transpose": Note("{g} with the axes put back to {x}", onnx=Onnx("Transpose", "axes=perm"), numpy="transpose",
                      also="permute permute_dims moveaxis movedim swapaxes swapdims rollaxis t",
                      words="sends its gradient back with the axes put back", formula="own"),
    "matrix_transpose": Note("{g}ᵀ to {x}", numpy="matrix_transpose", also="mt adjoint matrix_adjoint",
                             notation="{}.mT"),
    "gemm": Note("{alpha} {g} @ {b}ᵀ to {a}, {alpha} {a}ᵀ @ {g} to {b}, {beta} {g} to {c}",
                 onnx=Onnx("Gemm", "alpha beta trans_a=transA trans_b=transB", written=""),
                 also="addmm baddbmm addmv"),
    "outer": Note("{g} @ {b} to {a}, {a} @ {g} to {b}", numpy="outer", also="ger tensor_product", formula="own",
                  dead="multiplies by 0"),
    "einsum": Note("the sum of products of {g} and all others to {operands}",
                   onnx=Onnx("Einsum", "equation", written=""),
                   numpy="einsum",
                   also="tensordot", example={"equation": "i,i->"}, dead="multiplies by 0"),
    "einsum_no_nan": Note("as einsum, by the same gate",
                          kinks="0 · ∞ and 0 · NaN are 0", example={"equation": "i,i->"}),
    "diagonal": Note("{g} on the diagonal of {x}, zeros elsewhere", numpy="diagonal", also="diag diag_part"),
    "diagonal_like": Note("the diagonal of {g} to {x}", numpy="diagflat", also="diag_embed"),
    "trace": Note("{g} on the diagonal of {x}", numpy="trace"),
})
