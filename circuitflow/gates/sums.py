"""Sums that keep their digits: those of shorter floats are accumulated in float64.

A sum of float32 in float32 loses a digit for every ten times as many terms, or stops growing: 2^24 + 1 is 2^24. Every
gate that adds up goes through this module. A long matrix product, whose speed comes from libraries that add up in the
dtype of the operands, goes in parts, and the parts are added up in float64. So a long sum of equal terms, whose errors
do not cancel, is right to 1e-6. Of a product that is no longer than `VECTOR` or `MATRIX` terms that error is the
library's, at most 2e-5: parts would cost a few times what they multiply.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from circuitflow.gates.shapes import Dimension, broadcast_shapes, count
from circuitflow.gates.special import Namespace, own_products

VECTOR, MATRIX = 1024, 4096
"""Most terms of a product that goes in one: where it has few rows or few columns, and of others."""

FEW = 16
"""So many rows or columns are no longer few."""

PART = 64
"""Terms in a part: equal ones have an error of 8.5e-7 at most, whatever they are; of a quarter more, above 1e-6."""

TOGETHER = {True: 2**14, False: 2**8}
"""Most numbers that parts give before they are added up, in NumPy and elsewhere, where parts are copied first."""

TERMS = 2.0**64
"""More terms than any sum has."""

ALL_ORDERS = 5
"""So many operands are multiplied in the best of all orders, of which there are 180; more in a good one."""

LITTLE = 2**20
"""So many elements more in memory are never too many."""

WIDE = 8
"""Slices of so many elements are faster to sort and add up than to add one by one."""


def wider(xp: Any, dtype: Any) -> Any:
    """The dtype to add up in: float64 for shorter floats, and any other itself."""
    if dtype == xp.float64:
        return dtype
    shorter = ("float32", "float16", "bfloat16")
    return xp.float64 if any(hasattr(xp, name) and dtype == getattr(xp, name) for name in shorter) else dtype


def wider_for(xp: Any, dtype: Any, terms: int) -> Any:
    """The dtype to add so many terms one to another in: float32 itself does for a few."""
    return wider(xp, dtype) if terms > (PART if dtype == xp.float32 else 2) else dtype


def total(xp: Any, x: Any, *, axis: int | tuple[int, ...], keepdims: bool = False) -> Any:
    """The sum along axes, in the dtype of x."""
    return xp.asarray(xp.sum(x, axis=axis, keepdims=keepdims, dtype=wider(xp, x.dtype)), dtype=x.dtype)


def average(xp: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool = False, size: Any = None) -> Any:
    """The mean along axes, in the dtype of x, also where the sum leaves its range; `size` is the number of terms."""
    size = math.prod(x.shape[a] for a in axis) if size is None else size
    dtype = wider(xp, x.dtype)

    def of(terms: Any) -> Any:
        return xp.sum(terms, axis=axis, keepdims=keepdims, dtype=dtype) / size

    result = xp.asarray(of(x), dtype=x.dtype)
    if float(xp.finfo(dtype).max) / float(xp.finfo(x.dtype).max) > TERMS:  # no sum overflows
        return result
    if type(x).__module__ == "numpy" and xp.isfinite(result).all():  # the same sooner
        return result
    return xp.where(xp.isfinite(result), result, xp.asarray(of(x * (1 / TERMS)) * TERMS, dtype=x.dtype))


def magnitude(xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
    """The scale of squares that are summed along axes, which are kept with size 1.

    It goes by the largest |x| where sums of squares may leave the range of the dtype, at either end; elsewhere it is 1.
    So the squares of x divided by it stay in the range, and in all ordinary cases x stays what it is, to the last bit.
    The reciprocal of the scale is in the range too: XLA multiplies by that.
    """
    if 0 in x.shape:
        return xp.ones((1,) * x.ndim, dtype=x.dtype)
    largest = xp.max(xp.abs(x), axis=axes, keepdims=True)
    cube = largest * largest * largest
    is_ordinary = (xp.isfinite(cube) & (cube > 0)) | (largest == 0) | ~xp.isfinite(largest)
    return xp.where(is_ordinary, 1.0, xp.where(largest > 1, largest / 16, largest))


def magnitude_of(op: Any, x: Any, axes: list[int]) -> Any:
    """`magnitude` in the vocabulary of backward rules, but never below 1. A constant for every derivative."""
    if 0 in x.shape:
        return 1.0
    largest = op.reduce_max(op.abs(op.stop_gradient(x)), axis=axes, keepdims=True)
    is_extreme = op.is_inf(largest * largest * largest) & ~op.is_inf(largest)
    return op.where(is_extreme, largest / 16, 1.0)


def add_all(xp: Any, *xs: Any) -> Any:
    """The sum of operands, element by element."""
    if len(xs) == 2:
        return xs[0] + xs[1]
    dtype = xp.result_type(*xs)
    return xp.asarray(_add_in(xp, wider_for(xp, dtype, len(xs)), xs), dtype=dtype)


def mean(xp: Any, *xs: Any) -> Any:
    """The mean of operands, element by element, also where their sum leaves the range of their dtype."""
    dtype = xp.result_type(*xs)
    sums = wider(xp, dtype)
    out = _add_in(xp, sums, xs)
    if sums is not dtype:
        return xp.asarray(out / len(xs), dtype=dtype)
    # Terms are made smaller by a power of two that depends on a value: a constant one XLA would move.
    one = xp.asarray(1.0, dtype=dtype)
    scale = xp.where(xp.isinf(out) | xp.isnan(out), 0.5 ** len(xs).bit_length(), one)
    return _add_in(xp, dtype, [x * scale for x in xs]) / len(xs) / scale


def _add_in(xp: Any, dtype: Any, xs: Sequence[Any]) -> Any:
    return functools.reduce(operator.add, xs[1:], xp.asarray(xs[0], dtype=dtype))


def product(xp: Any, a: Any, b: Any) -> Any:
    """The matrix product, as `matmul` of the array API standard. The value of a named size is known in a run."""
    size = a.shape[-1]
    if isinstance(size, int) and size <= VECTOR:
        return xp.matmul(a, b)
    dtype = xp.result_type(a, b)
    if wider(xp, dtype) is dtype:
        return xp.matmul(a, b)
    own = own_products(xp)
    return own.long_product(a, b) if own else in_parts(xp, a, b)


def in_parts(xp: Any, a: Any, b: Any) -> Any:
    """The matrix product of floats of 16 or 32 bits, in parts if it is long."""
    dtype, in_numpy = xp.result_type(a, b), type(a).__module__ == "numpy"
    left, right = (xp.asarray(x, dtype=xp.float32) for x in (a, b))
    left = xp.expand_dims(left, axis=0) if a.ndim == 1 else left
    right = xp.expand_dims(right, axis=1) if b.ndim == 1 else right
    (rows, size), columns = left.shape[-2:], right.shape[-1]
    numbers = math.prod(broadcast_shapes(left.shape[:-2], right.shape[:-2])) * rows * columns
    is_long, last, together = size > longest(rows, columns), size - size % PART, TOGETHER[in_numpy] // max(1, numbers)
    ends = [*range(0, last, PART * max(1, together)), last, *([size] if last < size else [])]
    out: Any = None
    for start, stop in itertools.pairwise(ends if is_long else [0, size]):
        x, y, parts = left[..., start:stop], right[..., start:stop, :], (stop - start) // PART
        if in_numpy:
            x, y = _dense(xp, x), _dense(xp, y)
        if is_long and parts > 1:
            x = xp.moveaxis(xp.reshape(x, (*left.shape[:-1], parts, PART)), -2, -3)
            y = xp.reshape(y, (*right.shape[:-2], parts, PART, columns))
            term = xp.sum(xp.matmul(x, y), axis=-3, dtype=xp.float64)
        else:
            term = xp.matmul(x, y)
        out = term if out is None else xp.asarray(out, dtype=xp.float64) + term
    if a.ndim == 1:
        out = out[..., 0, :]
    return xp.asarray(out[..., 0] if b.ndim == 1 else out, dtype=dtype)


def longest(rows: int, columns: int) -> int:
    """Most terms of a product of so many rows and columns that goes in one."""
    return VECTOR if min(rows, columns) < FEW else MATRIX


def product_kept(xp: Any, a: Any, b: Any) -> Any:
    """The matrix product in which 0 times an infinity or NaN is 0."""
    own = own_products(xp)
    if own:
        return own.product_kept(a, b)
    if type(a).__module__ == "numpy" and xp.isfinite(a).all() and xp.isfinite(b).all():
        return product(xp, a, b)
    return counted_product(xp, a, b)


def counted_product(xp: Any, a: Any, b: Any) -> Any:
    """As `product_kept`: products of what is not finite and what is not 0 are counted, also by sign."""
    (fa, sa, ia, na), (fb, sb, ib, nb) = _parts(xp, a), _parts(xp, b)
    net = product(xp, ia, sb + ib) + product(xp, sa, ib)
    counts = product(xp, na, xp.abs(sb) + nb) + product(xp, xp.abs(sa), nb)
    infinite = xp.where(xp.abs(net) == counts, net, math.nan) * math.inf
    return xp.where(counts == 0, product(xp, fa, fb), infinite)


def _parts(xp: Any, x: Any) -> tuple[Any, Any, Any, Any]:
    """What is finite, its signs, those of what is infinite, and a 1 for what is not finite; zeros elsewhere."""
    nothing, is_finite = xp.zeros_like(x), xp.isfinite(x)
    finite = xp.where(is_finite, x, nothing)
    return (finite, xp.sign(finite), xp.where(xp.isinf(x), xp.sign(x), nothing),
            xp.where(is_finite, nothing, xp.ones_like(x)))


def _dense(xp: Any, x: Any) -> Any:
    """Matrices as a BLAS takes them; NumPy multiplies others one number at a time."""
    for (step, stride), length in ((x.strides[:-3:-1], x.shape[-1]), (x.strides[-2:], x.shape[-2])):
        if step == x.itemsize and stride >= length * x.itemsize:
            return x
    return xp.ascontiguousarray(x)


def contract(xp: Any, terms: Sequence[str], result: str, xs: Sequence[Any], *, zeros_kept: bool = False) -> Any:
    """The sum of products over letters, as `einsum`; a term has a letter for every axis of its operand.

    If zeros are kept, 0 times an infinity or NaN is 0 in it.
    """
    factors = list(zip(terms, xs, strict=True))
    for first, last in _order(tuple(terms), result, tuple(tuple(x.shape) for x in xs)):
        other, one = factors.pop(last), factors.pop(first)
        letters = set(result).union(*(term for term, _ in factors))
        factors.append(_multiply(xp, zeros_kept, letters, _sum_out(xp, letters.union(other[0]), *one),
                                 _sum_out(xp, letters.union(one[0]), *other)))
    return _permute(xp, *_sum_out(xp, set(result), *factors[0]), result)


Term = tuple[str, Any]
"""An operand with a letter for every axis."""


@functools.lru_cache(256)
def _order(terms: tuple[str, ...], result: str,
           shapes: tuple[tuple[Dimension, ...], ...]) -> Sequence[tuple[int, int]]:
    """The operands that are multiplied, a pair at a time, by place; their product goes to the end.

    A named size counts as a middling one.
    """
    sizes = {letter: size if isinstance(size, int) else VECTOR
             for term, shape in zip(terms, shapes, strict=True) for letter, size in zip(term, shape, strict=True)}
    return (_best_order if len(terms) <= ALL_ORDERS else _good_order)(terms, result, sizes)


def _best_order(terms: tuple[str, ...], result: str, sizes: Mapping[str, int]) -> Sequence[tuple[int, int]]:
    """Of all orders the one with fewest multiplications, but none that takes far more memory than it must."""
    uses = Counter(result + "".join(terms))

    def orders(left: Sequence[frozenset[str]]) -> Iterator[tuple[int, int, tuple[tuple[int, int], ...]]]:
        """The elements of the largest that is computed, the multiplications, and the order."""
        if len(left) < 2:
            yield 0, 0, ()
        for i, k in itertools.combinations(range(len(left)), 2):
            rest, both = (*left[:i], *left[i + 1 : k], *left[k + 1 :]), left[i] | left[k]
            shared = both & frozenset(result).union(*rest)
            for largest, work, order in orders((*rest, shared)):
                yield max(largest, _elements(shared, sizes)), work + _elements(both, sizes), ((i, k), *order)

    letters = [frozenset(letter for letter in term if uses[letter] > 1) for term in terms]
    candidates = list(orders(letters))
    least = max(min(largest for largest, _, _ in candidates), *(_elements(term, sizes) for term in (*terms, result)))
    return min((work, order) for largest, work, order in candidates if largest <= max(LITTLE, 4 * least))[1]


def _good_order(terms: tuple[str, ...], result: str, sizes: Mapping[str, int]) -> Sequence[tuple[int, int]]:
    """First go those whose product has fewest elements beside their own."""
    letters, uses = [set(term) for term in terms], Counter(result + "".join(terms))
    order = []
    while len(letters) > 1:
        best: tuple[Any, ...] = ()
        for (i, one), (k, other) in itertools.combinations(enumerate(letters), 2):
            rest = {letter for letter in one | other if uses[letter] > (letter in one) + (letter in other)}
            growth = _elements(rest, sizes) - _elements(one, sizes) - _elements(other, sizes)
            if not best or growth < best[0]:
                best = growth, i, k, rest
        _, i, k, rest = best
        uses.subtract("".join((*letters.pop(k), *letters.pop(i))))
        uses.update(rest)
        letters.append(rest)
        order.append((i, k))
    return order


def _elements(letters: Iterable[str], sizes: Mapping[str, int]) -> int:
    return math.prod(map(sizes.__getitem__, letters))


def _sum_out(xp: Any, letters: set[str], term: str, x: Any) -> Term:
    """An operand summed over the letters that are not kept."""
    axes = tuple(axis for axis, letter in enumerate(term) if letter not in letters)
    return "".join(letter for letter in term if letter in letters), total(xp, x, axis=axes) if axes else x


def _multiply(xp: Any, zeros_kept: bool, letters: set[str], one: Term, other: Term) -> Term:
    """The product of two operands, summed over the letters of both that are not kept: a product of matrices."""
    (left, x), (right, y) = one, other
    both = [letter for letter in left if letter in right]
    batch, inner = ("".join(letter for letter in both if (letter in letters) is is_kept) for is_kept in (True, False))
    rows, columns = ("".join(letter for letter in term if letter not in both) for term in (left, right))
    sizes = dict(zip(left + right, (*x.shape, *y.shape), strict=True))
    if inner and not (rows and columns) and _is_across(xp, batch, one, other):
        return _add_across(xp, zeros_kept, inner, *((other, one) if columns else (one, other)))

    def shape(*parts: str) -> tuple[Any, ...]:
        """The sizes of the batch, and so many elements for every part."""
        return (*map(sizes.__getitem__, batch), *(count([sizes[letter] for letter in part]) for part in parts))

    term = batch + rows + columns
    x = _reshape(xp, _permute(xp, left, x, batch + rows + inner), shape(rows, inner))
    y = _reshape(xp, _permute(xp, right, y, batch + inner + columns), shape(inner, columns))
    out = (product_kept if zeros_kept else product)(xp, x, y) if inner else _by_element(xp, zeros_kept, x, y)
    return term, _reshape(xp, out, shape(*rows, *columns))


def _is_across(xp: Any, batch: str, one: Term, other: Term) -> bool:
    """Whether both operands are likely to lie in memory so that terms of a sum are far apart, and sums side by side."""
    (left, x), (right, y) = one, other
    dtype, size = xp.result_type(x, y), x.shape[-1]
    return (left[-1:] in batch and right[-1:] in batch and not (isinstance(size, int) and size < FEW)
            and (dtype == xp.float32 or wider(xp, dtype) is dtype))


def _add_across(xp: Any, zeros_kept: bool, inner: str, one: Term, other: Term) -> Term:
    """As `_multiply`, element by element, where the first operand has all letters."""
    (left, x), (right, y) = one, other
    y = _permute(xp, right, y, "".join(letter for letter in left if letter in right))
    y = _reshape(xp, y, tuple(size if letter in right else 1 for letter, size in zip(left, x.shape, strict=True)))
    return _sum_out(xp, set(left).difference(inner), left, _by_element(xp, zeros_kept, x, y))


def _by_element(xp: Any, zeros_kept: bool, x: Any, y: Any) -> Any:
    return xp.where((x == 0) | (y == 0), 0.0, x * y) if zeros_kept else x * y


def _permute(xp: Any, term: str, x: Any, order: str) -> Any:
    """An operand with its axes in another order."""
    return x if term == order else xp.permute_dims(x, tuple(map(term.index, order)))


def _reshape(xp: Any, x: Any, shape: tuple[Any, ...]) -> Any:
    return x if x.shape == shape else xp.reshape(x, shape)


def add_at(xp: Any, x: Any, axis: int, row: Any, updates: Any) -> Any:
    """An array with slices added along an axis at a row of positions, which may repeat."""
    if isinstance(xp, Namespace) and hasattr(xp, "add_at"):
        return xp.add_at(x, axis, row, updates)
    dtype = xp.result_type(x, updates)
    sums = wider_for(xp, dtype, row.shape[0])
    before = (slice(None),) * axis
    if hasattr(x, "at"):  # JAX, whose arrays cannot be written
        out = xp.asarray(x, dtype=sums).at[(*before, row)].add(xp.asarray(updates, dtype=sums))
        return xp.asarray(out, dtype=dtype)
    in_numpy = hasattr(xp, "add") and hasattr(xp.add, "at")
    if in_numpy and row.shape[0] > 1 and x.size >= WIDE * x.shape[axis]:
        order = xp.argsort(row, kind="stable")
        places = row[order]
        starts = xp.flatnonzero(xp.concatenate([[True], places[1:] != places[:-1]]))
        at = (*before, places[starts])
        out = xp.asarray(x, dtype=dtype, copy=True)
        out[at] = out[at] + xp.add.reduceat(xp.take(updates, order, axis=axis), starts, axis=axis, dtype=sums)
        return out
    out = xp.asarray(x, dtype=sums, copy=True)
    if in_numpy:
        xp.add.at(out, (*before, row), xp.asarray(updates, dtype=sums))  # a tenth of the time of two dtypes
    else:
        for i in range(row.shape[0]):  # the standard has no scatter
            out[(*before, int(row[i]), ...)] += updates[(*before, i, ...)]
    return xp.asarray(out, dtype=dtype)
