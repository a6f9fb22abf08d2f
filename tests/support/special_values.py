"""Functions of floats at numbers that are special to one of them, and what NumPy gives there."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.special

inf, nan = math.inf, math.nan
FLOATS = [0.0, 0.1, 0.49999999999999994, 0.5, 1.0, 1.5, 2.0, 2.3, 2.5, 3.0, 7.0, 5e-324, 1e-320, 1e-200, 1e-17, 170.0,
          709.9, 710.0, 745.2,
          1000.0, 2.0**52 + 0.5, 2.0**53, 2.0**53 + 2, 1e200, sys.float_info.max, inf]
FLOATS += [-x for x in FLOATS] + [nan]
TRUTHS = [False, True]
LOGIC = ("bitwise_and", "bitwise_or", "bitwise_xor", "invert")


def operands(name: str, arity: int) -> Iterator[tuple[Any, ...]]:
    """Operands of a function by its name in NumPy or SciPy."""
    if name == "where":
        return itertools.product(TRUTHS, FLOATS, FLOATS)
    return itertools.product(TRUTHS if name in LOGIC else FLOATS, repeat=arity)


def expected(name: str, *xs: Any) -> Any:
    """What the function gives; SciPy's lnΓ is wrong for subnormal numbers and for -∞."""
    if name == "gammaln" and abs(xs[0]) < 1e-300 and xs[0]:
        return -math.log(abs(xs[0]))
    if name == "gammaln" and xs[0] == -inf:
        return inf
    with np.errstate(all="ignore"):  # an exponent that is one number for an array is another path, wrong for (-∞)^½
        return getattr(np, name, getattr(scipy.special, name, None))(*(np.array([x]) for x in xs))[0].item()


def same(found: Any, wanted: Any, name: str = "") -> bool:
    """Equal to a few last digits, with the same sign of zero."""
    if isinstance(wanted, bool):
        return bool(found) == wanted
    if math.isnan(wanted) or math.isinf(wanted) or wanted == 0:
        return str(float(found)) == str(wanted)
    return math.isclose(found, wanted, rel_tol=4e-15, abs_tol=1e-15 if name == "gammaln" else 1e-322)
