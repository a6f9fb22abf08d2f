"""Every gate in mpmath, on NumPy's arrays of objects: written from the catalogue and from mathematics alone.

An array holds mpmath's numbers, or integers, or truth values. Nothing here comes from the package, so that the corpus
which is computed with it judges the package.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
from mpmath import matrix, mp, mpf

Array = Any


def exact(x: Any) -> Array:
    """An array of mpmath's numbers."""
    return np.asarray(_exact(x), object)


_exact = np.frompyfunc(mpf, 1, 1)


def each(function: Callable[..., Any]) -> Callable[..., Array]:
    """A function of numbers as one of arrays that broadcast."""

    def mapped(*arrays: Any) -> Array:
        return np.asarray(np.frompyfunc(function, len(arrays), 1)(*map(np.asarray, arrays)), object)

    return mapped


def test(function: Callable[..., bool]) -> Callable[..., Array]:
    """A question about numbers as one about arrays."""
    mapped = each(function)
    return lambda *arrays: mapped(*arrays).astype(bool)


def fold_left(function: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    """A function of two arrays as one of many."""
    return lambda *arrays: np.asarray(reduce(function, arrays), object)


# Numbers --------------------------------------------------------------------------------------------------------------

PHI = each(lambda x: mp.erfc(-x / mp.sqrt(2)) / 2)
SIGMA = each(lambda x: 1 / (1 + mp.exp(-x)))
LN, EXP, ROOT = each(mp.log), each(mp.exp), each(mp.sqrt)
SELU = (mpf("1.0507009873554804934193349852946"), mpf("1.6732632423543772848170429916717"))
"""λ and α of Klambauer et al., https://arxiv.org/abs/1706.02515, as floats of 64 bits have them."""


def is_integer(x: Array) -> bool:
    return x.dtype.kind in "iu"


def where(condition: Array, x: Array, y: Array) -> Array:
    return np.where(np.asarray(condition, bool), x, y)


def larger(x: Any, y: Any) -> Any:
    return x if x >= y else y


def smaller(x: Any, y: Any) -> Any:
    return x if x <= y else y


def nearest(x: Any) -> Any:
    below = mp.floor(x)
    rest = x - below
    return below + (rest > 0.5 or (rest == 0.5 and below % 2 == 1))


def log_gamma(x: Any) -> Any:
    return mp.log(abs(mp.gamma(x)))


def gelu(x: Array, approximate: str = "none") -> Array:
    if approximate == "none":
        return x * PHI(x)
    return x * SIGMA(2 * mp.sqrt(2 / mp.pi) * (x + number("0.044715") * x**3))


def number(x: Any) -> Any:
    """An attribute as the float that it is read as."""
    return mpf(float(x))


def selu(x: Array) -> Array:
    scale, alpha = (number(c) for c in SELU)
    return scale * where(x > 0, x, alpha * (EXP(x) - 1))


def clip(x: Array, min: float | None = None, max: float | None = None) -> Array:  # noqa: A002
    x = x if min is None else each(larger)(x, number(min))
    return x if max is None else each(smaller)(x, number(max))


ELEMENTS: dict[str, Callable[..., Any]] = {
    "add": fold_left(np.add), "mul": fold_left(np.multiply), "sub": np.subtract,
    "div": lambda x, y: x / y, "neg": np.negative, "reciprocal": lambda x: 1 / x, "pow": lambda x, y: x**y,
    "sqrt": ROOT, "square": lambda x: x * x, "hypot": each(mp.hypot), "mod": lambda x, y: x - y * each(mp.floor)(x / y),
    "floor": each(mp.floor), "ceil": each(mp.ceil), "round": each(nearest),
    "mean": lambda *xs: fold_left(np.add)(*xs) / len(xs),
    "abs": np.abs, "sign": each(lambda x: mpf((x > 0) - (x < 0))),
    "max": lambda *xs, ties="first": fold_left(each(larger))(*xs),
    "min": lambda *xs, ties="first": fold_left(each(smaller))(*xs), "clip": clip,
    "mul_no_nan": np.multiply, "mul_div_no_nan": lambda x, y, z: x * y / z,
    "identity": lambda x: x, "stop_gradient": lambda x: x,
    "exp": EXP, "expm1": each(mp.expm1), "log": LN, "log1p": each(mp.log1p),
    "log_add_exp": lambda x, y: LN(EXP(x) + EXP(y)), "erf": each(mp.erf), "erfc": each(mp.erfc),
    "lgamma": each(log_gamma), "polygamma": lambda x, n: each(lambda y: mp.psi(n, y))(x),
    **{name: each(getattr(mp, name)) for name in ("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh",
                                                  "tanh", "asinh", "acosh", "atanh")},
    "sinc": each(lambda x: mp.sinpi(x) / (mp.pi * x) if x else mpf(1)),
    "sigmoid": SIGMA, "relu": lambda x: each(larger)(x, mpf(0)), "softplus": each(lambda x: mp.log1p(mp.exp(x))),
    "log_sigmoid": lambda x: -each(lambda y: mp.log1p(mp.exp(-y)))(x),
    "leaky_relu": lambda x, alpha=0.01: where(x > 0, x, number(alpha) * x),
    "prelu": lambda x, slope: where(x > 0, x, slope * x),
    "elu": lambda x, alpha=1.0: where(x > 0, x, number(alpha) * (EXP(x) - 1)), "selu": selu,
    "celu": lambda x, alpha=1.0: where(x > 0, x, number(alpha) * (EXP(x / number(alpha)) - 1)), "gelu": gelu,
    "softsign": lambda x: x / (1 + np.abs(x)), "swish": lambda x, alpha=1.0: x * SIGMA(number(alpha) * x),
    "mish": lambda x: x * each(lambda y: mp.tanh(mp.log1p(mp.exp(y))))(x),
    "hard_sigmoid": lambda x, alpha=0.2, beta=0.5: clip(number(alpha) * x + number(beta), 0, 1),
    "hard_swish": lambda x: x * clip(x / 6 + mpf(1) / 2, 0, 1),
    "thresholded_relu": lambda x, alpha=1.0: where(x > number(alpha), x, mpf(0)),
    "equal": test(lambda x, y: x == y), "equal_nan": test(lambda x, y: x == y or (x != x and y != y)),
    "less": test(lambda x, y: x < y), "less_or_equal": test(lambda x, y: x <= y),
    "greater": test(lambda x, y: x > y), "greater_or_equal": test(lambda x, y: x >= y),
    "and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor, "not": np.logical_not,
    "is_nan": test(mp.isnan), "is_inf": test(mp.isinf), "where": where,
}


# Reductions -----------------------------------------------------------------------------------------------------------

Axis = int | Sequence[int] | None


def places(x: Array, axis: Axis) -> tuple[int, ...]:
    """Axes, counted from the front. NumPy makes a number of an array without axes."""
    x = np.asarray(x)
    if axis is None:
        return tuple(range(x.ndim))
    return tuple(sorted(a % x.ndim for a in ([axis] if isinstance(axis, int) else axis)))


def total(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    return np.asarray(np.sum(x, axis=places(x, axis), keepdims=keepdims, initial=mpf(0)), object)


def count(x: Array, axis: Axis) -> int:
    return math.prod(np.shape(x)[a] for a in places(x, axis))


def average(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    return total(x, axis, keepdims) / count(x, axis)


def extreme(choice: Callable[[Any, Any], Any]) -> Callable[..., Array]:
    def of(x: Array, axis: Axis = None, keepdims: bool = False, ties: str = "first") -> Array:
        for a in reversed(places(x, axis)):
            x = np.asarray(np.frompyfunc(choice, 2, 1).reduce(x, axis=a, keepdims=keepdims), object)
        return x

    return of


def variance(x: Array, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Array:
    return total((x - average(x, axis, True)) ** 2, axis, keepdims) / (count(x, axis) - ddof)


def position(sign: int) -> Callable[..., Array]:
    def of(x: Array, axis: int = 0, keepdims: bool = False) -> Array:
        return np.argmax(sign * x, axis=axis, keepdims=keepdims).astype(np.int64)

    return of


def is_first_max(x: Array, axis: Axis = None) -> Array:
    result = np.zeros(x.shape, bool)
    if x.size:
        axes = places(x, axis)
        rest = [a for a in range(x.ndim) if a not in axes]
        for outer in np.ndindex(*(x.shape[a] for a in rest)):
            index: list[Any] = [slice(None)] * x.ndim
            for a, i in zip(rest, outer, strict=True):
                index[a] = i
            part = x[tuple(index)]
            result[tuple(index)][np.unravel_index(int(np.argmax(part)), part.shape)] = True
    return result


def running(function: Any) -> Callable[..., Array]:
    def of(x: Array, axis: int = 0, reverse: bool = False) -> Array:
        ways = np.flip(x, axis) if reverse else x
        result = function.accumulate(ways, axis=axis) if x.size else ways
        return np.flip(result, axis) if reverse else result

    return of


def sum_to_like(x: Array, like: Array) -> Array:
    axes = tuple(range(x.ndim - like.ndim))
    x = total(x, axes) if axes else x
    for a, size in enumerate(like.shape):
        x = total(x, a, True) if size == 1 != x.shape[a] else x
    return x


def softmax(x: Array, axis: int = -1) -> Array:
    powers = EXP(x)
    return powers / total(powers, axis, True)


def normal(x: Array, axes: Axis, epsilon: float) -> Array:
    return (x - average(x, axes, True)) / ROOT(variance(x, axes, True) + number(epsilon))


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "reduce_sum": total, "reduce_mean": average, "reduce_max": extreme(larger), "reduce_min": extreme(smaller),
    "reduce_prod": lambda x, axis=None, keepdims=False: np.asarray(
        np.prod(x, axis=places(x, axis), keepdims=keepdims, initial=mpf(1)), object),
    "reduce_l1": lambda x, axis=None, keepdims=False: total(np.abs(x), axis, keepdims),
    "reduce_l2": lambda x, axis=None, keepdims=False: ROOT(total(x * x, axis, keepdims)),
    "reduce_sum_square": lambda x, axis=None, keepdims=False: total(x * x, axis, keepdims),
    "reduce_log_sum_exp": lambda x, axis=None, keepdims=False: LN(total(EXP(x), axis, keepdims)),
    "reduce_var": variance,
    "reduce_std": lambda x, axis=None, keepdims=False, ddof=0: ROOT(variance(x, axis, keepdims, ddof)),
    "arg_max": position(1), "arg_min": position(-1), "is_first_max": is_first_max, "sum_to_like": sum_to_like,
    "size": lambda x, axis=None: exact(count(x, axis)),
    "cum_sum": running(np.add), "cum_prod": running(np.multiply),
    "softmax": softmax, "log_softmax": lambda x, axis=-1: x - LN(total(EXP(x), axis, True)),
}


# Matrices -------------------------------------------------------------------------------------------------------------

def by_matrix(function: Callable[[Any], Any]) -> Callable[[Array], tuple[Array, ...]]:
    """A function of one of mpmath's matrices as one of a stack of them; it gives numbers or matrices."""

    def of(x: Array) -> tuple[Array, ...]:
        rows = [function(matrix(x[index].tolist())) for index in np.ndindex(x.shape[:-2])]
        arrays = [[as_array(part) for part in (row if isinstance(row, tuple) else (row,))] for row in rows]
        return tuple(np.array([row[i] for row in arrays], object).reshape(x.shape[:-2] + arrays[0][i].shape)
                     for i in range(len(arrays[0])))

    return of


def as_array(part: Any) -> Array:
    return np.array(part.tolist(), object) if isinstance(part, matrix) else np.asarray(part, object)


def symmetric(x: Array) -> Array:
    return (x + np.swapaxes(x, -1, -2)) / 2


def signs(vectors: Array) -> Array:
    """So that the first large component of every column is positive: at least half as long as the longest."""
    size = np.abs(vectors)
    large = (size * 2 >= extreme(larger)(size, -2, True)).astype(bool)
    first = np.take_along_axis(vectors, np.argmax(large, axis=-2, keepdims=True), axis=-2)
    return where((first < 0).astype(bool), mpf(-1), mpf(1))


def eigh(x: Array) -> tuple[Array, Array]:
    values, vectors = by_matrix(mp.eigsy)(symmetric(x))
    return values[..., 0], vectors * signs(vectors)


def svd(x: Array) -> tuple[Array, Array, Array]:
    u, s, vh = by_matrix(mp.svd_r)(x)
    sign = signs(u)
    return u * sign, s[..., 0], vh * np.swapaxes(sign, -1, -2)


def qr(x: Array) -> tuple[Array, Array]:
    """By Gram and Schmidt, which makes the diagonal of r positive."""
    columns: list[Array] = []
    for j in range(min(x.shape[-2:])):
        column = x[..., j]
        for q in columns:
            column = column - total(q * column, -1, True) * q
        columns.append(column / ROOT(total(column * column, -1, True)))
    q = np.stack(columns, -1)
    r = np.matmul(np.swapaxes(q, -1, -2), x)
    return q, trilu(r)


def cofactor(x: Array, along: Array | None = None) -> Array:
    """Signed minors; along a direction their derivative, in which every row in turn is that of the direction."""
    n = x.shape[-1]
    result = np.empty(x.shape, object)
    for i, j in product(range(n), repeat=2):
        minor, turned = (None if y is None else np.delete(np.delete(y, i, -2), j, -1) for y in (x, along))
        result[..., i, j] = (-1) ** (i + j) * (det(minor) if turned is None else exact(0) + sum(
            det(np.concatenate([minor[..., :k, :], turned[..., k:k + 1, :], minor[..., k + 1:, :]], -2))
            for k in range(n - 1)))
    return result


def det(x: Array) -> Array:
    n = x.shape[-1]
    if n == 0:
        return np.full(x.shape[:-2], mpf(1), object)
    return np.asarray(sum((-1) ** j * x[..., 0, j] * det(np.delete(x[..., 1:, :], j, -1)) for j in range(n)), object)


def slogdet(x: Array) -> tuple[Array, Array]:
    d = det(x)
    return ELEMENTS["sign"](d), LN(np.abs(d))


def solve(a: Array, b: Array) -> Array:
    vector = b.ndim == 1
    return np.matmul(by_matrix(lambda m: m**-1)(a)[0], b[:, None] if vector else b)[..., 0 if vector else slice(None)]


def gemm(a: Array, b: Array, c: Array | None = None, alpha: float = 1.0, beta: float = 1.0, trans_a: bool = False,
         trans_b: bool = False) -> Array:
    result = number(alpha) * np.matmul(a.T if trans_a else a, b.T if trans_b else b)
    return result if c is None else result + number(beta) * c


def diagonal_like(x: Array, like: Array, offset: int = 0) -> Array:
    result = np.full(like.shape, mpf(0), object)
    for i in range(x.shape[-1]):
        result[..., i - min(offset, 0), i + max(offset, 0)] = x[..., i]
    return result


def multiplied(a: Array, b: Array) -> Array:
    return np.asarray(np.matmul(a, b), object)


MATRICES: dict[str, Callable[..., Any]] = {
    "matmul": multiplied, "transpose": lambda x, axes=None: np.transpose(x, axes),
    "matrix_transpose": lambda x: np.swapaxes(x, -1, -2), "gemm": gemm, "outer": lambda a, b: a[:, None] * b,
    "einsum": lambda *xs, equation: np.asarray(np.einsum(equation, *xs), object),
    "einsum_no_nan": lambda *xs, equation: np.asarray(np.einsum(equation, *xs), object),
    "diagonal": lambda x, offset=0: np.diagonal(x, offset, -2, -1), "diagonal_like": diagonal_like,
    "trace": lambda x, offset=0: total(np.diagonal(x, offset, -2, -1), -1), "det": det, "cofactor": cofactor,
    "slogdet": slogdet, "inv": lambda x: by_matrix(lambda m: m**-1)(x)[0], "solve": solve,
    "cholesky": lambda x: by_matrix(mp.cholesky)(symmetric(x))[0], "eigh": eigh, "qr": qr, "svd": svd,
}


# Layout ---------------------------------------------------------------------------------------------------------------

def along(x: Array, axis: int, positions: Any) -> Array:
    return np.take(x, positions, axis=axis)


def cut(x: Array, axis: int = 0, start: int = 0, stop: int | None = None, step: int = 1) -> tuple[Any, ...]:
    return (slice(None),) * (axis % x.ndim) + (slice(start, stop, step),)


def slice_scatter(x: Array, updates: Array, **where_: Any) -> Array:
    result = x.copy()
    result[cut(x, **where_)] = updates
    return result


def like_axis(axis: int, others: Sequence[Array]) -> int:
    return sum(x.shape[axis] for x in others)


def slice_like(x: Array, like: Array, *before: Array, axis: int = 0) -> Array:
    start = like_axis(axis, before)
    return x[cut(x, axis, start, start + like.shape[axis])]


def pad_like(x: Array, like: Array, *before: Array, axis: int = 0) -> Array:
    result = np.full(like.shape, mpf(0), object)
    start = like_axis(axis, before)
    result[cut(like, axis, start, start + x.shape[axis])] = x
    return result


def split(x: Array, sections: int | Sequence[int], axis: int = 0) -> tuple[Array, ...]:
    sizes = [x.shape[axis] // sections] * sections if isinstance(sections, int) else sections
    ends = np.cumsum(sizes)
    return tuple(x[cut(x, axis, int(end - size), int(end))] for end, size in zip(ends, sizes, strict=True))


def trilu(x: Array, upper: bool = True, k: int = 0) -> Array:
    i, j = np.indices(x.shape[-2:])
    return where((j - i >= k) if upper else (j - i <= k), x, mpf(0))


def flatten(x: Array, axis: int = 1) -> Array:
    axis = axis % x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def pad(x: Array, pad_width: Sequence[Sequence[int]]) -> Array:
    return np.pad(x, pad_width, constant_values=mpf(0)) if x.ndim else x


def cast(x: Array, dtype: str) -> Array:
    if dtype.startswith(("int", "uint")):
        return np.asarray(np.frompyfunc(int, 1, 1)(x)).astype(dtype)
    if dtype == "bool":
        return np.asarray(x != 0).astype(bool)
    return exact(x)


LAYOUT: dict[str, Callable[..., Any]] = {
    "reshape": lambda x, shape: x.reshape(shape), "reshape_like": lambda x, like: x.reshape(like.shape),
    "expand": lambda x, shape: np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape))),
    "expand_like": lambda x, like: np.broadcast_to(x, like.shape),
    "concat": lambda *xs, axis=0: np.concatenate(xs, axis),
    "slice": lambda x, **where_: x[cut(x, **where_)], "slice_scatter": slice_scatter, "slice_like": slice_like,
    "pad_like": pad_like, "split": split, "stack": lambda *xs, axis=0: np.stack(xs, axis),
    "flip": lambda x, axis=None: np.flip(x, places(x, axis)),
    "roll": lambda x, shift, axis=0: np.roll(x, shift, axis), "tile": lambda x, repeats: np.tile(x, repeats),
    "trilu": trilu, "flatten": flatten, "pad": pad, "unsqueeze": lambda x, axis=0: np.expand_dims(x, axis),
    "squeeze": lambda x, axis=0: np.squeeze(x, axis), "cast": cast, "cast_like": lambda x, like: x,
    "zeros_like": lambda x: np.full(x.shape, mpf(0), object), "ones_like": lambda x: np.full(x.shape, mpf(1), object),
    "eye_like": lambda x: exact(np.broadcast_to(np.eye(*x.shape[-2:]), x.shape)),
}


# Indexing -------------------------------------------------------------------------------------------------------------

def scatter_add(x: Array, indices: Array, updates: Array, axis: int = 0) -> Array:
    result, axis = x.copy(), axis % x.ndim
    for place in np.ndindex(*indices.shape):
        index = (slice(None),) * axis
        result[(*index, indices[place])] = result[(*index, indices[place])] + updates[(*index, *place)]
    return result


def scatter_elements(x: Array, indices: Array, updates: Array, axis: int = 0, reduction: str = "none") -> Array:
    result, axis = x.copy(), axis % x.ndim
    for place in np.ndindex(*indices.shape):
        target = (*place[:axis], indices[place], *place[axis + 1:])
        result[target] = updates[place] + (result[target] if reduction == "add" else 0)
    return result


def gather_nd(x: Array, indices: Array) -> Array:
    return np.asarray(x[tuple(np.moveaxis(indices, -1, 0))], object)


def scatter_nd(x: Array, indices: Array, updates: Array, reduction: str = "none") -> Array:
    result = x.copy()
    for place in np.ndindex(*indices.shape[:-1]):
        target = tuple(indices[place])
        result[target] = updates[place] + (result[target] if reduction == "add" else 0)
    return result


def order(x: Array, axis: int, descending: bool) -> Array:
    """Positions in order; equal elements keep theirs."""
    return np.argsort(-x if descending else x, axis=axis, kind="stable").astype(np.int64)


def top_k(x: Array, k: int, axis: int = -1, largest: bool = True) -> tuple[Array, Array]:
    indices = along(order(x, axis, largest), axis, range(k))
    return np.take_along_axis(x, indices, axis), indices


def sort(x: Array, axis: int = -1, descending: bool = False) -> Array:
    return np.take_along_axis(x, order(x, axis, descending), axis)


def one_hot(indices: Array, depth: int, dtype: str = "float64") -> Array:
    hit = np.where(indices < 0, indices + depth, indices)[..., None] == np.arange(depth)
    return exact(hit) if dtype.startswith("float") else hit.astype(dtype)


INDEXING: dict[str, Callable[..., Any]] = {
    "gather": lambda x, indices, axis=0: along(x, axis, indices), "scatter_add": scatter_add,
    "gather_elements": lambda x, indices, axis=0: np.take_along_axis(x, indices, axis),
    "scatter_elements": scatter_elements, "gather_nd": gather_nd, "scatter_nd": scatter_nd, "top_k": top_k,
    "arg_sort": lambda x, axis=-1, descending=False: order(x, axis, descending), "sort": sort, "one_hot": one_hot,
}
