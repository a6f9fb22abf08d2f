"""Shapes and dtypes without arrays: what a gate's shape rule works with.

A dimension is an integer, or a `Size`: a polynomial in named dimensions, so that `concat` of ("batch", 3) with itself
has the shape (2*batch, 3) and reshaping ("batch", 28, 28) to (-1, 784) gives ("batch", 784). Two sizes are equal when
they are the same polynomial: different names are never assumed to be equal. As a few gates can make a polynomial grow
without end, there is a largest one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from circuitflow.text import few

TERMS, FACTORS, COEFFICIENT = 1000, 64, 2**63
"""Of the largest polynomial: how many terms, how many names in one, and what NumPy has no size of."""


class ShapeError(ValueError):
    """Operands that a gate cannot take; the message continues "node 'D': matmul …".

    A long message, such as one with an attribute of 100,000 numbers, loses its middle.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message if len(message) <= 700 else f"{message[:400]} … {message[-300:]}")


@dataclass(frozen=True, slots=True)
class Size:
    """A polynomial in named dimensions that is not a mere integer: products of names, in order, with coefficients."""

    terms: tuple[tuple[tuple[str, ...], int], ...]

    @staticmethod
    def named(name: str) -> Size:
        """The size that a name stands for."""
        return Size((((name,), 1),))

    def __add__(self, other: Dimension) -> Dimension:
        return _dimension([*self.terms, *_terms(other)]) if isinstance(other, int | Size) else NotImplemented

    __radd__ = __add__

    def __sub__(self, other: Dimension) -> Dimension:
        return self + other * -1 if isinstance(other, int | Size) else NotImplemented

    def __rsub__(self, other: Dimension) -> Dimension:
        return self * -1 + other

    def __mul__(self, other: Dimension) -> Dimension:
        if not isinstance(other, int | Size):
            return NotImplemented
        others = _terms(other)
        if len(self.terms) * len(others) > 10 * TERMS:  # of which few could be equal
            raise ShapeError(_TOO_LARGE)
        return _dimension([(tuple(sorted(a + b)), m * n) for a, m in self.terms for b, n in others])

    __rmul__ = __mul__

    def __str__(self) -> str:
        def term(names: tuple[str, ...], factor: int) -> str:
            return "*".join([*([str(factor)] if factor != 1 or not names else []), *few(names)])

        return " + ".join(few(term(names, factor) for names, factor in self.terms))

    def substitute(self, sizes: Mapping[str, Dimension]) -> Dimension:
        """The size with names replaced by what they stand for; a name without a size stays."""
        total: Dimension = 0
        for names, factor in self.terms:
            product: Dimension = factor
            for name in names:
                product = product * sizes.get(name, Size.named(name))
            total = total + product
        return total


_TOO_LARGE = (f"needs sizes that are shorter sums of products of named dimensions, of at most {TERMS} terms of "
              f"{FACTORS} names each and coefficients below 2^63; give some of the dimensions numbers")


Dimension = int | Size
Shape = tuple[Dimension, ...]


def _terms(size: Dimension) -> Sequence[tuple[tuple[str, ...], int]]:
    return size.terms if isinstance(size, Size) else [((), size)]


def _dimension(terms: list[tuple[tuple[str, ...], int]]) -> Dimension:
    total: dict[tuple[str, ...], int] = {}
    for names, factor in terms:
        total[names] = total.get(names, 0) + factor
    nonzero = sorted(((names, factor) for names, factor in total.items() if factor), key=lambda t: (-len(t[0]), t[0]))
    if not any(names for names, _ in nonzero):
        return sum(factor for _, factor in nonzero)
    if len(nonzero) > TERMS or any(len(names) > FACTORS or abs(factor) >= COEFFICIENT for names, factor in nonzero):
        raise ShapeError(_TOO_LARGE)
    return Size(tuple(nonzero))


def sum_of_sizes(sizes: Iterable[Dimension]) -> Dimension:
    """Their sum, in time that grows as their number does."""
    return _dimension([term for size in sizes for term in _terms(size)])


def divide(total: Dimension, part: Dimension) -> Dimension | None:
    """The exact quotient, or None where there is none."""
    divisors = _terms(part)
    if len(divisors) != 1 or divisors[0][1] == 0:
        return None
    (names, factor) = divisors[0]
    quotient = []
    for other, n in _terms(total):
        rest = list(other)
        for name in names:
            if name not in rest:
                return None
            rest.remove(name)
        if n % factor:
            return None
        quotient.append((tuple(rest), n // factor))
    return _dimension(quotient)


_PRECISION = {"bfloat16": 0, "float16": 0, "float32": 1, "float64": 2}


class ArrayType(NamedTuple):
    """What is known of an array before there is one."""

    shape: Shape
    dtype: str

    @property
    def is_float(self) -> bool:
        """Whether gradients flow to and through it."""
        return self.dtype in _PRECISION


def show(shape: Sequence[Dimension | str | None]) -> str:
    """A shape as Python writes a tuple, names without quotes."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def allows(declaration: Sequence[Dimension | str | None], shape: Shape) -> bool:
    """Whether a shape is one of those that a declared shape allows: what is no number in that stands for any size."""
    return len(shape) == len(declaration) and all(
        number == size for number, size in zip(declaration, shape, strict=True) if isinstance(number, int))


def count(shape: Sequence[Dimension]) -> Dimension:
    """The number of elements."""
    return math.prod(shape)


# What shape rules are made of -----------------------------------------------------------------------------------------

_BITS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64, "uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64}


def promote(*dtypes: str) -> str:
    """The dtype of mixed operands, by the promotion table of the Python array API standard, which mixes no kinds.

    https://data-apis.org/array-api/2024.12/API_specification/type_promotion.html
    """
    result = dtypes[0]
    for dtype in dtypes[1:]:
        if dtype == result:
            continue
        pair = {dtype, result}
        if pair <= _PRECISION.keys():  # of the two with 16 bits neither has what the other has
            finer = max(pair, key=_PRECISION.__getitem__)
            result = finer if _PRECISION[finer] else "float32"
        elif not pair <= _BITS.keys():
            raise ShapeError(f"cannot mix {result} with {dtype}; cast one of them")
        elif len({d.startswith("u") for d in pair}) == 1:
            result = max(pair, key=_BITS.__getitem__)
        else:
            bits = max(2 * _BITS[d] if d.startswith("u") else _BITS[d] for d in pair)
            if bits > 64:
                raise ShapeError(f"cannot mix {result} with {dtype}; cast one of them")
            result = f"int{bits}"
    return result


def need_float(name: str, x: ArrayType) -> None:
    """Refuse an operand that is not floating-point."""
    if not x.is_float:
        raise ShapeError(f"needs floating-point numbers; {name} is {x.dtype}; cast it")


def need_number(name: str, x: ArrayType) -> None:
    """Refuse a boolean operand."""
    if x.dtype == "bool":
        raise ShapeError(f"needs numbers; {name} is bool")


def need_indices(indices: ArrayType) -> None:
    """Refuse indices that are not integers."""
    if "int" not in indices.dtype:
        raise ShapeError(f"needs integer indices; indices is {indices.dtype}; declare its dtype as int64")


def need_bool(name: str, x: ArrayType) -> None:
    """Refuse an operand that is not boolean."""
    if x.dtype != "bool":
        raise ShapeError(f"needs booleans; {name} is {x.dtype}")


def need_shape(name: str, x: ArrayType, shape: Shape, what: str) -> None:
    """Refuse an operand of another shape; `what` says what the shape is."""
    if x.shape != shape:
        raise ShapeError(f"needs {name} of shape {show(shape)}, {what}; {name} is {show(x.shape)}")


def broadcast_shapes(*shapes: Shape) -> Shape:
    """The common shape by NumPy's rules: aligned at the last dimension, a size of 1 stretches."""
    rank = max(map(len, shapes))
    result: list[Dimension] = [1] * rank
    for shape in shapes:
        for i, size in enumerate(shape, rank - len(shape)):
            if result[i] == 1:
                result[i] = size
            elif size not in (1, result[i]):
                names = " and ".join(map(show, shapes))
                raise ShapeError(f"cannot broadcast shapes {names}: {size} is not {result[i]}")
    return tuple(result)


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the front; negative ones count from the back."""
    if rank == 0:
        raise ShapeError("needs an operand with at least one axis, not a scalar")
    if not -rank <= axis < rank:
        raise ShapeError(f"needs an axis from {-rank} to {rank - 1}, not {axis}")
    return axis % rank


def axes_of(axis: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Axes counted from the front, in order; None is all of them."""
    if axis is None:
        return tuple(range(rank))
    axes = sorted(axis_of(a, rank) for a in ((axis,) if isinstance(axis, int) else axis))
    if len(set(axes)) != len(axes):
        raise ShapeError(f"names an axis twice: {axis}")
    return tuple(axes)


def elementwise(*types: ArrayType, **_: object) -> ArrayType:
    """Numbers of any dtype, broadcast together."""
    for i, x in enumerate(types):
        need_number(f"operand {i}", x)
    return ArrayType(broadcast_shapes(*(x.shape for x in types)), promote(*(x.dtype for x in types)))


def floating(*types: ArrayType, **_: object) -> ArrayType:
    """Floating-point numbers, broadcast together."""
    for i, x in enumerate(types):
        need_float("x" if len(types) == 1 else f"operand {i}", x)
    return elementwise(*types)


def same(x: ArrayType) -> ArrayType:
    """The operand's own shape and dtype."""
    return x


def has_signed_zeros(x: Any) -> bool:
    """Whether there may be zeros with a sign in an array: integers have none, and arrays of NumPy are looked at."""
    if type(x).__module__ == "numpy" and (x.dtype.kind != "f" or x.all()):
        return False
    return "int" not in str(x.dtype)
