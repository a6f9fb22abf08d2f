"""Decompositions of matrices, which stand in the last two axes, batches before them.

Their gradients are those of Giles 2008, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation", of Murray 2016, arXiv:1602.07527 (cholesky), Walter and Lehmann 2010, arXiv:1001.1654 (qr), and
Townsend 2016 (svd). A symmetric operand is taken as the mean of itself and its transpose.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from circuitflow.gates.products import diagonal, length_of_diagonal
from circuitflow.gates.record import Gate, Note, Reads, family
from circuitflow.gates.shapes import ArrayType, need_float
from circuitflow.gates.square import of_finite, square


def _symmetric(library: Any, x: Any) -> Any:
    """The mean of a matrix and its transpose, by a namespace or a vocabulary."""
    return (x + library.matrix_transpose(x)) / 2


def _cholesky_backward(op: Any, g: Any, out: Any, x: Any) -> Any:
    transpose = op.matrix_transpose(out)
    product = op.matmul(transpose, g)
    lower = (op.trilu(product, upper=False) + op.trilu(product, upper=False, k=-1)) / 2
    middle = op.matrix_transpose(op.solve(transpose, op.matrix_transpose(op.solve(transpose, lower))))
    return _symmetric(op, middle)


def _signs(xp: Any, vectors: Any) -> Any:
    """What makes the first large component of every column positive: libraries differ in it, results shall not."""
    if not vectors.shape[-2]:
        return xp.ones((*vectors.shape[:-2], 1, vectors.shape[-1]), dtype=vectors.dtype)
    size = xp.abs(vectors)
    large = size >= 0.5 * xp.max(size, axis=-2, keepdims=True)
    first = xp.argmax(xp.asarray(large, dtype=xp.int8), axis=-2, keepdims=True)
    row = xp.reshape(xp.arange(vectors.shape[-2]), (-1, 1))
    components = xp.sum(xp.where(row == first, vectors, 0.0), axis=-2, keepdims=True, dtype=vectors.dtype)
    return xp.where(components < 0, xp.asarray(-1.0, dtype=vectors.dtype), xp.asarray(1.0, dtype=vectors.dtype))


def _eigh(xp: Any, x: Any) -> tuple[Any, Any]:
    values, vectors = of_finite(xp, lambda x: tuple(xp.linalg.eigh(x)), _symmetric(xp, x))
    return values, vectors * _signs(xp, vectors)


def _qr(xp: Any, x: Any) -> tuple[Any, Any]:
    q, r = of_finite(xp, lambda x: tuple(xp.linalg.qr(x, mode="reduced")), x)
    on_diagonal = xp.expand_dims(diagonal(xp, r, offset=0), axis=-2)
    signs = xp.where(on_diagonal < 0, xp.asarray(-1.0, dtype=x.dtype), xp.asarray(1.0, dtype=x.dtype))
    return q * signs, xp.matrix_transpose(signs) * r


def _svd(xp: Any, x: Any) -> tuple[Any, Any, Any]:
    u, s, vh = of_finite(xp, lambda x: tuple(xp.linalg.svd(x, full_matrices=False)), x)
    signs = _signs(xp, u)
    return u * signs, s, xp.matrix_transpose(signs) * vh


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


def _without_derivative(op: Any, x: Any, value: Any) -> Any:
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

    The turning t is the vectors times the gradient on them; the slopes are the gradient on the values, None where none
    arrives. The quotient is 0 / 0 where two values are equal, and has few digits where they are near. A function V f(v)
    Vᵀ has a gradient there: N f', where N is the gradient on the function (Daleckii and Krein 1965). Its t is 2 N f,
    and its slopes are f' times the diagonal of N. So between values that are near, the gradient is the symmetric part
    of t times the one ratio of slopes to the diagonal of t. Between equal values it is NaN where t is not symmetric, as
    then the function depends on the choice of the vectors, and where there is no one ratio, as for f = 0 or for the sum
    of two such functions: t and the slopes then do not tell the gradient. So is its derivative among equal values.
    """
    bounds = _closeness(values)
    first, second = op.unsqueeze(values, axis=-1), op.unsqueeze(values, axis=-2)
    gap, scale = second - first, op.unsqueeze(_length_of(op, values, -1), axis=-1)
    equal, mirror = abs(gap) <= bounds.equal * scale, op.matrix_transpose(turning)
    across, along = (turning - mirror) / 2, (turning + mirror) / 2
    width = _length_of(op, turning, -2)
    alike = bounds.alike * (width + op.matrix_transpose(width)) + bounds.equal * _length_of(op, turning, [-2, -1])
    symmetric = abs(across) <= alike
    if slopes is None:  # what depends on the vectors alone, and not on the choice of them, is constant
        between, one_ratio, is_known = op.zeros_like(along), symmetric, symmetric
    else:
        p, s = op.diagonal(turning), slopes
        p1, p2, s1, s2 = (op.unsqueeze(y, axis=axis) for y in (p, s) for axis in (-1, -2))
        weight = p1 * p1 + p2 * p2
        ratio = (p1 * s1 + p2 * s2) / op.where(weight == 0, 1.0, weight)
        misfit, size = abs(s1 - ratio * p1) + abs(s2 - ratio * p2), abs(s1) + abs(s2)
        noise = bounds.equal * op.unsqueeze(_length_of(op, s, -1), axis=-1)
        one_ratio = symmetric & (misfit <= bounds.alike * size + noise)
        one_ratio = one_ratio & ((abs(p1) + abs(p2) >= alike) | (abs(along) <= alike))
        between, is_known = ratio * along, one_ratio & (size <= noise)
    special = equal | ((abs(gap) <= bounds.near * scale) & one_ratio)
    between = op.where(is_known, 0.0, _without_derivative(op, gap, op.where(one_ratio, between, math.nan)))
    elsewhere = op.where(special, between, across / op.where(special, 1.0, gap))
    slopes = op.zeros_like(values) if slopes is None else slopes
    return op.where(_on_diagonal_of(op, values, gap), op.unsqueeze(slopes, axis=-1), elsewhere)


def _eigh_backward(op: Any, g: Any, out: Any, x: Any) -> Any:
    (values, vectors), (g_values, g_vectors) = out, g
    transpose = op.matrix_transpose(vectors)
    if g_vectors is None:
        return op.matmul(vectors * op.unsqueeze(g_values, axis=-2), transpose)
    inner = _mixing(op, values, op.matmul(transpose, g_vectors), g_values)
    return _symmetric(op, op.matmul(op.matmul(vectors, inner), transpose))


def _qr_type(x: ArrayType) -> tuple[ArrayType, ArrayType]:
    need_float("x", x)
    least = length_of_diagonal(x, 0)
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
    mirror = op.trilu(m, upper=False) + op.matrix_transpose(lower)
    return op.matrix_transpose(op.solve(r, op.matrix_transpose(g_q + op.matmul(q, mirror))))


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
        is_known = level & (abs(numerator) <= noise)
        return op.where(none, op.where(is_known, 0.0, _without_derivative(op, quotient, math.nan)), quotient)

    half, level = (left - right) / 2, op.unsqueeze(level, axis=-2)
    both_level = (level & op.matrix_transpose(level)) | _on_diagonal_of(op, s, row + column)
    inner = _mixing(op, s, left + right, g_s) + over(half - op.matrix_transpose(half), row + column, both_level)
    inside = op.matmul(op.matmul(u, inner), vh)
    rows, columns = x.shape[-2:]
    if rows == columns:
        return inside
    if rows > columns:
        return inside + op.matmul(over(g_u - op.matmul(u, left), row, level), vh)
    outside = over(g_v - op.matmul(v, right), row, level)
    return inside + op.matmul(u, op.matrix_transpose(outside))


DECOMPOSITIONS = family({
    "cholesky": Gate("L with L Lᵀ = x", "The lower triangular factor of symmetric, positive definite matrices.",
                     ("x",), square, symbol="chol", reads=Reads.OUTPUT,
                     forward=lambda xp, x: of_finite(xp, xp.linalg.cholesky, _symmetric(xp, x)),
                     backward=(_cholesky_backward,)),
    "eigh": Gate("λ, v with x v = λ v", "Eigenvalues, ascending, and eigenvectors, in columns, of symmetric matrices; "
                                        "what depends on the choice of vectors has no gradient.",
                 ("x",), lambda x: (ArrayType(square(x).shape[:-1], x.dtype), x),
                 outputs=("eigenvalues", "eigenvectors"), symbol="eigh", reads=Reads.OUTPUT, partial=True,
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
}, {
    "cholesky": Note("L⁻ᵀ Φ(Lᵀ {g}) L⁻¹ to {x}, made symmetric; L is {out}, Φ the lower triangle with half the "
                     "diagonal", kinks="the gradient is that of the mean of x and its transpose",
                     numpy="linalg.cholesky"),
    "eigh": Note("v (diag {g.eigenvalues} + F ∘ vᵀ {g.eigenvectors}) vᵀ to {x}, made symmetric; v are the "
                 "eigenvectors, F has 1 / (λ_j - λ_i)",
                 kinks="where eigenvalues are equal, the gradient of v f(λ) vᵀ is right, and that of what depends on "
                       "the choice of vectors, or combines several such functions, is NaN; the first large component "
                       "of a vector is positive",
                 numpy="linalg.eigh", also="eigvalsh"),
    "qr": Note("({g.q} + q copyltu(r {g.r}ᵀ - {g.q}ᵀ q)) r⁻ᵀ to {x}", kinks="the diagonal of r is positive",
               numpy="linalg.qr"),
    "svd": Note("u (F ∘ …) vh to {x}, as Townsend has it; F has 1 / (s_j² - s_i²)",
                kinks="where values are equal, the gradient of u f(s) vh is right, and that of what depends on the "
                      "choice of vectors, or combines several such functions, is NaN; the first large component of a "
                      "column of u is positive",
                numpy="linalg.svd", also="svdvals"),
})
