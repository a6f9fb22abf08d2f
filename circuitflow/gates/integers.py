"""Integers: a result is exact, or it is refused. Positions are int64, whatever dtype indices have."""

from __future__ import annotations

import builtins
import functools
import itertools
from typing import Any

from circuitflow.gates.record import Rule
from circuitflow.gates.special import need_in_range

_DIGITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
"""How many bits of an integer a float keeps."""


def name_of(dtype: Any) -> str:
    """The name of a dtype of any library."""
    return str(dtype).rpartition(".")[2]


def is_plain(*dtypes: Any) -> bool:
    """Whether NumPy knows dtypes as floats or truth values; it names none in less than a microsecond."""
    return all(getattr(dtype, "kind", "") in ("f", "b") for dtype in dtypes)


def limits(name: str) -> tuple[int, int]:
    """The least number of an integer dtype, and the one after its largest."""
    bits = int(name.lstrip("uint"))
    return (0, 2**bits) if name.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1))


def exact(rule: Rule) -> Rule:
    """A rule that adds or multiplies, for integers: refuses results that their dtype does not hold.

    A result that does not fit has lost a multiple of 2^bits. The same in float64 differs from it by as much, however
    it is rounded. Where the two do not differ the result is exact, whatever it has gone through.
    """
    return functools.partial(_exact, rule)


def _exact(rule: Rule, xp: Any, *xs: Any, **attributes: Any) -> Any:
    dtype = xp.result_type(*xs)
    out = rule(xp, *(xp.asarray(x, dtype=dtype) for x in xs), **attributes)
    near = rule(xp, *(xp.asarray(x, dtype=xp.float64) for x in xs), **attributes)
    least, end = limits(name_of(dtype))
    is_lost = xp.abs(near - xp.asarray(out, dtype=xp.float64)) > (end - least) / 4
    need_in_range(xp, is_lost, near, "{:.17g} " + _misfit(name_of(dtype), "the operands"), OverflowError)
    return out


def exact_by_element(rule: Rule) -> Rule:
    """`exact`, sooner on one or two arrays of NumPy, of a rule that is largest and least at ends of its operands.

    It is applied to those ends, as Python's integers. Where their results fit, every result does.
    """
    return functools.partial(_exact_by_element, rule)


def _exact_by_element(rule: Rule, xp: Any, *xs: Any) -> Any:
    if len(xs) <= 2 and all(type(x).__module__ == "numpy" and x.size for x in xs):
        dtype = xp.result_type(*xs)
        least, end = limits(name_of(dtype))
        ends = [{int(x.min()), int(x.max())} for x in xs]
        if all(least <= rule(builtins, *corner) < end for corner in itertools.product(*ends)):
            return rule(xp, *(xp.asarray(x, dtype=dtype) for x in xs))
    return _exact(rule, xp, *xs)


def divisible(rule: Rule) -> Rule:
    """A rule that divides, for integers: refuses a divisor of 0."""
    return functools.partial(_divisible, rule)


def _divisible(rule: Rule, xp: Any, x: Any, y: Any) -> Any:
    zero = y == 0
    need_in_range(xp, zero, y, "division by {}; give it another divisor, also where the result is not used",
                  ZeroDivisionError)
    # Processors fail for the least number and -1, and libraries for a 0 that is refused later.
    is_signed = not name_of(y.dtype).startswith("u")
    return rule(xp, x, xp.where(zero | (y == -1) if is_signed else zero, xp.ones_like(y), y))


def cast(xp: Any, x: Any, new: str) -> Any:
    """The cast to a dtype by name. Integers are kept or refused; a float that becomes one loses its fraction."""
    dtype = getattr(xp, new)
    if is_plain(x.dtype) and new in _DIGITS:
        return xp.asarray(x, dtype=dtype)
    old = name_of(x.dtype)
    if old == new or "bool" in (old, new) or (old in _DIGITS and new in _DIGITS):
        return xp.asarray(x, dtype=dtype)
    if old in _DIGITS:
        whole = xp.trunc(xp.asarray(x, dtype=xp.float64))
        least, end = limits(new)
        need_in_range(xp, ~((whole >= float(least)) & (whole < float(end))), x,
                      f"{{}} does not fit {new}, {least} to {end - 1}; clip it, or select another number by where",
                      OverflowError)
        return xp.asarray(whole, dtype=dtype)
    out, (least, end) = xp.asarray(x, dtype=dtype), limits(old)
    if new not in _DIGITS:
        if limits(new)[0] > least or limits(new)[1] < end:
            is_lost = (xp.asarray(out, dtype=x.dtype) != x) | ((out < 0) != (x < 0))
            need_in_range(xp, is_lost, x, "{} " + _misfit(new, "it"), OverflowError)
    elif end > 2 ** _DIGITS[new]:
        near = xp.asarray(out, dtype=xp.float64)  # what leaves the range does not fit back into it
        is_lost = (xp.asarray(out, dtype=x.dtype) != x) | (near >= float(end)) | (near < float(least))
        remedy = ("keep it an integer" if new == "float64" else
                  f"cast it to float64, where it is exact, and that to {new}, which rounds it")
        need_in_range(xp, is_lost, x, f"{{}} is no {new} exactly; {remedy}", OverflowError)
    return out


def cast_like(xp: Any, x: Any, like: Any) -> Any:
    """The cast to the dtype of another array."""
    return xp.asarray(x, dtype=like.dtype) if is_plain(x.dtype, like.dtype) else cast(xp, x, name_of(like.dtype))


def valid_positions(xp: Any, indices: Any, size: int, axis: int) -> Any:
    """Indices along an axis of a size, as positions from the front."""
    places = from_front(xp, indices, size)
    need_in_range(xp, (places < 0) | (places >= size), indices,
                  f"index {{}} is out of range for axis {axis} of size {size}")
    return places


def from_front(xp: Any, indices: Any, size: int) -> Any:
    """Indices as int64; negative ones count from the end. One that is out of range stays so."""
    places = xp.asarray(indices, dtype=xp.int64)
    # Of unsigned numbers those alone are negative now that int64 does not hold.
    return places if name_of(indices.dtype).startswith("u") else xp.where(places < 0, places + size, places)


def _misfit(name: str, what: str) -> str:
    """What is wrong with an integer that a dtype does not hold, and what to cast instead."""
    least, end = limits(name)
    wider = "float64" if name == "int64" else "int64 or float64" if name == "uint64" else "int64"
    return f"does not fit {name}, {least} to {end - 1}; cast {what} to {wider}"
