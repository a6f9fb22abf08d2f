"""How an exported file spells functions in Python, and the helper functions that it defines where it uses them.

In Python a function of `math` raises where NumPy gives an infinity or NaN. The helpers give what NumPy gives, with the
signs of zeros and of infinities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from circuitflow.engines.program.dialects import ARITIES, BINARY, FLOATS, Dialect

CALLS: Mapping[str, str] = {
    **{name: f"math.{function}" for name, function in (
        ("absolute", "fabs"), ("arctan", "atan"), ("arctan2", "atan2"), ("tanh", "tanh"), ("arcsinh", "asinh"),
        ("hypot", "hypot"), ("erf", "erf"), ("erfc", "erfc"), ("isinf", "isinf"), ("isnan", "isnan"))},
    **{name: name for name in ("divide", "remainder", "power", "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos",
                               "tan", "sinh", "cosh", "floor", "ceil")},
    "arcsin": "asin", "arccos": "acos", "arccosh": "acosh", "arctanh": "atanh", "gammaln": "lgamma",
    "logaddexp": "log_add_exp", "round": "nearest",
}
"""What computes a function of floats: a function of `math` that never raises, or one of `HELPERS`."""

PYTHON = Dialect({**FLOATS.forms, **{name: f"{call}({', '.join(f'{{{i}}}' for i in range(ARITIES[name]))})"
                                     for name, call in CALLS.items()}})
"""Python floats that never raise."""

ARRAYS: Mapping[Callable[..., Any], str] = {
    **{getattr(np, name): f"{{0}} {sign} {{1}}" for name, sign in BINARY.items()},
    np.negative: "-{0}", np.invert: "~{0}", np.matmul: "{0} @ {1}"}
"""Operators of arrays; every other function is called by its public name."""

_OVERFLOWING = '''def {0}(x):
    """{1}, which may be infinite."""
    try:
        return math.{0}(x)
    except OverflowError:
        return {2}'''

_DEFINED = '''def {0}(x):
    """{1}, NaN where that is not defined."""
    return math.{0}(x) if {2} else math.nan'''

_WHOLE = '''def {0}(x):
    """{1}."""
    return math.copysign({2}(x), x) if math.isfinite(x) else x'''

HELPERS: Mapping[str, str] = {
    "scan": '''def scan(step, carries, rows, others, ends, stacks, from_end):
    """A step at one position after the other: what the last one gives, and in `stacks` what all of them give.

    It takes `carries`, a row of each of `rows`, and `others`. Its results at `ends` are the next carries.
    """
    positions = range(len(rows[0]))
    for i in reversed(positions) if from_end else positions:
        results = step(*carries, *(x[i] for x in rows), *others)
        carries = [results[end] for end in ends]
        for place, stack in stacks.items():
            stack[i] = results[place]
    given = {**dict(zip(ends, carries)), **stacks}
    return tuple(given[place] for place in sorted(given))''',
    "divide": '''def divide(x, y):
    """x / y, infinite or NaN where y is 0."""
    return x / y if y else x * math.copysign(math.inf, y)''',
    "remainder": '''def remainder(x, y):
    """x modulo y with the sign of y, NaN where y is 0."""
    return x % y if y else math.nan''',
    "power": '''def power(x, y):
    """x to the power of y, which may be infinite or NaN."""
    try:
        return math.pow(x, y)
    except (OverflowError, ValueError):
        if x < 0 and y % 1:
            return math.nan
        return math.copysign(math.inf, x) if y % 2 == 1 else math.inf''',
    "exp": _OVERFLOWING.format("exp", "e^x", "math.inf"),
    "expm1": _OVERFLOWING.format("expm1", "e^x - 1", "math.inf"),
    "sinh": _OVERFLOWING.format("sinh", "The hyperbolic sine", "math.copysign(math.inf, x)"),
    "cosh": _OVERFLOWING.format("cosh", "The hyperbolic cosine", "math.inf"),
    "log": '''def log(x):
    """The natural logarithm, -inf at 0 and NaN below."""
    return math.log(x) if x > 0 else math.nan if x else -math.inf''',
    "log1p": '''def log1p(x):
    """ln(1 + x), -inf at -1 and NaN below."""
    return math.log1p(x) if x > -1 else -math.inf if x == -1 else math.nan''',
    "sqrt": _DEFINED.format("sqrt", "The square root", "x >= 0"),
    "sin": _DEFINED.format("sin", "The sine", "math.isfinite(x)"),
    "cos": _DEFINED.format("cos", "The cosine", "math.isfinite(x)"),
    "tan": _DEFINED.format("tan", "The tangent", "math.isfinite(x)"),
    "asin": _DEFINED.format("asin", "The inverse sine", "-1 <= x <= 1"),
    "acos": _DEFINED.format("acos", "The inverse cosine", "-1 <= x <= 1"),
    "acosh": _DEFINED.format("acosh", "The inverse hyperbolic cosine", "x >= 1"),
    "atanh": '''def atanh(x):
    """The inverse hyperbolic tangent, infinite at -1 and 1 and NaN beyond."""
    return math.atanh(x) if -1 < x < 1 else math.copysign(math.inf, x) if x in (-1, 1) else math.nan''',
    "lgamma": '''def lgamma(x):
    """ln |gamma(x)|, infinite at 0, -1, -2 and so on."""
    try:
        return math.lgamma(x)
    except (OverflowError, ValueError):
        return math.inf''',
    "floor": _WHOLE.format("floor", "The greatest whole number that is not above x", "math.floor"),
    "ceil": _WHOLE.format("ceil", "The least whole number that is not below x", "math.ceil"),
    "nearest": _WHOLE.format("nearest", "The nearest whole number, the even one of two", "round"),
    "log_add_exp": '''def log_add_exp(x, y):
    """ln(e^x + e^y), without overflow."""
    return x + math.log(2) if x == y else max(x, y) + math.log1p(math.exp(-math.fabs(x - y)))''',
    "long_product": '''def long_product(x, y):
    """x @ y; if it is long, parts of its sums are added up in float64."""
    left = np.ascontiguousarray(x if x.ndim > 1 else x[None], np.float32)
    right = np.ascontiguousarray(y if y.ndim > 1 else y[:, None], np.float32)
    size, few = left.shape[-1], min(left.shape[-2], right.shape[-1]) < 16
    if size <= (1024 if few else 4096):
        return x @ y
    total = np.float64(0)
    for i in range(0, size, 64):
        total = total + left[..., i:i + 64] @ right[..., i:i + 64, :]
    total = total if x.ndim > 1 else total[..., 0, :]
    return (total if y.ndim > 1 else total[..., 0]).astype(np.result_type(x, y))''',
    "product_kept": '''def product_kept(x, y):
    """x @ y, in which 0 times an infinity or NaN is 0."""
    product = np.matmul if np.result_type(x, y) == np.float64 else long_product
    if np.isfinite(x).all() and np.isfinite(y).all():
        return product(x, y)

    def parts(x):
        finite, signs, zero = np.isfinite(x), np.sign(x), x.dtype.type(0)
        return np.where(finite, x, zero), np.where(np.isinf(x), signs, zero), (~finite).astype(x.dtype)

    (fx, ix, nx), (fy, iy, ny) = parts(x), parts(y)
    net = product(ix, np.sign(fy) + iy) + product(np.sign(fx), iy)
    counts = product(nx, np.abs(np.sign(fy)) + ny) + product(np.abs(np.sign(fx)), ny)
    return np.where(counts == 0, product(fx, fy), np.where(np.abs(net) == counts, net, np.nan) * np.inf)''',
    "add_at": '''def add_at(x, row, updates, axis):
    """x with updates added along an axis at a row of positions, which may repeat; many float32 add up in float64."""
    dtype = np.result_type(x, updates)
    out = x.astype(np.float64 if dtype == np.float32 and row.size > 64 else dtype)
    np.add.at(out, (slice(None),) * axis + (row,), updates)
    return out.astype(dtype)''',
    "fold": '''def fold(x, sizes, kernel, strides, dilations, pads):
    """Windows added up where they stand over images of these sizes; many float32 add up in float64."""
    shape = (*x.shape[:2], *(before + size + after for size, (before, after) in zip(sizes, pads)))
    wide = x.dtype == np.float32 and np.prod(kernel) > 64
    out = np.zeros(shape, np.float64 if wide else x.dtype)
    for place in np.ndindex(*kernel):
        steps = zip(place, dilations, strides, x.shape[2 + len(sizes):])
        at = tuple(slice(i * d, i * d + s * (n - 1) + 1, s) for i, d, s, n in steps)
        out[(..., *at)] += x[(slice(None), slice(None), *place)]
    inner = tuple(slice(before, before + size) for size, (before, after) in zip(sizes, pads))
    return out[(..., *inner)].astype(x.dtype)''',
    "murmur": '''def murmur(x):
    """The finaliser of MurmurHash3 on 32 bits of integers."""
    x = ((x ^ x >> 16) & 0xFFFFFFFF) * 0x85EBCA6B & 0xFFFFFFFF
    x = ((x ^ x >> 13) & 0xFFFFFFFF) * 0xC2B2AE35 & 0xFFFFFFFF
    return x ^ x >> 16''',
    "as_array": '''def as_array(name, x, shape, dtype):
    """An argument as the array that the stages are written for."""
    array = np.asarray(x, dtype)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {shape}")
    return array''',
    "as_sized_array": '''def as_sized_array(name, x, shape, dtype, sizes):
    """An argument as an array; a name in its shape is one size wherever it stands."""
    array = np.asarray(x, dtype)
    expected = tuple(sizes.setdefault(*pair) if isinstance(pair[0], str) else pair[0]
                  for pair in zip(shape, array.shape))
    if len(array.shape) != len(shape) or array.shape != expected:
        raise ValueError(f"{name} has shape {array.shape}; expected {shape}, where {sizes}")
    return array''',
}
"""Their source, by name. They use `math`; those of arrays use `np`."""

NEEDED = {"product_kept": "long_product"}
"""Helpers that call another."""

OF_ARRAYS = ("scan", "add_at", "fold", "murmur", "as_array", "as_sized_array", "long_product", "product_kept")
