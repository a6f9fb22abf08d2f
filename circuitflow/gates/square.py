"""Determinants, inverses and linear systems of square matrices, which stand in the last two axes, batches before.

A matrix with an element that is not finite has no inverse, determinant or decomposition: they are NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from circuitflow.gates.products import diagonal
from circuitflow.gates.record import Facets, Gate, Note, Onnx, Reads, family
from circuitflow.gates.shapes import ArrayType, ShapeError, broadcast_shapes, need_float, promote, show
from circuitflow.gates.special import keep_zeros


def _kept_by_matrix(op: Any, result: Any, factor: Any) -> Any:
    """Something linear in a factor, 0 where that is a matrix of zeros alone."""
    size = op.reduce_sum(op.abs(factor), axis=[-2, -1] if factor.ndim > 1 else None, keepdims=factor.ndim > 1)
    return keep_zeros(op, size, result)


def of_finite(xp: Any, compute: Callable[[Any], Any], x: Any) -> Any:
    """What is computed of matrices; NaN for each that is not finite, as LAPACK may raise for it, or never come back."""
    if type(x).__module__ == "numpy" and xp.isfinite(x).all():  # the same sooner
        return compute(x)
    finite = xp.all(xp.isfinite(x), axis=(-2, -1), keepdims=True)
    results = compute(xp.where(finite, x, xp.tril(xp.triu(xp.ones_like(x)))))

    def mask(result: Any) -> Any:
        trailing = result.ndim - x.ndim + 2
        return xp.where(finite[(..., *(0,) * (2 - trailing))], result, math.nan)

    return tuple(map(mask, results)) if isinstance(results, tuple) else mask(results)


def square(x: ArrayType) -> ArrayType:
    need_float("x", x)
    if len(x.shape) < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"needs square matrices; x is {show(x.shape)}")
    return x


def _of_square(x: ArrayType) -> ArrayType:
    return ArrayType(square(x).shape[:-2], x.dtype)


def _scale(op: Any, g: Any, matrix: Any) -> Any:
    """A matrix times the scalar that belongs to it."""
    return op.unsqueeze(op.unsqueeze(g, axis=-1), axis=-1) * matrix


def _cofactors_type(x: ArrayType, along: ArrayType | None = None) -> ArrayType:
    square(x)
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
    u, s, vh = of_finite(xp, lambda x: tuple(xp.linalg.svd(x, full_matrices=False)), x)
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
    inside = xp.matmul(xp.matmul(xp.matrix_transpose(u), along), xp.matrix_transpose(vh))
    on_diagonal = xp.matmul(products, diagonal(xp, inside, offset=0)[..., None])
    inner = xp.where(place[:, None] == place[None, :], on_diagonal, -xp.matrix_transpose(inside) * products)
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
    return _scale(op, op.det(x), _scale(op, on_g * on_along - inner(by_along, g), inverse)
                  - _scale(op, on_g, by_along) - _scale(op, on_along, by_g) + twice)


def _inv_backward(op: Any, g: Any, out: Any, x: Any) -> Any:
    transpose = op.matrix_transpose(out)
    return -op.matmul(op.matmul(transpose, g), transpose)


def _solution(a: ArrayType, b: ArrayType) -> ArrayType:
    need_float("b", b)
    if len(square(a).shape) < 2 or not b.shape:
        raise ShapeError(f"needs a vector or matrices on the right side; b is {show(b.shape)}")
    rows = b.shape[0] if len(b.shape) == 1 else b.shape[-2]
    if rows != a.shape[-1]:
        raise ShapeError(f"needs as many rows of b {show(b.shape)} as a {show(a.shape)} has: {rows} is not "
                         f"{a.shape[-1]}")
    batch = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return ArrayType((*batch, *b.shape[-2:]), promote(a.dtype, b.dtype))


def _solve(xp: Any, a: Any, b: Any) -> Any:
    if b.ndim == 1:
        return of_finite(xp, lambda a: xp.linalg.solve(a, b[:, None]), a)[..., 0]
    batch = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    right = xp.broadcast_to(b, (*batch, *b.shape[-2:]))
    return of_finite(xp, lambda a: xp.linalg.solve(a, right), xp.broadcast_to(a, (*batch, *a.shape[-2:])))


def _solve_b(op: Any, g: Any, out: Any, a: Any, b: Any) -> Any:
    transpose = op.matrix_transpose(a)
    if b.ndim > 1:
        return op.solve(transpose, g)
    return op.squeeze(op.solve(transpose, op.unsqueeze(g, axis=-1)), axis=-1)


def _solve_a(op: Any, g: Any, out: Any, a: Any, b: Any) -> Any:
    db = _solve_b(op, g, out, a, b)
    if b.ndim == 1:
        return -(op.unsqueeze(db, axis=-1) * op.unsqueeze(out, axis=-2))
    return -op.matmul(db, op.matrix_transpose(out))


SQUARE = family({
    "det": Gate("det x", "The determinant; its gradient, the cofactors, is exact for singular matrices.",
                ("x",), _of_square, symbol="det", reads=Reads.INPUTS,
                forward=lambda xp, x: of_finite(xp, xp.linalg.det, x),
                backward=(lambda op, g, out, x: _scale(op, g, op.cofactor(x)),)),
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
                    forward=lambda xp, x: of_finite(xp, lambda x: tuple(xp.linalg.slogdet(x)), x),
                    backward=(lambda op, g, out, x: _scale(op, g[1], op.matrix_transpose(op.inv(x))),)),
    "inv": Gate("x⁻¹", "The inverse of matrices.",
                ("x",), square, symbol="x⁻¹", reads=Reads.OUTPUT,
                forward=lambda xp, x: of_finite(xp, xp.linalg.inv, x),
                backward=(_inv_backward,)),
    "solve": Gate("a⁻¹ b", "The solution of a linear system; one vector b is one right side for every a.",
                  ("a", "b"), _solution, symbol="a⁻¹b", broadcasts=True, reads=Reads.INPUTS | Reads.OUTPUT,
                  forward=_solve,
                  backward=(_solve_a, _solve_b),
                  ).stating(Facets(product=lambda op, at, a, b: _kept_by_matrix(op, op.solve(a, b), b))),
}, {
    "det": Note("{g} times the cofactors of {x}", kinks="exact for singular matrices", onnx=Onnx("Det", written="f"),
                numpy="linalg.det",
                also="determinant", formula="own"),
    "cofactor": Note("the derivative of the cofactors of {x} in the direction {g} to {x}; to {along} too",
                     kinks="exact for singular matrices; with a direction, its derivative in x needs an inverse"),
    "slogdet": Note("the inverse of {x}, transposed, times {g.logabsdet}", kinks="the sign sends no gradient",
                    numpy="linalg.slogdet", also="logdet"),
    "inv": Note("-{out}ᵀ {g} {out}ᵀ to {x}", onnx="Inverse", numpy="linalg.inv", also="inverse matrix_inverse",
                formula="own"),
    "solve": Note("{a}⁻ᵀ {g} to {b}, minus that times {out}ᵀ to {a}", numpy="linalg.solve",
                  also="linsolve linear_solve", formula="own"),
})
