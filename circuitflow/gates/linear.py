"""Linear algebra: products, decompositions, solutions. Matrices stand in the last two axes, batches before them.

The gradients of the decompositions are those of Giles 2008, "Collected matrix derivative results for forward and
reverse mode algorithmic differentiation", of Murray 2016, arXiv:1602.07527 (cholesky), Walter and Lehmann 2010,
arXiv:1001.1654 (qr), and Townsend 2016 (svd). A symmetric operand is taken as the mean of itself and its transpose.
A matrix with an element that is not finite has no inverse, determinant or decomposition: they are NaN.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import Field, field_validator

from circuitflow.gates.integers import exact
from circuitflow.gates.masking import kept
from circuitflow.gates.record import AtLeast, Attributes, Facets, Gate, Reads
from circuitflow.gates.shapes import (
    ArrayType,
    Dimension,
    ShapeError,
    axes_of,
    broadcast_shapes,
    need_float,
    need_number,
    promote,
    show,
)
from circuitflow.gates.sums import contracted, product, total


class Axes(Attributes):
    """The order of the axes."""

    axes: Annotated[
        list[int] | None, Field(description="for every axis of the result, the operand's; reversed by default")
    ] = None


class General(Attributes):
    """The factors of `gemm`, and which operands are transposed."""

    alpha: Annotated[float, Field(description="factor of the product")] = 1.0
    beta: Annotated[float, Field(description="factor of c")] = 1.0
    trans_a: Annotated[bool, Field(description="take the transpose of a")] = False
    trans_b: Annotated[bool, Field(description="take the transpose of b")] = False


class Equation(Attributes):
    """The indices of `einsum`."""

    equation: Annotated[str, Field(max_length=200, description="indices of every operand and of the result, as in "
                                                               "ij,jk->ik; a letter for every axis")]

    @field_validator("equation")
    @classmethod
    def _explicit(cls, value: str) -> str:
        operands, result = _terms(value) if re.fullmatch(r"[A-Za-z]*(,[A-Za-z]*)*->[A-Za-z]*", value) else ([], "!")
        for term in (*operands, result):
            if len(set(term)) < len(term) or not set(result) <= set("".join(operands)):
                raise ValueError("letters, commas and an arrow, such as ij,jk->ik, no letter twice in a term")
        return value


class Diagonal(Attributes):
    """Which diagonal."""

    offset: Annotated[int, Field(description="the diagonal: 0 the main one, above it positive")] = 0


def _terms(equation: str) -> tuple[list[str], str]:
    operands, _, result = equation.partition("->")
    return operands.split(","), result


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


# gemm, outer, einsum --------------------------------------------------------------------------------------------------

def _gemm_type(a: ArrayType, b: ArrayType, c: ArrayType | None = None, *, alpha: float, beta: float, trans_a: bool,
               trans_b: bool) -> ArrayType:
    for name, x in (("a", a), ("b", b)):
        if len(x.shape) != 2:
            raise ShapeError(f"needs matrices; {name} is {show(x.shape)}")
    product = _product_type(_matrix_transposed(a) if trans_a else a, _matrix_transposed(b) if trans_b else b)
    if c is None:
        return product
    need_float("c", c)
    if broadcast_shapes(c.shape, product.shape) != product.shape:
        raise ShapeError(f"cannot broadcast c {show(c.shape)} to the product {show(product.shape)}")
    return ArrayType(product.shape, promote(product.dtype, c.dtype))


def _gemm(xp: Any, a: Any, b: Any, c: Any = None, *, alpha: float, beta: float, trans_a: bool, trans_b: bool) -> Any:
    scaled = alpha * product(xp, xp.matrix_transpose(a) if trans_a else a, xp.matrix_transpose(b) if trans_b else b)
    return scaled if c is None else scaled + beta * c


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


def _einsum(xp: Any, *xs: Any, equation: str) -> Any:
    return contracted(xp, *_terms(equation), xs)


def _einsum_backward(op: Any, g: Any, out: Any, *xs: Any, equation: str) -> tuple[Any, ...]:
    return _einsum_sent(op, op.einsum, g, xs, equation)


def _einsum_sent(op: Any, einsum: Any, g: Any, xs: Sequence[Any], equation: str) -> tuple[Any, ...]:
    terms, result = _terms(equation)
    sent = []
    for i, (term, x) in enumerate(zip(terms, xs, strict=True)):
        others = [(t, y) for k, (t, y) in enumerate(zip(terms, xs, strict=True)) if k != i]
        known = set(result).union(*(t for t, _ in others))
        kept = "".join(letter for letter in term if letter in known)
        found = einsum(g, *(y for _, y in others), equation=f"{','.join([result, *(t for t, _ in others)])}->{kept}")
        for axis, letter in enumerate(term):
            if letter not in known:  # summed away by itself
                found = op.unsqueeze(found, axis=axis)
        sent.append(op.expand_like(found, x))
    return tuple(sent)


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


def _einsum_no_nan_backward(op: Any, g: Any, out: Any, *xs: Any, equation: str) -> tuple[Any, ...]:
    return _einsum_sent(op, op.einsum_no_nan, g, xs, equation)


def _kept_by_matrix(op: Any, result: Any, factor: Any) -> Any:
    """Something linear in a factor, 0 where that is a matrix of zeros alone."""
    size = op.reduce_sum(op.abs(factor), axis=[-2, -1] if factor.ndim > 1 else None, keepdims=factor.ndim > 1)
    return kept(op, size, result)


# Diagonals ------------------------------------------------------------------------------------------------------------

def _length(x: ArrayType, offset: int) -> Dimension:
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
    return ArrayType((*x.shape[:-2], _length(x, offset)), x.dtype)


def _diagonal(xp: Any, x: Any, *, offset: int) -> Any:
    """A row of positions in the flattened matrix."""
    rows, columns = x.shape[-2:]
    length = min(rows + min(offset, 0), columns - max(offset, 0))
    start = max(offset, 0) - min(offset, 0) * columns
    flat = xp.reshape(x, (*x.shape[:-2], rows * columns))
    return flat[..., start : min(start + length * (columns + 1), rows * columns) : columns + 1][..., :length]


def _on_diagonal_type(x: ArrayType, like: ArrayType, *, offset: int) -> ArrayType:
    expected = _diagonal_type(like, offset=offset).shape
    if x.shape != expected:
        raise ShapeError(f"needs x of shape {show(expected)}, the diagonal of like {show(like.shape)}; "
                         f"x is {show(x.shape)}")
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


def _of_finite(xp: Any, compute: Callable[[Any], Any], x: Any) -> Any:
    """What is computed of matrices; NaN for each that is not finite, as LAPACK may raise for it, or never come back."""
    if type(x).__module__ == "numpy" and xp.isfinite(x).all():  # the same sooner
        return compute(x)
    finite = xp.all(xp.isfinite(x), axis=(-2, -1), keepdims=True)
    found = compute(xp.where(finite, x, xp.tril(xp.triu(xp.ones_like(x)))))

    def marked(result: Any) -> Any:
        trailing = result.ndim - x.ndim + 2
        return xp.where(finite[(..., *(0,) * (2 - trailing))], result, math.nan)

    return tuple(map(marked, found)) if isinstance(found, tuple) else marked(found)


# Square matrices ------------------------------------------------------------------------------------------------------

def _square(x: ArrayType) -> ArrayType:
    need_float("x", x)
    if len(x.shape) < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"needs square matrices; x is {show(x.shape)}")
    return x


def _of_square(x: ArrayType) -> ArrayType:
    return ArrayType(_square(x).shape[:-2], x.dtype)


def _scaled(op: Any, g: Any, matrix: Any) -> Any:
    """A matrix times the scalar that belongs to it."""
    return op.unsqueeze(op.unsqueeze(g, axis=-1), axis=-1) * matrix


def _cofactors_type(x: ArrayType, along: ArrayType | None = None) -> ArrayType:
    _square(x)
    if along is None:
        return x
    need_float("along", along)
    if along.shape != x.shape:
        raise ShapeError(f"needs a direction of the shape of x {show(x.shape)}; along is {show(along.shape)}")
    return ArrayType(x.shape, promote(x.dtype, along.dtype))


def _cofactor(xp: Any, x: Any, along: Any = None) -> Any:
    """From the singular values, so that it is exact for singular matrices too: by the product of all others of them.

    For a diagonal matrix the derivative along a direction has the products of all but two of them.
    """
    u, s, vh = _of_finite(xp, lambda x: tuple(xp.linalg.svd(x, full_matrices=False)), x)
    size = s.shape[-1]
    if not size:
        return x
    ones = xp.ones((*s.shape[:-1], 1), dtype=s.dtype)
    before = xp.concat([ones, xp.cumulative_prod(s[..., :-1], axis=-1)], axis=-1) if size > 1 else ones
    after = xp.flip(xp.concat([ones, xp.cumulative_prod(xp.flip(s, axis=-1)[..., :-1], axis=-1)], axis=-1),
                    axis=-1) if size > 1 else ones
    sign = (xp.linalg.det(u) * xp.linalg.det(vh))[..., None, None]
    if along is None:
        return sign * xp.matmul(u * (before * after)[..., None, :], vh)
    # Between i and j stands the product of s[i + 1] … s[j - 1]: a running product along rows, one place to the right.
    place = xp.arange(size)
    upper = place[:, None] < place[None, :]
    running = xp.cumulative_prod(xp.where(upper, s[..., None, :], 1.0), axis=-1)
    running = xp.concat([ones[..., None] + xp.zeros_like(running[..., :1]), running[..., :-1]], axis=-1)
    products = xp.where(upper, before[..., :, None] * running * after[..., None, :], 0.0)
    products = products + xp.matrix_transpose(products)
    turned = xp.matmul(xp.matmul(xp.matrix_transpose(u), along), xp.matrix_transpose(vh))
    diagonal = xp.matmul(products, _diagonal(xp, turned, offset=0)[..., None])
    inner = xp.where(place[:, None] == place[None, :], diagonal, -xp.matrix_transpose(turned) * products)
    return sign * xp.matmul(xp.matmul(u, inner), vh)


def _cofactor_x(op: Any, g: Any, out: Any, x: Any, along: Any = None) -> Any:
    """The derivative of the cofactors is symmetric; a further one is that of det(x) x⁻ᵀ, which needs an inverse."""
    if along is None:
        return op.cofactor(x, g)
    inverse = op.matrix_transpose(op.inv(x))
    by_g, by_along = (op.matmul(op.matmul(inverse, op.matrix_transpose(y)), inverse) for y in (g, along))

    def inner(y: Any, z: Any) -> Any:
        return op.reduce_sum(op.reduce_sum(y * z, axis=-1), axis=-1)

    on_g, on_along = inner(inverse, g), inner(inverse, along)
    twice = op.matmul(op.matmul(by_g, op.matrix_transpose(along)), inverse)
    twice = twice + op.matmul(op.matmul(by_along, op.matrix_transpose(g)), inverse)
    return _scaled(op, op.det(x), _scaled(op, on_g * on_along - inner(by_along, g), inverse)
                   - _scaled(op, on_g, by_along) - _scaled(op, on_along, by_g) + twice)


def _inv_backward(op: Any, g: Any, out: Any, x: Any) -> Any:
    transposed = op.matrix_transpose(out)
    return -op.matmul(op.matmul(transposed, g), transposed)


def _solution(a: ArrayType, b: ArrayType) -> ArrayType:
    need_float("b", b)
    if len(_square(a).shape) < 2 or not b.shape:
        raise ShapeError(f"needs a vector or matrices on the right side; b is {show(b.shape)}")
    rows = b.shape[0] if len(b.shape) == 1 else b.shape[-2]
    if rows != a.shape[-1]:
        raise ShapeError(f"needs as many rows of b {show(b.shape)} as a {show(a.shape)} has: {rows} is not "
                         f"{a.shape[-1]}")
    if len(b.shape) == 1:
        return ArrayType((*a.shape[:-2], *b.shape), promote(a.dtype, b.dtype))
    batch = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return ArrayType((*batch, *b.shape[-2:]), promote(a.dtype, b.dtype))


def _solve(xp: Any, a: Any, b: Any) -> Any:
    if b.ndim == 1:
        return _of_finite(xp, lambda a: xp.linalg.solve(a, b[:, None]), a)[..., 0]
    batch = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    right = xp.broadcast_to(b, (*batch, *b.shape[-2:]))
    return _of_finite(xp, lambda a: xp.linalg.solve(a, right), xp.broadcast_to(a, (*batch, *a.shape[-2:])))


def _solve_b(op: Any, g: Any, out: Any, a: Any, b: Any) -> Any:
    transposed = op.matrix_transpose(a)
    if b.ndim > 1:
        return op.solve(transposed, g)
    return op.squeeze(op.solve(transposed, op.unsqueeze(g, axis=-1)), axis=-1)


def _solve_a(op: Any, g: Any, out: Any, a: Any, b: Any) -> Any:
    db = _solve_b(op, g, out, a, b)
    if b.ndim == 1:
        return -(op.unsqueeze(db, axis=-1) * op.unsqueeze(out, axis=-2))
    return -op.matmul(db, op.matrix_transpose(out))


# Decompositions -------------------------------------------------------------------------------------------------------

def _symmetric(xp: Any, x: Any) -> Any:
    return (x + xp.matrix_transpose(x)) / 2


def _symmetrised(op: Any, x: Any) -> Any:
    return (x + op.matrix_transpose(x)) / 2


def _cholesky_backward(op: Any, g: Any, out: Any, x: Any) -> Any:
    transposed = op.matrix_transpose(out)
    product = op.matmul(transposed, g)
    lower = (op.trilu(product, upper=False) + op.trilu(product, upper=False, k=-1)) / 2
    middle = op.matrix_transpose(op.solve(transposed, op.matrix_transpose(op.solve(transposed, lower))))
    return _symmetrised(op, middle)


def _signs(xp: Any, vectors: Any) -> Any:
    """What makes the first large component of every column positive: libraries differ in it, results shall not."""
    if not vectors.shape[-2]:
        return xp.ones((*vectors.shape[:-2], 1, vectors.shape[-1]), dtype=vectors.dtype)
    size = xp.abs(vectors)
    large = size >= 0.5 * xp.max(size, axis=-2, keepdims=True)
    first = xp.argmax(xp.asarray(large, dtype=xp.int8), axis=-2, keepdims=True)
    row = xp.reshape(xp.arange(vectors.shape[-2]), (-1, 1))
    chosen = xp.sum(xp.where(row == first, vectors, 0.0), axis=-2, keepdims=True, dtype=vectors.dtype)
    return xp.where(chosen < 0, xp.asarray(-1.0, dtype=vectors.dtype), xp.asarray(1.0, dtype=vectors.dtype))


def _eigh(xp: Any, x: Any) -> tuple[Any, Any]:
    values, vectors = _of_finite(xp, lambda x: tuple(xp.linalg.eigh(x)), _symmetric(xp, x))
    return values, vectors * _signs(xp, vectors)


def _qr(xp: Any, x: Any) -> tuple[Any, Any]:
    q, r = _of_finite(xp, lambda x: tuple(xp.linalg.qr(x, mode="reduced")), x)
    diagonal = xp.expand_dims(_diagonal(xp, r, offset=0), axis=-2)
    signs = xp.where(diagonal < 0, xp.asarray(-1.0, dtype=x.dtype), xp.asarray(1.0, dtype=x.dtype))
    return q * signs, xp.matrix_transpose(signs) * r


def _svd(xp: Any, x: Any) -> tuple[Any, Any, Any]:
    u, s, vh = _of_finite(xp, lambda x: tuple(xp.linalg.svd(x, full_matrices=False)), x)
    signs = _signs(xp, u)
    return u * signs, s, xp.matrix_transpose(signs) * vh


def _eigh_type(x: ArrayType) -> tuple[ArrayType, ArrayType]:
    return ArrayType(_square(x).shape[:-1], x.dtype), x


class Closeness(NamedTuple):
    """What counts as equal, relative to the size of the matrix or of its gradient.

    Attributes:
        equal: two values that differ by rounding alone.
        near: two values whose difference has lost half of its digits.
        alike: numbers that agree to the digits that are left then.
    """

    equal: float
    near: float
    alike: float


def _closeness(x: Any) -> Closeness:
    return Closeness(1e-14, 1e-8, 1e-6) if "float64" in str(x.dtype) else Closeness(4e-6, 3e-4, 1e-2)


def _undefined(op: Any, x: Any, value: Any) -> Any:
    """A value, or a number, whose derivative is infinite or NaN; x is what the derivative is taken by."""
    nothing = op.zeros_like(x)
    return op.stop_gradient(value) + op.mul_div_no_nan(nothing + 1.0, x, nothing)


def _length_of(op: Any, x: Any, axis: int | list[int]) -> Any:
    """The length along axes, which are kept; a bound of rounding errors has no gradient."""
    return op.reduce_l2(op.stop_gradient(x), axis=axis, keepdims=True)


def _on_diagonal_of(op: Any, values: Any, matrix: Any) -> Any:
    return op.diagonal_like(op.ones_like(values), matrix) == 1


def _mixing(op: Any, values: Any, turning: Any, slopes: Any) -> Any:
    """The gradient on a matrix in the basis of its vectors: (t[i, j] - t[j, i]) / (2 (v[j] - v[i])) beside the slopes.

    That is 0 / 0 where two values are equal, and has few digits where they are near. A function V f(v) Vᵀ has a
    gradient there: N f', where N is the gradient on the function (Daleckii and Krein 1965). Its t is 2 N f, and its
    slopes are f' times the diagonal of N. So between values that are near, the gradient is the symmetric part of t
    times the one ratio of slopes to the diagonal of t. Between equal values it is NaN where t is not symmetric, as then
    the function depends on the choice of the vectors, and where there is no one ratio, as for f = 0 or for the sum of
    two such functions: t and the slopes then do not tell the gradient. So is its derivative among equal values.

    Args:
        op: the vocabulary.
        values: eigenvalues or singular values.
        turning: t, the vectors times the gradient on them.
        slopes: the gradient on the values; None where none arrives.
    """
    bounds = _closeness(values)
    first, second = op.unsqueeze(values, axis=-1), op.unsqueeze(values, axis=-2)
    gap, scale = second - first, op.unsqueeze(_length_of(op, values, -1), axis=-1)
    equal, mirrored = abs(gap) <= bounds.equal * scale, op.matrix_transpose(turning)
    across, along = (turning - mirrored) / 2, (turning + mirrored) / 2
    width = _length_of(op, turning, -2)
    alike = bounds.alike * (width + op.matrix_transpose(width)) + bounds.equal * _length_of(op, turning, [-2, -1])
    symmetric = abs(across) <= alike
    if slopes is None:  # what depends on the vectors alone, and not on the choice of them, is constant
        between, one_ratio, settled = op.zeros_like(along), symmetric, symmetric
    else:
        p, s = op.diagonal(turning), slopes
        p1, p2, s1, s2 = (op.unsqueeze(y, axis=axis) for y in (p, s) for axis in (-1, -2))
        weight = p1 * p1 + p2 * p2
        ratio = (p1 * s1 + p2 * s2) / op.where(weight == 0, 1.0, weight)
        misfit, size = abs(s1 - ratio * p1) + abs(s2 - ratio * p2), abs(s1) + abs(s2)
        noise = bounds.equal * op.unsqueeze(_length_of(op, s, -1), axis=-1)
        one_ratio = symmetric & (misfit <= bounds.alike * size + noise)
        one_ratio = one_ratio & ((abs(p1) + abs(p2) >= alike) | (abs(along) <= alike))
        between, settled = ratio * along, one_ratio & (size <= noise)
    special = equal | ((abs(gap) <= bounds.near * scale) & one_ratio)
    between = op.where(settled, 0.0, _undefined(op, gap, op.where(one_ratio, between, math.nan)))
    found = op.where(special, between, across / op.where(special, 1.0, gap))
    slopes = op.zeros_like(values) if slopes is None else slopes
    return op.where(_on_diagonal_of(op, values, gap), op.unsqueeze(slopes, axis=-1), found)


def _eigh_backward(op: Any, g: Any, out: Any, x: Any) -> Any:
    (values, vectors), (g_values, g_vectors) = out, g
    transposed = op.matrix_transpose(vectors)
    if g_vectors is None:
        return op.matmul(vectors * op.unsqueeze(g_values, axis=-2), transposed)
    inner = _mixing(op, values, op.matmul(transposed, g_vectors), g_values)
    return _symmetrised(op, op.matmul(op.matmul(vectors, inner), transposed))


def _qr_type(x: ArrayType) -> tuple[ArrayType, ArrayType]:
    need_float("x", x)
    least = _length(x, 0)
    return ArrayType((*x.shape[:-1], least), x.dtype), ArrayType((*x.shape[:-2], least, x.shape[-1]), x.dtype)


def _qr_backward(op: Any, g: Any, out: Any, x: Any) -> Any:
    (q, r), (g_q, g_r) = out, g
    rows, columns = x.shape[-2:]
    if rows == columns or rows > columns:  # sizes that are not known are equal
        return _tall_qr(op, q, r, g_q, g_r)
    # The first columns make a square matrix with the same q; the others are q times theirs of r.
    left, g_left = (op.slice(y, axis=-1, start=0, stop=rows) for y in (r, g_r))
    g_right = op.slice(g_r, axis=-1, start=rows)
    right = op.slice(x, axis=-1, start=rows)
    g_q = g_q + op.matmul(right, op.matrix_transpose(g_right))
    return op.concat(_tall_qr(op, q, left, g_q, g_left), op.matmul(q, g_right), axis=-1)


def _tall_qr(op: Any, q: Any, r: Any, g_q: Any, g_r: Any) -> Any:
    m = op.matmul(r, op.matrix_transpose(g_r)) - op.matmul(op.matrix_transpose(g_q), q)
    lower = op.trilu(m, upper=False, k=-1)
    mirrored = op.trilu(m, upper=False) + op.matrix_transpose(lower)
    return op.matrix_transpose(op.solve(r, op.matrix_transpose(g_q + op.matmul(q, mirrored))))


def _svd_type(x: ArrayType) -> tuple[ArrayType, ArrayType, ArrayType]:
    q, r = _qr_type(x)
    return q, ArrayType((*x.shape[:-2], q.shape[-1]), x.dtype), r


def _svd_backward(op: Any, g: Any, out: Any, x: Any) -> Any:
    (u, s, vh), (g_u, g_s, g_vh) = out, g
    if g_u is None and g_vh is None:
        return op.matmul(u * op.unsqueeze(g_s, axis=-2), vh)
    g_u, g_vh = op.zeros_like(u) if g_u is None else g_u, op.zeros_like(vh) if g_vh is None else g_vh
    ut, v, g_v = (op.matrix_transpose(y) for y in (u, vh, g_vh))
    left, right = op.matmul(ut, g_u), op.matmul(vh, g_v)
    row, column = op.unsqueeze(s, axis=-2), op.unsqueeze(s, axis=-1)
    bounds, scale = _closeness(s), op.unsqueeze(_length_of(op, s, -1), axis=-1)
    noise = bounds.equal * (_length_of(op, g_u, [-2, -1]) + _length_of(op, g_v, [-2, -1]))
    slopes = op.zeros_like(s) if g_s is None else abs(g_s)
    level = slopes <= bounds.equal * _length_of(op, slopes, -1)

    def over(numerator: Any, length: Any, level: Any) -> Any:
        """A quotient; where the length is 0, it is 0 if numerator and slope are, else they do not tell what it is."""
        none = length <= bounds.equal * scale
        quotient = numerator / op.where(none, 1.0, length)
        settled = level & (abs(numerator) <= noise)
        return op.where(none, op.where(settled, 0.0, _undefined(op, quotient, math.nan)), quotient)

    turned, level = (left - right) / 2, op.unsqueeze(level, axis=-2)
    both_level = (level & op.matrix_transpose(level)) | _on_diagonal_of(op, s, row + column)
    inner = _mixing(op, s, left + right, g_s) + over(turned - op.matrix_transpose(turned), row + column, both_level)
    sent = op.matmul(op.matmul(u, inner), vh)
    rows, columns = x.shape[-2:]
    if rows == columns:
        return sent
    if rows > columns:
        return sent + op.matmul(over(g_u - op.matmul(u, left), row, level), vh)
    outside = over(g_v - op.matmul(v, right), row, level)
    return sent + op.matmul(u, op.matrix_transpose(outside))


LINEAR = {
    "matmul": Gate("a @ b", "The matrix product, over leading batch dimensions; vectors as NumPy takes them.",
                   ("a", "b"), _product_type, symbol="@", broadcasts=True, reads=Reads.INPUTS,
                   forward=product,
                   backward=(_matmul_a, _matmul_b)).stating(Facets(product=lambda op, at, a, b: matmul_kept(op, a, b))),
    "transpose": Gate("xᵀ", "The axes in another order, reversed by default.",
                      ("x",), _transposed, attributes=Axes, symbol="T",
                      forward=lambda xp, x, *, axes: xp.permute_dims(x, _order(axes, x.ndim)),
                      backward=(_transpose_backward,)),
    "matrix_transpose": Gate("xᵀ", "The last two axes exchanged.",
                             ("x",), _matrix_transposed, symbol="T",
                             forward=lambda xp, x: xp.matrix_transpose(x),
                             backward=(lambda op, g, out, x: op.matrix_transpose(g),),
                             ).stating(Facets(undoes_itself=True)),
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
                   forward=_einsum,
                   backward=_einsum_backward,
                   ).stating(Facets(product=lambda op, at, *xs, equation: op.einsum_no_nan(*xs, equation=equation))),
    "einsum_no_nan": Gate("Σ x y …, 0 · ∞ = 0",
                          "A sum of products over indices that are named; 0 times an infinity or NaN is 0 in it: how "
                          "gradients stay away from what a mask left out.",
                          AtLeast(1), _einsum_type, attributes=Equation, symbol="Σ", reads=Reads.INPUTS,
                          forward=lambda xp, *xs, equation: contracted(xp, *_terms(equation), xs, zeros_kept=True),
                          backward=_einsum_no_nan_backward).stating(Facets(masks=lambda at, count, *, equation: True)),
    "diagonal": Gate("x[i, i]", "A diagonal of matrices.",
                     ("x",), _diagonal_type, attributes=Diagonal, symbol="diag",
                     forward=_diagonal,
                     backward=(lambda op, g, out, x, *, offset: op.diagonal_like(g, x, offset=offset),)),
    "diagonal_like": Gate("diag x", "Matrices in the shape of another operand: x on a diagonal, zeros elsewhere.",
                          ("x", "like"), _on_diagonal_type, attributes=Diagonal, symbol="diag",
                          forward=_on_diagonal,
                          backward=(lambda op, g, out, x, like, *, offset: op.diagonal(g, offset=offset), None)),
    "trace": Gate("Σ x[i, i]", "The sum of a diagonal of matrices.",
                  ("x",), _trace_type,
                  attributes=Diagonal, symbol="tr",
                  forward=lambda xp, x, *, offset: total(xp, _diagonal(xp, x, offset=offset), axis=-1),
                  integers=exact,
                  backward=(_trace_backward,)),
    "det": Gate("det x", "The determinant; its gradient, the cofactors, is exact for singular matrices.",
                ("x",), _of_square, symbol="det", reads=Reads.INPUTS,
                forward=lambda xp, x: _of_finite(xp, xp.linalg.det, x),
                backward=(lambda op, g, out, x: _scaled(op, g, op.cofactor(x)),)),
    "cofactor": Gate("det(x) x⁻ᵀ", "The cofactors of a matrix, also where it is singular; or their derivative along a "
                                   "direction, whose own gradient needs an inverse.",
                     ("x", "along"), _cofactors_type, optional=1, symbol="cof", reads=Reads.INPUTS,
                     forward=_cofactor,
                     backward=(_cofactor_x,
                               lambda op, g, out, x, along: op.cofactor(x, g)),
                     ).stating(Facets(product=lambda op, at, x, along:
                                      _kept_by_matrix(op, op.cofactor(x, along), along))),
    "slogdet": Gate("sign det x, ln |det x|", "Sign and logarithm of the determinant, without overflow.",
                    ("x",), lambda x: (_of_square(x), _of_square(x)), outputs=("sign", "logabsdet"), symbol="ln det",
                    reads=Reads.INPUTS,
                    forward=lambda xp, x: _of_finite(xp, lambda x: tuple(xp.linalg.slogdet(x)), x),
                    backward=(lambda op, g, out, x: _scaled(op, g[1], op.matrix_transpose(op.inv(x))),)),
    "inv": Gate("x⁻¹", "The inverse of matrices.",
                ("x",), _square, symbol="x⁻¹", reads=Reads.OUTPUT,
                forward=lambda xp, x: _of_finite(xp, xp.linalg.inv, x),
                backward=(_inv_backward,)),
    "solve": Gate("a⁻¹ b", "The solution of a linear system; one vector b is one right side for every a.",
                  ("a", "b"), _solution, symbol="a⁻¹b", broadcasts=True, reads=Reads.INPUTS | Reads.OUTPUT,
                  forward=_solve,
                  backward=(_solve_a, _solve_b),
                  ).stating(Facets(product=lambda op, at, a, b: _kept_by_matrix(op, op.solve(a, b), b))),
    "cholesky": Gate("L with L Lᵀ = x", "The lower triangular factor of symmetric, positive definite matrices.",
                     ("x",), _square, symbol="chol", reads=Reads.OUTPUT,
                     forward=lambda xp, x: _of_finite(xp, xp.linalg.cholesky, _symmetric(xp, x)),
                     backward=(_cholesky_backward,)),
    "eigh": Gate("λ, v with x v = λ v", "Eigenvalues, ascending, and eigenvectors, in columns, of symmetric matrices; "
                                        "what depends on the choice of vectors has no gradient.",
                 ("x",), _eigh_type, outputs=("eigenvalues", "eigenvectors"), symbol="eigh",
                 reads=Reads.OUTPUT, partial=True,
                 forward=_eigh,
                 backward=(_eigh_backward,)),
    "qr": Gate("q, r with q r = x", "Orthonormal columns times an upper triangular matrix.",
               ("x",), _qr_type, outputs=("q", "r"), symbol="qr", reads=Reads.INPUTS | Reads.OUTPUT,
               forward=_qr,
               backward=(_qr_backward,)),
    "svd": Gate("u, s, vh with u diag(s) vh = x",
                "Singular values, descending, and singular vectors; what depends on their choice has no gradient.",
                ("x",), _svd_type, outputs=("u", "s", "vh"), symbol="svd", reads=Reads.OUTPUT, partial=True,
                forward=_svd,
                backward=(_svd_backward,)),
}
